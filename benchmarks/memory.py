"""Peak memory of training against the number of entities.

What counts is anonymous memory (``RssAnon``): pages of mapped files belong to the page cache, and are
given back when memory runs short.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import torch

from benchmarks.bare_store import BareSizes, write_bare_store
from benchmarks.data import Workspace
from benchmarks.machine import describe
from benchmarks.reference_loader import array_bytes
from benchmarks.report import Cell, Report, Row, Target
from featurestore.machine import anonymous_memory

COLUMNS = ("entities", "mentions", "store or arrays GB", "peak GB")
LIMIT_GB = 1.5

#: What stands in the names of rows that were not measured.
COMPUTED = "computed"

#: Entities, as multiples of the workspace's: full, and quick.
_FULL_FACTORS, _QUICK_FACTORS = (0.25, 2.5, 10.0), (0.5, 2.0)

#: Batches of an epoch, and those that the reference trains on: its peak is that of a step.
_BATCHES, _REFERENCE_BATCHES = 4, 2

#: Entities and mentions of WikiMEL, for what is computed: the reference's released features.
WIKIMEL_ENTITIES, WIKIMEL_MENTIONS = 109_976, 25_846

#: Seconds between two looks at a process, and the largest share of this machine that one may take.
_INTERVAL, _SHARE = 0.02, 0.6


def measure(workspace: Workspace) -> Report:
    """Train in processes of their own, ours at every size, and watch them."""
    question = "peak memory of training DRIN: one epoch"
    if not Path("/proc/self/status").exists():
        why = "this system does not say how much of a process is anonymous memory"
        return Report(
            question=question,
            columns=COLUMNS,
            rows=[],
            targets=[_target(None, why=why)],
        )
    ours = [_ours(workspace, entities) for entities in _entity_counts(workspace)]
    reference, left_out = _reference(workspace)
    return Report(
        question=question,
        columns=COLUMNS,
        rows=[*ours, *reference],
        targets=[_target(max(float(row.figures["peak GB"] or 0) for row in ours))],
        conditions=[
            workspace.sizes.words + " (but for the numbers of entities)",
            f"batches of {workspace.sizes.batch} mentions, {torch.get_num_threads()} threads; "
            f"anonymous memory, looked at every {_INTERVAL * 1e3:.0f} ms",
            f"ours: drin-fs train --model drin, an epoch of {_BATCHES} batches, validation, test",
            f"reference: its loader and {_REFERENCE_BATCHES} direct steps",
            "computed: measured, and the bytes that further rows of the arrays take",
        ],
        left_out=left_out,
    )


def _target(peak: float | None, why: str = "") -> Target:
    return Target(
        what="peak memory of ours, any size",
        bound=LIMIT_GB,
        measured=peak,
        unit="GB",
        at_least=False,
        why=why,
    )


def _entity_counts(workspace: Workspace) -> list[int]:
    """More entities than the workspace has cost little here: there are no token features of them."""
    factors = _FULL_FACTORS if workspace.sizes.thorough else _QUICK_FACTORS
    return [int(factor * workspace.sizes.entities) for factor in factors]


# ours ---------------------------------------------------------------------------------------------


def _ours(workspace: Workspace, entities: int) -> Row:
    batch = workspace.sizes.batch
    sizes = BareSizes(
        entities=entities,
        splits={"train": _BATCHES * batch, "valid": batch, "test": batch},
        candidates=workspace.sizes.candidates,
        text_width=workspace.sizes.text_width,
        image_width=workspace.sizes.image_width,
    )
    store = workspace.folder / f"bare-{entities}.h5"
    if not store.exists():
        write_bare_store(store, sizes, progress=workspace.progress)
    run = workspace.place("memory-run")
    command = ["-m", "cli", "train", str(store), "--model", "drin", "--epochs", "1"]
    command += ["--batch-size", str(batch), "--device", "cpu", "-o", str(run)]
    peak = peak_memory(command)
    return _row("drin-fs train", entities, sizes.mentions, size=store.stat().st_size, peak=peak)


# the reference ------------------------------------------------------------------------------------


def _reference(workspace: Workspace) -> tuple[list[Row], dict[str, str]]:
    """With arrays mapped and in memory, as far as they fit, and computed for WikiMEL."""
    per_entity, per_mention = array_bytes(workspace.arrays)
    entities, mentions = workspace.sizes.entities, train_mentions(workspace.arrays)
    size = per_entity * entities + per_mention * mentions
    rows, left_out = [], {}
    for name, option, held in (
        ("reference, arrays mapped", [], 0.0),
        ("reference, arrays in memory", ["--in-memory"], size),
    ):
        if held > _SHARE * describe()["memory_gb"] * 1e9:
            left_out[name] = f"it would hold {held / 1e9:.0f} GB of arrays"
            continue
        command = ["-m", "benchmarks.reference_run", str(workspace.arrays), *option]
        command += ["--batches", str(_REFERENCE_BATCHES)]
        command += ["--batch-size", str(workspace.sizes.batch)]
        peak = peak_memory(command)
        rows.append(_row(name, entities, mentions, size=size, peak=peak))
        full = per_entity * WIKIMEL_ENTITIES + per_mention * WIKIMEL_MENTIONS
        more = full - size if held else 0.0
        rows.append(
            _row(
                f"{name}: WikiMEL ({COMPUTED})",
                WIKIMEL_ENTITIES,
                WIKIMEL_MENTIONS,
                size=full,
                peak=peak + more,
            )
        )
    return rows, left_out


def train_mentions(arrays: Path) -> int:
    """Mentions of the train split, which is all that the reference is given here."""
    return len(np.load(arrays / "answer_train.npy", mmap_mode="r", allow_pickle=False))


def _row(name: str, entities: int, mentions: int, *, size: float, peak: float) -> Row:
    cells: dict[str, Cell] = {
        "entities": entities,
        "mentions": mentions,
        "store or arrays GB": size / 1e9,
        "peak GB": peak / 1e9,
    }
    return Row(name=name, figures=cells, ours=name.startswith("drin-fs"))


# watching -----------------------------------------------------------------------------------------


def peak_memory(arguments: list[str]) -> int:
    """The largest anonymous memory (bytes) that this interpreter is seen with until it ends.

    Raises:
        RuntimeError: it failed; with what it printed.
    """
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
    }
    peak = 0
    with TemporaryFile("w+") as said:
        process = subprocess.Popen(
            [sys.executable, *arguments], env=environment, stdout=said, stderr=said
        )
        with process:
            while process.poll() is None:
                peak = max(peak, anonymous_memory(process.pid) or 0)
                time.sleep(_INTERVAL)
        if process.returncode:
            said.seek(0)
            raise RuntimeError(f"python {' '.join(arguments)} failed:\n{said.read()[-2000:]}")
    return peak
