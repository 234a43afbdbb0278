"""What a model receives: named tensors, ``None`` for what the model did not ask for.

Axis letters, used in every annotation of this package:

====  =============================================================================
B     mentions in the batch
U     distinct entities in the batch: entity features stand once, ``candidates`` points at them
C     entities scored per mention: K retrieved ones, and the gold slot under protocol ``paper``
T     tokens of the sentence     R   image regions     O   objects of a picture
D     text width    V   visual width    H   width of the model
====  =============================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

import torch
from torch import Tensor

from linker.reading import ReadCost


@dataclass(frozen=True, kw_only=True)
class TextPart:
    """n texts of like length that go through an encoder together, padded to L positions."""

    rows: Tensor  # (n,) int64, the mentions, or distinct entities, of the batch that they are of
    tokens: Tensor  # (n, L) int64 token ids
    lengths: Tensor  # (n,) int64, tokens of each text

    def map(self, change: Callable[[Tensor], Tensor]) -> Self:
        return replace(
            self,
            rows=change(self.rows),
            tokens=change(self.tokens),
            lengths=change(self.lengths),
        )


@dataclass(frozen=True, kw_only=True)
class Texts:
    """The texts of a batch as token ids, where an encoder inside training makes their features."""

    mentions: tuple[TextPart, ...]  # none where the model reads nothing of sentences
    entities: tuple[TextPart, ...]  # the entity that is no entity is in none of them; none at
    # all where entities were encoded before
    entity_rows: Tensor  # (U,) int64, rows of the store's entity table; -1 = no entity
    mention_start: Tensor  # (B,) int64, [CLS] not counted
    mention_end: Tensor  # (B,) int64

    def map(self, change: Callable[[Tensor], Tensor]) -> Self:
        return replace(
            self,
            mentions=tuple(part.map(change) for part in self.mentions),
            entities=tuple(part.map(change) for part in self.entities),
            entity_rows=change(self.entity_rows),
            mention_start=change(self.mention_start),
            mention_end=change(self.mention_end),
        )


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One batch of mentions with their candidates. Absent features are ``None``."""

    # one row a mention
    mention_rows: Tensor  # (B,) int64, rows of the store's mention table
    answer: Tensor  # (B,) int64, index among the K retrieved candidates; K = not retrieved
    candidates: Tensor  # (B, C) int64, into the U distinct entities
    retrieved: int  # K: scores beyond it belong to the gold slot

    mention_text_span: Tensor | None = None  # (B, D) mean of the mention's tokens
    mention_text_cls: Tensor | None = None  # (B, D)
    mention_text_tokens: Tensor | None = None  # (B, T, D), zero after token_count
    mention_text_padded: Tensor | None = None  # (B, T of the store, D), padding as it is stored
    mention_token_count: Tensor | None = None  # (B,) int64
    mention_token_start: Tensor | None = None  # (B,) int64, [CLS] not counted
    mention_token_end: Tensor | None = None  # (B,) int64: tokens [start+1, end+1)
    mention_image_mean: Tensor | None = None  # (B, V)
    mention_image_regions: Tensor | None = None  # (B, R, V)
    mention_objects: Tensor | None = None  # (B, O, V)
    mention_object_scores: Tensor | None = None  # (B, O), 0 = no such box

    # one row a distinct entity; rows of zeros, which no candidate points at, may follow the last
    entity_text: Tensor | None = None  # (U, D) pooled text, as configured (mean, max, pooled)
    entity_text_cls: Tensor | None = None  # (U, D) token 0; entity_text where only that is stored
    entity_image: Tensor | None = None  # (U, V)
    entity_objects: Tensor | None = None  # (U, O, V)
    entity_object_scores: Tensor | None = None  # (U, O)

    # one value a mention–candidate pair
    sim_image_text: Tensor | None = None  # (B, C) CLIP logit: mention image, entity text
    sim_text_image: Tensor | None = None  # (B, C) CLIP logit: mention text, entity image

    # what the text features above are made of, where they do not come from the store
    texts: Texts | None = None

    cost: ReadCost = field(
        default_factory=ReadCost
    )  # what reading it took; nothing where it was not read

    def __len__(self) -> int:
        return self.candidates.shape[0]

    def need(self, name: str) -> Tensor:
        """The tensor ``name``; a model calls this for what it listed in ``requires``.

        Raises:
            ValueError: the batch does not carry it (a bug in the model's ``requires``).
        """
        value = getattr(self, name)
        if value is None:
            raise ValueError(f"the batch carries no {name}: list it in the model's requires()")
        return value

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Self:
        """The same batch on ``device``; feature tensors keep their dtype."""
        return self._map(lambda t: t.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        return self._map(lambda t: t.pin_memory())

    def float(self, *, besides: Container[str] = ()) -> Self:
        """The same batch with float16 features as float32 (the store's default is float16).

        Args:
            besides: these stay as they are.
        """
        return self._map(lambda t: t.float() if t.dtype == torch.float16 else t, besides=besides)

    def _map(self, change: Callable[[Tensor], Tensor], *, besides: Container[str] = ()) -> Self:
        changed: dict[str, Any] = {
            f.name: change(value)
            for f in fields(self)
            if isinstance(value := getattr(self, f.name), Tensor) and f.name not in besides
        }
        if self.texts is not None:
            changed["texts"] = self.texts.map(change)
        return replace(self, **changed)
