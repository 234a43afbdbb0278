"""DRIN against its formulas computed naively, and the work it must not do."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch.utils.flop_counter import FlopCounterMode

from featurestore.errors import ConfigError
from linker.models.drin import Drin, DrinConfig, object_similarity
from linker.models.drin_entities import first_vertex
from linker.models.drin_graph import plan_layers
from linker.models.layers import cosine, span_mean
from tests.model_batches import changed, random_batch, with_only
from tests.naive_drin import Variant, naive_drin
from tests.naive_equality import assert_equals_naive
from tests.naive_parts import Sizes

EDGES = ("tt", "ti", "it", "ii")
OBJECTS = {
    *("mention_objects", "mention_object_scores"),
    *("entity_objects", "entity_object_scores"),
}
SUBSETS = [
    subset for size in range(len(EDGES) + 1) for subset in itertools.combinations(EDGES, size)
]


variants = st.builds(
    Variant,
    mention_text=st.sampled_from(["linear", "transformer", "none"]),
    tokens=st.booleans(),
    entity_text=st.sampled_from(["linear", "none"]),
    edge_kind=st.sampled_from(["scalar", "vector"]),
    edge_update=st.sampled_from(["dynamic", "static"]),
    layers=st.integers(1, 4),
)
sizes = st.builds(
    Sizes,
    B=st.integers(1, 3),
    C=st.integers(2, 5),
    D=st.sampled_from([8, 12]),
    V=st.integers(1, 9),
    H=st.sampled_from([6, 10]),
    R=st.integers(1, 3),
    T=st.integers(5, 9),
    S=st.integers(4, 7),
    Om=st.integers(1, 3),
    Oe=st.integers(1, 2),
    feedforward=st.integers(1, 9),
    transformer_layers=st.integers(1, 2),
)


@settings(max_examples=25, deadline=None)
@given(variant=variants, sizes=sizes, seed=st.integers(0, 2**16))
def test_drin_of_any_variant_and_size_is_the_naive_one(
    variant: Variant, sizes: Sizes, seed: int
) -> None:
    if (variant.mention_text, variant.entity_text) != ("linear", "linear"):
        sizes = Sizes(**{**vars(sizes), "H": sizes.D})
    naive = naive_drin(sizes=sizes, variant=variant, seed=seed)
    assert_equals_naive("drin", naive, edge_update=variant.edge_update)


def test_vertices_of_pairs_are_computed_once() -> None:
    candidates = torch.arange(6).reshape(2, 3)
    linear = torch.nn.Linear(4, 5)
    for stored in (torch.rand(6, 4), torch.rand(3, 4)):  # more entities than channels, and fewer
        vertex = first_vertex(linear, stored, candidates % len(stored))
        assert vertex.pairs is vertex.pairs
        torch.testing.assert_close(vertex.pairs, linear(stored)[candidates % len(stored)])


@pytest.mark.parametrize("edge_kind", ["scalar", "vector"])
@pytest.mark.parametrize("edges", SUBSETS, ids="+".join)
def test_edges_that_are_off_are_zero_in_every_layer(edges: tuple[str, ...], edge_kind: str) -> None:
    tt, ti, it, ii = (float(edge in edges) for edge in EDGES)
    for layers in (1, 2, 3):
        variant = Variant(enabled=(tt, ti, it, ii), edge_kind=edge_kind, layers=layers)
        small = Sizes(B=2, C=3, D=8, V=5, H=6, R=2, T=6, Om=2)
        naive = naive_drin(sizes=small, variant=variant, seed=layers)
        assert_equals_naive("drin", naive, edges=edges)


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("edges", SUBSETS, ids="+".join)
def test_features_of_edges_that_are_off_are_not_read(edges: tuple[str, ...], layers: int) -> None:
    config = DrinConfig.model_validate({"edges": edges, "layers": layers})
    required = Drin.requires(config)
    text = {"mention_text_span", "entity_text"}
    assert required <= text.union(*(Drin.edge_fields[edge] for edge in edges))
    model = Drin(config=config, text_width=16, image_width=20)
    assert model(with_only(random_batch(), required)).isfinite().all()


@pytest.mark.parametrize(
    ("edges", "layers", "unread"),
    [
        (EDGES, 1, OBJECTS),  # one layer carries ii to mi and ei, and no further
        (("tt", "ii"), 3, OBJECTS | {"mention_image_mean", "entity_image"}),
        (("it", "ii"), 2, set()),
    ],
)
def test_features_that_cannot_reach_the_score_are_not_read(
    edges: tuple[str, ...], layers: int, unread: set[str]
) -> None:
    config = DrinConfig.model_validate({"edges": edges, "layers": layers})
    text = {"mention_text_span", "entity_text"}
    of_edges = text.union(*(Drin.edge_fields[edge] for edge in edges))
    assert Drin.requires(config) == of_edges - unread


def test_the_last_layer_computes_no_image_vertex_and_no_edge() -> None:
    first, last = plan_layers(("tt", "ti", "it", "ii"), 2)
    assert first.vertices == ("mt", "mi", "et", "ei")
    assert first.next_edges == ("tt", "ti", "it")
    assert last.vertices == ("mt", "et")
    assert last.next_edges == ()


def test_only_weights_that_can_learn_exist() -> None:
    def weights(**options: Any) -> set[str]:
        config = DrinConfig.model_validate(options)
        model = Drin(config=config, text_width=16, image_width=20)
        return {name.removesuffix(".weight") for name in model.state_dict() if "bias" not in name}

    layers = {f"graph.{i}.{name}" for i in (0, 1) for name in ("w_h", "norm")}
    static = {"mention_text", "entity_text", "images.mi", "images.ei"} | layers
    assert weights(edge_update="static") == static
    assert weights() == static | {"graph.0.w_u", "graph.0.w_v"}
    assert weights(edges=["tt", "it"], edge_update="static") == static - {"images.ei"}
    assert weights(mention_text="none", edge_update="static") == static - {"mention_text"}


def test_entity_layers_run_once_a_distinct_entity_and_no_product_is_wasted() -> None:
    mentions, candidates, entities, text, image = 8, 12, 10, 64, 96
    batch = random_batch(
        mentions=mentions,
        candidates=candidates,
        entities=entities,
        text_width=text,
        image_width=image,
    )
    model = Drin(config=DrinConfig(), text_width=text, image_width=image)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(batch)
    h = text
    once_an_entity = entities * (text * h + image * h + 2 * h * h)  # W3, W4; W_h of et and ei
    once_a_pair = mentions * candidates * h * h  # W_h of et in the last layer, and nothing else
    once_a_mention = mentions * (text * h + image * h + 15 * h * h)
    unavoidable = 2 * (once_an_entity + once_a_pair + once_a_mention)
    dots = 2 * mentions * candidates * (text + 3 * 2 * image + 20 * h)  # one row with one vector
    assert counter.get_total_flops() <= unavoidable + dots
    assert unavoidable + dots < 2 * mentions * candidates * (text + image + 4 * h) * h


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"mention_text": "none", "width": 8}, "as wide as the text, 16, and not 8", "model.width"),
        ({"entity_text": "none", "width": 8}, "as wide as the text, 16, and not 8", "model.width"),
        (
            {"mention_text": "transformer", "transformer_heads": 5},
            "5 heads do not divide the text width 16",
            "a divisor",
        ),
        ({"edge_kind": "vector", "width": 7}, "the width 7 is odd", "even width"),
    ],
)
def test_options_that_cannot_work_together_are_refused(
    options: dict[str, Any], message: str, hint: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Drin(config=DrinConfig.model_validate(options), text_width=16, image_width=20)
    assert hint in caught.value.hint


def test_edges_that_read_pictures_are_refused_where_the_store_has_none() -> None:
    with pytest.raises(ConfigError, match="the edges tt, ti read pictures") as caught:
        Drin(config=DrinConfig(edges=("tt", "ti")), text_width=16, image_width=None)
    assert "model.edges=[tt]" in caught.value.hint
    Drin(config=DrinConfig(edges=("tt",)), text_width=16, image_width=None)


def test_edges_are_named_once_in_any_order_and_others_are_refused() -> None:
    assert DrinConfig.model_validate({"edges": ["ii", "tt"]}).edges == ("tt", "ii")
    with pytest.raises(ValidationError, match="named twice in tt, tt"):
        DrinConfig(edges=("tt", "tt"))
    with pytest.raises(ValidationError, match="edges"):
        DrinConfig.model_validate({"edges": ["tx"]})


def test_a_mention_cut_off_by_truncation_is_read_as_cls() -> None:
    tokens = torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    start = torch.tensor([1, 4, 9, 2])
    end = torch.tensor([3, 6, 11, 2])
    count = torch.tensor([6, 5, 6, 6])
    spans = span_mean(tokens, start=start, end=end, token_count=count)
    torch.testing.assert_close(spans[0], tokens[0, 2:4].mean(dim=0))
    for row in (1, 2, 3):  # past the real tokens; past the tensor; empty by itself
        torch.testing.assert_close(spans[row], tokens[row, 0])
    spans.sum().backward()
    assert tokens.grad is not None
    assert tokens.grad.isfinite().all()


def test_a_zero_vector_is_similar_to_nothing_and_has_a_finite_gradient() -> None:
    queries = torch.tensor([[[0.0, 0.0], [3.0, 4.0]]], requires_grad=True)
    keys = torch.tensor([[[1.0, 0.0], [0.0, 0.0], [6e-9, 8e-9]]])
    similarity = cosine(queries, keys)
    # 5·1e-8 is above the smallest product of norms, 1e-8: parallel vectors have a cosine of 1.
    torch.testing.assert_close(similarity, torch.tensor([[[0.0, 0.0, 0.0], [0.6, 0.0, 1.0]]]))
    torch.testing.assert_close(cosine(queries, keys / 10)[0, 1, 2].item(), 0.5)
    similarity.sum().backward()
    assert queries.grad is not None
    assert queries.grad.isfinite().all()


def test_pictures_without_objects_have_an_object_edge_of_zero() -> None:
    batch = changed(random_batch(), lambda n, t: t * 0 if n == "mention_object_scores" else t)
    assert torch.equal(object_similarity(batch), torch.zeros(5, 7))
