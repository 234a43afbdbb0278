"""``candidates``, ``bert``, ``clip``: what the stored features say before anything is learned.

They have no weights. ``drin-fs evaluate --model NAME STORE`` scores them, so that what a network
learned stands in the same table, under the same rules, as what was there to begin with:

    candidates   s(m, c) = −(place of c in the list)      the order of retrieval: string match
    bert         s(m, e) = cos(mention text, x_e)         the text encoder as it came
    clip         s(m, e) = sim(mention image, entity text), sim(mention text, entity image), or
                 their sum                                CLIP's logits, 100·cosine, as stored
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from featurestore.errors import ConfigError
from linker.models.base import BiEncoder, Blocks, Model, ModelConfig

if TYPE_CHECKING:
    from jaxtyping import Float

    from linker.batch import Batch


class CandidatesConfig(ModelConfig):
    """``candidates`` has no options."""


class CandidateOrder(Model[CandidatesConfig]):
    """The candidates as they were retrieved: a score falls by one with each place.

    Under protocol ``paper`` the gold slot comes last; the metrics leave it out anyway.
    """

    summary: ClassVar[str] = "The order in which candidates were retrieved (string match)."
    learns: ClassVar[bool] = False

    @classmethod
    def requires(cls, config: CandidatesConfig) -> frozenset[str]:
        return frozenset()

    def forward(self, batch: Batch) -> Float[Tensor, "B C"]:
        places = torch.arange(batch.candidates.shape[1], device=batch.candidates.device)
        return -places.float().expand(batch.candidates.shape)

    def score_in_blocks(self, blocks: Blocks) -> Iterator[Float[Tensor, "B C"]]:
        """Refuse.

        Raises:
            ConfigError: the entities of a knowledge base stand in no order of retrieval.
        """
        raise ConfigError(
            "model candidates scores the order of retrieval, and the entities of a knowledge base "
            "were not retrieved",
            where="--protocol full-kb",
            hint="score another model, such as --model bert",
        )
        yield  # an iterator, as every model's


class BertConfig(ModelConfig):
    """Options of ``bert``."""

    mention: Literal["span", "cls"] = Field(
        default="span",
        description="The mention's text vector: the mean of its own tokens, or the sentence's "
        "[CLS]. Default chosen here: the span, which the other models read.",
    )
    entity: Literal["text", "cls"] = Field(
        default="text",
        description="The entity's text vector: the one that entity_pooling names, or token 0. "
        "Default chosen here: the one that the other models read.",
    )

    @property
    def mention_field(self) -> str:
        """The batch field of the mention's vector."""
        return f"mention_text_{self.mention}"

    @property
    def entity_field(self) -> str:
        """The batch field of the entity's vector."""
        return "entity_text" if self.entity == "text" else "entity_text_cls"


class BertCosine(BiEncoder[BertConfig]):
    """Score = cos(mention text, entity text), of the text encoder's vectors as they are stored."""

    summary: ClassVar[str] = "Cosine of the stored text vectors of mention and entity."
    learns: ClassVar[bool] = False

    @classmethod
    def requires(cls, config: BertConfig) -> frozenset[str]:
        return frozenset({config.mention_field, config.entity_field})

    def encode_mentions(self, batch: Batch) -> Float[Tensor, "B H"]:
        return batch.need(self.config.mention_field)

    def encode_entities(self, batch: Batch) -> Float[Tensor, "U H"]:
        return batch.need(self.config.entity_field)


class ClipConfig(ModelConfig):
    """Options of ``clip``."""

    pair: Literal["image-text", "text-image", "sum"] = Field(
        default="sum",
        description="What is compared, mention first: its picture with the entity's text, its "
        "text with the entity's picture, or the sum of both. Default chosen here: the sum, which "
        "leaves nothing out.",
    )


#: ``pair`` → the similarities that are added up.
_CLIP_FIELDS: dict[str, tuple[str, ...]] = {
    "image-text": ("sim_image_text",),
    "text-image": ("sim_text_image",),
    "sum": ("sim_image_text", "sim_text_image"),
}


class ClipZeroShot(Model[ClipConfig]):
    """Score = CLIP's similarity across the modalities (Radford et al., "Learning Transferable Visual
    Models From Natural Language Supervision", ICML 2021), zero-shot."""

    summary: ClassVar[str] = "CLIP zero-shot: picture with text, text with picture, or both."
    learns: ClassVar[bool] = False

    @classmethod
    def requires(cls, config: ClipConfig) -> frozenset[str]:
        return frozenset(_CLIP_FIELDS[config.pair])

    @property
    def similarities(self) -> tuple[str, ...]:
        """The batch fields that are added up."""
        return _CLIP_FIELDS[self.config.pair]

    def forward(self, batch: Batch) -> Float[Tensor, "B C"]:
        first, *others = (batch.need(name) for name in self.similarities)
        return sum(others, start=first)
