"""The methods of ``build candidates`` against naive readings of them; blocks change nothing."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz import fuzz, utils

import featurestore
from featurestore.construct.candidate_options import SCORERS
from featurestore.construct.dense import DenseEntities, DenseFields
from featurestore.construct.dense_index import IndexedEntities
from featurestore.construct.first_stage import K1, B, WordIndex, pooled_titles
from featurestore.construct.fuzzy import FuzzyScorer, FuzzyTitles
from featurestore.construct.title_table import TitleTable
from featurestore.construct.top_k import RunningTop
from featurestore.errors import ConfigError, SourceError
from featurestore.schema import NO_ROW
from tests.tiny_store import TinyStore, write_tiny_store

#: Names of few letters, so that scores tie.
NAMES = st.text("ab C.", min_size=1, max_size=6)


def table_of(names: list[list[str]]) -> TitleTable:
    titles = {f"Q{row}": own[0] for row, own in enumerate(names)}
    return TitleTable.of(titles, {f"Q{row}": own[1:] for row, own in enumerate(names)})


# the running best ---------------------------------------------------------------------------------


@given(
    scores=st.lists(st.sampled_from([-np.inf, 0.0, 1.0, 1.5, 2.0]), max_size=40),
    k=st.integers(1, 12),
    block=st.integers(1, 15),
)
def test_the_running_best_is_that_of_sorting_all_ties_by_row(
    scores: list[float], k: int, block: int
) -> None:
    best = RunningTop(k)
    for first in range(0, len(scores), block):
        best.add(first, np.array(scores[first : first + block], np.float32))
    ranked = sorted(
        (row for row, score in enumerate(scores) if score > -np.inf),
        key=lambda row: (-scores[row], row),
    )
    assert best.rows.tolist() == ranked[:k]
    assert best.scores.tolist() == [scores[row] for row in ranked[:k]]


# fuzzy --------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    names=st.lists(st.lists(NAMES, min_size=1, max_size=3), min_size=1, max_size=20),
    mention=NAMES,
    k=st.integers(1, 8),
    block=st.integers(1, 25),
    scorer=st.sampled_from(SCORERS),
)
def test_blocks_of_titles_find_what_scoring_every_name_finds(
    names: list[list[str]], mention: str, k: int, block: int, scorer: str
) -> None:
    table, count = table_of(names), min(k, len(names))
    found = FuzzyTitles(table, k=count, scorer=scorer, processor="default", block=block)
    score = getattr(fuzz, scorer)
    wanted = utils.default_process(mention)
    best = [
        max(np.float32(score(wanted, utils.default_process(name))) for name in own) for own in names
    ]
    ranked = sorted(range(len(names)), key=lambda row: (-best[row], row))
    assert found.find([mention])[0].tolist() == ranked[:count]


@pytest.mark.parametrize(
    ("processor", "first"), [("default", "Q0"), ("lower", "Q1"), ("none", "Q2")]
)
def test_processors_decide_which_letters_differ(processor: str, first: str) -> None:
    table = TitleTable.of({"Q0": "o b", "Q1": "o-b", "Q2": "O-B"})
    order = {"default": ["Q0", "Q1", "Q2"], "lower": ["Q1", "Q2", "Q0"]}
    found = FuzzyTitles(table, k=3, scorer="ratio", processor=processor).find(["O-B"])[0]
    qids = [table.qids[row] for row in found]
    assert qids[0] == first
    assert qids == order.get(processor, qids)


def test_titles_are_scored_block_by_block() -> None:
    table = TitleTable.of({f"Q{row}": f"name {row}" for row in range(60_000)})
    titles = FuzzyTitles(table, k=10, scorer="ratio", processor="none")
    titles.find(["name 7"])
    tracemalloc.start()
    try:
        found = titles.find([f"name {row}" for row in range(40)])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found[:, 0].tolist() == list(range(40))
    assert peak < 100_000  # all scores would be 9,600,000 bytes, those of one mention 240,000


# first stages -------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(names=st.lists(NAMES, min_size=1, max_size=15), mention=NAMES, k=st.integers(1, 6))
def test_bm25_sums_the_weights_of_shared_words(names: list[str], mention: str, k: int) -> None:
    words = [dict.fromkeys(name.casefold().replace(".", " ").split()) for name in names]
    mean = sum(map(len, words)) / len(words)
    scores = []
    for own in words:
        total = 0.0
        for word in dict.fromkeys(mention.casefold().replace(".", " ").split()):
            if word in own:
                holders = sum(word in other for other in words)
                idf = np.log(1 + (len(names) - holders + 0.5) / (holders + 0.5))
                total += idf * (K1 + 1) / (1 + K1 * (1 - B + B * len(own) / mean))
        scores.append(total)
    found = WordIndex.build(names).top([mention], k)[0]
    rows = found[found != NO_ROW]
    assert len(rows) == min(k, sum(score > 0 for score in scores))
    best = sorted((score for score in scores if score > 0), reverse=True)
    assert np.allclose([scores[row] for row in rows], best[: len(rows)], rtol=1e-5)


@pytest.mark.parametrize("method", ["ngram", "bm25"])
def test_a_pool_is_put_in_order_by_the_scorer_and_then_keeps_that_of_the_first_stage(
    method: str,
) -> None:
    table = table_of([["Paris Hilton"], ["Lutetia", "Paris"], ["Paris (Texas)"], ["Rome"]])
    scorer = FuzzyScorer(scorer="ratio", processor="default")
    titles = pooled_titles(table, method, k=4, pool=10, scorer=scorer)
    # "paris hilton" and "paris  texas" tie; bm25 counts the words of a bracket, ngram does not
    own = {"ngram": [1, 2, 0, NO_ROW], "bm25": [1, 0, 2, NO_ROW]}[method]
    assert titles.find(["paris", "Oslo"]).tolist() == [own, [NO_ROW] * 4]
    alike = pooled_titles(table, method, k=4, pool=10, scorer=None)
    assert alike.find(["Paris Hilton"])[0].tolist()[0] == 0
    assert alike.find(["Paris"])[0].tolist() == own
    assert titles.find(["Paris Texas"])[0].tolist()[0] == 2
    narrow = pooled_titles(table, method, k=1, pool=1, scorer=scorer)
    assert narrow.find(["Paris", "Oslo"]).tolist() == [[1], [NO_ROW]]


def test_an_entity_stands_once_however_many_of_its_names_are_in_the_pool() -> None:
    table = table_of([["Anna Bell"], ["Anna", "Anna B", "Bell Anna"], ["Zoe Bell"]])
    titles = pooled_titles(table, "ngram", k=3, pool=10, scorer=None)
    assert sorted(titles.find(["Anna Bell"])[0].tolist()) == [0, 1, 2]


# vectors ------------------------------------------------------------------------------------------

#: Of small whole numbers and length 1 or 5, so that cosines are exact and tie.
_ENTITIES = np.array(
    [[3, 4, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0], [0, 5, 0, 0, 0, 0],
     [1, 0, 0, 0, 0, 0], [-1, 0, 0, 0, 0, 0], [4, 3, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0]],
    np.float32,
)  # fmt: skip


@pytest.fixture
def vectors(tmp_path: Path) -> TinyStore:
    spans = np.zeros((10, 6), np.float32)
    spans[:, 0] = 1
    spans[1] = [0, 2, 0, 0, 0, 0]
    spans[2] = 0
    change = {"entities/text_mean": _ENTITIES, "mentions/text_span": spans}
    return write_tiny_store(tmp_path / "s.h5", change=change)


@pytest.mark.parametrize("block", [1, 3, 100])
def test_dense_compares_with_every_entity_in_the_order_of_the_titles(
    vectors: TinyStore, block: int
) -> None:
    qids = ["Q104", "Q999", "Q102", "Q101", "Q100", "Q106", "Q103", "Q105"]
    with featurestore.open(vectors.path) as store:
        fields = DenseFields.of(store, "text_span")
        assert str(fields) == "text_span:text_mean"
        dense = DenseEntities(store, qids, k=4, fields=fields, block=block)
        assert len(dense) == 7
        # Q104 = Q101 > Q106 > Q100; and 3 4 above 4 3 for the other axis; no direction, no candidate
        assert dense.find(["m0-0", "m1-0", "m2-0"]).tolist() == [
            [0, 3, 5, 4], [6, 4, 5, 0], [NO_ROW] * 4,
        ]  # fmt: skip


def test_dense_says_which_mentions_have_no_vector_and_which_fields_do_not_fit(
    vectors: TinyStore, tmp_path: Path
) -> None:
    with featurestore.open(vectors.path) as store:
        fields = DenseFields.of(store, "text_span:text_mean")
        dense = DenseEntities(store, ["Q100"], k=1, fields=fields)
        assert dense.find(["m0-0", "m99"]).tolist() == [[0], [NO_ROW]]
        assert dense.without_vector(["m0-0", "m99", "m1-0", "m2-0"], block=3) == {
            "m99": "not in the store", "m2-0": "of a vector without direction",
        }  # fmt: skip
        with pytest.raises(SourceError, match="none of the entities"):
            DenseEntities(store, ["Q1"], k=1, fields=fields)
        with pytest.raises(ConfigError, match="6 values, entities/image_pooled has not"):
            DenseFields.of(store, "text_span:image_pooled")
        with pytest.raises(ConfigError, match="mentions/image_regions does not hold one vector"):
            DenseFields.of(store, "image_regions")


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_an_index_finds_what_all_comparisons_find_where_there_are_few(
    vectors: TinyStore, kind: str
) -> None:
    qids = [f"Q{100 + row}" for row in range(8)]
    with featurestore.open(vectors.path) as store:
        dense = DenseEntities(store, qids, k=1, fields=DenseFields.of(store, "text_span"))
        found = IndexedEntities(dense, kind=kind, k=3).find(["m0-0", "m1-0", "m2-0"])
    assert sorted(found[0].tolist()) == [1, 4, 6]
    assert found[1].tolist() == [3, 0, 6]
    assert found[2].tolist() == [NO_ROW] * 3
