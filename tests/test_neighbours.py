"""Neighbours by cosine are those of a naive comparison with every row."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import featurestore
from cli.main import main
from cli.render_neighbours import neighbours_view
from featurestore import Store
from featurestore import neighbours as module
from featurestore.errors import ConfigError, DataError, FieldMissing, UnknownId
from featurestore.neighbours import default_field, neighbourhood, neighbours
from tests.hdf5_edits import edited
from tests.snapshots import check_snapshot
from tests.terminal import shown
from tests.tiny_store import SIZES, TinyStore, write_tiny_store


def with_vectors(path: Path, values: np.ndarray) -> Path:
    """A store whose ``entities/text_cls`` holds these values, such as ingest never writes."""
    tiny = write_tiny_store(path, entities=len(values), seed=3)
    with edited(tiny.path) as file:
        file["entities/text_cls"][...] = values
    return tiny.path


def naive(values: np.ndarray, row: int) -> dict[int, float]:
    """Row → cosine, of the rows that have a direction."""
    found = {}
    for other, vector in enumerate(values.astype(np.float64)):
        with np.errstate(invalid="ignore"):
            length = np.linalg.norm(vector) * np.linalg.norm(values[row].astype(np.float64))
        if other != row and np.isfinite(length) and length > 0:
            found[other] = float(vector @ values[row] / length)
    return found


ROWS = arrays(
    np.float32,
    st.tuples(st.integers(2, 12), st.just(SIZES["D"])),
    elements=st.sampled_from([0.0, 1.0, -2.5, 0.125, 3.0, np.nan, np.inf]),
    fill=st.just(1.0),
)


@settings(max_examples=8)  # an edited store is a second of work
@given(values=ROWS, k=st.integers(0, 14), block=st.integers(1, 200))
def test_they_are_those_of_a_naive_comparison(
    tmp_path_factory: pytest.TempPathFactory, values: np.ndarray, k: int, block: int
) -> None:
    path = with_vectors(tmp_path_factory.mktemp("near") / "s.h5", values)
    with pytest.MonkeyPatch.context() as patch, featurestore.open(path) as store:
        patch.setattr(module, "_BLOCK", block)
        with np.errstate(invalid="ignore"):
            length = np.linalg.norm(values[0])
        if not (np.isfinite(length) and length > 0):
            with pytest.raises(DataError, match="it has no direction"):
                neighbours(store, "entities", 0, field="text_cls", k=k)
            return
        found = neighbours(store, "entities", 0, field="text_cls", k=k)
    expected = naive(values, 0)
    assert len(found) == min(k, len(expected))
    for near in found:
        assert near.cosine == pytest.approx(expected.pop(near.row), abs=1e-5)
        assert near.id == f"Q{100 + near.row}"
    order = [(-near.cosine, near.row) for near in found]
    assert order == sorted(order)
    if found and expected:
        assert max(expected.values()) <= found[-1].cosine + 1e-5  # what is left is no nearer


def test_equal_rows_have_equal_cosines_and_come_in_their_order(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    values = rng.standard_normal((60, SIZES["D"])).astype(np.float32)
    values[[3, 17, 18, 41, 59]] = values[0] * 2  # in the same direction
    with featurestore.open(with_vectors(tmp_path / "s.h5", values)) as store:
        found = neighbours(store, "entities", 0, field="text_cls", k=4)
    assert [near.row for near in found] == [3, 17, 18, 41]
    assert len({near.cosine for near in found}) == 1
    assert found[0].cosine <= 1


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_the_stored_precision_does_not_matter(tmp_path: Path, dtype: str) -> None:
    tiny = write_tiny_store(tmp_path / "s.h5", entities=30, dtype=dtype)
    expected = naive(tiny.values["entities/text_mean"], 7)
    with featurestore.open(tiny.path) as store:
        found = neighbours(store, "entities", 7, k=29)
    assert {near.row for near in found} == set(expected)
    for near in found:
        assert near.cosine == pytest.approx(expected[near.row], abs=2e-3)


# which row, which field -------------------------------------------------------------------------


def test_the_default_field_is_a_text_before_a_picture(tmp_path: Path) -> None:
    without: set[str] = set()
    names = []
    for lost in ("text_span", "text_cls", "clip_text", "image_mean"):
        tiny = write_tiny_store(tmp_path / f"{lost}.h5", without=set(without))
        with featurestore.open(tiny.path) as store:
            names.append(default_field(store, "mentions"))
        without |= {f"mentions/{lost}"}
    assert names == ["text_span", "text_cls", "clip_text", "image_mean"]


def test_a_table_without_vectors_says_what_makes_them(tmp_path: Path) -> None:
    without = {f"entities/{name}" for name in module.DEFAULT_FIELDS}
    tiny = write_tiny_store(tmp_path / "s.h5", without=without)
    with featurestore.open(tiny.path) as store, pytest.raises(FieldMissing, match="--clip"):
        neighbours(store, "entities", 0)


def test_the_table_is_that_of_the_id_entities_first(tmp_path: Path) -> None:
    ids = ["Q100", *(f"m{i}-0" for i in range(1, 10))]
    tiny = write_tiny_store(tmp_path / "s.h5", change={"mentions/id": ids})
    with featurestore.open(tiny.path) as store:
        both = neighbourhood(store, "Q100")
        assert (both.table, both.row, both.also_a_mention) == ("entities", 0, True)
        assert "a mention has this id too" in shown(neighbours_view(both), width=80)
        mention = neighbourhood(store, "Q100", field="mentions/text_cls")
        assert (mention.table, mention.field) == ("mentions", "mentions/text_cls")
        assert mention.also_a_mention is False
        only = neighbourhood(store, "m4-0", k=3)
        assert (only.table, only.row, only.title, only.compared) == ("mentions", 4, "name4", 9)
        assert len(only.neighbours) == 3
        assert only.neighbours[0].text.startswith("Here stands name")
        number = neighbourhood(store, "2")
        assert (number.table, number.id) == ("entities", "Q102")


def test_an_id_of_no_table_names_the_nearest_of_both(store: Store) -> None:
    with pytest.raises(UnknownId, match="no entity and no mention") as caught:
        neighbourhood(store, "m33-0")
    assert "entities: " in caught.value.hint
    assert "mentions: nearest ids: m3-0" in caught.value.hint


@pytest.mark.parametrize("field", ["objects", "text_tokens", "title", "image_status"])
def test_fields_without_one_vector_a_row_are_refused(store: Store, field: str) -> None:
    with pytest.raises(ConfigError, match="does not hold one vector a row") as caught:
        neighbours(store, "entities", 0, field=field)
    assert "text_cls, text_mean" in caught.value.hint


def test_a_row_outside_the_table_is_refused(store: Store) -> None:
    with pytest.raises(UnknownId):
        neighbours(store, "entities", 8)


# the command ------------------------------------------------------------------------------------


def test_the_command_prints_json(tiny: TinyStore, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["inspect", str(tiny.path), "--neighbours", "Q103", "--top", "2"]
    assert main([*command, "--field", "entities/clip_image", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["table"], found["field"], found["row"]) == ("entities", "entities/clip_image", 3)
    assert len(found["neighbours"]) == 2
    assert set(found["neighbours"][0]) == {"row", "id", "title", "text", "cosine"}


def test_a_zero_vector_is_a_data_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = with_vectors(tmp_path / "s.h5", np.zeros((4, SIZES["D"]), np.float32))
    command = ["inspect", str(path), "--neighbours", "Q101", "--field", "entities/text_cls"]
    assert main(command) == 3
    assert "the vector of 'Q101' is zero" in capsys.readouterr().err


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("key", ["Q103", "m3-0"])
def test_neighbours_look_as_they_did(store: Store, key: str, width: int) -> None:
    text = shown(neighbours_view(neighbourhood(store, key)), width=width)
    check_snapshot(f"neighbours_{key}_{width}", text)
