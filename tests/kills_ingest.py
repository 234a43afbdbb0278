"""Ingests that are killed, interrupted, or whose writes fail at random moments, and are then run on.

    python -m tests.kills_ingest --kills 200 --interrupts 200 --write-errors 200

Each time the target must be absent, or complete and sound; and the ingest that goes on must make the very
store of an ingest that nothing befell: equal content digests. A part is entered after every few rows
here, so that there are as many moments to be hit as possible. Children are forked from a process in
which everything is imported, so that a case takes a second.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import click

import featurestore
from featurestore import derive, ingest_shards
from featurestore.encoders import pictures
from featurestore.errors import DrinFsError
from featurestore.ingest import ingest
from featurestore.options import IngestOptions
from featurestore.shards import folder_of
from featurestore.verify import content_digest, verify
from tests.golden_for_tests import PREPROCESSED, RAW, TINY

#: What an ingest reads → its options.
SOURCES: dict[Path, IngestOptions] = {
    RAW / "wikimel": TINY,
    RAW / "wikidiverse": TINY,
    PREPROCESSED / "wikimel": IngestOptions(compression="zstd"),
    PREPROCESSED / "wikidiverse": replace(IngestOptions(), compression="none"),
}

#: Calls through which a store comes to disk.
_CALLS = ("pwrite", "fsync", "ftruncate", "posix_fallocate", "replace", "open", "mkdir")
_ERRORS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "short write": 0}


#: What else they make, in files of at most so many bytes, so that there are some.
SHARDED: dict[Path, int] = {RAW / "wikimel": 200_000, PREPROCESSED / "wikimel": 140_000}


def run_ingest(source: Path, target: Path, max_file_size: int | None = None) -> None:
    """An ingest of many small parts."""
    ingest_shards.BLOCK_ROWS = pictures.WINDOW = 8
    derive.BLOCK_BYTES = 1 << 14
    ingest(source, target, options=SOURCES[source], part_seconds=0, max_file_size=max_file_size)


def in_child(work: Callable[[], None]) -> int:
    """Start work in a child; its process id. It ends with 0, or 7 where an error of ours was raised."""
    # what Python and libraries do right after a fork is no part of an ingest: no signal until then
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    child = os.fork()
    if child:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        return child
    status = 1
    try:
        # a shell has its background commands ignore it
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        work()
        status = 0
    except DrinFsError as error:
        status = 7 if error.what and error.where else 1
    finally:
        os._exit(status)


def ended(child: int) -> int:
    """How a child ended: its status, or minus the signal."""
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


class Trial:
    """One source, and what its ingest makes if nothing befalls it.

    Args:
        max_file_size: make a sharded store.
    """

    def __init__(self, source: Path, folder: Path, max_file_size: int | None = None) -> None:
        self.source, self._size = source, max_file_size
        form = "-sharded" * (max_file_size is not None)
        self._folder = folder / f"{source.parent.name}-{source.name}{form}"
        self._folder.mkdir()
        target = self._folder / "whole.h5"
        assert ended(in_child(lambda: self._run(target))) == 0
        with featurestore.open(target) as store:
            assert bool(len(store.shards) > 1) == (max_file_size is not None)
        self.digest = self._sound(target)
        counted = self._folder / "calls"
        began = time.monotonic()
        assert ended(in_child(lambda: self._counting(counted))) == 0
        self.seconds = time.monotonic() - began
        self.calls = int(counted.read_text())

    def _run(self, target: Path) -> None:
        run_ingest(self.source, target, self._size)

    def _counting(self, result: Path) -> None:
        faults = Faults(at=-1, error=0)
        faults.install()
        self._run(self._folder / "counted.h5")
        faults.remove()
        result.write_text(str(faults.count))

    @staticmethod
    def _sound(store: Path) -> str:
        assert verify(store, "full").problems == [], f"{store} is damaged"
        with featurestore.open(store) as opened:
            return content_digest(opened)

    def killed(self, chance: random.Random) -> tuple[str, int]:
        """Kill an ingest at a moment, and perhaps the one that goes on, too; as :meth:`_stopped`."""
        return self._stopped(chance, signal.SIGKILL)

    def interrupted(self, chance: random.Random) -> tuple[str, int]:
        """Ctrl-C: what is finished becomes a last part; as :meth:`_stopped`."""
        return self._stopped(chance, signal.SIGINT)

    def _stopped(self, chance: random.Random, number: signal.Signals) -> tuple[str, int]:
        """Send signals at random moments.

        Returns:
            what was at the target after the first one, and finished parts then.
        """
        target = self._folder / "killed.h5"
        found, parts = "", 0
        for attempt in range(chance.choice((1, 1, 2))):
            child = in_child(lambda: self._run(target))
            time.sleep(chance.uniform(0, self.seconds))
            os.kill(child, number)
            ended(child)
            if not attempt:
                found = self._at(target)
                parts = _parts(target)
            if target.exists():
                break
        self._go_on(target)
        return found, parts

    def failed(self, chance: random.Random) -> tuple[str, int]:
        """Let one call fail; what was at the target then, and finished parts."""
        target = self._folder / "failed.h5"
        name, number = chance.choice(list(_ERRORS.items()))
        at = chance.randrange(self.calls)

        def work() -> None:
            Faults(at=at, error=number).install()
            self._run(target)

        status = ended(in_child(work))
        assert status in (0, 7), f"{name} at call {at} ended with {status}"
        assert name != "short write" or status == 0, f"a short write at call {at} was an error"
        found, parts = self._at(target), _parts(target)
        self._go_on(target)
        return found, parts

    def _at(self, target: Path) -> str:
        if not target.exists():
            return "absent"
        assert self._sound(target) == self.digest, f"{target} is another store"
        return "complete"

    def _go_on(self, target: Path) -> None:
        """Finish the ingest, and compare."""
        if not target.exists():
            assert ended(in_child(lambda: self._run(target))) == 0
        assert self._sound(target) == self.digest, f"{target} is another store"
        shards = folder_of(target)
        with featurestore.open(target) as store:
            named = {shard.path for shard in store.shards}
        there = set(shards.iterdir()) if shards.exists() else set()
        assert there == named, f"left in {shards}: {there - named}"
        shutil.rmtree(shards, ignore_errors=True)
        target.unlink()
        left = [path.name for path in target.parent.iterdir() if path.name.startswith(".killed")]
        shutil.rmtree(target.with_name(f".{target.name}.ingest"), ignore_errors=True)
        assert not [name for name in left if name.endswith(".part")], left


def _parts(target: Path) -> int:
    """Finished parts of an interrupted ingest."""
    from featurestore.manifest import Manifest

    path = target.with_name(f".{target.name}.ingest") / "manifest"
    if not path.exists():
        return 0
    manifest = Manifest(path)
    manifest.close()
    return max(0, len(manifest.entries) - 1)


class Faults:
    """Counts the calls that bring bytes to disk, and makes one of them fail."""

    def __init__(self, *, at: int, error: int) -> None:
        self.count = 0
        self._at, self._error = at, error
        self._real = {name: getattr(os, name) for name in _CALLS}

    def install(self) -> None:
        for name in _CALLS:
            setattr(os, name, self._instead(name))

    def remove(self) -> None:
        for name, call in self._real.items():
            setattr(os, name, call)

    def _instead(self, name: str) -> Callable[..., Any]:
        real = self._real[name]

        def call(*arguments: Any, **more: Any) -> Any:
            if name == "open" and not arguments[1] & os.O_CREAT:
                return real(*arguments, **more)
            self.count += 1
            if self.count - 1 != self._at:
                return real(*arguments, **more)
            if self._error:
                raise OSError(self._error, os.strerror(self._error))
            if name != "pwrite":
                return real(*arguments, **more)
            descriptor, data, place = arguments
            return real(descriptor, memoryview(data)[: max(1, len(data) // 2)], place)

        return call


@click.command()
@click.option("--kills", default=20, show_default=True)
@click.option("--interrupts", default=20, show_default=True)
@click.option("--write-errors", default=20, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(kills: int, interrupts: int, write_errors: int, seed: int) -> None:
    """Kill ingests, and let their writes fail; exit status 1 if one of them leaves what it must not."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        sources: list[tuple[Path, int | None]] = [(source, None) for source in SOURCES]
        sources += SHARDED.items()
        # each is made when its first case comes: an ingest that is counted, and one to compare with
        trial_of = cache(lambda which: Trial(sources[which][0], Path(folder), sources[which][1]))
        modes = {"killed": kills, "interrupted": interrupts, "failed": write_errors}
        for name, cases in modes.items():
            found: Counter[str] = Counter()
            parts: list[int] = []
            for case in range(cases):
                state, finished = getattr(trial_of(case % len(sources)), name)(chance)
                found[state] += 1
                parts.append(finished)
            if cases:
                click.echo(
                    f"{name}: {cases} times; target absent {found['absent']}, complete "
                    f"{found['complete']}; went on after {min(parts)} to {max(parts)} finished parts; "
                    "every store equal to the uninterrupted one"
                )


if __name__ == "__main__":
    sys.exit(main())
