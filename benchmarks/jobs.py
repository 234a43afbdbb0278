"""Several training processes on one store: the pages of the file are in memory once.

A store is a mapped file. ``Rss`` of its mapping is what a process has of it in memory, ``Pss`` divides
each page by the number of processes that have it: the sum of ``Pss`` over the processes is what the
file takes in all, the sum of ``Rss`` what it would take if each had its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from benchmarks.bare_store import BareSizes, write_bare_store
from benchmarks.data import Workspace
from benchmarks.report import Cell, Report, Row, Target
from featurestore.machine import anonymous_memory

COLUMNS = (
    "file pages MB", "if each had its own MB", "anonymous MB", "anonymous a process MB", "seconds",
)  # fmt: skip

#: Processes at once.
COUNTS = (1, 2, 4)

#: Batches of an epoch: enough to read most of the entities.
_BATCHES = 8

#: Seconds between two looks at the processes.
_INTERVAL = 0.05

#: The file pages of N runs may be so many times those of one (chosen here: runs do not read the very
#: same pages at the very same time, and the kernel maps neighbours as it likes).
BOUND = 1.1


@dataclass(frozen=True, slots=True)
class Pages:
    """Bytes of memory: of a file's pages with and without sharing, and of everything else."""

    rss: int = 0
    pss: int = 0
    anonymous: int = 0

    def __add__(self, other: Pages) -> Pages:
        return Pages(self.rss + other.rss, self.pss + other.pss, self.anonymous + other.anonymous)

    def later(self, other: Pages) -> Pages:
        """The look that has more of the file in the processes; of equals, the one with less in all.

        The processes are looked at one after the other. While they still take pages, the sum of ``Pss``
        counts some twice; when all have what they read, it is true.
        """
        chosen = max(self, other, key=lambda pages: (pages.rss, -pages.pss))
        return Pages(chosen.rss, chosen.pss, max(self.anonymous, other.anonymous))


def measure(workspace: Workspace) -> Report:
    """Train in 1, 2 and 4 processes at once, and watch what is in memory."""
    question = "memory of several trainings at once on one store"
    if not Path("/proc/self/smaps").exists():
        why = "this system does not say which pages of a file a process has"
        return Report(
            question=question, columns=COLUMNS, rows=[], targets=[_target(COUNTS[-1], None, why)]
        )
    store = _store(workspace)
    peaks: dict[int, Pages] = {}
    rows = []
    for count in COUNTS:
        started = time.perf_counter()
        runs = [workspace.place(f"jobs-run-{number}") for number in range(count)]
        peaks[count] = peak_pages(
            [_command(workspace, store, run, seed) for seed, run in enumerate(runs)], store
        )
        rows.append(_row(count, peaks[count], time.perf_counter() - started))
    one = peaks[1].pss
    return Report(
        question=question,
        columns=COLUMNS,
        rows=rows,
        targets=[_target(n, peaks[n].pss / one if one else None) for n in COUNTS[1:]],
        conditions=[
            f"drin-fs train --model drin, an epoch of {_BATCHES} batches of "
            f"{workspace.sizes.batch} mentions, a thread each, another seed each; a store of "
            f"{store.stat().st_size / 1e6:,.0f} MB",
            f"looked at every {_INTERVAL * 1e3:.0f} ms; anonymous: the most that was seen at once; "
            "file pages: the sum over the processes of Pss of the store's mapping when they had most "
            "of it; if each had its own: of Rss",
        ],
    )


def _target(count: int, measured: float | None, why: str = "") -> Target:
    return Target(
        what=f"file pages of {count} runs against those of one",
        bound=BOUND,
        measured=measured,
        at_least=False,
        why=why,
    )


def _store(workspace: Workspace) -> Path:
    sizes = BareSizes(
        entities=workspace.sizes.entities,
        splits={
            "train": _BATCHES * workspace.sizes.batch,
            "valid": workspace.sizes.batch,
            "test": workspace.sizes.batch,
        },
        candidates=workspace.sizes.candidates,
        text_width=workspace.sizes.text_width,
        image_width=workspace.sizes.image_width,
    )
    store = workspace.folder / "jobs.h5"
    if not store.exists():
        write_bare_store(store, sizes, progress=workspace.progress)
    return store


def _command(workspace: Workspace, store: Path, run: Path, seed: int) -> list[str]:
    command = ["-m", "cli", "train", str(store), "--model", "drin", "--epochs", "1"]
    command += ["--batch-size", str(workspace.sizes.batch), "--device", "cpu"]
    return [*command, "--seed", str(seed), "-o", str(run)]


def _row(count: int, peak: Pages, seconds: float) -> Row:
    cells: dict[str, Cell] = {
        "file pages MB": peak.pss / 1e6,
        "if each had its own MB": peak.rss / 1e6,
        "anonymous MB": peak.anonymous / 1e6,
        "anonymous a process MB": peak.anonymous / count / 1e6,
        "seconds": seconds,
    }
    return Row(name=f"{count} run{'s' * (count > 1)}", figures=cells, ours=True)


# watching -----------------------------------------------------------------------------------------


def peak_pages(commands: Sequence[list[str]], file: Path) -> Pages:
    """The most that these commands of this interpreter have in memory at once, of the file and else.

    Raises:
        RuntimeError: one failed; with what it printed.
    """
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
        "OMP_NUM_THREADS": "1",
    }
    peak = Pages()
    with TemporaryFile("w+") as said:
        processes = [
            subprocess.Popen([sys.executable, *command], env=environment, stdout=said, stderr=said)
            for command in commands
        ]
        while any(process.poll() is None for process in processes):
            now = sum((pages_of(process.pid, file) for process in processes), start=Pages())
            peak = peak.later(now)
            time.sleep(_INTERVAL)
        if any(process.returncode for process in processes):
            said.seek(0)
            raise RuntimeError(f"training failed:\n{said.read()[-2000:]}")
    return peak


def pages_of(process: int, file: Path) -> Pages:
    """What a process has in memory; nothing, of one that is gone."""
    try:
        lines = Path(f"/proc/{process}/smaps").read_text(errors="replace").splitlines()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return Pages()
    sums = {"Rss:": 0, "Pss:": 0}
    path, inside = str(file.resolve()), False
    for line in lines:
        key, *rest = line.split(maxsplit=5)
        if not key.endswith(":"):  # the head of a mapping: addresses, rights, …, path
            inside = len(rest) == 5 and rest[-1] == path
        elif inside and key in sums:
            sums[key] += int(rest[0]) * 1024
    return Pages(sums["Rss:"], sums["Pss:"], anonymous_memory(process) or 0)
