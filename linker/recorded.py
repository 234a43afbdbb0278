"""What a finished run recorded, read without torch: figures, ranks, and the scores of its candidates.

run = RecordedRun("runs/drin")
run.check_store(store)
run.scores("test")[0]       # (K,) the scores of the first test mention's candidates
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featurestore import Store
from featurestore.errors import SourceError, UnknownId
from featurestore.sources.arrays import load
from linker.ranks import Ranks, TieRule
from linker.report_words import ALL_ENTITIES
from linker.run_folder import RunError, RunFolder
from linker.store_identity import check_same_store

#: Columns of ``ranks/{split}.csv`` that are read.
_RANK_COLUMNS = ("retrieved", "rank_optimistic", "rank_pessimistic")


class NotRecorded(RunError):
    """The run has no ranks or scores of the split; says how to get them."""


class RecordedRun:
    """A finished run, as its folder holds it. Reads small files now, ranks and scores when asked.

    Raises:
        RunError: no run, one that was not finished, or a damaged file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._folder = RunFolder(path)
        self.path = self._folder.path
        self.environment: dict[str, Any] = self._folder.read_environment()
        self.summary: dict[str, Any] = self._folder.read_summary()

    @property
    def name(self) -> str:
        """The last part of the folder's path."""
        return self.path.resolve().name

    @property
    def model(self) -> str:
        return str(self.summary["model"])

    @property
    def protocol(self) -> str:
        return str(self.summary["protocol"])

    @property
    def candidates(self) -> int | None:
        """So many of each list, the first ones, were seen; None = all of them."""
        first: int | None = self.summary.get("candidates")
        return first

    @property
    def tie_rule(self) -> TieRule:
        """The rule that the run's figures stand under.

        Raises:
            RunError: the summary names one that there is not.
        """
        rule: TieRule = self.summary["tie_rule"]
        if rule not in ("optimistic", "expected", "pessimistic"):
            raise self._damaged("summary.json", f"tie_rule is {rule!r}")
        return rule

    def check_store(self, store: Store) -> None:
        """Compare a store with the one that the run was made from.

        Raises:
            RunError: another fingerprint; says in what they differ, and where the run's store was.
        """
        recorded = self.environment["store"]
        check_same_store(
            recorded,
            store,
            hint=f"look at {recorded['path']}, or score the run on this store: "
            f"drin-fs evaluate {self.path} --store {store.path} --other-store",
        )

    def ranks(self, split: str) -> Ranks:
        """The ranks (n,) of the split's golds, in the order of its rows.

        Raises:
            UnknownId: the run's store has no such split.
            NotRecorded: the run has none; says how to get them.
            RunError: the file is damaged.
        """
        name, count = f"ranks/{split}.csv", self._mentions(split)
        best, worst, retrieved = np.empty(count), np.empty(count), np.zeros(count, bool)
        lines = 0
        for found, optimistic, pessimistic in self._rank_lines(split):
            if lines < count:
                retrieved[lines] = found == "1"
                best[lines], worst[lines] = _number(optimistic), _number(pessimistic)
            lines += 1
        if lines != count:
            raise self._damaged(name, f"{lines} lines of {count} mentions")
        wrong = np.flatnonzero(np.isnan(best) | np.isnan(worst))
        if len(wrong):
            raise self._damaged(name, f"line {wrong[0] + 2} holds no rank")
        return Ranks(optimistic=best, pessimistic=worst, retrieved=retrieved)

    def mention_ids(self, split: str) -> list[str]:
        """The ids of the mentions that the ranks are of, in their order.

        Raises:
            NotRecorded, RunError: as :meth:`ranks`.
        """
        return [mention for (mention,) in self._rank_lines(split, ("mention",))]

    def scores(self, split: str) -> NDArray[np.float32]:
        """The scores (n, K) of the retrieved candidates, in the order of the split's rows; mapped.

        K is ``candidates`` where the run saw only the first of each list. NaN where the model gave no
        score. Nothing is read yet.

        Raises:
            UnknownId: the run's store has no such split.
            NotRecorded: the run has none; says how to get them.
            RunError: the file is damaged, or of another shape.
        """
        name, count = f"scores/{split}.npy", self._mentions(split)
        path = self._folder.scores(split)
        if not path.is_file():
            raise self._not_recorded("scores", split)
        try:
            values = load(path, ndim=(2,), rows=count)
        except SourceError as error:
            raise self._damaged(name, error.what) from error
        if values.dtype != np.float32:
            raise self._damaged(name, f"dtype {values.dtype}, not float32")
        return values

    def _mentions(self, split: str) -> int:
        """How many mentions the split of the run's store has."""
        splits: dict[str, int] = self.environment["store"]["splits"]
        if split not in splits:
            raise UnknownId(
                f"the run's store has no split {split!r}",
                where=str(self.path),
                hint=f"splits: {', '.join(splits) or 'none'}",
            )
        return splits[split]

    def _rank_lines(
        self, split: str, columns: Sequence[str] = _RANK_COLUMNS
    ) -> Iterator[tuple[str, ...]]:
        name, path = f"ranks/{split}.csv", self._folder.ranks(split)
        if not path.is_file():
            raise self._not_recorded("ranks", split)
        try:
            with path.open(encoding="utf-8", newline="") as file:
                for line in csv.DictReader(file):
                    yield tuple(line[column] or "" for column in columns)
        except KeyError as error:
            raise self._damaged(name, f"it has no column {error}") from error
        except (OSError, ValueError, csv.Error) as error:
            raise self._damaged(name, str(error)) from error

    def _not_recorded(self, what: str, split: str) -> NotRecorded:
        if self.protocol in ALL_ENTITIES:
            return NotRecorded(
                f"the run has no {what} of candidates: protocol {self.protocol} ranks all entities",
                where=str(self.path),
                hint="file another run of the model under protocol strict",
            )
        return NotRecorded(
            f"the run has no {what} of split {split!r}: it was not asked for them, or made by a "
            "version that did not record them",
            where=str(self.path),
            hint=f"drin-fs evaluate {self.path} --split {split} --record",
        )

    def _damaged(self, name: str, reason: str) -> RunError:
        return RunError(
            f"{name} of the run is damaged ({reason})",
            where=str(self.path / name),
            hint="put the file back from a copy, or make it again: "
            f"drin-fs evaluate {self.path} --split NAME --record",
        )


def _number(text: str) -> float:
    """A rank of 1 or more; ``inf`` for an empty cell, NaN for what is no rank."""
    if not text:
        return float("inf")
    try:
        rank = float(text)
    except ValueError:
        return float("nan")
    return rank if 1 <= rank < float("inf") else float("nan")
