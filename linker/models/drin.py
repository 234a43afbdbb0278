"""``drin``: Dynamic Relation Interactive Network (Xing et al., "DRIN: Dynamic Relation Interactive
Network for Multimodal Entity Linking", ACM MM 2023, arXiv 2310.05589).

Every mention and each of its candidates form a small graph. Its vertices are the texts and the
pictures of both sides, its edges say how well they agree, and a few layers let vertices and edges
correct each other:

    mt ──tt── et      mt, mi   mention text, mention image     one a mention
      ╲ti  it╱        et, ei   entity text, entity image       one a candidate
        ╲  ╱
        ╱  ╲          A layer, from the old vertices and edges:
      ╱      ╲        agg(mt) = mean_C(tt·et + ti·ei)    agg(et) = tt·mt + it·mi
    mi ──ii── ei      agg(mi) = mean_C(it·et + ii·ei)    agg(ei) = ti·mt + ii·mi
                      u' = GELU(LayerNorm(W_h(agg(u) + u) + b_h))
                      e' = sigmoid(mean_H[(W_u m + b_u) ⊙ (W_v v + b_v)] + e)
    score = cos(mt, et) after the last layer

The defaults are the paper's: the linear layers, two graph layers, dynamic scalar edges.

A formula is computed where it is cheapest, which changes its rounding only: entity layers run once
a distinct entity, if at all (``drin_entities``), and ``plan_layers`` leaves out each vertex and edge
that cannot reach the score.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, field_validator
from torch import Tensor, nn

from featurestore.errors import ConfigError
from linker.models.base import Blocks, Model, ModelConfig
from linker.models.drin_blocks import score_in_blocks
from linker.models.drin_entities import EntityVertex, first_vertex
from linker.models.drin_graph import (
    ENDS,
    Edge,
    Edges,
    Entities,
    Mentions,
    ScalarLayer,
    VectorLayer,
    Vertex,
    plan_layers,
)
from linker.models.layers import (
    at_least_float32,
    cosine,
    cosine_of_pairs,
    padding_mask,
    sentence_transformer,
    span_mean,
)
from linker.models.pairs import spread

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from linker.batch import Batch

#: CLIP similarities are stored as logits, 100·cosine.
CLIP_SCALE = 100.0
#: Keeps the object edge of a pair without any detected object at 0 (the reference definition).
OBJECT_EPS = 1e-9


class DrinConfig(ModelConfig):
    """Options of ``drin``."""

    mention_text: Literal["linear", "transformer", "none"] = Field(
        default="linear",
        description="What the mention's text passes before the graph: a linear layer on its span; "
        "a transformer over the sentence, then the span; or nothing. Default: the reference's.",
    )
    entity_text: Literal["linear", "none"] = Field(
        default="linear",
        description="The same for the entity's text vector. Default: the reference's.",
    )
    layers: int = Field(default=2, ge=1, description="Graph layers. Default: the paper's 2.")
    edges: tuple[Edge, ...] = Field(
        default=("tt", "ti", "it", "ii"),
        description="The edges that are on (mention side first, t text, i image); the others are "
        "0 in every layer. Default: all four, as in the paper.",
    )
    edge_update: Literal["dynamic", "static"] = Field(
        default="dynamic",
        description="Whether layers update the edges or keep the first ones. Default: the paper's "
        "dynamic.",
    )
    edge_kind: Literal["scalar", "vector"] = Field(
        default="scalar",
        description="One number an edge, or one for each of the H channels. Default: the paper's "
        "scalar.",
    )
    width: int | None = Field(
        default=None,
        ge=1,
        description="Width H of the graph. Default: the store's text width, which is the "
        "reference's 768 for BERT; no other width is possible where a text layer is left out.",
    )
    transformer_layers: int = Field(
        default=8, ge=1, description="Layers of mention_text=transformer. Default: the reference's."
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

    @field_validator("edges")
    @classmethod
    def _each_edge_once(cls, edges: tuple[Edge, ...]) -> tuple[Edge, ...]:
        if len(set(edges)) < len(edges):
            raise ValueError(f"an edge is named twice in {', '.join(edges)}")
        return tuple(edge for edge in ENDS if edge in edges)


class SentenceEncoder(nn.Module):
    """A transformer over the sentence's tokens, then the mention's span."""

    def __init__(self, *, config: DrinConfig, width: int) -> None:
        super().__init__()
        self.encoder = sentence_transformer(
            width=width,
            layers=config.transformer_layers,
            heads=config.transformer_heads,
            feedforward=config.transformer_feedforward,
            dropout=config.transformer_dropout,
        )

    def forward(
        self,
        tokens: Float[Tensor, "B T D"],
        *,
        start: Int[Tensor, " B"],
        end: Int[Tensor, " B"],
        token_count: Int[Tensor, " B"],
    ) -> Float[Tensor, "B D"]:
        padding = padding_mask(token_count, tokens.shape[1])
        encoded = self.encoder(tokens, src_key_padding_mask=padding)
        return span_mean(encoded, start=start, end=end, token_count=token_count)


class Drin(Model[DrinConfig]):
    """The network described at the top of this module."""

    summary: ClassVar[str] = "DRIN (ACM MM 2023): a graph of texts and pictures for each mention."

    #: The features without which an edge cannot be computed, those of its vertices included.
    edge_fields: ClassVar[Mapping[str, frozenset[str]]] = {
        "tt": frozenset({"mention_text_span", "entity_text_cls"}),
        "ti": frozenset({"sim_text_image", "entity_image"}),
        "it": frozenset({"sim_image_text", "mention_image_mean"}),
        "ii": frozenset(
            {
                *("mention_objects", "mention_object_scores", "mention_image_mean"),
                *("entity_objects", "entity_object_scores", "entity_image"),
            }
        ),
    }
    takes_float16: ClassVar[frozenset[str]] = frozenset(
        {
            *("mention_text_span", "mention_image_mean", "mention_objects"),
            *("entity_text", "entity_text_cls", "entity_image", "entity_objects"),
        }
    )
    #: What each choice of ``mention_text`` reads.
    mention_text_fields: ClassVar[dict[str, frozenset[str]]] = {
        "linear": frozenset({"mention_text_span"}),
        "none": frozenset({"mention_text_span"}),
        "transformer": frozenset(
            {
                *("mention_text_tokens", "mention_token_count"),
                *("mention_token_start", "mention_token_end"),
            }
        ),
    }

    def __init__(self, *, config: DrinConfig, text_width: int, image_width: int | None) -> None:
        super().__init__(config=config, text_width=text_width, image_width=image_width)
        width = text_width if config.width is None else config.width
        _check_widths(config, text_width=text_width, width=width)
        plans = plan_layers(config.edges, config.layers)
        self.edges_on = plans[0].edges

        self.mention_text: nn.Module = nn.Identity()
        if config.mention_text == "linear":
            self.mention_text = nn.Linear(text_width, width)
        elif config.mention_text == "transformer":
            self.mention_text = SentenceEncoder(config=config, width=width)
        linear_entity = config.entity_text == "linear"
        self.entity_text = nn.Linear(text_width, width) if linear_entity else nn.Identity()
        self.images = nn.ModuleDict()
        for vertex in ("mi", "ei"):
            if vertex not in plans[0].inputs:
                continue
            if image_width is None:
                raise ConfigError(
                    f"the edges {', '.join(config.edges)} read pictures, and the store has none",
                    where="model.edges",
                    hint="set model.edges=[tt], or ingest with --image-encoder",
                )
            self.images[vertex] = nn.Linear(image_width, width)

        layer = VectorLayer if config.edge_kind == "vector" else ScalarLayer
        dynamic = config.edge_update == "dynamic"
        self.graph = nn.ModuleList(layer(width=width, plan=p, dynamic=dynamic) for p in plans)

    @classmethod
    def requires(cls, config: DrinConfig) -> frozenset[str]:
        edges = plan_layers(config.edges, config.layers)[0].edges
        text = cls.mention_text_fields[config.mention_text] | {"entity_text"}
        return text.union(*(cls.edge_fields[edge] for edge in edges))

    def forward(self, batch: Batch) -> Float[Tensor, "B C"]:
        mentions: Mentions = self.first_mentions(batch)
        entities: Entities = self.first_entities(batch)
        edges: Edges = self.first_edges(batch)
        for layer in self.graph:
            mentions, entities, edges = layer(mentions, entities, edges)
        return cosine(mentions["mt"].unsqueeze(1), entities["et"].pairs).squeeze(1)

    @property
    def recordable(self) -> bool:
        return not isinstance(self.mention_text, SentenceEncoder)

    def score_in_blocks(self, blocks: Blocks) -> Iterator[Float[Tensor, "B C"]]:
        return score_in_blocks(self, blocks)

    def first_mentions(self, batch: Batch) -> dict[Vertex, Tensor]:
        """mt⁰, mi⁰ (B, H)."""
        vertices: dict[Vertex, Tensor] = {}
        if isinstance(self.mention_text, SentenceEncoder):
            vertices["mt"] = self.mention_text(
                batch.need("mention_text_tokens"),
                start=batch.need("mention_token_start"),
                end=batch.need("mention_token_end"),
                token_count=batch.need("mention_token_count"),
            )
        else:
            vertices["mt"] = self.mention_text(at_least_float32(batch.need("mention_text_span")))
        if "mi" in self.images:
            picture = at_least_float32(batch.need("mention_image_mean"))
            vertices["mi"] = self.images["mi"](picture)
        return vertices

    def first_entities(self, batch: Batch) -> dict[Vertex, EntityVertex]:
        """et⁰, ei⁰, once a distinct entity."""
        text = first_vertex(self.entity_text, batch.need("entity_text"), batch.candidates)
        vertices: dict[Vertex, EntityVertex] = {"et": text}
        if "ei" in self.images:
            picture = batch.need("entity_image")
            vertices["ei"] = first_vertex(self.images["ei"], picture, batch.candidates)
        return vertices

    def first_edges(self, batch: Batch) -> dict[Edge, Tensor]:
        """tt⁰, ti⁰, it⁰, ii⁰, as far as they are on; (B, C), or (B, C, 1) for vector edges."""
        edges: dict[Edge, Tensor] = {}
        for edge in self.edges_on:
            if edge == "tt":
                edges[edge] = text_similarity(batch)
            elif edge == "ti":
                edges[edge] = batch.need("sim_text_image") / CLIP_SCALE
            elif edge == "it":
                edges[edge] = batch.need("sim_image_text") / CLIP_SCALE
            else:
                edges[edge] = object_similarity(batch)
        if self.config.edge_kind == "vector":
            return {edge: value.unsqueeze(2) for edge, value in edges.items()}
        return edges


def text_similarity(batch: Batch) -> Float[Tensor, "B C"]:
    """tt⁰: cosine of the mention's span and token 0 of the entity's text, both untrained."""
    span = batch.need("mention_text_span").unsqueeze(1)
    return cosine_of_pairs(span, batch.need("entity_text_cls"), batch.candidates).squeeze(1)


def object_similarity(batch: Batch) -> Float[Tensor, "B C"]:
    """ii⁰: cosine of every two detected objects, averaged with the product of their scores."""
    objects = batch.need("entity_objects")  # (U, P, V)
    cosines = cosine_of_pairs(batch.need("mention_objects"), objects, batch.candidates)
    entity_scores = spread(batch.need("entity_object_scores"), batch.candidates)
    weights = batch.need("mention_object_scores")[:, :, None, None] * entity_scores[:, None]
    return (weights * cosines).sum(dim=(1, 3)) / (weights.sum(dim=(1, 3)) + OBJECT_EPS)


def _check_widths(config: DrinConfig, *, text_width: int, width: int) -> None:
    """Refuse options that cannot work at this width, naming the option to change."""
    if width != text_width and (config.mention_text != "linear" or config.entity_text != "linear"):
        raise ConfigError(
            f"without a linear text layer the graph is as wide as the text, {text_width}, "
            f"and not {width}",
            where="model.width",
            hint="leave model.width out, or set model.mention_text and model.entity_text to linear",
        )
    if config.edge_kind == "vector" and width % 2:
        raise ConfigError(
            f"vector edges are put together from two halves, and the width {width} is odd",
            where="model.width",
            hint="choose an even width, or model.edge_kind=scalar",
        )
