"""What all pages share: the store, the runs, and what is computed once for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cli.web.edge_process import Edges
from cli.web.html import Html
from cli.web.later import Later
from cli.web.runs import Run
from featurestore.browse import Selections
from featurestore.neighbours import Neighbour, neighbours
from featurestore.plane import Plane, sample_plane
from featurestore.search import search_rows
from featurestore.store import Store
from featurestore.summary import StoreSummary, summarise
from linker.edge_weights import EdgeWeights

#: What stands in the address of a request behind the question mark; of a name given twice, the last.
Parameters = Mapping[str, str]

#: Hits of a free text that are listed (chosen here: nobody pages through more).
MOST_HITS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page: ``section`` is the entry of the navigation that it belongs to."""

    title: str
    section: str
    body: Html
    status: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Rows that hold a text, best first. ``complete``: whether these are all there are."""

    rows: NDArray[np.int64]
    complete: bool


class Site:
    """A store and its runs, to be shown. May be shared among threads.

    What takes longer than a page may is computed by a thread of its own, from the start.
    """

    def __init__(self, store: Store, runs: Sequence[Run] = ()) -> None:
        self.store = store
        self.runs = tuple(runs)
        self.version = store.fingerprint[:12]
        self.selections = Selections(store)
        self.find = lru_cache(32)(self._find)
        self._edges = Edges(store.path)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="drin-fs-web")
        self._asking = ThreadPoolExecutor(1, thread_name_prefix="drin-fs-web-edges")
        self._later_edges: Later[EdgeWeights] = Later(self._asking)
        self._later_near: Later[tuple[Neighbour, ...]] = Later(self._worker)
        self._summary = self._worker.submit(summarise, store)
        self._plane = self._worker.submit(sample_plane, store)
        for run in self.runs:
            if run.has_edges and len(store.mentions):
                self._asking.submit(self._edges.of, run, 0)  # the network is loaded from the start

    def summary(self) -> StoreSummary:
        return self._summary.result()

    def plane(self) -> Plane:
        """The map of the store.

        Raises:
            FieldMissing: the store has no features to draw it from.
        """
        return self._plane.result()

    def edges(self, run: Run, row: int) -> EdgeWeights | None:
        """The edges of a mention's candidates; None while the network is being loaded.

        Raises:
            ModuleNotFoundError: torch is not installed.
            RunError: the run has no weights, or they do not fit.
        """
        return self._later_edges.get((run.name, row), lambda: self._edges.of(run, row))

    def neighbours(self, row: int) -> tuple[Neighbour, ...] | None:
        """The entities nearest to one; None while they are searched for.

        Raises:
            FieldMissing, DataError: there is no vector to compare.
        """
        return self._later_near.get(row, lambda: neighbours(self.store, "entities", row))

    def close(self) -> None:
        """Begin nothing more, and wait for what was begun."""
        self._edges.close()
        self._asking.shutdown(cancel_futures=True)
        self._worker.shutdown(cancel_futures=True)

    def _find(self, table: str, text: str) -> Found:
        """Rows of a table that hold a text."""
        rows, complete = search_rows(self.store, text, table=table, limit=MOST_HITS)
        return Found(rows=rows, complete=complete)
