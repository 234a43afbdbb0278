"""``jmel``: JMEL (Adjali et al., "Multimodal Entity Linking for Tweets", ECIR 2020, arXiv 2104.03236).

Text and picture of a mention are mapped into one joint space, and so are those of an entity; the two
sides meet in a cosine, trained with a triplet loss:

    t = ReLU(W_t·text + b_t)     v = ReLU(W_v·image + b_v)     each modality by a layer of its own
    z = W_z[t ; v] + b_z                                       concatenated, into the joint space
    score = cos(z_mention, z_entity)

with text = span and image = mean_R(mention_image) on the side of the mention, and x_e and the
entity's picture on the other.

What differs from the publication, and what was chosen here:

- The features are the store's, as for every model here, in place of its embeddings of a tweet's
  words and word pairs and its picture encoder; the loss and its margin are the common ones.
- Its classifier on top, which adds an entity's popularity and a BM25 score, is left out: the scores
  compared are those of the representation.
- Chosen here: ReLU after the first layers, and nothing after the last, because cosines of
  non-negative vectors could not be negative, which a margin between cosines needs.
- Chosen here: each side has weights of its own, because a sentence and a description are different
  things; and one width throughout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from featurestore.errors import ConfigError
from linker.models.base import BiEncoder, ModelConfig

if TYPE_CHECKING:
    from jaxtyping import Float

    from linker.batch import Batch


class JmelConfig(ModelConfig):
    """Options of ``jmel``."""

    width: int | None = Field(
        default=None,
        ge=1,
        description="Width of the layers and of the joint space. Default: the store's text width "
        "(chosen here, as for the other models).",
    )


class JointEncoder(nn.Module):
    """One side, a mention or an entity: text and picture into the joint space."""

    def __init__(self, *, text_width: int, image_width: int, width: int) -> None:
        super().__init__()
        self.text = nn.Linear(text_width, width)
        self.image = nn.Linear(image_width, width)
        self.joint = nn.Linear(2 * width, width)

    def forward(
        self, text: Float[Tensor, "N D"], image: Float[Tensor, "N V"]
    ) -> Float[Tensor, "N H"]:
        return self.joint(torch.cat([F.relu(self.text(text)), F.relu(self.image(image))], dim=1))


class Jmel(BiEncoder[JmelConfig]):
    """The network described at the top of this module."""

    summary: ClassVar[str] = "JMEL (ECIR 2020): text and picture mapped into one joint space."

    def __init__(self, *, config: JmelConfig, text_width: int, image_width: int | None) -> None:
        super().__init__(config=config, text_width=text_width, image_width=image_width)
        if image_width is None:
            raise ConfigError(
                "jmel reads pictures, and the store has none",
                where="model.name",
                hint="choose the model text, or ingest with --image-encoder",
            )
        width = text_width if config.width is None else config.width
        self.mention = JointEncoder(text_width=text_width, image_width=image_width, width=width)
        self.entity = JointEncoder(text_width=text_width, image_width=image_width, width=width)

    @classmethod
    def requires(cls, config: JmelConfig) -> frozenset[str]:
        return frozenset({"mention_text_span", "mention_image_mean", "entity_text", "entity_image"})

    def encode_mentions(self, batch: Batch) -> Float[Tensor, "B H"]:
        return self.mention(batch.need("mention_text_span"), batch.need("mention_image_mean"))

    def encode_entities(self, batch: Batch) -> Float[Tensor, "U H"]:
        return self.entity(batch.need("entity_text"), batch.need("entity_image"))
