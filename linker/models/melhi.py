"""``melhi``: MEL-HI (Zhang et al., "Attention-Based Multimodal Entity Linking with High-Quality
Images", DASFAA 2021, doi 10.1007/978-3-030-73197-7_35).

This is the network as the authors of DRIN re-implemented it for their comparison. A picture that
does not fit the sentence, or fits no candidate, is noise; a gate leaves it out:

    p = W_p·mean_R(image) + b_p           q_e = W_p·entity_image + b_p       the same map
    keep = [cos([CLS], p) > θ₁] and [some candidate has cos(mean_R(image), entity_image) > θ₂]
    p ← keep·p                            q_e ← keep·q_e
    w = span(tokens)                      z_t = [token_t ; w ; p]
    left, right = the last states of one LSTM over z before the mention, and over z after it
    mention = W_m[left ; right] + b_m     entity = W_e[x_e ; q_e] + b_e
    score = cos(mention, entity)

The left context starts after [CLS], the right one ends with the last token; an empty side is one
zero vector. The candidates of the gate are those scored: under protocol ``paper`` the gold is one of
them, so that the answer leaks into the mention.

The gate has no gradient: W_p learns from the mentions whose picture is kept, and where a fresh W_p
keeps none it stays as it is (``docs/decisions/melhi.md``).

A formula is computed where it is cheapest, which changes its rounding only: both sides of a mention
are two sequences of one packed LSTM batch, and entity layers run once a distinct entity, with and
without its picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from featurestore.errors import ConfigError
from linker.models.base import Blocks, Model, ModelConfig
from linker.models.layers import cosine, cosine_of_all, span_mean
from linker.models.pairs import spread

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

    from linker.batch import Batch


class MelhiConfig(ModelConfig):
    """Options of ``melhi``."""

    text_threshold: float = Field(
        default=0.3,
        ge=-1,
        le=1,
        description="θ₁: a picture is kept if its cosine with the sentence's [CLS] is larger. A "
        "fresh layer seldom gets there, and what keeps no picture learns nothing of pictures. "
        "Default: the reference's.",
    )
    image_threshold: float = Field(
        default=0.3,
        ge=-1,
        le=1,
        description="θ₂: and if its cosine with the picture of some candidate is larger. "
        "Default: the reference's.",
    )
    width: int | None = Field(
        default=None,
        ge=1,
        description="Width of the space where mention and entity are compared. Default: the "
        "store's text width, which is the reference's 768 for BERT.",
    )


class Melhi(Model[MelhiConfig]):
    """The network described at the top of this module."""

    summary: ClassVar[str] = "MEL-HI (DASFAA 2021): context of either side, picture where it fits."

    def __init__(self, *, config: MelhiConfig, text_width: int, image_width: int | None) -> None:
        super().__init__(config=config, text_width=text_width, image_width=image_width)
        if image_width is None:
            raise ConfigError(
                "melhi reads pictures, and the store has none",
                where="model.name",
                hint="choose the model text, or ingest with --image-encoder",
            )
        width = text_width if config.width is None else config.width
        self.image = nn.Linear(image_width, text_width)
        self.context = nn.LSTM(3 * text_width, 3 * text_width, batch_first=True)
        self.mention = nn.Linear(6 * text_width, width)
        self.entity = nn.Linear(2 * text_width, width)

    @classmethod
    def requires(cls, config: MelhiConfig) -> frozenset[str]:
        mention = ("text_tokens", "token_count", "token_start", "token_end", "image_mean")
        return frozenset({*(f"mention_{name}" for name in mention), "entity_text", "entity_image"})

    def forward(self, batch: Batch) -> Float[Tensor, "B C"]:
        others = spread(batch.need("entity_image"), batch.candidates)
        similarity = cosine(batch.need("mention_image_mean").unsqueeze(1), others).squeeze(1)
        mention, keep = self._mention(batch, similarity.amax(dim=1))
        mention = mention.unsqueeze(1)
        # Every entity without its picture, then every entity with it.
        entities = torch.cat(self._entities(batch))
        rows = batch.candidates + keep[:, None] * (len(entities) // 2)
        return cosine(mention, spread(entities, rows)).squeeze(1)

    def score_in_blocks(self, blocks: Blocks) -> Iterator[Float[Tensor, "B C"]]:
        """Two passes: the first finds the candidate whose picture is most like the mention's."""
        nearest = reduce(torch.maximum, (_nearest_picture(block) for block in blocks()))
        mention: Tensor | None = None
        for block in blocks():
            if mention is None:  # the same in every block
                mention, keep = self._mention(block, nearest)
            plain, pictured = (cosine_of_all(mention, side) for side in self._entities(block))
            yield torch.where(keep[:, None], pictured, plain)

    def _mention(
        self, batch: Batch, nearest: Float[Tensor, " B"]
    ) -> tuple[Float[Tensor, "B H"], Bool[Tensor, " B"]]:
        """W_m[left ; right] + b_m, and whether the mention's picture was kept.

        Args:
            nearest: the largest cosine of the mention's picture with one of a candidate.
        """
        image = self.image(batch.need("mention_image_mean"))
        cls = batch.need("mention_text_tokens")[:, :1]
        fits_text = cosine(cls, image.detach().unsqueeze(1)).flatten() > self.config.text_threshold
        keep = fits_text & (nearest > self.config.image_threshold)
        return self.mention(self._contexts(batch, image * keep[:, None])), keep

    def _contexts(self, batch: Batch, image: Float[Tensor, "B D"]) -> Float[Tensor, "B 6*D"]:
        """[left ; right]: the LSTM's last state over either side of each mention."""
        tokens = batch.need("mention_text_tokens")
        count, start = batch.need("mention_token_count"), batch.need("mention_token_start")
        end = batch.need("mention_token_end")
        span = span_mean(tokens, start=start, end=end, token_count=count)
        first = torch.cat([torch.ones_like(end), end + 1])
        last = torch.cat([torch.minimum(start + 1, count), count])
        sides = context_steps(
            tokens, torch.cat([span, image], dim=1), first=first, length=last - first
        )
        _, (state, _) = self.context(sides)
        left, right = state.squeeze(0).chunk(2)
        return torch.cat([left, right], dim=1)

    def _entities(self, batch: Batch) -> tuple[Float[Tensor, "U H"], Float[Tensor, "U H"]]:
        """W_e[x_e ; q_e] + b_e without pictures (q_e = 0), and with them."""
        text, image = batch.need("entity_text"), self.image(batch.need("entity_image"))
        for_text, for_image = self.entity.weight.split(text.shape[1], dim=1)
        plain = F.linear(text, for_text, self.entity.bias)
        return plain, plain + F.linear(image, for_image)


def _nearest_picture(block: Batch) -> Float[Tensor, " B"]:
    """The largest cosine of each mention's picture with one of a block's entities."""
    images = block.need("mention_image_mean"), block.need("entity_image")
    return cosine_of_all(*images).amax(dim=1)


def context_steps(
    tokens: Float[Tensor, "B T D"],
    beside: Float[Tensor, "B E"],
    *,
    first: Int[Tensor, " N"],
    length: Int[Tensor, " N"],
) -> PackedSequence:
    """N = 2·B stretches of tokens as sequences of [token ; beside], D + E channels a step.

    Only what is inside a stretch is copied. A stretch without tokens is one step of zeros.

    Args:
        beside: what stands beside every token of a mention.
        first: where each stretch begins: one of every mention, then the other of every mention.
        length: its tokens; 0 or less = none.
    """
    mentions, positions, _ = tokens.shape
    # The lengths are needed on the CPU to pack; the longest of them comes along.
    lengths = length.clamp_min(1).cpu()
    step = torch.arange(int(lengths.max()), device=tokens.device)
    inside = step < length[:, None]
    mention = torch.arange(len(first), device=tokens.device) % mentions
    place = mention[:, None] * positions + (first[:, None] + step).clamp_max(positions - 1)
    packed = pack_padded_sequence(
        torch.stack([place, inside], dim=2), lengths, batch_first=True, enforce_sorted=False
    )
    places, real = packed.data.unbind(dim=1)
    steps = torch.cat([tokens.flatten(0, 1)[places], beside[places // positions]], dim=1)
    return packed._replace(data=steps * real[:, None])
