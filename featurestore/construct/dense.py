"""Entities by their stored vectors: the cosine of a mention's vector with every entity's, in blocks.

    with featurestore.open("wikimel.h5") as store:
        fields = DenseFields.of(store, "text_span")
        DenseEntities(store, qids, k=100, fields=fields).find(["34875"])

Exact: every entity is compared with every mention. Equal cosines go to the entity that stands first in
the titles; matrix products round in float32, so that equal vectors may differ in their last bit.
Vectors that are zero, or not finite, have no direction and are nobody's candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featurestore.construct.top_k import RunningTop, stacked
from featurestore.errors import ConfigError, SourceError
from featurestore.halves import widened
from featurestore.neighbours import DEFAULT_FIELDS, comparable, row_lengths
from featurestore.schema import NO_ROW
from featurestore.store import Store
from featurestore.table import Table

#: Entities of a block (chosen here: of 768 values they take 12 MB as float32).
BLOCK = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseFields:
    """The fields that are compared, without their tables."""

    mention: str
    entity: str

    @classmethod
    def of(cls, store: Store, named: str, *, option: str = "--dense-field") -> DenseFields:
        """The fields that ``MENTION`` or ``MENTION:ENTITY`` names.

        Without an entity field it is the first of :data:`featurestore.neighbours.DEFAULT_FIELDS` whose
        vectors are as long.

        Args:
            option: that named them, for messages.

        Raises:
            FieldMissing: the store has no such field.
            ConfigError: a field holds no single vector a row, or their lengths differ.
        """
        mention, _, entity = named.partition(":")
        width = _width(store, store.mentions, mention)
        if not entity:
            fitting = (
                name
                for name in DEFAULT_FIELDS
                if name in store.entities
                and comparable(store.entities, name)
                and _width(store, store.entities, name) == width
            )
            entity = next(fitting, "")
        if not entity or _width(store, store.entities, entity) != width:
            what = f"entities/{entity}" if entity else "no field of the entities"
            raise ConfigError(
                f"mentions/{mention} has vectors of {width} values, {what} has not",
                where=str(store.path),
                hint=f"name both with {option} MENTION:ENTITY, such as text_span:text_mean",
            )
        return cls(mention=mention, entity=entity)

    def __str__(self) -> str:
        return f"{self.mention}:{self.entity}"


def _width(store: Store, table: Table, field: str) -> int:
    stored = table.stored(field)
    if not comparable(table, field):
        raise ConfigError(
            f"{table.name}/{field} does not hold one vector a row",
            where=f"{store.path}::/{table.name}/{field}",
            hint="drin-fs inspect shows the fields and their shapes",
        )
    return int(stored.shape[1])


class DenseEntities:
    """The vectors of entities, in the store.

    Args:
        qids: the entities that may be found, in the order that breaks ties.
        k: entities to find for a mention, at most.
        block: entities that are compared at once.

    Raises:
        SourceError: the store holds none of the entities.
    """

    def __init__(
        self, store: Store, qids: Sequence[str], *, k: int, fields: DenseFields, block: int = BLOCK
    ) -> None:
        self._store = store
        self._k = k
        self._fields = fields
        self._block = block
        found = store.entities.find(qids)
        self.known = np.flatnonzero(found != NO_ROW)  # places in qids, ascending
        self._rows = found[self.known]
        if not len(self.known):
            raise SourceError(
                "the store holds none of the entities of the titles",
                where=str(store.path),
                hint="give the --store that was ingested with these entities, or its titles",
            )

    def find(self, mentions: Sequence[str]) -> NDArray[np.int32]:
        """(n, k) places of entities in ``qids``, best first, ``NO_ROW`` where there is none.

        Args:
            mentions: ids.
        """
        queries = self.queries(mentions)
        best = [RunningTop(self._k) for _ in mentions]
        for first in range(0, len(self._rows), self._block):
            cosines = self._cosines(queries, self.vectors(first, first + self._block))
            for top, own in zip(best, cosines, strict=True):
                top.add(first, own)
        self._store.release_pages()
        return stacked([self.known[top.rows] for top in best], self._k)

    def queries(self, mentions: Sequence[str]) -> NDArray[np.float32]:
        """(n, W) vectors of length 1 of mentions by id; NaN where the store has none with a direction."""
        rows = self._store.mentions.find(mentions)
        known = rows != NO_ROW
        found = _unit(self._store.mentions.gather(self._fields.mention, np.where(known, rows, 0)))
        found[~known] = np.nan
        return found

    def without_vector(self, mentions: Sequence[str], *, block: int = BLOCK) -> dict[str, str]:
        """Mentions by id that have no vector with a direction → why."""
        lacking: dict[str, str] = {}
        for first in range(0, len(mentions), block):
            own = mentions[first : first + block]
            strangers = self._store.mentions.find(own) == NO_ROW
            for place in np.flatnonzero(np.isnan(self.queries(own)[:, 0])).tolist():
                why = "not in the store" if strangers[place] else "of a vector without direction"
                lacking[own[place]] = why
        self._store.release_pages()
        return lacking

    def vectors(self, first: int, last: int) -> NDArray[np.float32]:
        """(n, W) vectors of length 1 of ``known[first:last]``; NaN where there is no direction."""
        rows = self._rows[first:last]
        return _unit(self._store.entities.gather(self._fields.entity, rows))

    def __len__(self) -> int:
        """How many of the entities the store holds."""
        return len(self.known)

    @staticmethod
    def _cosines(queries: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """(queries, vectors), -inf where one of them has no direction."""
        with np.errstate(invalid="ignore"):
            found = queries @ vectors.T
        found[~(np.abs(found) <= 2)] = -np.inf
        return found


def _unit(values: np.ndarray) -> NDArray[np.float32]:
    vectors = widened(values)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        made: NDArray[np.float32] = vectors / row_lengths(vectors)[:, None]
    made[~np.isfinite(made).all(axis=1)] = np.nan
    return made
