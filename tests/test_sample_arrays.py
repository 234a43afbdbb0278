"""The preprocessed sample: names, shapes and types of the release, rows that fit each other."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurestore.arrayfile import ArrayFile
from featurestore.sources.sample import SampleSummary, write_sample
from featurestore.sources.sample_world import SPLITS
from tests.sample_for_tests import SMALL, load, read


@pytest.fixture(scope="module", params=["wikimel", "wikidiverse"])
def arrays(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> SampleSummary:
    """A preprocessed sample of each dataset, every size another number."""
    return write_sample(
        tmp_path_factory.mktemp("sample") / "arrays",
        dataset=request.param,
        layout="preprocessed",
        text_width=24,
        image_width=20,
        mention_tokens=30,
        entity_tokens=42,
        regions=9,
        mention_objects=4,
        entity_objects=2,
        **SMALL,
    )


def test_arrays_have_the_names_shapes_and_types_of_the_release(arrays: SampleSummary) -> None:
    expected: dict[str, tuple[tuple[int, ...], str]] = {}
    for split in SPLITS:
        n = arrays.mentions[split]
        mention = {
            "mention-text-raw": ((n,), "U"),
            "start-pos": ((n,), "i8"),
            "end-pos": ((n,), "i8"),
            "answer": ((n,), "i8"),
            "mention-text-feature": ((n, 30, 24), "f4"),
            "mention-text-mask": ((n, 30), "i8"),
            "mention-image-feature": ((n, 9, 20), "f4"),
            "mention-object-feature": ((n, 4, 20), "f4"),
            "mention-object-score": ((n, 4), "f4"),
            "similarity-miet": ((n, 9), "f4"),
            "similarity-eimt": ((n, 9), "f4"),
        }
        if arrays.dataset == "wikimel":
            mention["entity-name-raw"] = ((9 * n,), "U")
        else:
            mention |= {
                "mention-image-path": ((n,), "U"),
                "entity-attr-raw": ((9 * n,), "U"),
                "entity-image-path": ((9 * n,), "U"),
                "entity-attr-feature": ((9 * n, 24), "f4"),
                "entity-image-feature": ((9 * n, 1, 20), "f4"),
                "entity-object-feature": ((9 * n, 2, 20), "f4"),
                "entity-object-score": ((9 * n, 2), "f4"),
            }
        expected |= {f"{name}_{split}": form for name, form in mention.items()}
    if arrays.dataset == "wikimel":
        expected |= {
            "entity-attr-feature": ((40, 42, 24), "f4"),
            "entity-attr-mask": ((40, 42), "i8"),
            "entity-image-feature_all": ((40, 1, 20), "f4"),
            "entity-object-feature_all": ((40, 2, 20), "f4"),
            "entity-object-score_all": ((40, 2), "f4"),
        }
        assert read(arrays.root, "qid2idx.json") == {f"Q{100 + 37 * row}": row for row in range(40)}
    found = {
        path.stem: (array.shape, array.dtype.str.strip("<")[: 1 if array.dtype.kind == "U" else 2])
        for path in Path(arrays.root).glob("*.npy")
        for array in [np.load(path, allow_pickle=False)]
    }
    assert found == expected
    assert arrays.files == {"wikimel": 42, "wikidiverse": 54}[arrays.dataset]


def test_masks_are_ragged_and_hold_the_mention(arrays: SampleSummary) -> None:
    names = [f"mention-text-mask_{split}" for split in SPLITS]
    if arrays.dataset == "wikimel":
        names.append("entity-attr-mask")
    for name in names:
        mask = load(arrays, name)
        counts = mask.sum(1)
        assert (mask == (np.arange(mask.shape[1]) < counts[:, None])).all()
        assert len(set(counts)) > 1
    for split in SPLITS:
        start, end = load(arrays, f"start-pos_{split}"), load(arrays, f"end-pos_{split}")
        counts = load(arrays, f"mention-text-mask_{split}").sum(1)
        assert (start >= 0).all()
        assert (end > start).all()
        assert (end + 1 < counts).all()  # tokens [start+1, end+1), then at least [SEP]


def test_features_are_finite_and_scores_fall_to_zero_where_nothing_is_found(
    arrays: SampleSummary,
) -> None:
    for path in Path(arrays.root).glob("*-feature*.npy"):
        assert np.isfinite(np.load(path)).all()
    scores = np.concatenate([load(arrays, f"mention-object-score_{split}") for split in SPLITS])
    assert (np.diff(scores, axis=1) <= 0).all()
    assert 0 < (scores == 0).mean() < 1
    assert 0 <= scores.min() <= scores.max() <= 1


def test_the_gold_slot_repeats_the_answer(arrays: SampleSummary) -> None:
    missed = 0
    for split in SPLITS:
        n = arrays.mentions[split]
        answer = load(arrays, f"answer_{split}")
        names = "entity-name-raw" if arrays.dataset == "wikimel" else "entity-attr-raw"
        slots = load(arrays, f"{names}_{split}").reshape(n, 9)
        found = answer < 8
        missed += int((~found).sum())
        rows = np.flatnonzero(found)
        assert (slots[rows, answer[rows]] == slots[rows, 8]).all()
        assert not (slots[~found, :8] == slots[~found, 8:]).any()
        for kind in ("miet", "eimt"):
            values = load(arrays, f"similarity-{kind}_{split}")
            assert (values[rows, answer[rows]] == values[rows, 8]).all()
            assert np.abs(values).max() <= 100
    assert missed == arrays.troubles["golds not among the candidates"] > 0


def test_a_repeated_entity_has_equal_rows_everywhere(tmp_path: Path) -> None:
    summary = write_sample(
        tmp_path, dataset="wikidiverse", layout="preprocessed", regions=4,
        text_width=16, image_width=16, **SMALL,
    )  # fmt: skip
    seen: dict[tuple[str, str], bytes] = {}
    for split in SPLITS:
        texts = load(summary, f"entity-attr-raw_{split}")
        paths = load(summary, f"entity-image-path_{split}")
        features = [
            load(summary, f"entity-{part}_{split}")
            for part in ("attr-feature", "image-feature", "object-feature", "object-score")
        ]
        for row, key in enumerate(zip(texts.tolist(), paths.tolist(), strict=True)):
            value = b"".join(feature[row].tobytes() for feature in features)
            assert seen.setdefault(key, value) == value
    texts_seen = {text for text, _ in seen}
    assert {"", "NIL"} < texts_seen
    assert summary.troubles["golds that are NIL"] == 1
    assert len(seen) <= summary.entities + 2
    assert max(map(len, texts_seen)) <= 512


def test_writing_arrays_takes_far_less_memory_than_they_hold(tmp_path: Path) -> None:
    sizes: dict[str, Any] = {
        "entities": 600,
        "text_width": 256,
        "image_width": 512,
        "entity_tokens": 64,
    }
    tracemalloc.start()
    try:
        summary = write_sample(tmp_path, layout="preprocessed", mentions=40, **sizes)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert summary.bytes > 40e6
    assert peak < 6e6


@given(st.data())
def test_a_file_written_in_blocks_is_the_file_that_numpy_saves(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    dtype = data.draw(st.sampled_from(["<f4", "<i8", "<U5"]))
    shape = tuple(data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=3)))
    values = np.arange(np.prod(shape, dtype=int)).astype(dtype).reshape(shape)
    cuts = sorted(data.draw(st.lists(st.integers(0, shape[0]), max_size=3)))
    folder = tmp_path_factory.mktemp("blocks")
    with ArrayFile(folder / "blocks.npy", shape, dtype) as file:
        for block in np.split(values, cuts):
            file.append(block)
    np.save(folder / "once.npy", values)
    assert (folder / "blocks.npy").read_bytes() == (folder / "once.npy").read_bytes()


def test_a_file_with_too_few_rows_or_rows_of_another_shape_is_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="1 rows written of 2"),
        ArrayFile(tmp_path / "short.npy", (2, 3), "<f4") as file,
    ):
        file.append(np.zeros((1, 3)))
    with (
        pytest.raises(ValueError, match=r"rows of \(4,\), not \(3,\)"),
        ArrayFile(tmp_path / "wide.npy", (2, 3), "<f4") as file,
    ):
        file.append(np.zeros((1, 4)))
