"""How a training of several processes ends when one of them fails: all do, and one says why.

The first failure is written where all processes look (a store of torch's, held by the first process).
The others learn of it when a message to the failed process does not arrive, or from a thread that looks
every second, where they wait for a message that never comes. The first process then fails with the
words of the one that failed; the others end without a word.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import NoReturn

import torch.distributed as dist

from featurestore.errors import DrinFsError

#: Names in the store: of the first failure, of the word that the first process has said what there was
#: to say, and of the number of others that have read it.
_FAILURE, _ENDED, _GONE = "failure", "ended", "gone"

#: In the place of a process's number: nobody knows whose.
_UNKNOWN = -1

#: Seconds between two looks, after which a process that knows of a failure and still waits is ended,
#: for which one that failed waits for the first to say so, and in which the reason for a message that
#: did not arrive is found (chosen here: a process needs a second or two to unwind).
_LOOK, _GRACE, _PATIENCE, _REASON = 1.0, 15.0, 30.0, 3.0

#: Seconds for which the first process holds the store for the others at its end (chosen here).
_FAREWELL = 2.0

INTERRUPTED = 130


class ProcessFailed(DrinFsError):
    """Another process of the training failed; says what it said, with its exit code."""

    def __init__(self, what: str, *, where: str = "", hint: str = "", exit_code: int = 1) -> None:
        super().__init__(what, where=where, hint=hint)
        self.exit_code = exit_code


class FailedElsewhere(Exception):
    """What this process has found out is another one's fault, which will say more of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a process ended."""

    rank: int
    what: str
    where: str = ""
    hint: str = ""
    exit_code: int = 1

    def error(self) -> BaseException:
        """To be raised by another process."""
        if self.exit_code == INTERRUPTED:
            return KeyboardInterrupt()
        return ProcessFailed(
            self.what if self.rank == _UNKNOWN else f"process {self.rank}: {self.what}",
            where=self.where,
            hint=self.hint,
            exit_code=self.exit_code,
        )


def failure_of(error: BaseException, rank: int) -> Failure:
    """What a process has to say of the error that ends it."""
    if isinstance(error, DrinFsError):
        return Failure(
            rank=rank,
            what=error.what,
            where=error.where,
            hint=error.hint,
            exit_code=error.exit_code,
        )
    if isinstance(error, KeyboardInterrupt):
        return Failure(rank=rank, what="interrupted", exit_code=INTERRUPTED)
    return Failure(rank=rank, what=f"{type(error).__name__}: {error}"[:2000])


def is_lost_message(error: BaseException) -> bool:
    """Whether torch could not reach another process; it has no class of its own for that."""
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and ("gloo" in str(error) or "nccl" in str(error).lower())
    )


class Bulletin:
    """The place where failures are written, and the thread of this process that looks there.

    Args:
        store: which all processes reach.
        quiet: exit status 0 for a process whose end the first one reports: its parent would otherwise
            kill the first one before that.
        leave: lets go of the other processes, so that their messages to this one fail.
    """

    def __init__(
        self,
        store: dist.Store,
        *,
        rank: int,
        size: int,
        quiet: bool,
        leave: Callable[[], None],
    ) -> None:
        self._store = store
        self._rank = rank
        self._others = size - 1
        self._quiet = quiet
        self._leave = leave
        self._over = threading.Event()
        self._watched = 0
        self._told: Failure | None = None
        threading.Thread(target=self._watch, name="other-processes", daemon=True).start()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """A block in which the process is ended where another one's failure leaves it waiting."""
        self._watched += 1
        try:
            yield
        finally:
            self._watched -= 1

    def fail(self, error: BaseException) -> NoReturn:
        """End with the others.

        Raises:
            BaseException: in the first process: the error, or what another one had said before.
            SystemExit: in the others, once the first has said it.
        """
        first = self._first_failure(error)
        self._over.set()  # it does not wait: it is here
        self._leave()
        if self._rank == 0:
            if first.rank == 0:
                raise error
            raise first.error() from error
        if first.rank == self._rank and not isinstance(error, DrinFsError | KeyboardInterrupt):
            traceback.print_exception(error)
        if not self._wait_for_the_first():
            sys.stderr.write(f"error: process {self._rank}: {first.what}\n")
            raise SystemExit(first.exit_code)
        raise SystemExit(0 if self._quiet else first.exit_code)

    def end(self) -> None:
        """Look no more; the first process has said what there was to say."""
        self._over.set()
        try:
            if self._rank:
                self._store.add(_GONE, 1)
                return
            self._store.set(_ENDED, "1")
            until = time.monotonic() + _FAREWELL
            while self._store.add(_GONE, 0) < self._others and time.monotonic() < until:
                time.sleep(0.02)
        except (dist.DistError, RuntimeError):  # the first process is gone
            pass

    def _first_failure(self, error: BaseException) -> Failure:
        """What the first of all that failed says; this one's own reason where it is the first."""
        if self._told is not None:  # it has failed before, in a block within this one
            return self._told
        own = failure_of(error, self._rank)
        if is_lost_message(error) or isinstance(error, FailedElsewhere):
            told = self._read_soon()
            own = told or replace(
                own,
                rank=_UNKNOWN,
                what="another process of the training has gone without a word",
                hint="its last lines may say why; the system kills what takes too much memory. "
                "Continue with --resume",
            )
        try:
            said = self._store.compare_set(_FAILURE, "", json.dumps(asdict(own)))
            self._told = Failure(**json.loads(said))
        except (dist.DistError, RuntimeError):  # the first process is gone
            self._told = own
        return self._told

    def _read(self) -> Failure | None:
        if not self._store.check([_FAILURE]):
            return None
        return Failure(**json.loads(self._store.get(_FAILURE)))

    def _read_soon(self) -> Failure | None:
        until = time.monotonic() + _REASON
        try:
            while (told := self._read()) is None and time.monotonic() < until:
                time.sleep(0.05)
            return told
        except (dist.DistError, RuntimeError):
            return None

    def _wait_for_the_first(self) -> bool:
        """Whether the first process has ended, and so has said why."""
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            try:
                if self._store.check([_ENDED]):
                    return True
            except (dist.DistError, RuntimeError):
                return True
            time.sleep(0.1)
        return False

    def _watch(self) -> None:
        """End the process where it waits in vain for another that has failed."""
        told: Failure | None = None
        while told is None:
            if self._over.wait(_LOOK):
                return
            if not self._watched:
                continue
            try:
                told = self._read()
            except (dist.DistError, RuntimeError):
                told = Failure(rank=0, what="the first process of the training has gone")
        if self._over.wait(_GRACE):
            return
        if self._rank == 0 and told.rank != 0:
            sys.stderr.write(f"error: process {told.rank}: {told.what}\n")
            for label, text in (("where", told.where), ("next", told.hint)):
                sys.stderr.write(f"  {label}: {text}\n" if text else "")
            sys.stderr.flush()
        os._exit(told.exit_code or 1)
