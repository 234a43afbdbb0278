"""What the pages know of runs: the ranks of every mention's gold, as a run folder has them.

All reading of run folders by the browser is here.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featurestore.errors import ConfigError, DataError
from featurestore.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run beside a store.

    ``name``: of its folder, told apart from those of the other runs. ``ranks``: (mentions,) float32
    expected rank of each mention's gold, 1 = best; inf = not retrieved, NaN = the run did not rank it.
    ``splits``: those it ranked. ``summary``: ``summary.json``, empty where the run has none yet.
    """

    name: str
    path: Path
    ranks: NDArray[np.float32]
    splits: tuple[str, ...]
    summary: dict[str, Any]

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """(mentions,) bool: ranked, and something else above the gold, beside it, or in its place."""
        return self.ranks > 1

    @property
    def ranked(self) -> NDArray[np.bool_]:
        """(mentions,) bool: whether the run ranked it."""
        return ~np.isnan(self.ranks)


def open_runs(store: Store, paths: Sequence[Path]) -> tuple[Run, ...]:
    """The runs in some folders.

    Raises:
        ConfigError: a folder without ranks, or one that is given twice.
        DataError: ranks that are damaged, or are not of this store.
    """
    names = _names(paths)
    return tuple(_open(store, path, name) for path, name in zip(paths, names, strict=True))


def _names(paths: Sequence[Path]) -> list[str]:
    """Shortest ends of the paths that tell them apart."""
    whole = [path.resolve().parts for path in paths]
    if len(set(whole)) < len(whole):
        raise ConfigError("--run: the same folder twice", hint="give each run once")
    for length in range(1, max(map(len, whole), default=0) + 1):
        names = ["/".join(parts[-length:]) for parts in whole]
        if len(set(names)) == len(names):
            return names
    return ["/".join(parts) for parts in whole]


def _open(store: Store, path: Path, name: str) -> Run:
    files = {split: path / "ranks" / f"{split}.csv" for split in store.mentions.splits}
    present = {split: file for split, file in files.items() if file.is_file()}
    if not present:
        raise ConfigError(
            "this folder has no ranks of a finished run",
            where=str(path),
            hint="a run is made with: drin-fs train STORE -o RUN",
        )
    _refuse_other_store(store, path)
    ranks = np.full(len(store.mentions), np.nan, np.float32)
    for split, file in present.items():
        ids, values = _read_ranks(file)
        ranks[_rows(store, ids, split, file)] = values
    summary = _read_json(path / "summary.json")
    return Run(name=name, path=path, ranks=ranks, splits=tuple(present), summary=summary)


def _refuse_other_store(store: Store, path: Path) -> None:
    known = _read_json(path / "environment.json").get("store")
    made_on = known.get("fingerprint") if isinstance(known, dict) else None
    if made_on is not None and made_on != store.fingerprint:
        raise DataError(
            "the run was made on another store than this one",
            where=str(path),
            hint=f"its store has the fingerprint {made_on}, this one {store.fingerprint}",
        )


def _read_ranks(file: Path) -> tuple[list[str], list[float]]:
    """Ids and expected ranks; an empty rank is inf."""
    ids, values = [], []
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            for line in csv.DictReader(lines):
                ids.append(line["mention"])
                values.append(_rank(line["rank_expected"]))
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"the ranks cannot be read ({type(error).__name__}: {error})",
            where=str(file),
            hint="write them again with: drin-fs evaluate RUN",
        ) from error
    return ids, values


def _rank(text: str) -> float:
    rank = float(text) if text else math.inf
    if not rank >= 1:
        raise ValueError(f"rank {text}")
    return rank


def _rows(store: Store, ids: list[str], split: str, file: Path) -> NDArray[np.int64]:
    rows = store.mentions.find(ids)
    of_split = store.mentions.split(split)
    strange = np.flatnonzero((rows < of_split.start) | (rows >= of_split.stop))
    if len(strange):
        raise DataError(
            f"{ids[int(strange[0])]!r} is no mention of {split}",
            where=str(file),
            hint="the run was made on another store than this one",
        )
    return rows


def _read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a run; empty where there is none, or it is damaged."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def pair(runs: Iterable[Run], first: str, second: str) -> tuple[Run, Run]:
    """Two of the runs by name.

    Raises:
        ConfigError: no such run.
    """
    known = {run.name: run for run in runs}
    for name in (first, second):
        if name not in known:
            raise ConfigError(
                f"no run {name!r} is open", hint=f"runs: {', '.join(known) or 'none'}"
            )
    return known[first], known[second]
