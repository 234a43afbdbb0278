"""``text``: a bi-encoder over the text alone, the baseline that shows what pictures add."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field
from torch import Tensor, nn

from linker.models.base import BiEncoder, ModelConfig

if TYPE_CHECKING:
    from jaxtyping import Float

    from linker.batch import Batch


class TextConfig(ModelConfig):
    """Options of ``text``."""

    width: int | None = Field(
        default=None,
        ge=1,
        description="Width of the space where texts are compared. Default: the store's text width "
        "(chosen here, because BLINK compares in the width of BERT).",
    )


class TextBiEncoder(BiEncoder[TextConfig]):
    """Score = cos(W_m·span + b_m, W_e·x_e + b_e).

    After BLINK's bi-encoder (Wu et al., "Scalable Zero-shot Entity Linking with Dense Entity
    Retrieval", EMNLP 2020): mention and entity are encoded without seeing each other. Here the
    encoders are frozen, one linear map a side is learned, and the cosine of the other models takes
    the place of BLINK's dot product, so that one loss and one margin fit all.
    """

    summary: ClassVar[str] = "Bi-encoder over the texts, after BLINK: one linear map a side."

    def __init__(self, *, config: TextConfig, text_width: int, image_width: int | None) -> None:
        super().__init__(config=config, text_width=text_width, image_width=image_width)
        width = text_width if config.width is None else config.width
        self.mention = nn.Linear(text_width, width)
        self.entity = nn.Linear(text_width, width)

    @classmethod
    def requires(cls, config: TextConfig) -> frozenset[str]:
        return frozenset({"mention_text_span", "entity_text"})

    @property
    def recordable(self) -> bool:
        return True

    def encode_mentions(self, batch: Batch) -> Float[Tensor, "B H"]:
        return self.mention(batch.need("mention_text_span"))

    def encode_entities(self, batch: Batch) -> Float[Tensor, "U H"]:
        return self.entity(batch.need("entity_text"))
