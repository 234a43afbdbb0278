"""A grid's side of its workers: start them, give them runs, hear of them, stop them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeAlias

from linker.grid_plan import PlannedRun

#: Which job, and what its worker said; None = the worker is gone.
Message: TypeAlias = tuple[int, Mapping[str, Any] | None]


def cores() -> int:
    """Cores that this process may use; fewer where ``OMP_NUM_THREADS`` says so."""
    affinity = getattr(os, "sched_getaffinity", None)
    here = len(affinity(0)) if affinity else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return min(here, int(wanted)) if wanted.isdigit() and int(wanted) else here


@dataclass(slots=True)
class _Worker:
    process: subprocess.Popen[bytes]
    reader: threading.Thread


class Jobs:
    """So many runs at once, each in a process of its own; what they say arrives in ``messages``.

    The processes are in sessions of their own: Ctrl-C reaches the grid alone, which stops them.
    """

    def __init__(self, count: int) -> None:
        self.messages: SimpleQueue[Message] = SimpleQueue()
        self.threads = max(1, cores() // count)
        self._workers: list[_Worker | None] = [None] * count

    def start(self, job: int, run: PlannedRun) -> None:
        """Make a run in this job, which has none."""
        run.log.parent.mkdir(parents=True, exist_ok=True)
        order = {
            "config": run.config.model_dump(mode="json"),
            "store": str(run.store),
            "run": str(run.folder),
            "log": str(run.log),
            "action": run.action,
            "splits": run.splits,
        }
        worker = self._workers[job] or self._started(job)
        assert worker.process.stdin is not None
        with suppress(BrokenPipeError):  # it has just gone, and its reader says so
            worker.process.stdin.write(json.dumps(order).encode() + b"\n")
            worker.process.stdin.flush()

    def _started(self, job: int) -> _Worker:
        threads = str(self.threads)
        root = str(Path(__file__).resolve().parents[1])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
        process = subprocess.Popen(
            [sys.executable, "-m", "linker.grid_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None,
            env=os.environ
            | {"PYTHONPATH": path, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
            start_new_session=True,
        )
        reader = threading.Thread(target=self._read, args=(job, process), daemon=True)
        worker = self._workers[job] = _Worker(process, reader)
        reader.start()
        return worker

    def _read(self, job: int, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            try:
                message = json.loads(line)
            except ValueError:  # the end of a line whose writer was killed
                continue
            self.messages.put((job, message))
        self.messages.put((job, None))

    def gone(self, job: int) -> int:
        """A worker says no more: its exit status. The next run of the job has another one."""
        worker = self._workers[job]
        assert worker is not None
        self._workers[job] = None
        return _ended(worker)

    def interrupt(self) -> None:
        """Stop the runs as Ctrl-C would; how they end arrives in ``messages``."""
        for worker in self._workers:
            if worker is not None:
                _signal(worker.process, signal.SIGTERM)

    def close(self) -> None:
        """End all workers; what still runs is killed, and what it has on disk is whole."""
        left = [worker for worker in self._workers if worker is not None]
        self._workers = [None] * len(self._workers)
        for worker in left:
            _signal(worker.process, signal.SIGKILL)
        for worker in left:
            _ended(worker)


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to a worker and its run."""
    with suppress(ProcessLookupError):  # both are gone
        if hasattr(os, "killpg"):
            os.killpg(process.pid, number)
        else:
            process.terminate()


def _ended(worker: _Worker) -> int:
    """Wait for a worker that is about to end; its exit status."""
    status = worker.process.wait()
    worker.reader.join()
    for pipe in (worker.process.stdin, worker.process.stdout):
        assert pipe is not None
        with suppress(BrokenPipeError):
            pipe.close()
    return status
