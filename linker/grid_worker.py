"""The process that a grid's runs are made in: ``python -m linker.grid_worker``, one for each job.

It imports torch once, reads one line of JSON a run from stdin, and forks for it, so that a run has a
process of its own and starts at once; where forks are not safe it makes one run and ends. What
happens is told as lines of JSON on what was stdout; everything printed goes to the log of the run.

When stdin ends while a run goes on, whoever started the grid is gone: the run stops as by SIGTERM.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

from featurestore.errors import DrinFsError
from featurestore.progress import Stage
from linker.baseline import evaluate_untrained
from linker.config_text import read_config
from linker.run_folder import RunLocked
from linker.train import train

#: Whether a process that has imported torch may be forked. macOS's libraries do not like it.
FORKS = sys.platform == "linux"

#: Seconds between two lines about the progress of a stage.
_EVERY = 0.3

#: Seconds to wait for the lock of a run (chosen here: its process may be stopping, for the grid that
#: started it was killed, and stops after the step of training that it is in).
_PATIENCE = 20.0

#: Exit statuses of a run's process.
DONE, FAILED, STOPPED = 0, 1, 130


class _Told:
    """A progress that tells the grid, and keeps the notes in the log."""

    def __init__(self, events: int) -> None:
        self._events = events
        self._done, self._shown = 0, 0.0

    @contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Stage]:
        self._done = 0
        self.tell({"event": "stage", "name": name, "total": total})
        yield self

    def advance(self, amount: int) -> None:
        self._done += amount
        if time.monotonic() - self._shown >= _EVERY:
            self._shown = time.monotonic()
            self.tell({"event": "done", "done": self._done})

    def say(self, text: str) -> None:
        pass  # the grid shows counts

    def note(self, text: str) -> None:
        print(f"{datetime.now().isoformat(' ', 'seconds')}  {text}", flush=True)
        self.tell({"event": "note", "text": text[:500]})

    def tell(self, event: Mapping[str, Any]) -> None:
        """One line; where nobody listens any more, the run is about to be stopped."""
        with suppress(BrokenPipeError):
            os.write(self._events, json.dumps(event).encode() + b"\n")


def main() -> int:
    """Make the runs that stdin asks for, until it ends.

    Returns:
        The exit status: that of the run, where forks are not safe.
    """
    signal.signal(signal.SIGTERM, _terminated)
    events = os.dup(1)
    os.dup2(2, 1)
    warnings.filterwarnings("ignore", message=".*multi-threaded.*fork", category=DeprecationWarning)
    try:
        while line := sys.stdin.buffer.readline():
            order = json.loads(line)
            if not FORKS:
                return _run(order, events)
            status = _in_a_fork(order, events)
            ended = json.dumps({"event": "ended", "status": status})
            os.write(events, f"\n{ended}\n".encode())  # a killed run may have left half a line
    except (KeyboardInterrupt, BrokenPipeError):  # told to end, or nobody listens any more
        pass
    return DONE


def _terminated(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _in_a_fork(order: Mapping[str, Any], events: int) -> int:
    """The exit status of the run's process; -N where signal N ended it."""
    process = os.fork()
    if process == 0:
        status = FAILED
        try:
            status = _run(order, events)
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it reaches the run as well: wait for that
    try:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    finally:
        signal.signal(signal.SIGTERM, _terminated)


def _run(order: Mapping[str, Any], events: int) -> int:
    """Make one run, and tell how it ended."""
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    told = _Told(events)
    told.tell({"event": "begun"})
    threading.Thread(target=_stop_when_alone, daemon=True).start()
    try:
        _make(order, told)
    except KeyboardInterrupt:
        return STOPPED
    except DrinFsError as error:
        print(error, flush=True)
        told.tell({"event": "failed", "what": reason_of(error)})
        return FAILED
    except BaseException as error:  # whatever it is, the grid goes on
        traceback.print_exc()
        told.tell({"event": "failed", "what": f"{type(error).__name__}: {error}"[:2000]})
        return FAILED
    return DONE


def reason_of(error: DrinFsError) -> str:
    """What went wrong and what to do next, in one line."""
    return "; ".join(filter(None, [error.what, error.hint]))[:2000]


def _stop_when_alone() -> None:
    """Nothing is asked for while a run goes on: what can be read then is the end."""
    select.select([0], [], [])
    os.kill(os.getpid(), signal.SIGTERM)


def _make(order: Mapping[str, Any], told: _Told) -> None:
    """Train, continue or score; waits a little for a process that is just leaving the folder."""
    give_up = time.monotonic() + _PATIENCE
    while True:
        try:
            _make_now(order, told)
            return
        except RunLocked:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.2)


def _make_now(order: Mapping[str, Any], told: _Told) -> None:
    config = read_config(order["config"])
    if order["action"] == "score":
        evaluate_untrained(
            order["store"],
            config,
            splits=order["splits"],
            run=order["run"],
            overwrite=True,  # what the plan has found there may go
            progress=told,
        )
        return
    train(
        order["store"],
        config,
        run=order["run"],
        resume=order["action"] == "continue",
        overwrite=order["action"] == "replace",
        progress=told,
    )


if __name__ == "__main__":
    sys.exit(main())
