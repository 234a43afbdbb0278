"""Several processes of one training, forked from the tests': torch is imported once."""

from __future__ import annotations

import os
import signal
import socket
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

#: Seconds after which a process that hangs is ended by the system.
_LIMIT = 120

#: Exit status of a process that failed with an error of Python's.
FAILED = 70


def in_processes(count: int, work: Callable[[int], None], *, said: Path) -> list[int]:
    """Do ``work(rank)`` in so many processes that Lightning takes for those of one machine.

    Args:
        said: a file for what they print.

    Returns:
        The exit status of each; -N where signal N ended it.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []
    for rank in range(count):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
            process = os.fork()
        if process == 0:
            os._exit(_child(rank, count, port, work, said))
        processes.append(process)
    return [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]


def _child(rank: int, count: int, port: int, work: Callable[[int], None], said: Path) -> int:
    signal.alarm(_LIMIT)
    output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdout = sys.stderr = os.fdopen(
        output, "w", buffering=1
    )  # and not where pytest collects it
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "LOCAL_RANK": str(rank),
        "NODE_RANK": "0",
        "WORLD_SIZE": str(count),
    }
    status = 0
    try:
        work(rank)
    except SystemExit as exit_:
        status = exit_.code if isinstance(exit_.code, int) else FAILED
    except KeyboardInterrupt:
        status = 130
    except BaseException as error:
        status = getattr(error, "exit_code", FAILED)
        traceback.print_exception(error)
    from linker import launch

    if launch._joined is not None:
        launch._end(launch._joined)
    return status
