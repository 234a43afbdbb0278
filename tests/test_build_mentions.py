"""Own mentions: every row that is right comes through unchanged, every other is told and left out."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.console import Group

from cli.build.mentions import mentions_view
from cli.main import main
from featurestore.construct.columns import parse_columns
from featurestore.construct.mentions import build_mentions
from featurestore.construct.rows import Problem
from featurestore.construct.spans import Span, find_span
from featurestore.errors import ConfigError, SourceError, WriteError
from featurestore.schema import NO_ROW
from featurestore.sources.wikimel import RawWikimel
from tests.snapshots import check_snapshot
from tests.terminal import shown


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def table(folder: Path, rows: list[Any], name: str = "in.jsonl") -> Path:
    path = folder / name
    texts = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(texts) + "\n", encoding="utf-8", newline="\n")
    return path


def picture(path: Path, side: int = 60) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (side, side), (200, 30, 60)).save(path)
    return path


# spans ------------------------------------------------------------------------------------------

#: Any text that UTF-8 can hold, brackets rarely; not blank.
ANY = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(before=ANY, mention=ANY.filter(str.strip), after=ANY)
@example(before="😀 e\u0301", mention="Z\u0335\u0304é", after="\u2028\x85x")
def test_a_span_of_any_text_is_found_exactly(before: str, mention: str, after: str) -> None:
    sentence = before + mention + after
    start, end = len(before), len(before) + len(mention)
    assert find_span(sentence, mention, start, end) == Span(sentence, start, end)
    assert find_span(sentence, "", start, end) == Span(sentence, start, end)
    if not any(mark in sentence for mark in "[]"):
        marked = f"{before}[[{mention}]]{after}"
        assert find_span(marked, "", None, None) == Span(sentence, start, end)
        assert find_span(marked, mention, None, None) == Span(sentence, start, end)
        found = find_span(sentence, mention, None, None)
        assert isinstance(found, Span)
        assert (found.start, found.mention) == (sentence.index(mention), mention)


@pytest.mark.parametrize(
    ("sentence", "mention", "start", "end", "what", "advice"),
    [
        ("😀 Jordan met.", "Jordan", 3, 9, "'ordan '", "UTF-16"),
        ("é Jordan met.", "Jordan", 3, 9, "'ordan '", "bytes"),
        ("At Jordan.", "Jordan", 3, 8, "'Jorda'", "end is exclusive: add 1"),
        ("At Jordan.", "Jordan", 4, 9, "'ordan'", "count from 0"),
        ("At Jordan.", "", 3, 99, "[3, 99) of a sentence of 10", "exclusive"),
        ("At Jordan.", "", 5, 5, "[5, 5)", "exclusive"),
        ("At Jordan.", "", -7, -1, "[-7, -1)", "exclusive"),
        ("At Jordan.", "", 3, None, "end is missing", "both"),
        ("At Jordan.", "jordan", None, None, "is not in the sentence", "'Jordan'"),
        ("At Jordan.", " Jordan\n", None, None, "is not in the sentence", "blanks"),
        ("Caf\u00e9 A.", "Cafe\u0301", None, None, "is not in the sentence", "NFC"),
        ("At Jordan.", "Amman", None, None, "is not in the sentence", "[[Jordan]]"),
        ("At Jordan.", "", None, None, "not exactly one [[mention]]", "mark it"),
        ("[[A]] and [[B]].", "", None, None, "not exactly one [[mention]]", "mark it"),
        ("At [[ ]].", "", None, None, "blank", "name"),
        ("At   Jordan.", "  ", None, None, "blank", "name"),
        ("At   Jordan.", "", 2, 4, "blank", "name"),
    ],
)
def test_a_span_that_is_none_is_explained(
    sentence: str, mention: str, start: int | None, end: int | None, what: str, advice: str
) -> None:
    found = find_span(sentence, mention, start, end)
    assert isinstance(found, Problem)
    assert what in found.what
    assert advice in found.next


# round trips ------------------------------------------------------------------------------------


class Written(csv.excel):
    lineterminator = "\n"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    rows=st.lists(st.tuples(ANY, ANY.filter(str.strip), ANY), min_size=1, max_size=8),
    kind=st.sampled_from(["jsonl", "csv", "tsv"]),
    mark=st.booleans(),
)
def test_sentences_and_spans_of_any_text_come_through(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str]],
    kind: str,
    mark: bool,
) -> None:
    folder = tmp_path_factory.mktemp("trip")
    items = [
        {"id": f"r{n}", "text": a + m + b, "start": len(a), "end": len(a) + len(m), "topic": "t"}
        for n, (a, m, b) in enumerate(rows)
    ]
    text = io.StringIO(newline="")
    if kind == "jsonl":
        text.write("".join(json.dumps(item) + "\r\n" for item in items))
    else:
        writer = csv.DictWriter(text, list(items[0]), delimiter="\t" if kind == "tsv" else ",")
        writer.writeheader()
        writer.writerows(items)
    source = folder / f"in.{kind}"
    source.write_text(text.getvalue(), encoding="utf-8-sig" if mark else "utf-8", newline="")
    summary = build_mentions(source, folder / "own")
    assert summary.rejected == {}
    found = lines(folder / "own" / "mentions.jsonl")
    assert [item["sentence"] for item in found] == [a + m + b for a, m, b in rows]
    assert [item["mentions"] for item in found] == [m for _, m, _ in rows]
    assert [item["span"][0] for item in found] == [len(a) for a, _, _ in rows]


def test_ingest_reads_the_span_that_was_given_and_the_picture_that_was_named(
    tmp_path: Path,
) -> None:
    picture(tmp_path / "a" / "x.png")
    picture(tmp_path / "b" / "x.png")
    picture(tmp_path / "d-1.png")
    source = table(
        tmp_path,
        [
            {"id": "d-1", "text": "Jordan met Jordan.", "start": 11, "end": 17, "split": "train",
             "gold": "Q2", "image": "b/x.png", "topic": "sport"},
            {"id": "d-2", "text": "😀 [[Jordan]] met.", "split": "dev", "gold": "Q1",
             "image": "a/x.png"},
            {"id": "d-3", "text": "To [[Jordan]].", "split": "test"},
        ],
    )  # fmt: skip
    root = tmp_path / "own"
    build_mentions(source, root)
    (root / "entities").mkdir()
    (root / "entities" / "qid-entity.tsv").write_text("Q1\tJordan\nQ2\tMichael Jordan\n")
    (root / "candidates" / "top100").mkdir(parents=True)
    (root / "candidates" / "top100" / "candidates-answer.tsv").write_text(
        "d-1\tQ1\tQ2\nd-2\tQ1\tQ2\nd-3\tQ1\tQ2\n"
    )
    raw = RawWikimel.open(root)
    assert raw.mentions.char_start.tolist() == [11, 2, 3]
    assert raw.mentions.gold.tolist() == [1, 0, NO_ROW]
    assert raw.mentions.topics == ["sport", "", ""]
    first, second, third = raw.mentions.image_paths
    assert third == ""
    assert (root / first).resolve() == tmp_path / "b" / "x.png"
    assert (root / second).resolve() == tmp_path / "a" / "x.png"
    assert np.array_equal(raw.mentions.answer, [1, 0, 2])
    raw_file = root / "mentions" / "WIKIMEL_train.json"
    raw_file.write_text(raw_file.read_text().replace("[11, 17]", "[10, 16]"))
    with pytest.raises(SourceError, match=r"span \[10, 16\] is not where 'Jordan' stands"):
        RawWikimel.open(root)


# bad rows ---------------------------------------------------------------------------------------

GOOD = {"id": "a", "sentence": "At [[Jordan]].", "gold": "Q1"}
BAD: list[tuple[Any, str, str]] = [
    ("{", "row", "row not JSON"),
    ("[1]", "row", "row not JSON"),
    ({"id": "b"}, "sentence", "no sentence"),
    ({"id": "b", "sentence": " "}, "sentence", "no sentence"),
    ({"id": "b", "sentence": 3}, "sentence", "value of another type"),
    ({"id": "b", "sentence": "Jordan"}, "mention", "no mention"),
    ({"id": "b", "sentence": "Jordan", "mention": "Amman"}, "mention", "mention not in sentence"),
    ({"sentence": "Jordan", "start": 0, "end": 7}, "start", "span not on the mention"),
    ({"sentence": "Jordan", "start": "x", "end": 6}, "start", "value of another type"),
    ({"sentence": "Jordan", "start": True, "end": 6}, "start", "value of another type"),
    ({**GOOD, "sentence": "To [[Amman]]."}, "id", "id repeated"),
    ({**GOOD, "id": "b\tc"}, "id", "separator in id"),
    ({**GOOD, "id": "b", "gold": "Q9"}, "gold", "gold unknown"),
    ({**GOOD, "id": "b", "gold": "Nobody"}, "gold", "gold unknown"),
    ({**GOOD, "id": "b", "gold": "twin"}, "gold", "gold ambiguous"),
    ({**GOOD, "id": "b", "split": "tests"}, "split", "unknown split"),
    ('{"id": "b", "sentence": "At [[Jordan]] \\ud83d."}', "sentence", "value not UTF-8"),
]


@pytest.fixture
def titles(tmp_path: Path) -> Path:
    path = tmp_path / "titles.tsv"
    path.write_text("Q1\tJordan\nQ2\tMichael Jordan\nQ3\tTwin\nQ4\tTwin\n")
    return path


@pytest.mark.parametrize(("row", "field", "kind"), BAD)
def test_a_bad_row_is_told_with_line_field_and_advice_and_left_out(
    tmp_path: Path, titles: Path, row: Any, field: str, kind: str
) -> None:
    source, root = table(tmp_path, [GOOD, "", row]), tmp_path / "own"
    summary = build_mentions(source, root, titles=titles)
    assert (summary.rows, summary.mentions, summary.rejected) == (2, 1, {kind: 1})
    (rejected,) = lines(root / "rejected.jsonl")
    assert (rejected["line"], rejected["field"]) == (3, field)
    assert rejected["what"]
    assert rejected["next"]
    if isinstance(row, dict):
        assert rejected["row"] == row
    with pytest.raises(
        SourceError, match=rf"(?s)2 rows 1 have a problem: 1 {kind}.*line 3, {field}"
    ):
        build_mentions(source, tmp_path / "strict", titles=titles, strict=True)
    assert list((tmp_path / "strict").iterdir()) == []


def test_golds_are_found_by_title_as_wikipedia_spells_it(tmp_path: Path, titles: Path) -> None:
    golds = ["michael_Jordan", "Q2", "NIL", "", None]
    rows = [{**GOOD, "id": str(n), "gold": gold} for n, gold in enumerate(golds)]
    summary = build_mentions(table(tmp_path, rows), tmp_path / "own", titles=titles)
    found = [item["answer"] for item in lines(tmp_path / "own" / "mentions.jsonl")]
    assert found == ["Q2", "Q2", "", "", ""]
    assert (summary.golds, summary.entities) == (2, 4)


def test_a_repeated_mention_without_ids_is_told_by_its_first_line(tmp_path: Path) -> None:
    row = {"sentence": "At [[Jordan]]."}
    summary = build_mentions(table(tmp_path, [row, {**row, "doc": 2}, row]), tmp_path / "own")
    assert summary.rejected == {"mention repeated": 1}
    (rejected,) = lines(tmp_path / "own" / "rejected.jsonl")
    assert "as in line 1" in rejected["what"]


def test_ids_are_made_of_what_a_row_says_and_stay_when_rows_come(tmp_path: Path) -> None:
    rows = [{"sentence": f"At [[Jordan]] {n}."} for n in range(9)]
    build_mentions(table(tmp_path, rows), tmp_path / "all")
    build_mentions(table(tmp_path, rows[4:]), tmp_path / "some")
    every = [item["id"] for item in lines(tmp_path / "all" / "mentions.jsonl")]
    assert len(set(every)) == 9
    assert [item["id"] for item in lines(tmp_path / "some" / "mentions.jsonl")] == every[4:]


# pictures ---------------------------------------------------------------------------------------


def test_pictures_that_cannot_be_used_are_counted_and_recorded(tmp_path: Path) -> None:
    picture(tmp_path / "photos" / "good.png")
    picture(tmp_path / "photos" / "small.png", 20)
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"\xff\xd8 no")
    (tmp_path / "photos" / "folder.jpg").mkdir()
    names = ["good.png", "good.png", "small.png", "broken.jpg", "folder.jpg", "none.jpg",
             "https://example.org/a.jpg", ""]  # fmt: skip
    rows = [{**GOOD, "id": str(n), "picture": name} for n, name in enumerate(names)]
    source, root = table(tmp_path, rows), tmp_path / "own"
    summary = build_mentions(source, root, images=tmp_path / "photos", placing="copy")
    assert summary.mentions == 8
    assert summary.pictures == {
        "ok": 2, "too small": 1, "broken": 1, "not readable": 1, "missing": 1, "a URL": 1, "none": 1
    }  # fmt: skip
    assert summary.distinct_pictures == 1
    told = lines(root / "missing-pictures.jsonl")
    assert [(item["line"], item["status"]) for item in told] == [
        (3, "too small"), (4, "broken"), (5, "not readable"), (6, "missing"), (7, "a URL")
    ]  # fmt: skip
    kept = [item["picture"] for item in lines(root / "mentions.jsonl")]
    assert kept == ["good.png", "good.png", *[""] * 6]
    copied = root / "mentions" / "KVQAimgs" / "good.png"
    assert copied.read_bytes() == (tmp_path / "photos" / "good.png").read_bytes()
    assert not copied.is_symlink()
    with pytest.raises(
        SourceError, match="8 rows 5 have a problem: 5 pictures that cannot be used"
    ):
        build_mentions(source, tmp_path / "s", images=tmp_path / "photos", strict=True)


def test_pictures_of_one_name_get_names_of_their_own(tmp_path: Path) -> None:
    names = ["a/x.png", "b/x.png", "c/X.png", "a/x.png"]
    for name in names:
        picture(tmp_path / name)
    rows = [{**GOOD, "id": str(n), "picture": name} for n, name in enumerate(names)]
    build_mentions(table(tmp_path, rows), tmp_path / "own")
    kept = [item["picture"] for item in lines(tmp_path / "own" / "mentions.jsonl")]
    assert kept[0] == kept[3] == "x.png"
    assert len({name.casefold() for name in kept}) == 3
    folder = tmp_path / "own" / "mentions" / "KVQAimgs"
    assert [(folder / name).resolve() for name in kept] == [tmp_path / name for name in names]


# columns and files ------------------------------------------------------------------------------


def test_columns_are_known_by_usual_names_and_by_choice(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text(
        'Doc-ID,Text,Name,Start,End,IMG path,colour\nd1,"At ""Jordan"", now",Jordan,4.0,10.0,,red\n'
    )
    columns = {"mention": "Name", "topic": "colour", "document": "Doc-ID"}
    summary = build_mentions(source, tmp_path / "own", columns=columns)
    (item,) = lines(tmp_path / "own" / "mentions.jsonl")
    assert (item["document"], item["mentions"], item["topic"]) == ("d1", "Jordan", "red")
    assert item["span"] == [4, 10]
    assert summary.unused_columns == []


def test_a_csv_row_with_too_many_cells_is_told_by_the_line_it_begins_in(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_bytes(
        b'\xef\xbb\xbfid,text\na,"At\n\n[[Jordan]]"\n\nb,At [[Jordan]], now\nc,\xff[[Amman]]\nd\n'
    )
    summary = build_mentions(source, tmp_path / "own")
    assert summary.mentions == 1
    assert [
        (item["line"], item["field"]) for item in lines(tmp_path / "own" / "rejected.jsonl")
    ] == [(6, "row"), (7, "sentence"), (8, "row")]


def test_quotation_marks_may_be_letters(tmp_path: Path) -> None:
    source = tmp_path / "in.tsv"
    source.write_text('id\ttext\na\t"At [[Jordan]]\nb\tTo "[[Amman]]\n')
    with pytest.raises(SourceError, match="cannot be read") as caught:
        build_mentions(source, tmp_path / "own")
    assert "--no-quotes" in caught.value.hint
    assert build_mentions(source, tmp_path / "own", quotes=False).mentions == 2


@pytest.mark.parametrize(
    ("header", "columns", "what"),
    [
        ("id,name", {}, "no column holds the sentence; columns: id, name"),
        ("text,sentence", {}, "columns 'text' and 'sentence' could both be the sentence"),
        ("text,name", {"mention": "Nam"}, "no column 'Nam' for mention; columns: text, name"),
        ("text", {"mentoin": "x"}, "no field 'mentoin'"),
    ],
)
def test_columns_that_do_not_fit_are_refused(
    tmp_path: Path, header: str, columns: dict[str, str], what: str
) -> None:
    source = tmp_path / "in.csv"
    source.write_text(f"{header}\nx,y\n")
    with pytest.raises(ConfigError) as caught:
        build_mentions(source, tmp_path / "own", columns=columns)
    assert what in str(caught.value)
    assert not (tmp_path / "own").exists()


def test_two_keys_for_one_field_are_refused_in_json_too(tmp_path: Path) -> None:
    source = table(tmp_path, [{"text": "a [[b]]", "sentence": "c"}])
    with pytest.raises(ConfigError, match=r"could both be the sentence") as caught:
        build_mentions(source, tmp_path / "own")
    assert caught.value.where.endswith("in.jsonl:1")
    with pytest.raises(ConfigError, match="no column 'Nam' for mention"):
        build_mentions(table(tmp_path, [{"text": "b"}]), tmp_path / "o", columns={"mention": "Nam"})


@pytest.mark.parametrize("text", ["mention", "mention=", "=x", "gold=a,gold=b"])
def test_a_list_of_columns_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="not FIELD=NAME"):
        parse_columns(text)


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("in.txt", b"x", "does not say what the file is"),
        ("in.csv", b"", "no header"),
        ("in.csv", b"a,a\n", "'a' stands twice"),
        ("in.csv", "text\nx".encode("utf-16"), "UTF-16"),
        ("in.jsonl", b"\n\n", "no row"),
        ("in.csv", b"text\n", "no row"),
    ],
)
def test_a_file_that_is_no_table_is_refused(
    tmp_path: Path, name: str, content: bytes, what: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises((ConfigError, SourceError), match=what):
        build_mentions(tmp_path / name, tmp_path / "own")
    assert not (tmp_path / "own" / "mentions.jsonl").exists()


def test_what_stands_there_is_replaced_only_when_asked_and_as_a_whole(tmp_path: Path) -> None:
    root = tmp_path / "own"
    rows = [{**GOOD, "split": "train", "picture": "x.png"}, "{"]
    picture(tmp_path / "x.png")
    build_mentions(table(tmp_path, rows), root)
    assert (root / "rejected.jsonl").exists()
    assert json.loads((root / "mentions" / "WIKIMEL_test.json").read_text()) == {}
    (root / "entities").mkdir()
    second = table(tmp_path, [GOOD], "second.jsonl")
    with pytest.raises(WriteError, match=r"mentions\.jsonl exists"):
        build_mentions(second, root)
    with pytest.raises(SourceError, match="of 1 rows 1 have a problem: 1 row not JSON"):
        build_mentions(table(tmp_path, ["{"], "bad.jsonl"), root, overwrite=True)
    assert lines(root / "mentions.jsonl")[0]["picture"] == "x.png"
    build_mentions(second, root, overwrite=True)
    assert sorted(path.name for path in root.rglob("*")) == [
        "entities", "mentions", "mentions.jsonl"
    ]  # fmt: skip


def test_pictures_are_not_replaced_by_themselves(tmp_path: Path) -> None:
    root = tmp_path / "own"
    inside = picture(root / "mentions" / "KVQAimgs" / "x.png").parent
    with pytest.raises(ConfigError, match="where they would be put"):
        build_mentions(table(tmp_path, [GOOD]), root, images=inside)
    assert (inside / "x.png").exists()


def test_mentions_of_which_some_have_no_split_get_no_split_files(tmp_path: Path) -> None:
    rows = [{**GOOD, "split": "train"}, {**GOOD, "id": "b"}]
    summary = build_mentions(table(tmp_path, rows), tmp_path / "own")
    assert summary.splits == {"train": 1, "": 1}
    assert list((tmp_path / "own" / "mentions").iterdir()) == []


# the command ------------------------------------------------------------------------------------


def test_the_command_says_what_is_missing_and_the_command_that_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    table(tmp_path, [GOOD, "{", {**GOOD, "id": "b\x1b[31m", "doc": "\x1b[2J"}])
    assert main(["build", "mentions", "in.jsonl", "-o", "own", "--json"]) == 0
    captured = capsys.readouterr()
    summary = json.loads(captured.out)
    assert [each["file"] for each in summary["needed"]] == [
        "entities/qid-entity.tsv",
        "mentions/WIKIMEL_train.json",
        "candidates/top100/candidates-answer.tsv",
        "entities/qid2brief.json",
    ]
    assert summary["needed"][1]["command"] == "drin-fs build split own"
    assert "line 2, row: not a line of JSON" in captured.err
    assert main(["ingest", "own", "-o", "own.h5"]) == 3
    assert "drin-fs build titles DUMP -o own/entities/qid-entity.tsv" in capsys.readouterr().err
    assert main(["build", "mentions", "in.jsonl", "-o", "own"]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main(["build", "mentions", "in.jsonl", "-o", "own2", "--strict"]) == 3
    assert main(["build", "mentions", "in.jsonl", "-o", "own2", "--columns", "x"]) == 2


@pytest.mark.parametrize("width", [80, 120])
def test_view(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.chdir(tmp_path)
    picture(tmp_path / "x.png")
    rows = [
        {**GOOD, "picture": "x.png", "note": 1},
        {"sentence": "Jordan met Jordan.", "mention": "Jordan", "picture": "y.png", "split": "dev"},
        *[row for row, _, _ in BAD if not isinstance(row, dict) or "gold" not in row],
    ]
    summary = build_mentions(table(tmp_path, rows), Path("own"))
    check_snapshot(f"build-mentions-{width}", shown(Group(*mentions_view(summary)), width=width))
