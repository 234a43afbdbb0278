"""``hiecoatt``: Hierarchical Co-Attention (Lu et al., "Hierarchical Question-Image Co-Attention for
Visual Question Answering", NIPS 2016, arXiv 1606.00061).

The papers of GHMFC and DRIN use it as a baseline of entity linking: the sentence takes the place of
the question, and its last fused vector is the mention. A sentence is read at three levels, and at
each of them sentence and picture look at each other:

    words      q_t = W_q·token_t + b_q                          v_r = W_v·region_r + b_v
    phrases    p_t = max_{s=1,2,3} tanh(W_s·[q_t … q_{t+s-1}])   zeros after the last token
    sentence   s_t = LSTM(p_1 … p_t)

    A(X; g):   H = tanh(W_x X + (W_g g)1ᵀ)     a = softmax(w·H)     A = Σ_i a_i x_i

    alternating   ŝ = A(Q; 0)    v̂ = A(V; ŝ)    q̂ = A(Q; v̂)
    parallel      C = tanh(Qᵀ W_b V)       H_v = tanh(W_v V + (W_q Q)C)     a_v = softmax(w_v·H_v)
                                           H_q = tanh(W_q Q + (W_v V)Cᵀ)    a_q = softmax(w_q·H_q)

    h_w = tanh(W_w(q̂_w + v̂_w))           h_p = tanh(W_p[q̂_p + v̂_p ; h_w])
    mention = h_s = tanh(W_s[q̂_s + v̂_s ; h_p])
    entity  = W_e x_e + b_e               score = cos(mention, entity)

As in the publication, nothing marks the mention within its sentence.

What differs from it, and what was chosen here:

- Q is a linear map of the stored token features, in the place of the publication's word embeddings;
  [CLS] and [SEP] are tokens like others. V is a linear map of the stored regions, because q̂ + v̂ asks
  for one width. The entity's side and the loss are those of the other models.
- Chosen here: every level, and every A of a level, has weights of its own, and the hidden width of an
  A is that of its input; the publication leaves both open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from featurestore.errors import ConfigError
from linker.models.base import BiEncoder, ModelConfig
from linker.models.layers import at_least_float32, padding_mask

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

    from linker.batch import Batch

#: Lengths of the phrases: one, two and three tokens (section 3.2 of the publication).
WINDOWS = (1, 2, 3)


class HiecoattConfig(ModelConfig):
    """Options of ``hiecoatt``."""

    attention: Literal["alternating", "parallel"] = Field(
        default="alternating",
        description="How sentence and picture look at each other: one after the other, or both at "
        "once through a matrix of tokens and regions. Default chosen here of the paper's two: "
        "alternating, which needs no such matrix.",
    )
    width: int | None = Field(
        default=None,
        ge=1,
        description="Width of all levels and of the space where mention and entity are compared. "
        "Default: the store's text width (chosen here, as for the other models; the paper's is "
        "512).",
    )
    dropout: float = Field(
        default=0.5,
        ge=0,
        lt=1,
        description="Of what enters each of the layers that fuse the levels. Default: the paper's.",
    )


class Attention(nn.Module):
    """A(X; g): the mean of the items X (N, width H), weighed with a look at the guide g."""

    def __init__(self, *, width: int, guided: bool) -> None:
        super().__init__()
        self.items = nn.Linear(width, width, bias=False)
        self.guide = nn.Linear(width, width, bias=False) if guided else None
        self.weigh = nn.Linear(width, 1, bias=False)

    def forward(
        self,
        items: Float[Tensor, "B N H"],
        guide: Float[Tensor, "B H"] | None = None,
        padding: Bool[Tensor, "B N"] | None = None,
    ) -> Float[Tensor, "B H"]:
        """``padding``: True where an item has no weight."""
        hidden = self.items(items)
        if self.guide is not None and guide is not None:
            hidden = hidden + self.guide(guide).unsqueeze(1)
        return weighted_mean(items, self.weigh(torch.tanh(hidden)), padding)


def weighted_mean(
    items: Float[Tensor, "B N H"],
    logits: Float[Tensor, "B N 1"],
    padding: Bool[Tensor, "B N"] | None,
) -> Float[Tensor, "B H"]:
    """Σ_i a_i x_i with a = softmax of the logits over the items that are no padding."""
    logits = at_least_float32(logits.transpose(1, 2))
    if padding is not None:
        logits = logits.masked_fill(padding.unsqueeze(1), -torch.inf)
    return (torch.softmax(logits, dim=2) @ at_least_float32(items)).squeeze(1)


class AlternatingCoAttention(nn.Module):
    """The sentence alone, the picture with a look at it, the sentence with a look at the picture."""

    def __init__(self, *, width: int) -> None:
        super().__init__()
        self.summarise = Attention(width=width, guided=False)
        self.image = Attention(width=width, guided=True)
        self.text = Attention(width=width, guided=True)

    def forward(
        self,
        text: Float[Tensor, "B T H"],
        regions: Float[Tensor, "B R H"],
        padding: Bool[Tensor, "B T"],
    ) -> Float[Tensor, "B H"]:
        """q̂ + v̂, which is all that the fusion reads."""
        image = self.image(regions, self.summarise(text, padding=padding))
        return image + self.text(text, image, padding)


class ParallelCoAttention(nn.Module):
    """Sentence and picture look at each other at once, through their affinity C."""

    def __init__(self, *, width: int) -> None:
        super().__init__()
        self.affinity = nn.Linear(width, width, bias=False)
        self.text = nn.Linear(width, width, bias=False)
        self.image = nn.Linear(width, width, bias=False)
        self.weigh_text = nn.Linear(width, 1, bias=False)
        self.weigh_image = nn.Linear(width, 1, bias=False)

    def forward(
        self,
        text: Float[Tensor, "B T H"],
        regions: Float[Tensor, "B R H"],
        padding: Bool[Tensor, "B T"],
    ) -> Float[Tensor, "B H"]:
        """q̂ + v̂, which is all that the fusion reads."""
        affinity = torch.tanh(text @ self.affinity(regions).transpose(1, 2))
        affinity = affinity.masked_fill(padding.unsqueeze(2), 0)
        of_text, of_image = self.text(text), self.image(regions)
        seen_text = torch.tanh(of_text + affinity @ of_image)
        seen_image = torch.tanh(of_image + affinity.transpose(1, 2) @ of_text)
        image = weighted_mean(regions, self.weigh_image(seen_image), None)
        return image + weighted_mean(text, self.weigh_text(seen_text), padding)


class Phrases(nn.Module):
    """For each token the maximum over the phrases of one, two and three tokens that start there."""

    def __init__(self, *, width: int) -> None:
        super().__init__()
        self.windows = nn.ModuleList(nn.Conv1d(width, width, size, bias=False) for size in WINDOWS)

    def forward(self, words: Float[Tensor, "B T H"]) -> Float[Tensor, "B T H"]:
        """``words``: zero at padding."""
        channels = words.transpose(1, 2)
        sizes = zip(WINDOWS, self.windows, strict=True)
        grams = [window(F.pad(channels, (0, size - 1))) for size, window in sizes]
        # tanh grows, so that the maximum may come first
        return torch.tanh(torch.stack(grams).amax(dim=0)).transpose(1, 2)


class Hiecoatt(BiEncoder[HiecoattConfig]):
    """The network described at the top of this module."""

    summary: ClassVar[str] = "HieCoAtt (NIPS 2016): co-attention of words, phrases and sentence."

    def __init__(self, *, config: HiecoattConfig, text_width: int, image_width: int | None) -> None:
        super().__init__(config=config, text_width=text_width, image_width=image_width)
        if image_width is None:
            raise ConfigError(
                "hiecoatt reads pictures, and the store has none",
                where="model.name",
                hint="choose the model text, or ingest with --image-encoder",
            )
        width = text_width if config.width is None else config.width
        alternating = config.attention == "alternating"
        attention = AlternatingCoAttention if alternating else ParallelCoAttention
        self.words = nn.Linear(text_width, width)
        self.regions = nn.Linear(image_width, width)
        self.phrases = Phrases(width=width)
        self.sentence = nn.LSTM(width, width, batch_first=True)
        self.attentions = nn.ModuleList(attention(width=width) for _ in range(3))
        self.dropout = nn.Dropout(config.dropout)
        self.fuse_words = nn.Linear(width, width, bias=False)
        self.fuse_phrases = nn.Linear(2 * width, width, bias=False)
        self.fuse_sentence = nn.Linear(2 * width, width, bias=False)
        self.entity = nn.Linear(text_width, width)

    @classmethod
    def requires(cls, config: HiecoattConfig) -> frozenset[str]:
        mention = ("text_tokens", "token_count", "image_regions")
        return frozenset({*(f"mention_{name}" for name in mention), "entity_text"})

    def encode_entities(self, batch: Batch) -> Float[Tensor, "U H"]:
        return self.entity(batch.need("entity_text"))

    def encode_mentions(self, batch: Batch) -> Float[Tensor, "B H"]:
        """h_s: what sentence and picture agree on, from words to sentence."""
        regions = self.regions(batch.need("mention_image_regions"))
        tokens = batch.need("mention_text_tokens")
        padding = padding_mask(batch.need("mention_token_count"), tokens.shape[1])
        words = self.words(tokens).masked_fill(padding.unsqueeze(2), 0)
        phrases = self.phrases(words)
        # Padding comes last, so that the states of a sentence's own tokens do not see it.
        sentence, _ = self.sentence(phrases)
        levels = zip(self.attentions, (words, phrases, sentence), strict=True)
        seen = [attention(level, regions, padding) for attention, level in levels]
        fused = torch.tanh(self.fuse_words(self.dropout(seen[0])))
        fused = torch.tanh(self.fuse_phrases(self.dropout(torch.cat([seen[1], fused], dim=1))))
        return torch.tanh(self.fuse_sentence(self.dropout(torch.cat([seen[2], fused], dim=1))))
