"""The trials of a search in several processes, which share its record on disk and nothing else.

A process that is killed, for memory as a rule, costs its trial: another process takes its place.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import torch

from featurestore.errors import DrinFsError
from linker.tune_study import Work, quiet_optuna
from linker.tune_trial import OnEpoch, run_trial

#: Told the number of a trial that ended, and why its process did, where that was not at the trial's end.
OnEnd = Callable[[int, str], None]


class TuneError(DrinFsError):
    """A search that cannot go on. Exit code 1."""


def run_here(work: Work, tickets: Iterator[int], *, on_epoch: OnEpoch, on_end: OnEnd) -> None:
    """Run a trial for each ticket, one after the other, in this process.

    Raises:
        WriteError, StoreError, RunLocked: what every trial would fail of.
    """
    for ticket in tickets:
        number = run_trial(
            work, work.study(ticket=ticket), on_begin=lambda number: None, on_epoch=on_epoch
        )
        on_end(number, "")


@dataclass(slots=True, kw_only=True)
class _Worker:
    """``trial``: the one it is at."""

    process: BaseProcess
    pipe: Connection
    trial: int | None = None


def run_in_processes(
    work: Work, tickets: Iterator[int], *, jobs: int, on_epoch: OnEpoch, on_end: OnEnd
) -> None:
    """Run a trial for each ticket, ``jobs`` at a time.

    Whatever ends this, none of the processes is left.

    Raises:
        DrinFsError: what every trial would fail of.
        TuneError: a process ended before it had a trial.
    """
    workers: list[_Worker] = []
    try:
        for _ in range(jobs):
            _give(workers, work, tickets, to=None)
        while workers:
            for pipe in wait([each.pipe for each in workers]):
                worker = next(each for each in workers if each.pipe is pipe)
                try:
                    kind, value = worker.pipe.recv()
                except EOFError:
                    workers.remove(worker)
                    _mourn(worker, on_end)
                    _give(workers, work, tickets, to=None)
                    continue
                if kind == "begin":
                    worker.trial = value
                elif kind == "epoch":
                    on_epoch(value)
                elif kind == "error":
                    raise value
                else:
                    worker.trial = None
                    on_end(value, "")
                    _give(workers, work, tickets, to=worker)
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.join()


def _give(
    workers: list[_Worker], work: Work, tickets: Iterator[int], *, to: _Worker | None
) -> None:
    """The next ticket to a worker, or to a new one; where there is none, it is dismissed."""
    ticket = next(tickets, None)
    if ticket is None:
        if to is not None:
            to.pipe.send(None)
            to.process.join()
            workers.remove(to)
        return
    if to is None:
        context = multiprocessing.get_context("spawn")  # a fork would share torch's threads
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(work, theirs))
        process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        to = _Worker(process=process, pipe=ours)
        workers.append(to)
    to.pipe.send(ticket)


def _mourn(worker: _Worker, on_end: OnEnd) -> None:
    """A worker ended without being told to."""
    worker.process.join()
    code = worker.process.exitcode or 0
    how = f"killed by signal {-code}" if code < 0 else f"exit status {code}"
    if worker.trial is None:
        raise TuneError(
            f"a process of the search ended before its trial began ({how})",
            hint="what it said stands above; a script that calls linker.tune.tune with jobs needs "
            'its own code under: if __name__ == "__main__"',
        )
    on_end(worker.trial, f"its process ended ({how})")


def _serve(work: Work, pipe: Connection) -> None:
    """What a process does: trials, until there is no ticket more or the search is gone."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if work.threads is not None:
        torch.set_num_threads(work.threads)
    with suppress(KeyboardInterrupt, EOFError, BrokenPipeError), quiet_optuna():
        while (ticket := pipe.recv()) is not None:
            try:
                number = run_trial(
                    work,
                    work.study(ticket=ticket),
                    on_begin=lambda number: _tell(pipe, "begin", number),
                    on_epoch=lambda number: _tell(pipe, "epoch", number),
                )
            except DrinFsError as error:
                pipe.send(("error", error))
                return
            except Exception as error:
                traceback.print_exc()
                pipe.send(("error", TuneError(f"a process of the search failed ({error!r})")))
                return
            _tell(pipe, "end", number)


def _tell(pipe: Connection, kind: str, value: Any) -> None:
    pipe.send((kind, value))


def _end_with_parent() -> None:
    """A search that was killed leaves no process: its trial is continued by the next one."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
