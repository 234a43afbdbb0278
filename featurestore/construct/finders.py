"""The methods of ``build candidates``, made ready to be asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from featurestore.construct.candidate_options import CandidateOptions
from featurestore.construct.title_table import TitleTable
from featurestore.errors import SourceError
from featurestore.sources.notes import first_of
from featurestore.store import Store

#: What finds a mention by its name where ``dense`` has no vector of it. Chosen here: of the methods by
#: name it finds the most golds (docs/build-candidates.md).
BY_NAME = "ngram"


class Finder(Protocol):
    """A method."""

    def find(self, queries: Sequence[str]) -> NDArray[np.int32]:
        """(n, k) entities of mentions, best first, ``NO_ROW`` behind the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readied:
    """A method, and what it cannot do.

    ``skipped``: what is not used → how often. ``by_name``: why ``dense`` has no vector of a mention →
    mentions that are sought by their names instead.
    """

    finder: Finder
    skipped: dict[str, int] = field(default_factory=dict)
    by_name: dict[str, int] = field(default_factory=dict)


def by_names(table: TitleTable, options: CandidateOptions, *, k: int) -> Readied:
    """``fuzzy``, ``ngram`` or ``bm25``; asked with the texts of mentions."""
    from featurestore.construct.first_stage import pooled_titles
    from featurestore.construct.fuzzy import FuzzyScorer, FuzzyTitles

    if options.method == "fuzzy":
        scorer = options.scorer_used or ""
        return Readied(finder=FuzzyTitles(table, k=k, scorer=scorer, processor=options.processor))
    order = None
    if options.scorer_used is not None:
        order = FuzzyScorer(scorer=options.scorer_used, processor=options.processor)
    pool = max(k, options.pool)
    return Readied(finder=pooled_titles(table, options.method, k=k, pool=pool, scorer=order))


def by_vectors(
    table: TitleTable,
    options: CandidateOptions,
    *,
    k: int,
    store: Store,
    texts: Mapping[str, str],
) -> Readied:
    """``dense``; asked with the ids of mentions.

    Mentions that the store has no vector of (ingest leaves out those that do not stand in their
    sentence) are found by their names, as ``ngram`` without a scorer finds them.

    Args:
        texts: mention id → the mention.

    Raises:
        SourceError: the store has a vector of no mention, or of no entity.
        ConfigError, FieldMissing: the fields do not fit each other, or are not there.
    """
    from featurestore.construct.dense import DenseEntities, DenseFields
    from featurestore.construct.dense_index import IndexedEntities
    from featurestore.construct.first_stage import pooled_titles

    fields = DenseFields.of(store, options.dense_field)
    entities = DenseEntities(store, table.qids, k=k, fields=fields)
    skipped = {}
    if len(entities) < len(table):
        skipped["entities that are not in the store"] = len(table) - len(entities)
    lacking = entities.without_vector(list(texts))
    if len(lacking) == len(texts):
        raise SourceError(
            f"the store has vectors of none of the {len(texts):,} mentions: {first_of(list(texts))}",
            where=str(store.path),
            hint="ingest the mentions first, with any candidates: their vectors are the query",
        )
    finder: Finder = entities
    if options.index != "exact":
        finder = IndexedEntities(entities, kind=options.index, k=k)
    if lacking:
        names = pooled_titles(table, BY_NAME, k=k, pool=max(k, options.pool), scorer=None)
        wanted = {mention: texts[mention] for mention in lacking}
        finder = _VectorsOrNames(finder, names, wanted)
    counts: dict[str, int] = {}
    for why in lacking.values():
        counts[why] = counts.get(why, 0) + 1
    return Readied(finder=finder, skipped=skipped, by_name=counts)


class _VectorsOrNames:
    """Vectors, and for some mentions names.

    Args:
        texts: mention id → the mention, of those that have no vector.
    """

    def __init__(self, vectors: Finder, names: Finder, texts: Mapping[str, str]) -> None:
        self._vectors, self._names, self._texts = vectors, names, texts

    def find(self, queries: Sequence[str]) -> NDArray[np.int32]:
        """(n, k) entities of mentions by id, best first, ``NO_ROW`` behind the last."""
        found = self._vectors.find(queries)
        places = [place for place, query in enumerate(queries) if query in self._texts]
        if places:
            found[places] = self._names.find([self._texts[queries[place]] for place in places])
        return found
