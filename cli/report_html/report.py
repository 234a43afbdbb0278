"""What the sections share: the store, its summary, the runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from cli.web.html import Html, Part, h
from cli.web.runs import Run
from featurestore.coverage import Coverage, coverage
from featurestore.progress import Progress
from featurestore.store import Store
from featurestore.summary import StoreSummary, summarise
from featurestore.vectors import SEED


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the page. ``key``: its id, and the address within the page."""

    key: str
    title: str
    body: Html


class Report:
    """A store and its runs, to be written down."""

    def __init__(self, *, store: Store, runs: Sequence[Run], progress: Progress) -> None:
        self.store = store
        self.runs = tuple(runs)
        self.progress = progress
        self.seed = SEED

    @cached_property
    def summary(self) -> StoreSummary:
        return summarise(self.store)

    @cached_property
    def coverage(self) -> Coverage:
        return coverage(self.store)

    @property
    def split(self) -> str | None:
        """The split that runs are compared on: the test, or the last one that every run ranked."""
        common = [
            name
            for name, rows in self.store.mentions.splits.items()
            if len(rows) and all(name in run.splits for run in self.runs)
        ]
        return "test" if "test" in common else common[-1] if common else None


def note(*words: Part) -> Html:
    """A line in small letters."""
    return h("p.note", words)
