"""What a run recorded of each epoch (``RUN/metrics.csv``), alone and over the seeds of a group.

Imports no torch.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from linker.recorded import RecordedRun
from linker.run_folder import RunError, RunFolder

#: Epochs × columns of a file that are read (chosen here: a run of a thousand epochs has eleven thousand).
_MOST_CELLS = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A figure by epoch over the runs of a group, (E,) arrays.

    ``means`` and ``deviations`` (of a sample: n - 1; NaN of one run) over the ``seeds`` that reached
    the epoch and have the figure.
    """

    figure: str
    epochs: NDArray[np.int64]
    means: NDArray[np.float64]
    deviations: NDArray[np.float64]
    seeds: NDArray[np.int64]


def read_epochs(run: RecordedRun) -> dict[str, NDArray[np.float64]]:
    """Column → (E,) values, NaN for an empty cell; nothing of a run that learned nothing.

    Raises:
        RunError: the file is damaged.
    """
    path = RunFolder(run.path).metrics
    if not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *lines = [line for line in csv.reader(file) if line]
        if len(header) * len(lines) > _MOST_CELLS:
            raise ValueError("too many lines")
        cells = [[float(cell) if cell else np.nan for cell in line] for line in lines]
        values = np.array(cells, float).reshape(len(lines), len(header))
        columns = dict(zip(header, values.T, strict=True))
        _check_epochs(columns["epoch"])
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise RunError(
            f"metrics.csv of the run is damaged ({error!r})",
            where=str(path),
            hint="put the file back from a copy, or start the run again with --overwrite",
        ) from error
    return columns


def curve(runs: Sequence[Mapping[str, NDArray[np.float64]]], figure: str) -> Curve:
    """A figure over the epochs of several runs, which may end at different ones."""
    found: dict[int, list[float]] = {}
    for columns in runs:
        values = columns.get(figure, np.full(len(columns["epoch"]), np.nan))
        for epoch, value in zip(columns["epoch"].tolist(), values.tolist(), strict=True):
            if np.isfinite(value):
                found.setdefault(int(epoch), []).append(value)
    epochs = sorted(found)
    return Curve(
        figure=figure,
        epochs=np.array(epochs, np.int64),
        means=np.array([np.mean(found[epoch]) for epoch in epochs]),
        deviations=np.array([deviation(found[epoch]) for epoch in epochs]),
        seeds=np.array([len(found[epoch]) for epoch in epochs], np.int64),
    )


def deviation(values: Sequence[float] | NDArray[np.float64]) -> float:
    """The standard deviation of a sample; NaN of fewer than two values."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


def _check_epochs(epochs: NDArray[np.float64]) -> None:
    if not (np.isfinite(epochs).all() and (np.abs(epochs) < 2**53).all()):
        raise ValueError("an epoch is no number")
