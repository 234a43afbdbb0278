"""What a view loses, and gains, in float32, float16, bfloat16, or one byte a value and a scale a vector.

``python -m benchmarks precision`` measures made-up views: bytes, errors, and the time until a batch is
float32 in torch. Whether a model links worse only a real store can tell:

    python -m benchmarks.precision wikimel-float32.h5 --seeds 0,1,2 --epochs 2
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor

from benchmarks import forms
from benchmarks.data import Workspace
from benchmarks.forms import EXACT, FORMS, STORED, Form, Parts
from benchmarks.gather import FIELDS, batch_mentions, distinct_entities
from benchmarks.precision_runs import Experiment, compare
from benchmarks.report import Cell, Report, Row
from benchmarks.store_runs import Integers, report_on
from benchmarks.timing import Act, Times, in_turn, ratio
from featurestore import Store
from featurestore.catalog import Extent
from featurestore.chunks import RowColumn
from featurestore.filemap import FileMap
from linker.buffers import Buffers

COLUMNS = (*forms.COLUMNS, "ms a batch", "× time of float32")

#: Numbers packed at once.
_BLOCK = 1 << 22


def measure(workspace: Workspace) -> Report:
    """Every form of the entity views that DRIN reads, of a store that holds them exactly."""
    sizes = workspace.sizes
    with Store(workspace.store_path(dtype="float32")) as store:
        mentions = batch_mentions(store, batch=sizes.batch, batches=sizes.rounds + 1)
        batches = [distinct_entities(store, rows) for rows in mentions]
        views = {name: store.entities.view(name) for name in FIELDS}
        times = _times(workspace, views, batches)
        rows = [_row(form, views, times) for form in FORMS.values()]
    distinct = float(np.mean([len(rows) for rows in batches]))
    return Report(
        question="views in four forms: size, error, time",
        columns=COLUMNS,
        rows=rows,
        conditions=[
            sizes.words,
            f"a batch: {sizes.batch} mentions, {distinct:,.0f} distinct entities "
            f"({', '.join(FIELDS)}), gathered warm and made float32 in torch, in memory used before; "
            f"median of {sizes.rounds} rounds in turn, {torch.get_num_threads()} threads",
            "error: of a vector, over its length; cosine: of two vectors at random, at most; made-up "
            "features, so errors of int8, which depend on outliers, hold for these alone",
            "float32 and float16 are what drin-fs ingest --dtype stores; the others are kept by this "
            "benchmark, int8 with a float32 scale a vector",
        ],
    )


def _row(form: Form, views: Mapping[str, np.ndarray], times: Mapping[str, Times]) -> Row:
    cells: dict[str, Cell] = {
        **forms.size_and_errors(form, views),
        "ms a batch": 1e3 * times[form.name].median,
        "× time of float32": ratio(times[form.name], times[EXACT]),
    }
    return Row(name=form.name, figures=cells, ours=form.name in STORED)


# time ---------------------------------------------------------------------------------------------


def _times(
    workspace: Workspace, views: Mapping[str, np.ndarray], batches: Sequence[np.ndarray]
) -> dict[str, Times]:
    places = {name: workspace.place(f"precision-{name}") for name in FORMS}
    try:
        acts = {name: _act(FORMS[name], views, batches, places[name]) for name in FORMS}
        return in_turn(acts, rounds=workspace.sizes.rounds)
    finally:
        for name in FORMS:
            workspace.place(f"precision-{name}")


def _act(
    form: Form, views: Mapping[str, np.ndarray], batches: Sequence[np.ndarray], place: Path
) -> Act:
    place.mkdir()
    kept = [KeptView(form, view, place / name) for name, view in views.items()]
    return lambda turn: [one.gather(batches[turn]) for one in kept]


class KeptView:
    """A view in some form: a file for each of its parts, read as a store's views are read.

    Args:
        place: where the files begin: ``place.0``, ``place.1``.
    """

    def __init__(self, form: Form, view: np.ndarray, place: Path) -> None:
        self.form = form
        self._shape = view.shape[1:]
        self._buffers = Buffers()
        self._columns: list[tuple[FileMap, RowColumn]] = []
        first = form.pack(view[:1].astype(np.float32))
        paths = [Path(f"{place}.{number}") for number in range(len(first))]
        _write(form, view, paths)
        for path, part in zip(paths, first, strict=True):
            file = FileMap(path)
            column = RowColumn(file, Extent(0, (len(view), *part.shape[1:]), part.dtype))
            column.array.max()  # touches every page, so that no round is the first to do it
            self._columns.append((file, column))

    def gather(self, rows: np.ndarray) -> Tensor:
        """(len(rows), …) float32."""
        parts = tuple(self._gather(file, column, rows) for file, column in self._columns)
        return self.form.widen(parts, self._wide(rows, parts))

    def _gather(self, file: FileMap, column: RowColumn, rows: np.ndarray) -> np.ndarray:
        with file.reading() as reading:
            return column.gather(rows, self._buffers.array, reading)

    def _wide(self, rows: np.ndarray, parts: Parts) -> Tensor:
        """Memory for the float32 values, unless they were gathered as such."""
        if parts[0].dtype == np.float32:
            return torch.from_numpy(parts[0])
        shape = (len(rows), *self._shape)
        return torch.from_numpy(self._buffers.array(shape, np.dtype(np.float32)))


def _write(form: Form, view: np.ndarray, paths: Sequence[Path]) -> None:
    step = max(1, _BLOCK // int(np.prod(view.shape[1:])))
    for first in range(0, len(view), step):
        parts = form.pack(view[first : first + step].astype(np.float32))
        for path, part in zip(paths, parts, strict=True):
            with path.open("ab") as file:
                file.write(np.ascontiguousarray(part).data)


# a real store ---------------------------------------------------------------------------------------


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--seeds", type=Integers(), default="0,1,2", show_default=True, help="One run each.")
@click.option("--epochs", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--model", default="drin", show_default=True, help="One that reads views alone.")
@click.option("--json", "target", type=click.Path(path_type=Path), help="Save the figures here.")
@click.option(
    "--runs",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the runs in this folder, and skip those that it has finished. The copies of the "
    "store, one at a time, stand there too until their runs are done.",
)
def main(
    store: Path,
    seeds: tuple[int, ...],
    epochs: int,
    model: str,
    target: Path | None,
    runs: Path | None,
) -> None:
    """Train a model on copies of STORE whose views are rounded to each form, and compare."""
    experiment = Experiment(model=model, epochs=epochs, seeds=seeds)
    report_on(
        store,
        lambda opened, folder, progress: compare(
            opened, experiment, folder=folder, progress=progress
        ),
        name="precision-runs",
        runs=runs,
        target=target,
    )


if __name__ == "__main__":
    sys.exit(main())
