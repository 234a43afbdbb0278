"""``ghmfc``: Gated Hierarchical Multimodal Fusion (Wang et al., "Multimodal Entity Linking with
Gated Hierarchical Fusion and Contrastive Training", SIGIR 2022, doi 10.1145/3477495.3531867).

This is the network as the authors of DRIN re-implemented it for their comparison: on frozen
features, with the triplet loss of the other models in place of contrastive training. Sentence and
picture read each other, and a gate weighs what either of them found:

    CA(A, B):   P = LN(MHA(Q=A, K=V=B))    P = LN(F₁·P + P)    A reads B,
                Y = LN(MHA(Q=P, K=V=A))    Y = LN(F₂·Y + Y)    and then itself, with B in mind

    text    = GELU(W_t·max_T CA(text, image) + b_t)
    image   = GELU(W_i·max_R CA(image, text) + b_i)
    g       = softmax(W_s[text ; image] + b_s)
    mention = g₀·text + g₁·image               entity = W·x_e + b
    score   = cos(mention, entity)

F₁ and F₂ are linear layers, and each LN has weights of its own.

One thing differs from the reference by default: the maximum over the sentence leaves padding out
(``maximum``), so that a score does not depend on the length sentences are padded to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from featurestore.errors import ConfigError
from linker.models.base import BiEncoder, ModelConfig
from linker.models.layers import (
    at_least_float32,
    check_heads,
    padding_mask,
    sentence_transformer,
    span_mean,
    token_max,
)

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

    from linker.batch import Batch


class GhmfcConfig(ModelConfig):
    """Options of ``ghmfc``."""

    mention: Literal["multimodal", "linear", "transformer", "none"] = Field(
        default="multimodal",
        description="What encodes the mention: attention between sentence and picture; a linear "
        "layer on its span; a transformer over the sentence; or nothing, the span itself. "
        "Default: the reference's.",
    )
    attention: Literal["bi", "text"] = Field(
        default="bi",
        description="With mention=multimodal: bi = the sentence reads the picture, the picture "
        "reads the sentence, and a gate mixes both; text = the sentence reads the picture. "
        "Default: the reference's.",
    )
    pooling: Literal["max", "span"] = Field(
        default="max",
        description="How one vector is made of the sentence, with attention=text and "
        "mention=transformer: its maximum, or the mean of the mention's tokens. Default: the "
        "reference's.",
    )
    maximum: Literal["tokens", "padded"] = Field(
        default="tokens",
        description="What a maximum over the sentence runs over: its tokens; or all positions up "
        "to the store's length, padding included, as in the reference. Default chosen here: a "
        "score that does not depend on that length.",
    )
    entity_text: Literal["linear", "none"] = Field(
        default="linear",
        description="What the entity's text vector passes: a linear layer, or nothing. Default: "
        "the reference's.",
    )
    width: int | None = Field(
        default=None,
        ge=1,
        description="Width of the space where mention and entity are compared. Default: the "
        "store's text width, which is the reference's 768 for BERT; another one needs linear "
        "layers on both sides.",
    )
    heads: int = Field(
        default=8,
        ge=1,
        description="Heads of the attention between sentence and picture. Default: the reference's.",
    )
    dropout: float = Field(
        default=0.1, ge=0, lt=1, description="Its dropout. Default: the reference's."
    )
    transformer_layers: int = Field(
        default=8, ge=1, description="Layers of mention=transformer. Default: the reference's."
    )
    transformer_heads: int = Field(
        default=8, ge=1, description="Its attention heads. Default: the reference's."
    )
    transformer_feedforward: int = Field(
        default=512, ge=1, description="Its feed-forward width. Default: the reference's."
    )
    transformer_dropout: float = Field(
        default=0.1, ge=0, lt=1, description="Its dropout. Default: the reference's."
    )

    @model_validator(mode="after")
    def _choices_fit(self) -> Self:
        if self.gated and self.pooling == "span":
            raise ValueError(
                "model.pooling=span is for model.attention=text and model.mention=transformer; "
                "model.attention=bi takes maxima"
            )
        if self.mention == self.entity_text == "none":
            raise ValueError(
                "model.mention=none and model.entity_text=none leave nothing to learn; set one of "
                "them to linear"
            )
        return self

    @property
    def gated(self) -> bool:
        """Whether sentence and picture read each other."""
        return self.mention == "multimodal" and self.attention == "bi"

    @property
    def reads_sentence(self) -> bool:
        """Whether the mention's encoder sees the sentence, and not the span alone."""
        return self.mention in ("multimodal", "transformer")

    @property
    def token_field(self) -> str:
        """The batch field of the sentence."""
        padded = self.maximum == "padded" and self.pooling == "max"
        return "mention_text_padded" if padded else "mention_text_tokens"

    @property
    def linear_mention(self) -> bool:
        """Whether the mention's encoder ends with a linear layer, which may change its width."""
        return self.gated or self.mention == "linear"


class AttentionBlock(nn.Module):
    """x = LN(MHA(Q, K=V)), then LN(F·x + x): as wide as Q (W), over K and V (X)."""

    def __init__(self, *, width: int, read_width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(
            width, heads, dropout=dropout, kdim=read_width, vdim=read_width, batch_first=True
        )
        self.norm_read = nn.LayerNorm(width)
        self.linear = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)

    def forward(
        self,
        queries: Float[Tensor, "B N W"],
        read: Float[Tensor, "B M X"],
        padding: Bool[Tensor, "B M"] | None,
    ) -> Float[Tensor, "B N W"]:
        """``padding``: True where a position of ``read`` must not be looked at."""
        x, _ = self.attention(queries, read, read, key_padding_mask=padding, need_weights=False)
        x = self.norm_read(at_least_float32(x))
        return self.norm(at_least_float32(self.linear(x) + x))


class CrossAttention(nn.Module):
    """CA(A, B) of the module's text: A reads B, and then itself, with B in mind."""

    def __init__(self, *, width: int, other_width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.across = AttentionBlock(
            width=width, read_width=other_width, heads=heads, dropout=dropout
        )
        self.back = AttentionBlock(width=width, read_width=width, heads=heads, dropout=dropout)

    def forward(
        self,
        own: Float[Tensor, "B N W"],
        other: Float[Tensor, "B M X"],
        *,
        own_padding: Bool[Tensor, "B N"] | None = None,
        other_padding: Bool[Tensor, "B M"] | None = None,
    ) -> Float[Tensor, "B N W"]:
        return self.back(self.across(own, other, other_padding), own, own_padding)


class GatedFusion(nn.Module):
    """Sentence and picture read each other, and a gate mixes the maxima of both."""

    def __init__(
        self, *, text_width: int, image_width: int, width: int, heads: int, dropout: float
    ) -> None:
        super().__init__()
        self.text_attention = CrossAttention(
            width=text_width, other_width=image_width, heads=heads, dropout=dropout
        )
        self.image_attention = CrossAttention(
            width=image_width, other_width=text_width, heads=heads, dropout=dropout
        )
        self.text = nn.Linear(text_width, width)
        self.image = nn.Linear(image_width, width)
        self.gate = nn.Linear(2 * width, 2)

    def forward(
        self,
        tokens: Float[Tensor, "B T D"],
        regions: Float[Tensor, "B R V"],
        *,
        padding: Bool[Tensor, "B T"],
        left_out: Bool[Tensor, "B T"] | None,
    ) -> Float[Tensor, "B H"]:
        """
        Args:
            padding: positions that attention must not look at.
            left_out: positions that take no part in the maximum.
        """
        read_text = self.text_attention(tokens, regions, own_padding=padding)
        read_image = self.image_attention(regions, tokens, other_padding=padding)
        text = F.gelu(self.text(token_max(read_text, left_out)))
        image = F.gelu(self.image(token_max(read_image)))
        gate = torch.softmax(at_least_float32(self.gate(torch.cat([text, image], dim=1))), dim=1)
        return gate[:, :1] * text + gate[:, 1:] * image


class Ghmfc(BiEncoder[GhmfcConfig]):
    """The network described at the top of this module."""

    summary: ClassVar[str] = "GHMFC (SIGIR 2022): sentence and picture read each other; a gate."

    def __init__(self, *, config: GhmfcConfig, text_width: int, image_width: int | None) -> None:
        super().__init__(config=config, text_width=text_width, image_width=image_width)
        width = text_width if config.width is None else config.width
        _check_width(config, text_width=text_width, width=width)
        self.mention = _mention_encoder(
            config, text_width=text_width, image_width=image_width, width=width
        )
        linear_entity = config.entity_text == "linear"
        self.entity_text = nn.Linear(text_width, width) if linear_entity else nn.Identity()

    @classmethod
    def requires(cls, config: GhmfcConfig) -> frozenset[str]:
        fields = {"entity_text"}
        if not config.reads_sentence:
            return frozenset(fields | {"mention_text_span"})
        fields |= {config.token_field, "mention_token_count"}
        if config.mention == "multimodal":
            fields |= {"mention_image_regions"}
        if config.pooling == "span":
            fields |= {"mention_token_start", "mention_token_end"}
        return frozenset(fields)

    def encode_entities(self, batch: Batch) -> Float[Tensor, "U H"]:
        return self.entity_text(batch.need("entity_text"))

    def encode_mentions(self, batch: Batch) -> Float[Tensor, "B H"]:
        if not self.config.reads_sentence:
            return self.mention(batch.need("mention_text_span"))
        tokens = batch.need(self.config.token_field)
        count = batch.need("mention_token_count")
        padding = padding_mask(count, tokens.shape[1])
        left_out = padding if self.config.maximum == "tokens" else None
        if isinstance(self.mention, GatedFusion):
            regions = batch.need("mention_image_regions")
            return self.mention(tokens, regions, padding=padding, left_out=left_out)
        if isinstance(self.mention, CrossAttention):
            regions = batch.need("mention_image_regions")
            encoded = self.mention(tokens, regions, own_padding=padding)
        else:
            encoded = self.mention(tokens, src_key_padding_mask=padding)
        if self.config.pooling == "max":
            return token_max(encoded, left_out)
        start, end = batch.need("mention_token_start"), batch.need("mention_token_end")
        return span_mean(encoded, start=start, end=end, token_count=count)


def _mention_encoder(
    config: GhmfcConfig, *, text_width: int, image_width: int | None, width: int
) -> nn.Module:
    """The encoder that ``config`` names; a mention comes out ``width`` wide."""
    if config.mention == "none":
        return nn.Identity()
    if config.mention == "linear":
        return nn.Linear(text_width, width)
    if config.mention == "transformer":
        return sentence_transformer(
            width=text_width,
            layers=config.transformer_layers,
            heads=config.transformer_heads,
            feedforward=config.transformer_feedforward,
            dropout=config.transformer_dropout,
        )
    if image_width is None:
        raise ConfigError(
            "mention=multimodal reads pictures, and the store has none",
            where="model.mention",
            hint="set model.mention=linear, or ingest with --image-encoder",
        )
    heads, dropout = config.heads, config.dropout
    if not config.gated:
        check_heads(heads, {"text": text_width}, option="model.heads")
        return CrossAttention(
            width=text_width, other_width=image_width, heads=heads, dropout=dropout
        )
    check_heads(heads, {"text": text_width, "image": image_width}, option="model.heads")
    return GatedFusion(
        text_width=text_width, image_width=image_width, width=width, heads=heads, dropout=dropout
    )


def _check_width(config: GhmfcConfig, *, text_width: int, width: int) -> None:
    """Refuse a width that one of the sides cannot have."""
    if width != text_width and not (config.linear_mention and config.entity_text == "linear"):
        raise ConfigError(
            f"without a linear layer on both sides they are as wide as the text, {text_width}, "
            f"and not {width}",
            where="model.width",
            hint="leave model.width out, or set model.entity_text=linear and model.mention to "
            "multimodal (with model.attention=bi) or linear",
        )
