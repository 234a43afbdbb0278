"""Mentions as people write them, JSON lines, and the command."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.main import main
from featurestore.errors import SourceError, UnknownId, WriteError
from linker.link import Linker
from linker.link_lines import link_lines, new_file, read_mentions
from linker.link_mentions import MentionError, MentionInput, mention_from_json
from tests.link_for_tests import write_run

HERE = Path("in.jsonl")
plain = st.text(st.characters(exclude_characters="[]", exclude_categories=["Cs"]))


@pytest.fixture(scope="module")
def run(golden_stores: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of DRIN with the edges that need no detector."""
    folder = tmp_path_factory.mktemp("link") / "run"
    return write_run(
        folder, golden_stores("wikimel"), {"name": "drin", "edges": ["tt", "ti", "it"]}
    )


@pytest.fixture(scope="module")
def linker(run: Path):
    with Linker.from_run(run) as opened:
        yield opened


@pytest.fixture
def lines(tmp_path: Path):
    """Writes a file of JSON lines."""

    def write(*values: Any) -> Path:
        path = tmp_path / "mentions.jsonl"
        texts = [value if isinstance(value, str) else json.dumps(value) for value in values]
        path.write_text("".join(text + "\n" for text in texts), encoding="utf-8")
        return path

    return write


# mentions ---------------------------------------------------------------------------------------


@given(plain, plain.filter(str.strip), plain)
def test_a_marked_mention_stands_where_its_brackets_were(left: str, name: str, right: str) -> None:
    mention = MentionInput.marked(f"{left}[[{name}]]{right}")
    assert mention.sentence == left + name + right
    assert (mention.start, mention.mention) == (len(left), name)


@pytest.mark.parametrize(
    "text",
    ["no mention", "[[]] empty", "[[a]] [[b]]", "[[a", "a]]", "]] [[a", "[[a]] ]]", "[[[[a]]"],
)
def test_a_sentence_needs_exactly_one_mention(text: str) -> None:
    with pytest.raises(MentionError, match="exactly one mention") as caught:
        MentionInput.marked(text, where="--sentence")
    assert caught.value.where == "--sentence"


@pytest.mark.parametrize(("start", "end"), [(-1, 2), (2, 2), (3, 2), (0, 6)])
def test_a_span_lies_in_its_sentence(start: int, end: int) -> None:
    with pytest.raises(MentionError, match=f"characters {start} to {end} of a sentence of 5"):
        MentionInput(sentence="Paris", start=start, end=end)


@pytest.mark.parametrize("text", ["a [[ ]] b", "[[\t\n]]", "[[\u00a0]]"])
def test_a_mention_is_not_blank(text: str) -> None:
    with pytest.raises(MentionError, match="the mention is blank: characters"):
        MentionInput.marked(text)


@pytest.mark.parametrize(
    "value",
    [
        {"sentence": "In [[Paris]], Paris."},
        {"sentence": "In Paris, Paris.", "mention": "Paris"},
        {"sentence": "In Paris, Paris.", "start": 3, "end": 8},
        {"sentence": "In Paris, Paris.", "start": 3, "end": 8, "mention": "Paris"},
    ],
)
def test_a_mention_is_said_in_three_ways(value: dict[str, Any]) -> None:
    mention = mention_from_json(value, folder=Path("x"), where="")
    assert (mention.sentence, mention.start, mention.end) == ("In Paris, Paris.", 3, 8)


def test_what_else_a_mention_has() -> None:
    value = {"id": 7, "sentence": "[[a]]", "image": "p/a.jpg", "candidates": ["Q1", "B"]}
    mention = mention_from_json(value, folder=Path("data"), where="")
    assert (mention.id, mention.image) == ("7", Path("data/p/a.jpg"))
    assert tuple(mention.candidates or ()) == ("Q1", "B")
    absolute = mention_from_json({**value, "image": "/a.jpg"}, folder=Path("data"), where="")
    assert absolute.image == Path("/a.jpg")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not a line of JSON"),
        ("[" * 10_000, "not a line of JSON"),
        ('"text"', "not a JSON object"),
        ('{"sentense": "[[a]]"}', "unknown key 'sentense'"),
        ('{"id": "1"}', "no sentence"),
        ('{"sentence": 5}', "sentence is 5, not a string"),
        ('{"sentence": "a"}', "exactly one mention"),
        ('{"sentence": "a", "mention": "b"}', "'b' does not stand in its sentence"),
        ('{"sentence": "a", "mention": ""}', "'' does not stand in its sentence"),
        ('{"sentence": "a", "start": 0}', "end is None, not a number"),
        ('{"sentence": "a", "start": true, "end": 1}', "start is True, not a number"),
        ('{"sentence": "ab", "start": 0, "end": 1, "mention": "b"}', "are 'a', not 'b'"),
        ('{"sentence": "[[a]]", "image": 1}', "image is 1, not a string"),
        ('{"sentence": "[[a]]", "id": 1.5}', "id is 1.5, not a string"),
        ('{"sentence": "[[a]]", "candidates": "Q1"}', "not a list of ids or titles"),
        ('{"sentence": "[[a]]", "candidates": []}', "the list of candidates is empty"),
        ('{"sentence": "[[a]] \\ud800"}', "no text"),
    ],
)
def test_a_bad_line_is_named(line: str, message: str) -> None:
    good = b'{"sentence": "[[a]]"}'
    with pytest.raises(MentionError) as caught:
        list(read_mentions([good, b"", line.encode()], HERE))
    assert message in caught.value.what
    assert caught.value.where == "in.jsonl:3"


def test_a_byte_order_mark_is_no_part_of_the_first_line() -> None:
    (mention,) = read_mentions([b'\xef\xbb\xbf{"sentence": "[[a]]"}'], HERE)
    assert mention.mention == "a"


# files ------------------------------------------------------------------------------------------


def answered(linker: Linker, source: Path) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    summary = link_lines(linker, source, out.append, top=3)
    assert summary.mentions == len(out)
    return out


def test_answers_come_in_the_order_of_the_lines(linker: Linker, lines: Any) -> None:
    names = ["Georgia", "Mercury", "≈"] * 30  # more than are linked at once
    values = [{"id": str(n), "sentence": f"Of [[{name}]]."} for n, name in enumerate(names)]
    out = answered(linker, lines(*values))
    assert [each["id"] for each in out] == [value["id"] for value in values]
    assert [each["mention"] for each in out] == names
    assert [len(each["answers"]) for each in out] == [2, 3, 0] * 30


def test_each_way_of_saying_it_gives_the_same_answers(linker: Linker, lines: Any) -> None:
    ids = linker.store.entities.ids([0, 3])
    titles = linker.store.entities.gather("title", [0, 3])
    first, *others = answered(
        linker,
        lines(
            {"sentence": "Of [[Georgia]].", "candidates": ids},
            {"sentence": "Of Georgia.", "mention": "Georgia", "candidates": titles},
            {"sentence": "Of Georgia.", "start": 3, "end": 10, "candidates": ids},
        ),
    )
    assert len(first["answers"]) == 2
    for other in others:
        assert [a["id"] for a in other["answers"]] == [a["id"] for a in first["answers"]]


def test_the_summary_counts_pictures_and_mentions_without_candidates(
    linker: Linker, lines: Any
) -> None:
    source = lines(
        {"sentence": "[[Georgia]]", "image": "absent.jpg"},
        {"sentence": "[[≈]]"},
        {"sentence": "[[Georgia]] again"},
    )
    summary = link_lines(linker, source, lambda each: None)
    assert summary.pictures == {"not given": 2, "missing": 1}
    assert (summary.mentions, summary.without_candidates) == (3, 1)


def test_an_unknown_candidate_names_its_line(linker: Linker, lines: Any) -> None:
    source = lines({"sentence": "[[a]]"}, {"sentence": "[[a]]", "candidates": ["Q0", "zzz"]})
    with pytest.raises(UnknownId) as caught:
        answered(linker, source)
    assert caught.value.where == f"{source}:2"


def test_a_file_that_is_not_there_is_named(linker: Linker, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read: No such file"):
        link_lines(linker, tmp_path / "absent.jsonl", print)


def test_a_new_file_stands_at_its_place_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    with new_file(target) as file:
        file.write("one\n")
        assert not target.exists()
    assert target.read_text() == "one\n"
    with pytest.raises(WriteError, match="the target exists"), new_file(target):
        pytest.fail("nothing may be written")
    with pytest.raises(ZeroDivisionError), new_file(target, overwrite=True) as file:
        file.write(f"{1 / 0}\n")
    assert target.read_text() == "one\n"
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


def test_a_file_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(WriteError, match=r"cannot create the file \(File name too long") as caught,
        new_file(tmp_path / ("a" * 250)),
    ):
        pytest.fail("nothing can be written")
    assert caught.value.where == str(tmp_path)


# the command ------------------------------------------------------------------------------------


def link(*arguments: str | Path) -> int:
    return main(["link", *map(str, arguments)])


def test_one_mention_is_answered_in_a_table(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert link(run, "--sentence", "Atlanta is in [[Georgia]] today.", "--top", "2") == 0
    out = capsys.readouterr().out
    assert "Atlanta is in ⟦Georgia⟧ today." in out
    assert "none given: the default picture stands for it" in out
    assert "Best of 2 candidates" in out
    assert len([line for line in out.splitlines() if line.strip()[:1].isdigit()]) == 2


def test_the_table_says_when_a_picture_was_not_used(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    assert link(run, "--sentence", "[[Georgia]]", "--image", tmp_path / "broken.jpg") == 0
    assert "broken: the default picture stands for it" in capsys.readouterr().out


def test_one_mention_as_json(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    titles = ["Georgia (country)", "Georgia (U.S. state)"]
    among = [word for title in titles for word in ("--among", title)]
    assert link(run, "--sentence", "In [[Georgia]].", *among, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert {answer["title"] for answer in found["answers"]} == set(titles)
    assert (found["mention"], found["start"], found["candidates"]) == ("Georgia", 3, 2)


def test_many_mentions_go_from_file_to_file(
    run: Path, lines: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = lines({"id": "a", "sentence": "[[Georgia]]"}, {"id": "b", "sentence": "[[Mercury]]"})
    target = tmp_path / "out.jsonl"
    assert link(run, "--input", source, "-o", target, "--json") == 0
    assert json.loads(capsys.readouterr().out)["mentions"] == 2
    written = [json.loads(line) for line in target.read_text().splitlines()]
    assert [each["id"] for each in written] == ["a", "b"]
    assert link(run, "--input", source, "-o", "-") == 0
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert shown == written


def test_a_bad_line_leaves_no_file(
    run: Path, lines: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = lines({"sentence": "[[Georgia]]"}, {"sentence": "nothing"})
    assert link(run, "--input", source, "-o", tmp_path / "out.jsonl") == 3
    assert f"{source}:2" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


def test_the_answers_do_not_replace_the_mentions(
    lines: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    source = lines({"sentence": "[[Georgia]]"})
    assert link("run", "--input", source, "-o", source, "--overwrite") == 2
    assert "is the --input: name another file" in capsys.readouterr().err
    assert json.loads(source.read_text()) == {"sentence": "[[Georgia]]"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --sentence or --input"),
        (["--sentence", "[[a]]", "--input", "x"], "give --sentence or --input"),
        (["--sentence", "[[a]]", "-o", "x"], "go with --input"),
        (["--input", "x"], "say where the answers go"),
        (["--input", "x", "-o", "y", "--image", "z"], "go with --sentence"),
        (["--sentence", "[[a]]", "--image", "no.jpg"], "--image no.jpg: there is no such file"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    arguments: Sequence[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert link("run", *arguments) == 2
    assert message in capsys.readouterr().err


def test_a_store_is_no_run(
    golden_stores: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert link(golden_stores("wikimel"), "--sentence", "[[Georgia]]") == 3
    assert capsys.readouterr().err.startswith("error: this is a file, and a run is a folder\n")


def test_notes_go_to_stderr(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = run / "config.yaml"
    text = config.read_text()
    try:
        config.write_text(text.replace("protocol: strict", "protocol: paper"))
        assert link(run, "--sentence", "[[Georgia]]", "--json") == 0
    finally:
        config.write_text(text)
    captured = capsys.readouterr()
    json.loads(captured.out)
    assert captured.err.startswith("note: the run was trained under protocol paper")
