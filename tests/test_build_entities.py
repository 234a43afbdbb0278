"""``build entities``: of all titles those of candidates and golds stay, in their order."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest

from cli.main import main
from featurestore.construct.entity_cut import build_entities
from featurestore.construct.needed import needed_files
from featurestore.construct.seen import Ids
from featurestore.errors import ConfigError, SourceError, WriteError


class Inputs:
    """Mentions, candidates, titles and details, and where the table is to stand."""

    def __init__(self, folder: Path) -> None:
        self.mentions, self.candidates = folder / "m_test.jsonl", folder / "candidates.tsv"
        self.titles, self.details = folder / "titles.tsv", folder / "qid-details.jsonl"
        self.output = folder / "own" / "entities" / "qid-entity.tsv"
        golds = {"a": "Q7", "b": "Q99", "c": None, "d": "Q7"}
        lines = [{"id": name, "mention": "x", "gold": gold} for name, gold in golds.items()]
        self.mentions.write_text("".join(json.dumps(line) + "\n" for line in lines))
        self.candidates.write_text("a\tQ3\tQ1\nb\tQ3\tlocal-5\n")
        self.write_titles("Q9 Nine", "local-5 Ours", "Q7 Seven", "Q1 One é", "Q3 Three")
        self.details.write_text(
            '{"qid":"Q9","image":""}\n{"image": "x.jpg", "qid": "Q1"}\n{"qid":"Q3"}\n'
        )

    def write_titles(self, *lines: str) -> None:
        text = "".join(line.replace(" ", "\t", 1) + "\n" for line in lines)
        self.titles.write_text(text, encoding="utf-8")

    @property
    def arguments(self) -> tuple[Path, Path, Path, Path]:
        return self.mentions, self.candidates, self.titles, self.output


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    return Inputs(tmp_path)


def test_candidates_and_golds_stay_in_the_order_of_the_titles(inputs: Inputs) -> None:
    cut = build_entities(*inputs.arguments, details=inputs.details)
    kept = inputs.output.read_text(encoding="utf-8")
    assert kept == "local-5\tOurs\nQ7\tSeven\nQ1\tOne é\nQ3\tThree\n"
    assert (cut.entities, cut.titles, cut.candidates) == (4, 5, 3)
    assert (cut.golds, cut.golds_missing, cut.examples) == (2, 1, ("Q99",))
    beside = inputs.output.with_name("qid-details.jsonl")
    assert beside.read_text() == '{"image": "x.jpg", "qid": "Q1"}\n{"qid":"Q3"}\n'
    assert (cut.details, cut.details_kept) == (str(beside), 2)
    assert sorted(inputs.output.parent.iterdir()) == [beside, inputs.output]


def test_titles_of_another_search_are_refused_and_nothing_is_left(inputs: Inputs) -> None:
    inputs.write_titles("Q7 Seven", "Q3 Three")
    with pytest.raises(SourceError, match=r"2 candidates have no title in .*: Q1") as caught:
        build_entities(*inputs.arguments, details=inputs.details)
    assert caught.value.where == f"{inputs.candidates}, line 1"
    assert not list(inputs.output.parent.iterdir())


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("titles", "Q1\tOne\nQ3\n", "expected QID TAB title, found 'Q3'"),
        ("titles", "Q3\tThree\nlocal-5\tx\nQ3\tThree\nQ1\tOne\n", "entity 'Q3' stands twice"),
        ("candidates", "a\n", "expected mention id TAB QID TAB QID"),
        ("candidates", "a\tQ1\t\tQ3\n", "expected mention id TAB QID TAB QID"),
        ("details", "[]\n", "expected a JSON object with a qid"),
        ("details", '{"qid" broken\n', "Expecting ':'"),
        ("mentions", '{"id": "a"}\n', "mention"),
    ],
)
def test_malformed_lines_are_named(inputs: Inputs, file: str, text: str, message: str) -> None:
    getattr(inputs, file).write_text(text)
    with pytest.raises(SourceError, match=message):
        build_entities(*inputs.arguments, details=inputs.details)
    assert not inputs.output.exists()


def test_inputs_and_files_that_are_there_are_not_replaced(inputs: Inputs) -> None:
    with pytest.raises(ConfigError, match="the titles would be replaced"):
        build_entities(*inputs.arguments[:3], inputs.titles, overwrite=True)
    here = inputs.titles.with_name("qid-entity.tsv")
    with pytest.raises(ConfigError, match="the details would be replaced"):
        build_entities(*inputs.arguments[:3], here, details=inputs.details, overwrite=True)
    inputs.output.parent.mkdir(parents=True)
    inputs.output.write_text("mine")
    with pytest.raises(WriteError, match="the target exists"):
        build_entities(*inputs.arguments)
    assert inputs.output.read_text() == "mine"


def test_memory_does_not_grow_with_the_titles(inputs: Inputs) -> None:
    wanted = ["Q1 One", "Q3 Three", "Q7 Seven", "local-5 Ours"]
    inputs.write_titles(*(f"Q{n} A title of usual length" for n in range(10, 60_000)), *wanted)
    tracemalloc.start()
    try:
        cut = build_entities(*inputs.arguments)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (cut.entities, cut.titles) == (5, 59_994)  # Q99 has a title now
    assert peak < 400_000  # the titles alone have 1,900,000 bytes


def test_ids_hold_what_was_added() -> None:
    ids = Ids()
    names = ["Q1", "Q65536", "Q999999999", "Q1000000000", "Q01", "Q", "x"]
    assert all(ids.add(name) for name in names)
    assert not any(ids.add(name) for name in names)
    assert all(name in ids for name in names)
    assert not any(name in ids for name in ("Q2", "Q65537", "Q0", "Q001", "y"))
    assert ids.count == len(names)


def test_the_command_says_what_it_kept_and_is_told_as_the_next_one(
    inputs: Inputs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["build", "entities", *map(str, inputs.arguments[:3]), "-o", str(inputs.output)]
    assert main(command) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "entities 4 of 5 titles (80.0 %)" in told
    assert "golds 1 of 2 with a title without: Q99" in told
    assert main([*command, "--overwrite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["golds_missing"] == 1
    root = tmp_path / "other"
    (root / "candidates" / "top100").mkdir(parents=True)
    assert needed_files(root)[1].command.startswith("drin-fs build titles DUMP")
    (root / "candidates" / "top100" / "candidates-answer.tsv").touch()
    assert needed_files(root)[1].command.startswith(f"drin-fs build entities {root}/mentions")
