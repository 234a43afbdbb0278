"""``image``: a bi-encoder over the pictures alone, the counterpart of ``text``."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field
from torch import Tensor, nn

from featurestore.errors import ConfigError
from linker.models.base import BiEncoder, ModelConfig

if TYPE_CHECKING:
    from jaxtyping import Float

    from linker.batch import Batch


class ImageConfig(ModelConfig):
    """Options of ``image``."""

    width: int | None = Field(
        default=None,
        ge=1,
        description="Width of the space where pictures are compared. Default: the store's visual "
        "width (chosen here, as text compares in the width of texts).",
    )


class ImageBiEncoder(BiEncoder[ImageConfig]):
    """Score = cos(W_m·mean_R(mention_image) + b_m, W_e·entity_image + b_e).

    Made like ``text``, after BLINK's bi-encoder: the two sides meet in the cosine only, and the
    picture encoder is frozen.
    """

    summary: ClassVar[str] = "Bi-encoder over the pictures, likewise: one linear map a side."

    def __init__(
        self, *, config: ImageConfig, text_width: int | None, image_width: int | None
    ) -> None:
        super().__init__(config=config, text_width=text_width, image_width=image_width)
        if image_width is None:
            raise ConfigError(
                "image reads pictures, and the store has none",
                where="model.name",
                hint="choose the model text, or ingest with --image-encoder",
            )
        width = image_width if config.width is None else config.width
        self.mention = nn.Linear(image_width, width)
        self.entity = nn.Linear(image_width, width)

    @classmethod
    def requires(cls, config: ImageConfig) -> frozenset[str]:
        return frozenset({"mention_image_mean", "entity_image"})

    @property
    def recordable(self) -> bool:
        return True

    def encode_mentions(self, batch: Batch) -> Float[Tensor, "B H"]:
        return self.mention(batch.need("mention_image_mean"))

    def encode_entities(self, batch: Batch) -> Float[Tensor, "U H"]:
        return self.entity(batch.need("entity_image"))
