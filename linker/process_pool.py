"""Work shared out among processes that are started anew: nothing of this one is inherited.

Each process is handed one task after the other, so that none waits while another has two left. The
first error ends all of them, and so does the end of the caller: Ctrl-C, SIGTERM, or being killed.
"""

from __future__ import annotations

import signal
import traceback
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, TypeAlias, TypeVar, cast

from featurestore.errors import DrinFsError
from featurestore.threads import available_processors

T = TypeVar("T")
R = TypeVar("R")

#: Opened in a process by its number, gives what does the tasks. Must pickle.
Opening: TypeAlias = Callable[[int], Callable[[T], R]]

#: Seconds that a process has to end, before it is killed.
_PATIENCE = 5.0


class ProcessLost(DrinFsError):
    """A process ended without a word: it was killed, or could not start. Exit code 1."""


def threads_of_each(processes: int) -> int:
    """Threads that each of some processes computes with: its part of the processors."""
    return max(1, available_processors() // processes)


def map_in_processes(
    opening: Opening[T, R], tasks: Sequence[T], *, processes: int
) -> Generator[tuple[int, R]]:
    """The number and the result of each task, as they come.

    All processes are ended when this ends, or is closed.

    Raises:
        DrinFsError: as a process raised it.
        RuntimeError: what a process raised and nobody expected, with the lines of its traceback.
        ProcessLost: a process was killed, or could not start.
    """
    workers: dict[Connection, _Worker] = {}
    try:
        for number in range(min(processes, len(tasks))):
            worker = _Worker(opening, number)
            workers[worker.connection] = worker
        left = list(range(len(tasks) - 1, -1, -1))
        busy: dict[Connection, int] = {}
        for connection, worker in workers.items():
            busy[connection] = left.pop()
            worker.hand(tasks[busy[connection]])
        while busy:
            for ready in wait(list(busy)):
                connection = cast(Connection, ready)
                worker, done = workers[connection], busy.pop(connection)
                result = worker.result()
                if left:
                    busy[connection] = left.pop()
                    worker.hand(tasks[busy[connection]])
                yield done, result
    finally:
        _end(list(workers.values()))


class _Worker:
    """One process, seen from here."""

    def __init__(self, opening: Opening[Any, Any], number: int) -> None:
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._number = number
        self.process: SpawnProcess = context.Process(
            target=_work, args=(opening, number, theirs), daemon=True
        )
        self.process.start()
        theirs.close()  # so that the end of the process is the end of the connection

    def hand(self, task: Any) -> None:
        try:
            self.connection.send(task)
        except OSError as error:
            raise self._lost() from error

    def result(self) -> Any:
        try:
            ok, answer = self.connection.recv()
        except (EOFError, OSError) as error:
            raise self._lost() from error
        if ok:
            return answer
        if isinstance(answer, DrinFsError):
            raise answer
        raise RuntimeError(f"process {self._number} failed:\n{answer}")

    def _lost(self) -> ProcessLost:
        self.process.join(_PATIENCE)
        status = self.process.exitcode
        how = f"with status {status}"
        if status is not None and status < 0:
            how = f"by signal {-status}"
        return ProcessLost(
            f"a process ended {how} before its work was done",
            where=f"process {self._number}",
            hint="where memory ran out, give fewer --devices; otherwise see the lines above",
        )


def _end(workers: Sequence[_Worker]) -> None:
    for worker in workers:
        worker.connection.close()
        worker.process.terminate()
    for worker in workers:
        worker.process.join(_PATIENCE)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()


def _work(opening: Opening[Any, Any], number: int, connection: Connection) -> None:
    """What a process does: open, and answer until nobody asks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches it too: who started it ends it
    try:
        run = opening(number)
        while True:
            connection.send((True, run(connection.recv())))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # nobody asks any more
    except Exception as error:
        known = isinstance(error, DrinFsError)
        with suppress(OSError):
            connection.send((False, error if known else traceback.format_exc()))
