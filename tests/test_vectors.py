"""The sample of norms behind the overview's sparklines: bounded, seeded, true."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import featurestore
from cli.main import main
from cli.render_parts import bar, sparkline
from cli.render_tree import FieldTree
from featurestore import Store
from featurestore import vectors as module
from featurestore.halves import widened
from featurestore.histogram import Histogram
from featurestore.summary import summarise
from featurestore.vectors import norm_sample, sample_rows
from tests.hdf5_edits import edited
from tests.snapshots import check_snapshot
from tests.terminal import shown
from tests.tiny_store import SIZES, TinyStore, write_tiny_store


@pytest.mark.parametrize("field", ["text_span", "text_tokens", "objects", "image_regions"])
def test_the_norms_of_a_small_field_are_those_of_all_its_vectors(
    tiny: TinyStore, store: Store, field: str
) -> None:
    found = norm_sample(store.mentions, field)
    vectors = [
        v for row in tiny.values[f"mentions/{field}"] for v in row.reshape(-1, row.shape[-1])
    ]
    lengths = np.linalg.norm(np.array(vectors, np.float64), axis=1).astype(np.float32)
    assert found is not None
    assert (found.rows, found.of, found.vectors, found.zeros) == (10, 10, len(vectors), 0)
    counts, edges = np.histogram(lengths.astype(np.float64), bins=8)
    assert found.histogram == Histogram(edges=tuple(edges.tolist()), counts=tuple(counts.tolist()))


def test_a_sample_is_bounded_in_rows_and_bytes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "NORM_ROWS", 6)
    monkeypatch.setattr(module, "NORM_BYTES", 3 * SIZES["T"] * SIZES["D"] * 4)
    view, record = (norm_sample(store.mentions, name) for name in ("text_span", "text_tokens"))
    assert view is not None
    assert record is not None
    assert (view.rows, record.rows) == (6, 3)
    assert norm_sample(store.mentions, "text_span") == view  # drawn by a fixed seed
    assert "of a sample of 3 to 6 rows a field (seed 0)" in shown(
        FieldTree(summarise(store)), width=200
    )


def test_columns_and_texts_have_no_norms(store: Store) -> None:
    for name in ("sim_image_text", "gold", "sentence"):
        assert norm_sample(store.mentions, name) is None


def test_a_damaged_record_leaves_the_rest_of_the_overview(tmp_path: Path) -> None:
    tiny = write_tiny_store(tmp_path / "s.h5")
    with edited(tiny.path) as file:
        file["mentions/token_count"][...] = 99
    with featurestore.open(tiny.path) as store:
        fields = {field.name: field for field in summarise(store).tables[1].fields}
    assert fields["text_tokens"].norms is None
    assert fields["text_span"].norms is not None


@given(st.integers(0, 50), st.integers(0, 50), st.integers(1, 60), st.integers(0, 3))
def test_a_sample_of_rows_is_distinct_and_inside(
    first: int, length: int, wanted: int, seed: int
) -> None:
    rows = range(first, first + length)
    found = sample_rows(rows, wanted, seed=seed).tolist()
    assert found == sorted(set(found))
    assert len(found) == min(length, wanted)
    assert set(found) <= set(rows)


def test_halves_are_widened_as_numpy_does() -> None:
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16).reshape(256, 256)
    np.testing.assert_array_equal(widened(halves), halves.astype(np.float32))
    floats = np.ones((2, 3), np.float32)
    assert widened(floats) is floats


# how it looks -----------------------------------------------------------------------------------


def drawn(*counts: int) -> str:
    return sparkline(Histogram(edges=tuple(map(float, range(len(counts) + 1))), counts=counts))


def test_a_sparkline_tells_an_empty_bin_from_a_small_one() -> None:
    assert drawn(0, 1, 500, 1000) == "▁▂▅█"
    assert drawn(0, 0) == "▁▁"
    assert drawn(*[1] * 16) == "████████"
    assert drawn(*[0, 8] * 7, 0, 0) == "███████▁"
    assert sparkline(None) == ""


def test_a_bar_is_drawn_in_eighths() -> None:
    assert [bar(share, 2) for share in (0, 1 / 16, 0.5, 9 / 16, 1)] == ["", "▏", "█", "█▏", "██"]


@pytest.mark.parametrize("width", [80, 120])
def test_the_tree_looks_as_it_did(store: Store, width: int) -> None:
    check_snapshot(f"tree_{width}", shown(FieldTree(summarise(store)), width=width))


def test_the_lengths_stand_beside_the_sparklines_where_there_is_room(store: Store) -> None:
    assert "shortest … longest" not in shown(FieldTree(summarise(store)), width=120)
    assert "shortest … longest" in shown(FieldTree(summarise(store)), width=150)
    assert "norms" not in shown(FieldTree(summarise(store)), width=72)


def test_json_holds_the_histograms(tiny: TinyStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(tiny.path), "--json"]) == 0
    tables = json.loads(capsys.readouterr().out)["tables"]
    norms = {field["name"]: field["norms"] for field in tables[0]["fields"]}
    assert norms["title"] is None
    assert (norms["text_mean"]["rows"], norms["text_mean"]["of"]) == (8, 8)
    assert sum(norms["text_mean"]["histogram"]["counts"]) == 8
