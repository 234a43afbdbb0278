"""``describe_field``: what it says of a field is what a naive reading of the rows says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import featurestore
from cli.render_field import field_view
from featurestore import Store, field_report, field_scan, text_blocks
from featurestore.errors import ConfigError, FieldMissing
from featurestore.field_report import FeaturePart, FieldReport, describe_field
from featurestore.field_texts import TextPart
from featurestore.field_values import ValuePart
from featurestore.schema import FIELDS, IMAGE_STATUS
from tests.hdf5_edits import edited
from tests.snapshots import check_snapshot
from tests.terminal import shown
from tests.tiny_store import SIZES, TinyStore, write_tiny_store


def features(report: FieldReport) -> list[FeaturePart]:
    assert report.kind == "numbers"
    return [part for part in report.parts if isinstance(part, FeaturePart)]


def with_vectors(path: Path, values: np.ndarray) -> Path:
    """A store whose ``entities/text_cls`` holds these values, such as ingest never writes."""
    tiny = write_tiny_store(path, entities=len(values), seed=3)
    with edited(tiny.path) as file:
        file["entities/text_cls"][...] = values
    return tiny.path


# features ---------------------------------------------------------------------------------------


def check_against_naive(part: FeaturePart, rows: list[np.ndarray]) -> None:
    values = np.concatenate([row.reshape(-1) for row in rows]).astype(np.float64)
    vectors = np.concatenate([row.reshape(-1, row.shape[-1]) for row in rows]).astype(np.float64)
    assert (part.rows, part.values) == (len(rows), len(values))
    assert part.mean == pytest.approx(values.mean(), abs=1e-9)
    assert part.std == pytest.approx(values.std())
    assert (part.minimum, part.maximum) == (values.min(), values.max())
    assert list(part.histogram.counts) == np.histogram(values, bins=16)[0].tolist()
    assert part.quantiles["50%"] == pytest.approx(np.median(values))
    lengths = np.linalg.norm(vectors, axis=1).astype(np.float32).astype(np.float64)
    assert part.norms.vectors == len(lengths)
    assert part.norms.mean == pytest.approx(lengths.mean())
    assert sum(part.norms.histogram.counts) == len(lengths)
    assert part.norms.quantiles["50%"] == pytest.approx(np.median(lengths))
    assert 1 <= part.rank.effective <= min(vectors.shape)


@pytest.mark.parametrize(
    "path",
    ["mentions/text_span", "mentions/text_tokens", "mentions/objects", "mentions/image_regions"],
)
@pytest.mark.parametrize("block", [1, 1 << 20])
def test_the_figures_of_features_are_those_of_all_rows_and_of_each_split(
    tiny: TinyStore, monkeypatch: pytest.MonkeyPatch, path: str, block: int
) -> None:
    monkeypatch.setattr(field_scan, "_BLOCK", block)
    monkeypatch.setattr(field_scan, "_RELEASE", 1)
    with featurestore.open(tiny.path) as store:
        parts = features(describe_field(store, path))
    assert [part.name for part in parts] == ["all", "train", "valid", "test"]
    values = tiny.values[path]
    for part, rows in zip(parts, [range(10), *tiny.splits.values()], strict=True):
        check_against_naive(part, [values[row] for row in rows])


ROWS = arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.just(SIZES["D"])),
    elements=st.sampled_from([0.0, -0.0, 1.0, -2.5, np.nan, np.inf, -np.inf]),
)


@settings(max_examples=6)  # an edited store is a second of work
@given(values=ROWS)
def test_rows_that_are_wrong_are_counted(
    tmp_path_factory: pytest.TempPathFactory, values: np.ndarray
) -> None:
    path = with_vectors(tmp_path_factory.mktemp("odd") / "s.h5", values)
    with featurestore.open(path) as store:
        report = describe_field(store, "entities/text_cls")
    (part,) = features(report)
    finite = values[np.isfinite(values)].astype(np.float64)
    assert part.values == len(finite)
    assert part.zero_rows == (values == 0).all(axis=1).sum()
    assert part.nan_rows == np.isnan(values).any(axis=1).sum()
    assert part.infinite_rows == np.isinf(values).any(axis=1).sum()
    assert part.duplicate_rows == len(values) - len({row.tobytes() for row in values})
    if len(finite):
        assert part.mean == pytest.approx(finite.mean(), abs=1e-12)
        assert part.std == pytest.approx(finite.std(), abs=1e-7)
        assert (part.minimum, part.maximum) == (finite.min(), finite.max())
        assert sum(part.histogram.counts) == len(finite)
        assert part.norms.zeros == (values == 0).all(axis=1).sum()
    else:
        assert (part.mean, part.std, part.minimum, part.maximum) == (None,) * 4
        assert part.histogram is None
    assert shown(field_view(report), width=80)


def describe_field_of(path: Path) -> FieldReport:
    with featurestore.open(path) as store:
        return describe_field(store, "entities/text_cls")


def test_wrong_rows_are_named_by_id(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((6, SIZES["D"])).astype(np.float32)
    values[1] = 0
    values[2, 0], values[3, 1] = np.nan, np.inf
    values[5] = values[4]
    report = describe_field_of(with_vectors(tmp_path / "s.h5", values))
    (part,) = features(report)
    assert part.zero_examples == ("Q101",)
    assert part.not_finite_examples == ("Q102", "Q103")
    assert part.duplicate_examples == ("Q105",)
    text = shown(field_view(report), width=80)
    for words in ("Q101", "Q102, Q103", "Q105", "Roy & Vetterli 2007"):
        assert words in text


def test_a_large_field_is_sampled_and_says_so(
    tiny: TinyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(field_scan, "RECORD_BYTES", 4 * SIZES["T"] * SIZES["D"] * 4)
    monkeypatch.setattr(field_report, "SAMPLE_ROWS", 2)
    with featurestore.open(tiny.path) as store:
        report, again = (describe_field(store, "mentions/text_tokens") for _ in range(2))
    assert report == again  # the seed is fixed
    parts = features(report)
    assert (parts[0].rows, parts[0].rows_read, parts[0].rows_sampled) == (10, 4, 2)
    assert sum(part.rows_read for part in parts[1:]) == 4
    text = shown(field_view(report), width=120)
    assert "read: a sample of 4 of 10 rows (seed 0)" in text
    assert "a sample of 2 rows of each column at most (seed 0)" in text


def test_plain_columns_of_real_numbers_have_no_norms(store: Store) -> None:
    for part in features(describe_field(store, "mentions/sim_image_text")):
        assert (part.norms, part.rank) == (None, None)
        assert part.histogram is not None


# integers and texts -----------------------------------------------------------------------------


def test_integers_are_counted_exactly(tmp_path: Path) -> None:
    statuses = np.array([0, 0, 1, 3, 3, 9, 0, 2, 0, 0], np.uint8)
    tiny = write_tiny_store(tmp_path / "s.h5", change={"mentions/image_status": statuses})
    with featurestore.open(tiny.path) as store:
        report = describe_field(store, "mentions/image_status")
        golds = describe_field(store, "mentions/candidates").parts[0]
    whole, train, _, _ = report.parts
    assert isinstance(whole, ValuePart)
    assert [(line.value, line.count) for line in whole.common] == [
        (0, 5), (3, 2), (1, 1), (2, 1), (9, 1)
    ]  # fmt: skip
    words = [line.meaning for line in whole.common]
    assert words == [*(IMAGE_STATUS[value] for value in (0, 3, 1, 2)), "code 9"]
    assert whole.mean == pytest.approx(statuses.mean())
    assert whole.std == pytest.approx(statuses.std())
    assert (whole.distinct, whole.minimum, whole.maximum) == (5, 0, 9)
    assert whole.quantiles["50%"] == np.quantile(statuses, 0.5, method="inverted_cdf")
    assert (train.rows, train.distinct) == (5, 3)
    assert isinstance(golds, ValuePart)
    assert golds.values == 10 * SIZES["K"]
    assert all(line.meaning == f"Q{100 + line.value}" for line in golds.common)


def test_rows_that_are_none_are_told(tmp_path: Path) -> None:
    golds = np.array([-1] * 6 + [0, 1, 2, 77], np.int32)
    tiny = write_tiny_store(tmp_path / "s.h5")
    with edited(tiny.path) as file:
        file["mentions/gold"][...] = golds
    with featurestore.open(tiny.path) as store:
        part = describe_field(store, "mentions/gold").parts[0]
    assert isinstance(part, ValuePart)
    assert (part.common[0].value, part.common[0].meaning) == (-1, "no entity row")
    assert {line.value: line.meaning for line in part.common}[77] == "outside the table"


@settings(max_examples=20)
@given(
    texts=st.lists(st.text(max_size=6), min_size=1, max_size=12),
    block=st.integers(1, 40),
)
def test_texts_are_measured_in_characters(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], block: int
) -> None:
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    path = tmp_path_factory.mktemp("texts") / "s.h5"
    change = {"entities/title": texts}
    write_tiny_store(path, entities=len(texts), change=change)
    with pytest.MonkeyPatch.context() as patch, featurestore.open(path) as store:
        patch.setattr(text_blocks, "BLOCK_BYTES", block)
        (part,) = describe_field(store, "entities/title").parts
    assert isinstance(part, TextPart)
    lengths = np.array([len(text) for text in texts])
    held = [text for text in texts if text]
    assert (part.empty, part.distinct) == (len(texts) - len(held), len(set(held)))
    assert part.duplicates == len(held) - len(set(held))
    assert part.bytes == sum(len(text.encode()) for text in texts)
    assert (part.minimum, part.maximum) == (lengths.min(), lengths.max())
    assert part.mean == pytest.approx(lengths.mean())
    assert sum(part.histogram.counts) == len(texts)
    for line in part.repeated:
        assert texts.count(line.text) == line.count > 1
    assert len(part.repeated) == sum(texts.count(text) > 1 for text in set(held))


# the whole --------------------------------------------------------------------------------------


#: All but pictures.
DESCRIBED = [field.path for field in FIELDS if field.name != "thumbnail"]


@pytest.mark.parametrize("path", DESCRIBED)
@pytest.mark.parametrize("width", [72, 200])
def test_every_field_of_the_format_can_be_described(store: Store, path: str, width: int) -> None:
    report = describe_field(store, path)
    text = shown(field_view(report), width=width)
    assert report.path == path
    assert path in text
    assert max(map(len, text.splitlines())) <= width


def test_an_empty_table_can_be_described(tmp_path: Path) -> None:
    tiny = write_tiny_store(tmp_path / "s.h5", entities=0, mentions=(0, 0, 0))
    with featurestore.open(tiny.path) as store:
        for path in DESCRIBED:
            report = describe_field(store, path)
            assert report.parts[0].rows == 0
            assert shown(field_view(report), width=80)


def test_pictures_have_no_distribution(store: Store) -> None:
    with pytest.raises(ConfigError, match="entities/thumbnail holds bytes") as caught:
        describe_field(store, "entities/thumbnail")
    assert "give a field of numbers or texts" in caught.value.hint


@pytest.mark.parametrize(
    ("path", "error", "words"),
    [
        ("text_span", ConfigError, "give TABLE/NAME"),
        ("nothing/text_span", ConfigError, "tables: entities, mentions"),
        ("mentions/", ConfigError, "no field is called 'mentions/'"),
        ("mentions/text_mean", FieldMissing, "fields: "),
    ],
)
def test_what_is_no_field_is_refused(
    store: Store, path: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        describe_field(store, path)


def test_a_text_of_a_store_is_shown_and_not_obeyed(tmp_path: Path) -> None:
    hostile: dict[str, Any] = {"mentions/topic": ["\x1b[31m[bold]red\x07"] * 10}
    tiny = write_tiny_store(tmp_path / "s.h5", change=hostile)
    with featurestore.open(tiny.path) as store:
        text = shown(field_view(describe_field(store, "mentions/topic")), width=80)
    assert "\x1b" not in text
    assert "\\x1b[31m[bold]red\\x07" in text


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(
    "path", ["mentions/text_span", "mentions/image_status", "mentions/topic", "mentions/gold"]
)
def test_a_field_looks_as_it_did(store: Store, path: str, width: int) -> None:
    text = shown(field_view(describe_field(store, path)), width=width)
    check_snapshot(f"field_{path.partition('/')[2]}_{width}", text)
