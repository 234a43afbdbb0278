"""What the pages know of runs. All reading of run folders by the browser is here, through ``linker``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featurestore.errors import ConfigError
from featurestore.store import Store
from linker.recorded import NotRecorded, RecordedRun
from linker.verdicts import MentionVerdict, judge_mention


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run beside a store.

    ``name``: the end of its folder's path that tells it from the other runs. ``ranks``: (mentions,)
    float32 rank of each mention's gold under the run's tie rule, 1 = best; inf = not retrieved or not
    scored, NaN = in no split that the run ranked. ``splits``: those it ranked.
    """

    name: str
    recorded: RecordedRun
    ranks: NDArray[np.float32]
    splits: tuple[str, ...]

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """(mentions,) bool: ranked, and something else above the gold, beside it, or in its place."""
        return self.ranks > 1

    @property
    def ranked(self) -> NDArray[np.bool_]:
        """(mentions,) bool: whether the run ranked it."""
        return ~np.isnan(self.ranks)

    @property
    def model(self) -> str:
        return self.recorded.model

    @property
    def has_edges(self) -> bool:
        """Whether the model has edges to show."""
        return bool(self.recorded.summary.get("edges"))

    def figures(self, split: str) -> dict[str, Any]:
        """The figures of a split as the run's summary has them; empty where it has none."""
        return dict(self.recorded.summary.get(split) or {})

    def verdict(self, store: Store, row: int) -> MentionVerdict | None:
        """Scores and ranks of a mention's candidates; None where the run has not recorded them.

        Raises:
            RunError: they are damaged.
        """
        if not self.ranked[row]:
            return None
        try:
            return judge_mention(store, self.recorded, row)
        except NotRecorded:
            return None


def open_runs(store: Store, paths: Sequence[Path]) -> tuple[Run, ...]:
    """The runs in some folders.

    Raises:
        ConfigError: a run without ranks, or one that is given twice.
        RunError: no finished run of this store, or a damaged file.
    """
    names = _names(paths)
    return tuple(_open(store, path, name) for path, name in zip(paths, names, strict=True))


def _names(paths: Sequence[Path]) -> list[str]:
    """Shortest ends of the paths that tell them apart."""
    whole = [path.resolve().parts for path in paths]
    if len(set(whole)) < len(whole):
        raise ConfigError("the same run twice", where="--run", hint="give each run once")
    length = 1
    while len({parts[-length:] for parts in whole}) < len(whole):
        length += 1
    return ["/".join(parts[-length:]) for parts in whole]


def _open(store: Store, path: Path, name: str) -> Run:
    recorded = RecordedRun(path)
    recorded.check_store(store)
    ranks = np.full(len(store.mentions), np.nan, np.float32)
    splits = []
    for split, rows in store.mentions.splits.items():
        try:
            of_split = recorded.ranks(split).under(recorded.tie_rule)
        except NotRecorded:
            continue
        ranks[rows.start : rows.stop] = of_split
        splits.append(split)
    if not splits:
        raise ConfigError(
            "the run has no ranks of candidates to show",
            where=str(path),
            hint=f"drin-fs evaluate {path} --split test --record",
        )
    return Run(name=name, recorded=recorded, ranks=ranks, splits=tuple(splits))


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
