"""The summaries behind ``drin-fs inspect``, and how they look: true numbers, at any width."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import featurestore
from cli.render import overview
from cli.render_row import entity_view, mention_view
from featurestore import Store
from featurestore import summary as summary_module
from featurestore.describe import describe_entity, describe_mention, find_row
from featurestore.errors import UnknownId
from featurestore.rivals import standing
from featurestore.schema import FIELDS
from featurestore.summary import StoreSummary, TableSummary, summarise
from tests.hdf5_edits import edited
from tests.terminal import shown
from tests.tiny_store import SIZES, TinyStore, write_tiny_store


def table_of(summary: StoreSummary, name: str) -> TableSummary:
    return next(table for table in summary.tables if table.name == name)


# the whole store --------------------------------------------------------------------------------


def test_recall_is_the_share_of_mentions_whose_gold_is_among_the_first(tmp_path: Path) -> None:
    answers = np.array([0, 3, 4, 1, 4, 4, 0, 2, 2, 3], np.int32)  # 4 = not retrieved
    golds = np.array([0, 1, -1, 3, 4, 5, 6, 7, 0, 1], np.int32)
    change = {"mentions/answer": answers, "mentions/gold": golds}
    tiny = write_tiny_store(tmp_path / "s.h5", change=change)
    with featurestore.open(tiny.path) as store:
        train, valid, test = summarise(store).splits
    assert (train.name, train.first, train.stop, train.mentions) == ("train", 0, 5, 5)
    assert (train.retrieved, train.gold_unknown) == (3, 1)
    assert train.recall == {1: 1 / 5, 4: 3 / 5}  # the k below K = 4, and K
    assert (valid.retrieved, valid.recall) == (1, {1: 1 / 2, 4: 1 / 2})
    assert test.recall == {1: 0.0, 4: 1.0}


def test_a_split_without_mentions_has_no_recall(tmp_path: Path) -> None:
    tiny = write_tiny_store(tmp_path / "s.h5", mentions=(3, 0, 2))
    with featurestore.open(tiny.path) as store:
        valid = summarise(store).splits[1]
        assert (valid.mentions, valid.recall) == (0, {})
        assert "valid" in shown(overview(summarise(store)), width=100)


def test_blocks_of_any_size_give_the_same_summary(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, entity = summarise(store), describe_entity(store, 3)
    monkeypatch.setattr(summary_module, "_BLOCK_BYTES", 1)  # one row at a time
    assert summarise(store) == whole
    assert describe_entity(store, 3) == entity


def test_pictures_are_counted_by_status(tmp_path: Path) -> None:
    statuses = np.array([0, 0, 1, 3, 3, 9, 0, 2], np.uint8)
    tiny = write_tiny_store(tmp_path / "s.h5", change={"entities/image_status": statuses})
    with featurestore.open(tiny.path) as store:
        pictures = table_of(summarise(store), "entities").pictures
    assert pictures == {
        "ok": 3, "missing": 1, "broken": 1, "too small": 2, "unknown": 0, "code 9": 1
    }  # fmt: skip


def test_sizes_are_those_of_the_file(tmp_path: Path) -> None:
    tiny = write_tiny_store(tmp_path / "s.h5", entities=40)
    with featurestore.open(tiny.path) as store:
        summary = summarise(store)
    with h5py.File(tiny.path) as file:
        for table in summary.tables:
            names = [field.name for field in FIELDS if field.table == table.name]
            assert [field.name for field in table.fields] == names
            for field in table.fields:
                item = file[table.name][field.name]
                if field.layout == "text":
                    parts = [item["bytes"], item["offsets"]]
                    assert field.stored_bytes == sum(part.id.get_storage_size() for part in parts)
                    continue
                assert (field.shape, field.dtype) == (item.shape, str(item.dtype))
                assert field.stored_bytes == item.id.get_storage_size()
                assert field.chunks == item.chunks
                assert field.logical_bytes == item.size * item.dtype.itemsize
                assert field.ratio == pytest.approx(field.logical_bytes / field.stored_bytes)
                assert field.compression == ("lz4" if field.layout == "record" else "none")
    assert summary.file_bytes == tiny.path.stat().st_size


def test_fields_that_are_not_stored_are_listed_by_what_makes_them(tmp_path: Path) -> None:
    without = {"entities/clip_text", "entities/clip_image", "entities/title"}
    tiny = write_tiny_store(tmp_path / "s.h5", without=without)
    with featurestore.open(tiny.path) as store:
        summary = summarise(store)
    absent = {"--clip": ("clip_text", "clip_image"), "raw source": ("title",)}
    assert table_of(summary, "entities").absent == absent
    assert table_of(summary, "mentions").absent == {}
    line = "not stored in /entities: title (from raw source); clip_text, clip_image (from --clip)"
    assert line in shown(overview(summary), width=120)


def test_the_rounding_of_float16_fields_is_told(tmp_path: Path) -> None:
    tiny = write_tiny_store(tmp_path / "s.h5", dtype="float16")
    with featurestore.open(tiny.path) as store:
        fields = {field.name: field for field in table_of(summarise(store), "entities").fields}
    assert 0 < fields["text_mean"].float16_error < 1e-3
    assert fields["token_count"].float16_error is None


@pytest.mark.parametrize("width", [72, 80, 120, 200])
def test_the_overview_fits_the_terminal_and_names_every_field(store: Store, width: int) -> None:
    text = shown(overview(summarise(store)), width=width)
    assert max(map(len, text.splitlines())) <= width
    for field in FIELDS:
        assert f" {field.name} " in text


def test_the_overview_tells_how_the_store_was_made(store: Store) -> None:
    text = shown(overview(summarise(store)), width=120)
    for word in ("bert-base-cased @ cd5ef92a9fb2f889e972770a36d4ed042daf221e",
                 "model.safetensors 9f86d081884c", "tokens 512", "train 2", "empty spans 1",
                 "2 mentions are not in their sentences", store.fingerprint, "data/tiny"):  # fmt: skip
        assert word in text
    assert "detector" not in text.split("Origin")[1]  # that encoder was none


def test_a_store_that_tells_nothing_of_its_making_is_shown_too(tmp_path: Path) -> None:
    tiny = write_tiny_store(tmp_path / "s.h5", entities=0, mentions=(0, 0, 0))
    with edited(tiny.path) as file:
        file.attrs["provenance"] = "{}"
        file.attrs["created"] = "long ago"
    with featurestore.open(tiny.path) as store:
        assert "long ago" in shown(overview(summarise(store)), width=80)


# one row ----------------------------------------------------------------------------------------


@given(top=st.integers(0, 6), answer=st.integers(0, SIZES["K"]), gold=st.sampled_from([-1, 5]))
@settings(max_examples=30)
def test_a_mention_lists_its_first_candidates_and_its_gold_wherever_it_stands(
    tmp_path_factory: pytest.TempPathFactory, top: int, answer: int, gold: int
) -> None:
    lists = np.array([[0, 1, 2, 3]], np.int32)
    if answer < 4:
        gold, lists[0, answer] = 5, 5
    change = {
        "mentions/candidates": lists,
        "mentions/gold": np.array([gold], np.int32),
        "mentions/answer": np.array([answer], np.int32),
        "mentions/sim_image_text": np.arange(5, dtype=np.float32)[None],
    }
    path = tmp_path_factory.mktemp("top") / "s.h5"
    tiny = write_tiny_store(path, mentions=(1, 0, 0), change=change)
    with featurestore.open(tiny.path) as store:
        mention = describe_mention(store, 0, top=top)
    lines = mention.candidates
    listed = [(line.rank, line.row, line.is_gold, line.sim_image_text) for line in lines]
    expected = [(i + 1, int(lists[0, i]), i == answer, float(i)) for i in range(min(top, 4))]
    if top <= answer < 4:
        expected.append((answer + 1, 5, True, float(answer)))
    if answer == 4 and gold == 5:
        expected.append((None, 5, True, 4.0))  # the gold slot
    assert listed == expected
    assert (mention.gold.id if mention.gold else None) == ("Q105" if gold == 5 else None)


def test_an_empty_place_among_the_candidates_is_no_entity(tmp_path: Path) -> None:
    change = {
        "mentions/candidates": np.array([[2, -1, -1, -1]], np.int32),
        "mentions/answer": np.array([4], np.int32),
        "mentions/gold": np.array([-1], np.int32),
    }
    tiny = write_tiny_store(tmp_path / "s.h5", mentions=(1, 0, 0), change=change)
    with featurestore.open(tiny.path) as store:
        mention = describe_mention(store, 0)
    assert [line.id for line in mention.candidates] == ["Q102", None, None, None]
    text = shown(mention_view(mention), width=100)
    assert text.count("(empty place)") == 3
    assert "not in the entity table" in text


def test_the_statistics_are_those_of_the_real_part_of_a_row(tiny: TinyStore, store: Store) -> None:
    found = {line.field: line for line in describe_mention(store, 4).statistics}
    text = tiny.values["mentions/text_tokens"][4].astype(np.float64)
    line = found["text_tokens"]
    assert line.shape == text.shape
    assert line.shape[0] < SIZES["T"]
    assert (line.minimum, line.maximum, line.zeros) == (text.min(), text.max(), 0.0)
    assert line.mean == pytest.approx(text.mean())
    assert line.std == pytest.approx(text.std())
    assert line.norm == pytest.approx(np.linalg.norm(text, axis=1).mean())
    assert {"image_regions", "clip_image", "object_scores", "sim_text_image"} < set(found)
    assert "token_count" not in found


def test_zeros_are_counted(tmp_path: Path) -> None:
    views = np.ones((8, SIZES["V"]), np.float32)
    views[3, :4] = 0
    tiny = write_tiny_store(tmp_path / "s.h5", change={"entities/image_pooled": views})
    with featurestore.open(tiny.path) as store:
        lines = {line.field: line for line in describe_entity(store, 3).statistics}
    assert lines["image_pooled"].zeros == 0.4


def test_an_entity_counts_the_mentions_that_point_at_it(tiny: TinyStore, store: Store) -> None:
    golds, lists = tiny.values["mentions/gold"], tiny.values["mentions/candidates"]
    for row in range(len(store.entities)):
        entity = describe_entity(store, row).standing
        assert entity.gold_of == (golds == row).sum()
        assert entity.candidate_of == sum(row in places for places in lists.tolist())
        assert entity.gold_examples == tuple(f"m{i}-0" for i in np.flatnonzero(golds == row)[:5])


def test_an_entity_competes_with_those_that_share_its_lists(tiny: TinyStore, store: Store) -> None:
    lists = [set(places) for places in tiny.values["mentions/candidates"].tolist()]
    for row in range(len(store.entities)):
        together = Counter(
            other for places in lists if row in places for other in places if other != row
        )
        wanted = sorted(together.items(), key=lambda item: (-item[1], item[0]))[:3]
        rivals = standing(store, row, top=3).rivals
        assert [(rival.row, rival.shared) for rival in rivals] == wanted
        assert [rival.id for rival in rivals] == store.entities.ids([r for r, _ in wanted])
        text = shown(entity_view(describe_entity(store, row)), width=100)
        assert (f"in {wanted[0][1]} of the lists" in text) if wanted else True


def test_only_the_first_mentions_of_an_entity_are_named(tmp_path: Path) -> None:
    golds = np.array([2] * 6 + [1] + [2] * 3, np.int32)
    tiny = write_tiny_store(tmp_path / "s.h5", change={"mentions/gold": golds})
    with featurestore.open(tiny.path) as store:
        entity = describe_entity(store, 2)
        assert entity.standing.gold_examples == ("m0-0", "m1-0", "m2-0", "m3-0", "m4-0")
        text = shown(entity_view(entity), width=100)
        assert "9 mentions: m0-0, m1-0, m2-0, m3-0, m4-0, …" in text


def test_digits_are_an_id_first_and_then_a_row(tmp_path: Path) -> None:
    ids = ["4", "Q1", "3", "Q3", "Q4", "Q5", "Q6", "Q7"]
    tiny = write_tiny_store(tmp_path / "s.h5", change={"entities/id": ids})
    with featurestore.open(tiny.path) as store:
        assert [find_row(store, "entities", key) for key in ("4", "3", "1", "Q4")] == [0, 2, 1, 4]
        for key in ("8", "9" * 5000):
            with pytest.raises(UnknownId, match="no row of that number") as caught:
                find_row(store, "entities", key)
            assert caught.value.hint == "rows are 0 … 7"
        for key in ("-1", "²", "Q9"):
            with pytest.raises(UnknownId, match="unknown id"):
                find_row(store, "entities", key)


def test_a_store_of_features_only_is_described_too(tmp_path: Path) -> None:
    optional = {f.path for f in FIELDS if f.made_by or f.name in ("image_path", "image_status")}
    tiny = write_tiny_store(tmp_path / "s.h5", without=optional)
    with featurestore.open(tiny.path) as store:
        summary = summarise(store)
        mention, entity = describe_mention(store, 0), describe_entity(store, 0)
    assert "Pictures" not in shown(overview(summary), width=80)
    assert (mention.span, mention.image_status, mention.statistics) == (None, None, ())
    text = shown(mention_view(mention), width=80)
    assert "Here stands name0, and é." in text
    for head in ("title", "tt ", "description", "picture"):
        assert head not in text
    assert (entity.title, entity.text) == (None, None)
    assert "Q100" in shown(entity_view(entity), width=80)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_mention_fits_the_terminal_and_keeps_its_numbers(tmp_path: Path, width: int) -> None:
    change = {"entities/description": ["a long description of the thing " * 20] * 8}
    tiny = write_tiny_store(tmp_path / "s.h5", change=change)
    with featurestore.open(tiny.path) as store:
        mention = describe_mention(store, 3)
        lines = [line.rstrip() for line in shown(mention_view(mention), width=width).splitlines()]
    assert max(map(len, lines)) <= width
    for candidate in mention.candidates:
        line = next(line for line in lines if line.lstrip().startswith(f"{candidate.rank or '–'} "))
        assert candidate.id in line
        assert set(candidate.edges) == {"tt", "ti", "it", "ii"}
        assert all(f"{value:.2f}" in line for value in candidate.edges.values())
        assert candidate.edges["it"] == pytest.approx(candidate.sim_image_text / 100)
        assert ("★" in line) == candidate.is_gold
    assert any("⟦name3⟧" in line for line in lines)
    table = lines[
        lines.index("Candidates") + 3 : next(
            i for i, x in enumerate(lines) if x.startswith("tt ti")
        )
    ]
    assert len([line for line in table if line]) == len(mention.candidates)  # one line each
