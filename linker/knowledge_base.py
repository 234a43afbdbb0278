"""All entities of a store as candidates: what protocol ``full-kb`` reads, some entities at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from featurestore import Store
from featurestore.errors import DataError, FieldMissing
from featurestore.schema import BY_PATH, NO_ENTITIES, NO_ROW, SIMILARITIES
from linker.batch import Batch
from linker.data import as_tensor, mention_feature
from linker.reading import ReadCost

#: Mentions whose stored similarities are compared with products of their embeddings.
COMPARED = 64

#: How far these may be apart, as a share of the similarities (chosen here: float16 embeddings are
#: off by 0.0004 on WikiMEL, and 25 times as much is no rounding).
TOLERANCE = 0.01


@dataclass(frozen=True, kw_only=True)
class Mentions:
    """What every block needs of some mentions, read once.

    ``batch``: their features, without candidates; ``answer`` is the place of the gold among all
    ranked entities. ``embeddings``: similarity → (B, P), the mention's side, scaled to logits.
    """

    batch: Batch
    embeddings: Mapping[str, Tensor]


class KnowledgeBase:
    """All entities of a store as candidates of every mention, but for the rows that are none.

    Args:
        paths: batch field → ``table/field`` of the store, as for a ``BatchReader``.
        reader: who asks, for messages: "model drin".

    Raises:
        FieldMissing: a similarity is read, and the store has no embeddings to compute it from.
        DataError: the similarities of the store are not those of its embeddings.
    """

    def __init__(
        self, *, store: Store, paths: Mapping[str, str], device: torch.device, reader: str
    ) -> None:
        self.store = store
        self.device = device
        none = store.entities.find(NO_ENTITIES)
        self.rows = np.delete(
            np.arange(len(store.entities), dtype=np.int32), none[none != NO_ROW]
        )  # ascending; 4 bytes an entity
        pairs = [name for name in SIMILARITIES if name in paths]
        _check_embeddings(store, pairs, reader=reader)
        self._scales = {name: similarity_scale(store, name) for name in pairs}
        self._paths = {name: path for name, path in paths.items() if name not in pairs}

    def __len__(self) -> int:
        return len(self.rows)

    def read_mentions(self, rows: np.ndarray) -> Mentions:
        """The mentions at ``rows``."""
        gold = self.store.mentions.gather("gold", rows)
        near = np.searchsorted(self.rows, gold)  # one after the last where it is in no row
        place = np.where(np.take(self.rows, near, mode="clip") == gold, near, len(self))
        features = {
            name: self._on_device(mention_feature(self.store, name, field, rows))
            for name, field in self._fields("mentions")
        }
        batch = Batch(
            texts=None,
            cost=ReadCost(),
            mention_rows=self._on_device(np.asarray(rows)),
            answer=self._on_device(place),
            candidates=torch.empty(len(rows), 0, dtype=torch.int64, device=self.device),
            retrieved=0,
            **features,
        )
        embeddings = {
            name: scale * self._on_device(self.store.mentions.gather(SIMILARITIES[name][0], rows))
            for name, scale in self._scales.items()
        }
        return Mentions(batch=batch, embeddings=embeddings)

    def block(self, mentions: Mentions, first: int, size: int) -> Batch:
        """These mentions with the ranked entities from ``first`` on as candidates, ``size`` of them."""
        rows = self.rows[first : first + size]
        place = mentions.batch.answer - first
        candidates = torch.arange(len(rows), device=self.device)
        return replace(
            mentions.batch,
            texts=None,
            cost=ReadCost(),
            answer=place.where((place >= 0) & (place < len(rows)), len(rows)),
            candidates=candidates.expand(len(mentions.batch), -1),
            retrieved=len(rows),
            **self._features(rows),
            **self._similarities(mentions, rows),
        )

    def entities(self, places: np.ndarray) -> Batch:
        """The ranked entities at some places as the distinct entities of no mention."""
        none = torch.empty(0, dtype=torch.int64, device=self.device)
        return Batch(
            texts=None,
            cost=ReadCost(),
            mention_rows=none,
            answer=none,
            candidates=torch.empty(0, len(places), dtype=torch.int64, device=self.device),
            retrieved=len(places),
            **self._features(self.rows[places]),
        )

    def lists(self, mentions: Mentions, places: np.ndarray) -> Batch:
        """These mentions, each with a list of its own of ranked entities as candidates.

        Args:
            places: (B, C) places among the ranked entities. ``NO_ROW`` is the entity that is none: all
                its features are zero, as those of an absent candidate under protocol ``strict``.
        """
        distinct, inverse = np.unique(places, return_inverse=True)
        candidates = as_tensor(inverse.reshape(places.shape)).to(self.device)
        absent, gold = int(distinct[0] == NO_ROW), mentions.batch.answer.cpu().numpy()
        rows, hits = self.rows[distinct[absent:]], places == gold[:, None]
        pairs = self._similarities(mentions, rows)
        return replace(
            mentions.batch,
            texts=None,
            cost=ReadCost(),
            answer=self._on_device(np.where(hits.any(1), hits.argmax(1), places.shape[1])),
            candidates=candidates,
            retrieved=places.shape[1],
            **{
                name: pad(v, (0, 0) * (v.ndim - 1) + (absent, 0))
                for name, v in self._features(rows).items()
            },
            **{name: pad(v, (absent, 0)).gather(1, candidates) for name, v in pairs.items()},
        )

    def _features(self, rows: np.ndarray) -> dict[str, Tensor]:
        """Batch field → (n, …) of entities."""
        return {
            name: self._on_device(self.store.entities.gather(field, rows))
            for name, field in self._fields("entities")
        }

    def _similarities(self, mentions: Mentions, rows: np.ndarray) -> dict[str, Tensor]:
        """Similarity → (B, n) of the mentions and each of these entities."""
        return {
            name: embeddings
            @ self._on_device(self.store.entities.gather(SIMILARITIES[name][1], rows)).T
            for name, embeddings in mentions.embeddings.items()
        }

    def _fields(self, table: str) -> Iterator[tuple[str, str]]:
        """Batch field and stored field of what is read of a table."""
        for name, path in self._paths.items():
            of, _, field = path.partition("/")
            if of == table:
                yield name, field

    def _on_device(self, values: np.ndarray) -> Tensor:
        """float16 features travel as float16, and widen there."""
        tensor = as_tensor(values).to(self.device)
        return tensor.float() if tensor.dtype == torch.float16 else tensor


def similarity_scale(store: Store, name: str) -> float:
    """What a cosine is multiplied by in the stored similarities: 100 for the released CLIP models.

    It is a weight of CLIP that a store does not record, and is found from its first mentions, by
    least squares over their candidates.

    Raises:
        DataError: the similarities are no multiple of the products of the stored embeddings.
    """
    rows = np.arange(min(COMPARED, len(store.mentions)))
    candidates = store.mentions.gather("candidates", rows)
    stored = store.mentions.gather(name, rows)[:, : candidates.shape[1]]
    mention_side, entity_side = SIMILARITIES[name]
    entities = store.entities.gather(entity_side, np.maximum(candidates, 0).ravel())
    entities = entities.astype(np.float32)
    mentions = store.mentions.gather(mention_side, rows).astype(np.float32)
    cosines = np.einsum("np,ncp->nc", mentions, entities.reshape(*candidates.shape, -1))
    cosines, stored = cosines[candidates != NO_ROW], stored[candidates != NO_ROW]
    scale = float(cosines @ stored / max(cosines @ cosines, np.finfo(np.float32).tiny))
    if np.linalg.norm(stored - scale * cosines) > TOLERANCE * np.linalg.norm(stored):
        raise DataError(
            f"mentions/{name} is not mentions/{mention_side} times entities/{entity_side}, times "
            "some number",
            where=f"{store.path}::/mentions/{name}",
            hint="ingest again with --clip, or score under protocol strict",
        )
    return scale


def _check_embeddings(store: Store, names: list[str], *, reader: str) -> None:
    for name in names:
        mention_side, entity_side = SIMILARITIES[name]
        for path in (f"mentions/{mention_side}", f"entities/{entity_side}"):
            if not store.has(path):
                raise FieldMissing(
                    f"{reader} reads {name}, which under protocol full-kb is computed for every "
                    f"entity, and this store has no {path} ({BY_PATH[path].doc})",
                    where=f"{store.path}::/{path}",
                    hint="ingest from raw data with --clip (preprocessed data has similarities of the "
                    "candidates only), or train without it: drin with --set model.edges=tt,ii",
                )
