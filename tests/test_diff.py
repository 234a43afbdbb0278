"""``drin-fs diff``: what differs between two stores, whatever the order of their rows."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import featurestore
from cli.main import main
from cli.render_diff import diff_view
from featurestore.diff import StoreDiff, diff
from featurestore.diff_values import ValueDifference
from tests.hdf5_edits import edited, remove_header
from tests.snapshots import check_snapshot
from tests.terminal import shown
from tests.tiny_store import SIZES, TinyStore, tiny_values, write_tiny_store


def difference(a: Path, b: Path) -> StoreDiff:
    with featurestore.open(a) as one, featurestore.open(b) as other:
        return diff(one, other)


def changed(tmp_path: Path, change: dict[str, Any], **options: Any) -> Path:
    return write_tiny_store(tmp_path / "b.h5", change=change, **options).path


def only(found: StoreDiff) -> ValueDifference:
    assert (found.fields, found.origin, found.splits) == ((), (), ())
    (value,) = found.values
    return value


# equal stores -----------------------------------------------------------------------------------


def test_stores_made_of_the_same_are_the_same_though_made_at_another_time(
    tiny: TinyStore, tmp_path: Path
) -> None:
    found = difference(tiny.path, changed(tmp_path, {}))
    assert found.same
    assert (found.values, found.fields, found.origin) == ((), (), ())
    assert found.compared == found.by_checksum > 30
    assert [(rows.a, rows.only_a, rows.moved) for rows in found.rows] == [(8, 0, 0), (10, 0, 0)]


def test_stores_without_rows_are_the_same(tmp_path: Path) -> None:
    paths = [
        write_tiny_store(tmp_path / name, entities=0, mentions=(0, 0, 0)).path
        for name in ("a.h5", "b.h5")
    ]
    remove_header(paths[1])
    assert difference(*paths).same


def test_without_checksums_every_value_is_read(tiny: TinyStore, tmp_path: Path) -> None:
    copy = Path(shutil.copyfile(tiny.path, tmp_path / "b.h5"))
    remove_header(copy)
    found = difference(tiny.path, copy)
    assert found.same
    assert found.by_checksum == 0


def test_a_file_that_another_program_changed_is_read_though_its_checksums_are_equal(
    tiny: TinyStore, tmp_path: Path
) -> None:
    copy = Path(shutil.copyfile(tiny.path, tmp_path / "b.h5"))
    with edited(copy) as file:
        file["mentions/text_span"][4, 2] += 3
    value = only(difference(tiny.path, copy))
    assert (value.path, value.differ, value.maximum) == ("mentions/text_span", 1, 3.0)


# values -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["entities/text_mean", "mentions/objects", "mentions/image_regions"]
)
def test_differences_of_a_feature(tiny: TinyStore, tmp_path: Path, path: str) -> None:
    values = np.array(tiny_values(entities=8, mentions=10)[path])
    flat = values.reshape(len(values), -1)
    flat[2, 1] += 0.5
    flat[6, :2] -= 0.25
    value = only(difference(tiny.path, changed(tmp_path, {path: values})))
    assert (value.path, value.compared, value.differ) == (path, len(values), 2)
    assert value.maximum == pytest.approx(0.5, abs=1e-6)
    assert value.mean == pytest.approx(1.0 / values.size, rel=1e-5)
    first = "Q102" if path.startswith("entities") else "m2-0"
    assert value.examples[0].id == first
    assert value.examples[0].a is None


def _padded(text: np.ndarray) -> np.ndarray:
    return np.pad(text, ((0, SIZES["S"] - len(text)), (0, 0)))


def test_differences_of_ragged_records_of_another_length(tiny: TinyStore, tmp_path: Path) -> None:
    values = tiny_values(entities=8, mentions=10)
    texts, counts = list(values["entities/text_tokens"]), values["entities/token_count"].copy()
    texts[3] = np.ones((SIZES["S"], SIZES["D"]), np.float32)
    texts[5] = texts[5][:1]
    counts[3], counts[5] = len(texts[3]), 1
    change = {"entities/text_tokens": texts, "entities/token_count": counts}
    found = difference(tiny.path, changed(tmp_path, change))
    by_path = {value.path: value for value in found.values}
    assert [e.id for e in by_path["entities/text_tokens"].examples] == ["Q103", "Q105"]
    old = tiny.values["entities/text_tokens"][3]
    expected = np.abs(texts[3] - np.pad(old, ((0, SIZES["S"] - len(old)), (0, 0)))).max()
    rest = np.abs(tiny.values["entities/text_tokens"][5][1:]).max()
    tokens = by_path["entities/text_tokens"]
    assert tokens.maximum == pytest.approx(max(expected, rest), rel=1e-6)
    before = tiny.values["entities/token_count"]
    total = sum(
        np.abs(_padded(texts[row]) - _padded(tiny.values["entities/text_tokens"][row])).sum()
        for row in (3, 5)
    )
    values = np.maximum(before, counts).sum() * SIZES["D"]
    assert tokens.mean == pytest.approx(total / values, rel=1e-6)
    example = by_path["entities/token_count"].examples[-1]
    assert (example.id, example.a, example.b) == (
        "Q105",
        len(tiny.values["entities/text_tokens"][5]),
        1,
    )


def test_nan_is_equal_to_nan_and_to_nothing_else(tiny: TinyStore, tmp_path: Path) -> None:
    paths = [Path(shutil.copyfile(tiny.path, tmp_path / name)) for name in ("a.h5", "b.h5")]
    for path, rows in zip(paths, ([1, 2], [1]), strict=True):
        with edited(path) as file:
            file["entities/clip_text"][rows, 0] = np.nan
    value = only(difference(*paths))
    assert (value.differ, value.maximum, value.examples[0].id) == (1, 0.0, "Q102")


def test_texts_that_differ_are_shown(tiny: TinyStore, tmp_path: Path) -> None:
    sentences = list(tiny.values["mentions/sentence"])
    sentences[7] = "Another one stands here."
    value = only(difference(tiny.path, changed(tmp_path, {"mentions/sentence": sentences})))
    assert (value.path, value.differ, value.maximum) == ("mentions/sentence", 1, None)
    example = value.examples[0]
    assert (example.id, example.a) == ("m7-0", tiny.values["mentions/sentence"][7])
    assert example.b == "Another one stands here."


def test_other_precision_is_a_difference_of_the_field_and_of_values(
    tiny: TinyStore, tmp_path: Path
) -> None:
    found = difference(tiny.path, changed(tmp_path, {}, dtype="float16", compression="none"))
    by_path = {field.path: field for field in found.fields}
    assert by_path["entities/text_mean"].what == "dtype"
    assert (by_path["entities/text_mean"].a, by_path["entities/text_mean"].b) == (
        "float32",
        "float16",
    )
    assert by_path["mentions/image_regions"].what == "dtype, compression"
    errors = {value.path: value.maximum for value in found.values}
    assert 0 < (errors["entities/text_mean"] or 0) < 2e-3
    assert "entities/title" not in errors


# rows -------------------------------------------------------------------------------------------


def reordered(order: list[int]) -> dict[str, Any]:
    """The values of the tiny store, entities in another order, and what refers to them as well."""
    values = tiny_values(entities=8, mentions=10)
    place = np.argsort(order).astype(np.int32)  # old row → new row
    change = {
        path: [value[row] for row in order] if isinstance(value, list) else value[order]
        for path, value in values.items()
        if path.startswith("entities/")
    }
    for path in ("mentions/candidates", "mentions/gold"):
        change[path] = place[values[path]]
    return change


def test_rows_are_matched_by_id_and_candidates_by_the_entities_they_stand_for(
    tiny: TinyStore, tmp_path: Path
) -> None:
    order = [3, 1, 2, 0, 4, 5, 7, 6]
    found = difference(tiny.path, changed(tmp_path, reordered(order)))
    entities, mentions = found.rows
    assert (entities.moved, entities.moved_ids) == (4, ("Q100", "Q103", "Q106", "Q107"))
    assert not mentions.differs
    assert found.values == ()
    assert not found.same


def test_equal_row_numbers_of_other_entities_are_a_difference(
    tiny: TinyStore, tmp_path: Path
) -> None:
    change = reordered([3, 1, 2, 0, 4, 5, 7, 6])
    change = {path: value for path, value in change.items() if path.startswith("entities/")}
    found = difference(tiny.path, changed(tmp_path, change))
    moved = np.isin(tiny.values["mentions/gold"], [0, 3, 6, 7])
    golds = next(value for value in found.values if value.path == "mentions/gold")
    assert golds.differ == moved.sum() > 0


def test_a_gold_that_is_another_entity_is_told_by_id(tiny: TinyStore, tmp_path: Path) -> None:
    change = reordered([3, 1, 2, 0, 4, 5, 7, 6])
    answer = np.full(10, SIZES["K"], np.int32)
    gold = change["mentions/gold"].copy()
    gold[4] = (gold[4] + 1) % 8
    change |= {"mentions/gold": gold, "mentions/answer": answer}
    found = difference(tiny.path, changed(tmp_path, change))
    value = next(value for value in found.values if value.path == "mentions/gold")
    assert (value.differ, value.maximum) == (1, None)
    ids = [f"Q{100 + row}" for row in [3, 1, 2, 0, 4, 5, 7, 6]]
    example = value.examples[0]
    assert (example.id, example.b) == ("m4-0", ids[int(gold[4])])
    assert example.a == f"Q{100 + int(tiny.values['mentions/gold'][4])}"


def test_ids_that_only_one_store_has(tiny: TinyStore, tmp_path: Path) -> None:
    ids = list(tiny.values["mentions/id"])
    ids[2], ids[8] = "new-0", "new-1"
    found = difference(tiny.path, changed(tmp_path, {"mentions/id": ids}))
    rows = found.rows[1]
    assert (rows.only_a, rows.only_a_ids) == (2, ("m2-0", "m8-0"))
    assert (rows.only_b, rows.only_b_ids) == (2, ("new-0", "new-1"))
    assert found.values == ()


def test_mentions_that_stand_in_another_split(tiny: TinyStore, tmp_path: Path) -> None:
    found = difference(tiny.path, changed(tmp_path, {}, mentions=(4, 3, 3)))
    assert found.rows[1].other_split_ids == ("m4-0",)
    assert found.rows[1].moved == 0
    assert len(found.splits) == 2
    assert not found.same


# fields and origin ------------------------------------------------------------------------------


def test_fields_that_only_one_store_has(tiny: TinyStore, tmp_path: Path) -> None:
    b = changed(tmp_path, {}, without={"mentions/topic", "entities/clip_text"})
    found = difference(tiny.path, b)
    assert {field.path: field.what for field in found.fields} == {
        "mentions/topic": "only in A",
        "entities/clip_text": "only in A",
    }
    assert found.fields[0].b == ""
    assert {field.what for field in difference(b, tiny.path).fields} == {"only in B"}


def test_options_and_encoders_make_a_difference_when_and_where_do_not(
    tiny: TinyStore, tmp_path: Path
) -> None:
    copy = Path(shutil.copyfile(tiny.path, tmp_path / "b.h5"))
    with edited(copy) as file:
        provenance = json.loads(file.attrs["provenance"])
        provenance["run"]["source_path"] = "elsewhere"
        file.attrs["provenance"] = json.dumps(provenance)
    found = difference(tiny.path, copy)
    assert found.same
    assert found.made == ("run.source_path was data/tiny, is elsewhere",)
    with edited(copy) as file:
        provenance["encoders"]["text"]["name"] = "roberta"
        file.attrs["provenance"] = json.dumps(provenance)
    found = difference(tiny.path, copy)
    assert not found.same
    assert found.origin == ("encoders.text.name was bert-base-cased, is roberta",)


# the command ------------------------------------------------------------------------------------


def test_the_command_exits_as_diff_does(
    tiny: TinyStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = changed(tmp_path, {"mentions/topic": ["news"] * 10})
    assert main(["diff", str(tiny.path), str(tiny.path)]) == 0
    assert "the same" in capsys.readouterr().out
    assert main(["diff", str(tiny.path), str(other), "--json"]) == 1
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert (found["same"], found["values"][0]["path"]) == (False, "mentions/topic")
    assert "error" not in captured.err
    assert main(["diff", str(tiny.path), str(tmp_path / "no.h5")]) == 3
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("width", [80, 140])
def test_what_the_terminal_shows(tiny: TinyStore, tmp_path: Path, width: int) -> None:
    change = reordered([3, 1, 2, 0, 4, 5, 7, 6])
    sentences = list(tiny.values["mentions/sentence"])
    sentences[7] = f"Here stands name7, \x1b[31m and then {'much more ' * 20}"
    means = change["entities/text_mean"].copy()
    means[1] += 1
    ids = list(tiny.values["mentions/id"])
    ids[0] = "new"
    change |= {"mentions/sentence": sentences, "entities/text_mean": means, "mentions/id": ids}
    found = difference(tiny.path, changed(tmp_path, change, without={"mentions/topic"}))
    views = diff_view(found)
    text = "".join(shown(view, width=width) for view in views)
    text = re.sub(r"created was .*", "created was then, is now", text)
    for path, name in ((tiny.path, "a.h5"), (tmp_path / "b.h5", "b.h5")):
        text = text.replace(f"{path!s:<{width - 5}}", f"{name:<{width - 5}}").replace(
            str(path), name
        )
    assert "\x1b" not in text
    check_snapshot(f"diff-{width}", "\n".join(map(str.rstrip, text.splitlines()[3:])) + "\n")
