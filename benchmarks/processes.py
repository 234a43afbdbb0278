"""One training by one process and by two: speed, memory, and whether the losses are the same.

The loader's part of an extra process is measured apart, in a process that reads what one of two
processes reads and trains nothing: the growth of its anonymous memory from before the store is opened
to the most that is seen while it reads an epoch, without the batch that a network computes on.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from tempfile import TemporaryFile

import torch

import featurestore
from benchmarks.bare_store import BareSizes, write_bare_store
from benchmarks.data import Workspace
from benchmarks.report import Cell, Report, Row, Target
from featurestore.machine import anonymous_memory
from linker.config_text import read_config
from linker.job import prepare_job
from linker.processes import Processes

COLUMNS = (
    "mentions/s", "anonymous MB, first process", "anonymous MB, extra process",
    "its batch MB", "its loader MB",
)  # fmt: skip

#: The most that losses and figures may differ by, and megabytes of an extra process's loader.
LARGEST_DIFFERENCE, LOADER_MB = 1e-4, 100.0

#: Processes that are compared.
COUNTS = (1, 2)

#: Whole batches of an epoch, and mentions of one more, of which one of two processes has none.
_BATCHES, _MORE, _EPOCHS = 6, 1, 2

#: Seconds between two looks at the processes.
_INTERVAL = 0.02

#: Columns of ``metrics.csv`` that are not compared.
_CLOCK = {"seconds", "valid_seconds", "mentions_per_s"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Bytes of memory that reading takes, and of them those of the batch that is computed on."""

    grown: int
    batch: int

    @property
    def loader(self) -> float:
        """Megabytes beside that batch: what is read ahead, and what reading needs."""
        return (self.grown - self.batch) / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A finished run: the most anonymous memory of its processes, and its history."""

    first: int
    extra: int
    history: list[dict[str, float]]

    @property
    def speed(self) -> float:
        """Mentions a second in the last epoch."""
        return self.history[-1]["mentions_per_s"]


def measure(workspace: Workspace) -> Report:
    """Train the same with one process and with two, and read as one of two does."""
    store = _store(workspace)
    watched = {count: _trained(workspace, store, count) for count in COUNTS}
    loader = {count: _loader(workspace, store, count) for count in COUNTS}
    gap = largest_difference(watched[1].history, watched[2].history)
    rows = [_row(count, watched[count], loader[count]) for count in COUNTS]
    extra = loader[2]
    return Report(
        question="one training by one process and by two",
        columns=COLUMNS,
        rows=rows,
        targets=[
            Target(
                what="largest difference of a loss or figure of an epoch",
                bound=LARGEST_DIFFERENCE,
                measured=gap,
                unit="",
                at_least=False,
            ),
            Target(
                what="loader of an extra process",
                bound=LOADER_MB,
                measured=None if extra is None else extra.loader,
                unit="MB",
                at_least=False,
                why="" if extra else "this system does not say how much memory is anonymous",
            ),
        ],
        conditions=[
            workspace.sizes.words,
            f"drin-fs train --model drin --device cpu, {_EPOCHS} epochs of "
            f"{_BATCHES * workspace.sizes.batch + _MORE} mentions, batches of "
            f"{workspace.sizes.batch} in all, a thread a process, {os.cpu_count()} cores; the last "
            "batch has a mention for one of two processes only",
            "batch, loader: of a process that reads the batches and trains nothing; the "
            "batch is what a network computes on, the loader the rest of what the process grows by",
        ],
    )


def largest_difference(one: list[dict[str, float]], other: list[dict[str, float]]) -> float:
    """The largest, over the epochs, of two histories' losses and figures."""
    return max(
        abs(epoch[key] - again[key])
        for epoch, again in zip(one, other, strict=True)
        for key in epoch.keys() - _CLOCK
    )


def _store(workspace: Workspace) -> Path:
    batch = workspace.sizes.batch
    sizes = BareSizes(
        entities=workspace.sizes.entities,
        splits={"train": _BATCHES * batch + _MORE, "valid": batch + _MORE, "test": batch},
        candidates=workspace.sizes.candidates,
        text_width=workspace.sizes.text_width,
        image_width=workspace.sizes.image_width,
    )
    store = workspace.folder / "processes.h5"
    if not store.exists():
        write_bare_store(store, sizes, progress=workspace.progress)
    return store


def _row(count: int, watched: Watched, reading: Reading | None) -> Row:
    cells: dict[str, Cell] = {
        "mentions/s": watched.speed,
        "anonymous MB, first process": watched.first / 1e6,
        "anonymous MB, extra process": watched.extra / 1e6 if count > 1 else "none",
        "its batch MB": None if reading is None else reading.batch / 1e6,
        "its loader MB": None if reading is None else reading.loader,
    }
    cells |= {f"loss, epoch {epoch['epoch']:g}": epoch["train_loss"] for epoch in watched.history}
    return Row(name=f"{count} process{'es' * (count > 1)}", figures=cells, ours=count > 1)


# training -----------------------------------------------------------------------------------------


def _trained(workspace: Workspace, store: Path, count: int) -> Watched:
    run = workspace.place(f"processes-run-{count}")
    command = ["-m", "cli", "train", str(store), "--model", "drin", "--epochs", str(_EPOCHS)]
    command += ["--batch-size", str(workspace.sizes.batch), "--device", "cpu"]
    first, extra = _watch([*command, "--devices", str(count), "-o", str(run)])
    with (run / "metrics.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    history = [{key: float(value) for key, value in line.items() if value} for line in lines]
    return Watched(first=first, extra=extra, history=history)


def _watch(arguments: list[str]) -> tuple[int, int]:
    """The largest anonymous memory (bytes) of a command of this interpreter, and of its children.

    Raises:
        RuntimeError: it failed; with what it printed.
    """
    first = extra = 0
    with TemporaryFile("w+") as said:
        process = subprocess.Popen(
            [sys.executable, *arguments], env=_environment(), stdout=said, stderr=said
        )
        with process:
            while process.poll() is None:
                first = max(first, anonymous_memory(process.pid) or 0)
                for child in _children(process.pid):
                    extra = max(extra, anonymous_memory(child) or 0)
                time.sleep(_INTERVAL)
        if process.returncode:
            said.seek(0)
            raise RuntimeError(f"python {' '.join(arguments)} failed:\n{said.read()[-2000:]}")
    return first, extra


def _children(process: int) -> list[int]:
    try:
        text = Path(f"/proc/{process}/task/{process}/children").read_text()
    except (FileNotFoundError, ProcessLookupError, NotADirectoryError):
        return []
    return [int(child) for child in text.split()]


def _environment() -> dict[str, str]:
    root = str(Path(__file__).resolve().parents[1])
    return os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"}


# reading ------------------------------------------------------------------------------------------


def _loader(workspace: Workspace, store: Path, count: int) -> Reading | None:
    """What reading takes in one of so many processes."""
    command = [sys.executable, "-m", "benchmarks.processes", str(store)]
    command += [str(workspace.sizes.batch), str(count)]
    done = subprocess.run(command, env=_environment(), capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    return None if found is None else Reading(**found)


def reading_takes(store: str, *, batch_size: int, processes: int) -> Reading | None:
    """What reading takes in this process, as in the last of so many."""
    before = anonymous_memory()
    if before is None:
        return None
    most, largest = before, 0
    with featurestore.open(store) as opened:
        config = read_config({"model": "drin", "batch_size": batch_size, "device": "cpu"})
        last = Processes(rank=processes - 1, local=processes - 1, devices=processes)
        job = prepare_job(opened, config).shared_by(last)
        for batch in job.loader("train", shuffled=True):
            time.sleep(_INTERVAL)  # in which the next batch is read
            most = max(most, anonymous_memory() or 0)
            values = (getattr(batch, field.name) for field in fields(batch))
            largest = max(largest, sum(v.nbytes for v in values if isinstance(v, torch.Tensor)))
    return Reading(grown=most - before, batch=largest)


if __name__ == "__main__":
    path, size, count = sys.argv[1:]
    reading = reading_takes(path, batch_size=int(size), processes=int(count))
    print(json.dumps(None if reading is None else asdict(reading)))
