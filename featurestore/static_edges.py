"""The four edges of DRIN between a mention and its candidates, as the store alone has them.

They are what the model's first graph layer reads (the DRIN paper, ACM MM 2023): no run and
no torch is needed for them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featurestore.schema import NO_ROW
from featurestore.store import Store

#: Mention side first; t text, i image.
EDGES = ("tt", "ti", "it", "ii")

#: Similarities are stored as CLIP's logits: 100 times the cosine.
_LOGITS = 100.0

_NO_LENGTH, _NO_OBJECT = 1e-8, 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticEdges:
    """``weights``: (C, 4) float32 by candidate, the gold slot last, and edge of :data:`EDGES`; NaN where
    the store lacks what the edge is made of, or the place is empty."""

    weights: NDArray[np.float32]

    @property
    def known(self) -> tuple[str, ...]:
        """The edges that the store can tell."""
        return tuple(
            edge
            for edge, values in zip(EDGES, self.weights.T, strict=True)
            if not np.isnan(values).all()
        )


def static_edges(store: Store, row: int) -> StaticEdges:
    """The edges of one mention, to its candidates and its gold.

    tt: cosine of the mention's span and token 0 of the entity's text (its pooled output where only that
    is stored). ti, it: CLIP. ii: cosine of every two detected objects, averaged with the product of
    their scores.

    Raises:
        UnknownId: no such row.
        FieldMissing: the store has no candidates.
        StoreError: a damaged record.
    """
    mentions = store.mentions
    slots = np.append(mentions.gather("candidates", [row])[0], mentions.gather("gold", [row])[0])
    known = np.flatnonzero((slots > NO_ROW) & (slots < len(store.entities)))
    weights = np.full((len(slots), len(EDGES)), np.nan, np.float32)
    makers: dict[str, Callable[[Store, int, NDArray[np.integer]], NDArray[np.floating] | None]] = {
        "tt": _texts,
        "ii": _objects,
    }
    for edge, make in makers.items():
        values = make(store, row, slots[known])
        if values is not None:
            weights[known, EDGES.index(edge)] = values
    for edge, field in (("ti", "sim_text_image"), ("it", "sim_image_text")):
        if field in mentions:
            weights[known, EDGES.index(edge)] = mentions.gather(field, [row])[0][known] / _LOGITS
    return StaticEdges(weights=weights)


def _texts(store: Store, row: int, entities: NDArray[np.integer]) -> NDArray[np.floating] | None:
    field = next((f for f in ("text_cls", "text_pooled") if f in store.entities), None)
    if field is None or "text_span" not in store.mentions:
        return None
    span = store.mentions.gather("text_span", [row])[0].astype(np.float64)
    texts = store.entities.gather(field, entities).astype(np.float64)
    return _cosines(texts, span) if texts.shape[1] == len(span) else None


def _objects(store: Store, row: int, entities: NDArray[np.integer]) -> NDArray[np.floating] | None:
    paths = [f"{t}/{f}" for t in ("mentions", "entities") for f in ("objects", "object_scores")]
    if not all(map(store.has, paths)):
        return None
    own = store.mentions.gather("objects", [row])[0].astype(np.float64)  # (O, V)
    theirs = store.entities.gather("objects", entities).astype(np.float64)  # (C, P, V)
    if own.shape[1] != theirs.shape[2]:
        return None
    cosines = np.stack([_cosines(theirs, one) for one in own], axis=1)  # (C, O, P)
    scores = store.mentions.gather("object_scores", [row])[0][None, :, None]
    weights = scores * store.entities.gather("object_scores", entities)[:, None, :]
    found: NDArray[np.floating] = (weights * cosines).sum(axis=(1, 2)) / (
        weights.sum(axis=(1, 2)) + _NO_OBJECT
    )
    return found


def _cosines(vectors: NDArray[np.floating], one: NDArray[np.floating]) -> NDArray[np.floating]:
    """(…, V) and (V,) → (…)."""
    lengths = np.linalg.norm(vectors, axis=-1) * np.linalg.norm(one)
    cosines: NDArray[np.floating] = (vectors @ one) / np.maximum(lengths, _NO_LENGTH)
    return cosines
