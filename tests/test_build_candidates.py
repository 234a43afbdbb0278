"""``drin-fs build candidates``: its file is what ingest reads, however the work is divided."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli.build.render_candidates import candidate_views
from cli.main import main
from featurestore.construct import candidates as module
from featurestore.construct.candidate_options import CandidateOptions
from featurestore.construct.candidates import build_candidates, filled
from featurestore.errors import ConfigError, SourceError, WriteError
from featurestore.lock import Lock
from featurestore.schema import NO_ROW
from featurestore.sources.sample import write_sample
from featurestore.sources.wikimel import RawWikimel
from tests.snapshots import check_snapshot
from tests.terminal import shown
from tests.tiny_store import write_tiny_store

TITLES = {"Q1": "Barack Obama", "Q2": "Michelle Obama", "Q3": "Paris", "Q4": "Paris (Texas)"}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("raw") / "wikimel"
    write_sample(root, mentions=60, entities=40, candidates=6)
    return root


@pytest.fixture
def small(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Mentions, titles, and where the candidates are to stand."""
    mentions = tmp_path / "own_test.jsonl"
    lines = [
        {"id": "a", "mention": "obama", "gold": "Q2"},
        {"id": "b", "mentions": "Paris", "answer": "Q4"},
        {"id": "c", "mention": "obama", "gold": "Q77"},
        {"id": "d", "mention": "the capital", "gold": None, "split": "valid"},
    ]
    mentions.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return mentions, write_titles(tmp_path, TITLES), tmp_path / "candidates.tsv"


def write_titles(folder: Path, titles: dict[str, str]) -> Path:
    path = folder / "qid-entity.tsv"
    path.write_text("".join(f"{qid}\t{title}\n" for qid, title in titles.items()))
    return path


def lists(path: Path) -> dict[str, list[str]]:
    lines = (line.split("\t") for line in path.read_text().splitlines())
    return {mention: qids for mention, *qids in lines}


# what is written ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["fuzzy", "ngram", "bm25"])
def test_ingest_reads_the_file_and_finds_the_same_recall(
    sample: Path, tmp_path: Path, method: str
) -> None:
    root = Path(shutil.copytree(sample, tmp_path / "own"))
    output = root / "candidates" / "top100" / "candidates-answer.tsv"
    summary = build_candidates(
        root / "mentions", root / "entities" / "qid-entity.tsv", output,
        options=CandidateOptions(k=5, method=method), overwrite=True,
    )  # fmt: skip
    read = RawWikimel.open(root)
    assert read.mentions.candidates.shape[1] == 5
    assert list(summary.splits) == ["train", "valid", "test"]
    written = lists(output)
    for rows in read.mentions.splits.values():
        own = [written[read.mentions.ids[row]] for row in rows]
        ids = np.array(read.entities.ids)
        assert own == ids[read.mentions.candidates[rows.start : rows.stop]].tolist()
    assert summary.overall.recall["recall@5"] > 0.3
    assert summary.overall.mentions == len(written) == summary.mentions
    assert all(len(set(qids)) == 5 for qids in written.values())


def test_the_best_first_ties_by_the_order_of_the_titles(small: tuple[Path, Path, Path]) -> None:
    summary = build_candidates(*small, options=CandidateOptions(k=2))
    assert lists(small[2]) == {
        "a": ["Q1", "Q2"], "b": ["Q3", "Q4"], "c": ["Q1", "Q2"], "d": lists(small[2])["d"],
    }  # fmt: skip
    assert (summary.mentions, summary.queries) == (4, 3)
    assert summary.skipped == {"golds that are not among the titles": 1}
    test = summary.splits["test"]
    assert (test.mentions, test.golds) == (3, 3)
    assert test.recall == {"recall@1": 0.0, "recall@2": pytest.approx(2 / 3)}
    assert (summary.splits["valid"].golds, summary.splits["valid"].recall) == (0, {})


def test_aliases_and_redirects_count_as_titles(small: tuple[Path, Path, Path]) -> None:
    folder = small[0].parent
    aliases, redirects = folder / "details.jsonl", folder / "redirects.tsv"
    aliases.write_text(
        '{"qid": "Q4", "aliases": ["The Capital"]}\n{"qid": "Q9", "aliases": ["Rome"]}\n'
        '{"qid": "Q1"}\n'
    )
    redirects.write_text("Obama\tMichelle_Obama\nRoma\tRome\n")
    summary = build_candidates(
        *small, options=CandidateOptions(k=1), aliases=aliases, redirects=redirects
    )
    assert lists(small[2]) == {"a": ["Q2"], "b": ["Q3"], "c": ["Q2"], "d": ["Q4"]}
    assert (summary.entities, summary.names) == (4, 6)
    assert summary.skipped["aliases of entities without a title"] == 1
    assert summary.skipped["redirects to titles that are not in the table"] == 1


def test_more_candidates_than_entities_are_all_entities(small: tuple[Path, Path, Path]) -> None:
    summary = build_candidates(*small, options=CandidateOptions(k=9, method="bm25"))
    assert summary.k == 4
    assert summary.filled == 4  # no mention shares a word with all titles
    assert lists(small[2])["b"] == ["Q3", "Q4", "Q1", "Q2"]
    assert lists(small[2])["d"] == list(TITLES)
    assert summary.skipped["candidates of each mention beyond all entities"] == 5


def test_lists_are_filled_up_with_the_first_entities_that_were_not_found() -> None:
    rows = np.array([4, 1, NO_ROW, NO_ROW], np.int32)
    assert filled(rows, 5).tolist() == [4, 1, 0, 2]
    assert filled(np.array([1, 0, NO_ROW], np.int32), 3).tolist() == [1, 0, 2]


def test_dense_uses_the_vectors_of_the_store(tmp_path: Path) -> None:
    vectors = np.eye(8, 6, dtype=np.float32)
    spans = vectors[[3, 0, 1, 2, 4, 5, 0, 1, 2, 3]]
    tiny = write_tiny_store(
        tmp_path / "s.h5",
        change={"entities/text_mean": vectors, "mentions/text_span": spans},
    )
    mentions = tmp_path / "valid.jsonl"
    mentions.write_text(
        '{"id": "m0-0", "mention": "x", "gold": "Q103"}\n{"id": "m1-0", "mention": "x"}\n'
    )
    titles = write_titles(tmp_path, {f"Q{100 + row}": "same" for row in range(9)})
    output = tmp_path / "c.tsv"
    options = CandidateOptions(k=2, method="dense")
    summary = build_candidates(mentions, titles, output, options=options, store=tiny.path)
    assert [own[0] for own in lists(output).values()] == ["Q103", "Q100"]
    assert summary.skipped == {"entities that are not in the store": 1}
    assert (summary.queries, summary.splits["valid"].recall["recall@1"]) == (2, 1.0)
    with pytest.raises(ConfigError, match="compares the vectors of a store"):
        build_candidates(mentions, titles, tmp_path / "d.tsv", options=options)
    with pytest.raises(ConfigError, match="reads no store"):
        build_candidates(mentions, titles, tmp_path / "d.tsv", store=tiny.path)


def test_dense_finds_by_name_what_it_has_no_vector_of_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vectors = np.eye(8, 6, dtype=np.float32)
    spans = np.tile(vectors[3], (10, 1))
    spans[1] = 0
    tiny = write_tiny_store(
        tmp_path / "s.h5", change={"entities/text_mean": vectors, "mentions/text_span": spans}
    )
    mentions = tmp_path / "valid.jsonl"
    lines = [("m0-0", "Paris"), ("m99", "Paris"), ("m1-0", "Obama"), ("m98", "zzz")]
    mentions.write_text("".join(f'{{"id": "{i}", "mention": "{m}"}}\n' for i, m in lines))
    titles = write_titles(
        tmp_path, {"Q100": "Rome", "Q101": "Barack Obama", "Q103": "Oslo", "Q102": "Paris"}
    )
    dense = ["--k", "1", "--method", "dense", "--store", str(tiny.path)]
    command = ["build", "candidates", str(mentions), str(titles), "-o", str(tmp_path / "c.tsv")]
    assert main([*command, *dense]) == 0
    assert lists(tmp_path / "c.tsv") == {
        "m0-0": ["Q103"], "m99": ["Q102"], "m1-0": ["Q101"], "m98": ["Q100"],
    }  # fmt: skip
    told = " ".join(capsys.readouterr().out.split())
    assert "by name 2 mentions not in the store" in told
    assert "1 mentions of a vector without direction" in told
    mentions.write_text('{"id": "m99", "mention": "Paris"}\n')
    assert main([*command, *dense, "--overwrite"]) == 3
    assert "vectors of none of the 1 mentions: m99" in capsys.readouterr().err


def test_the_folder_of_the_file_is_made_when_there_is_something_to_write(
    small: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    output = tmp_path / "own" / "candidates" / "top100" / "candidates-answer.tsv"
    with pytest.raises(SourceError, match="there is no file of titles"):
        build_candidates(small[0], tmp_path / "absent", output)
    assert not (tmp_path / "own").exists()
    build_candidates(*small[:2], output)
    assert len(lists(output)) == 4
    with pytest.raises(WriteError, match="a file, not a folder"):
        build_candidates(*small[:2], output / "c.tsv")


# dividing and interrupting --------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["fuzzy", "ngram"])
def test_threads_and_blocks_do_not_change_the_file(
    sample: Path, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    for number, (jobs, mentions) in enumerate([(1, 512), (3, 1), (2, 7)]):
        monkeypatch.setattr(module, "_BLOCK_MENTIONS", mentions)
        output = tmp_path / f"{number}.tsv"
        options = CandidateOptions(k=9, method=method, jobs=jobs)
        build_candidates(
            sample / "mentions", sample / "entities" / "qid-entity.tsv", output, options=options
        )
        made.append(output.read_bytes())
    assert made[0] == made[1] == made[2]


class Interrupted(Exception):
    pass


def interrupt_after(blocks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a run end badly when it has kept so many blocks of one mention."""
    put = module.BlockFolder.put

    def limited(self: module.BlockFolder, number: int, rows: Any) -> None:
        if number >= blocks:
            raise Interrupted
        put(self, number, rows)

    monkeypatch.setattr(module, "_BLOCK_MENTIONS", 1)
    monkeypatch.setattr(module.BlockFolder, "put", limited)


def test_an_interrupted_run_goes_on_with_what_it_had(
    small: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = CandidateOptions(k=3, jobs=1)
    whole = small[2].with_name("whole.tsv")
    build_candidates(small[0], small[1], whole, options=options)
    with monkeypatch.context() as patch:
        interrupt_after(2, patch)
        with pytest.raises(Interrupted):
            build_candidates(*small, options=options)
        assert not small[2].exists()
        patch.undo()
        patch.setattr(module, "_BLOCK_MENTIONS", 1)
        summary = build_candidates(*small, options=options)
    assert summary.resumed == 2
    assert small[2].read_bytes() == whole.read_bytes()
    names = {path.name for path in small[2].parent.iterdir()}
    assert names == {"own_test.jsonl", "qid-entity.tsv", "candidates.tsv", "whole.tsv"}


def test_a_search_that_takes_no_measurable_time_has_a_rate(
    small: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = count()
    monkeypatch.setattr(module, "perf_counter", lambda: next(ticks) * 1e-4)
    summary = build_candidates(*small, options=CandidateOptions(k=3, jobs=1))
    assert summary.seconds["search"] == 0.0
    assert summary.per_second == pytest.approx(4 / 1e-4)


@pytest.mark.parametrize("change", ["options", "titles", "restart"])
def test_blocks_of_other_work_are_thrown_away(
    small: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch, change: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    with monkeypatch.context() as patch:
        interrupt_after(2, patch)
        with pytest.raises(Interrupted):
            build_candidates(*small, options=CandidateOptions(k=3, jobs=1))
    monkeypatch.setattr(module, "_BLOCK_MENTIONS", 1)
    arguments = ["build", "candidates", *map(str, small[:2]), "-o", str(small[2]), "--json"]
    arguments += ["--k", "2" if change == "options" else "3"]
    if change == "titles":
        write_titles(small[1].parent, {**TITLES, "Q5": "Obama"})
    assert main([*arguments, *(["--restart"] if change == "restart" else [])]) == 0
    out = capsys.readouterr()
    assert json.loads(out.out)["resumed"] == 0
    assert ("is thrown away" in out.err) == (change != "restart")


_KILLED = """
import sys
from pathlib import Path
from featurestore.construct import candidates as module
from featurestore.construct.candidate_options import CandidateOptions
from featurestore.construct.fuzzy import FuzzyTitles
import time
module._BLOCK_MENTIONS = 1
find = FuzzyTitles.find
def slow(self, mentions):
    time.sleep(0.05)
    return find(self, mentions)
FuzzyTitles.find = slow
mentions, titles, output = map(Path, sys.argv[1:])
module.build_candidates(mentions, titles, output, options=CandidateOptions(k=7, jobs=2))
"""


def test_a_killed_run_is_gone_on_with_and_gives_the_same_file(sample: Path, tmp_path: Path) -> None:
    inputs = (sample / "mentions", sample / "entities" / "qid-entity.tsv")
    whole, output = tmp_path / "whole.tsv", tmp_path / "c.tsv"
    build_candidates(*inputs, whole, options=CandidateOptions(k=7))
    command = [sys.executable, "-c", _KILLED, *map(str, inputs), str(output)]
    child = subprocess.Popen(command)
    part = tmp_path / ".c.tsv.part"
    deadline = time.monotonic() + 120
    while len(list(part.glob("0*.npy"))) < 2 and time.monotonic() < deadline:
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert not output.exists()
    kept = len(list(part.glob("0*.npy")))
    assert kept >= 2
    subprocess.run(command, check=True)
    assert output.read_bytes() == whole.read_bytes()
    assert not part.exists()


def test_one_run_at_a_time_and_no_file_is_written_over(small: tuple[Path, Path, Path]) -> None:
    lock = Lock(small[2].with_name(f".{small[2].name}.lock"))
    try:
        with pytest.raises(WriteError, match="another run writes this file"):
            build_candidates(*small)
    finally:
        lock.release()
    small[2].write_text("mine")
    with pytest.raises(WriteError, match="the target exists"):
        build_candidates(*small)
    assert small[2].read_text() == "mine"
    build_candidates(*small, overwrite=True)
    assert len(lists(small[2])) == 4


# bad inputs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("Q1\tA\nQ1\tB\n", "entity 'Q1' stands twice"),
        ("Q1\t\n", "expected QID TAB title"),
        ("", "the file holds no title"),
    ],
)
def test_titles_are_checked(small: tuple[Path, Path, Path], lines: str, message: str) -> None:
    small[1].write_text(lines)
    with pytest.raises(SourceError, match=message):
        build_candidates(*small)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('{"id": "a", "mention": " "}\n', "the mention has no text"),
        ('{"id": "a"}\n', "has no 'mentions'"),
        ('{"mention": "x"}\n', "has no 'id'"),
        ('{"id": "a\\tb", "mention": "x"}\n', "cannot stand in a file of tabs"),
        ('{"id": "a", "mention": "x"}\n{"id": "a", "mention": "y"}\n', "stands twice"),
        ('{"id": "a", "mention": 3}\n', "must be a string, found a number"),
        ("[]\n", "expected an object, found a list"),
        ("{\n", "malformed JSON"),
        ("\n", "there is no mention"),
    ],
)
def test_mentions_are_checked(small: tuple[Path, Path, Path], lines: str, message: str) -> None:
    small[0].write_text(lines)
    with pytest.raises(SourceError, match=message):
        build_candidates(*small)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_text('{"qid": "Q1", "aliases": "x"}\n'), "must be a list"),
        (lambda path: path.write_text('{"aliases": []}\n'), "has no 'qid'"),
        (lambda path: None, "there is no file of aliases"),
    ],
)
def test_aliases_are_checked(
    small: tuple[Path, Path, Path], write: Callable[[Path], object], message: str
) -> None:
    aliases = small[0].with_name("aliases")
    write(aliases)
    with pytest.raises(SourceError, match=message):
        build_candidates(*small, aliases=aliases)


def test_redirects_and_folders_are_checked(small: tuple[Path, Path, Path], tmp_path: Path) -> None:
    redirects = tmp_path / "redirects.tsv"
    redirects.write_text("Obama\n")
    with pytest.raises(SourceError, match="expected redirect TAB title"):
        build_candidates(*small, redirects=redirects)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=r"holds no \.json or \.jsonl file"):
        build_candidates(tmp_path / "empty", *small[1:])
    with pytest.raises(SourceError, match="there is no file of mentions"):
        build_candidates(tmp_path / "absent.json", *small[1:])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scorer": "none"}, "has no order without one"),
        ({"scorer": "levenshtein"}, "unknown value 'levenshtein'"),
        ({"method": "magic"}, "unknown value 'magic'"),
        ({"k": 0}, "0 is less than 1"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CandidateOptions(**options)


# what is shown --------------------------------------------------------------------------------------


def test_the_command_prints_recall_and_counts_what_it_did_not_use(
    small: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["build", "candidates", *map(str, small[:2]), "-o", str(small[2]), "--k", "2"]
    assert main(arguments) == 0
    out = capsys.readouterr()
    assert "not used: 1 golds that are not among the titles" in out.err
    assert any(line.split()[:3] == ["test", "3", "3"] for line in out.out.splitlines())
    assert main(arguments) == 1
    assert "the target exists" in capsys.readouterr().err


@pytest.mark.parametrize("width", [80, 120])
def test_the_summary_fits_the_terminal(small: tuple[Path, Path, Path], width: int) -> None:
    summary = build_candidates(*small, options=CandidateOptions(k=3, method="ngram"))
    fixed = replace(
        summary, output="own/candidates-answer.tsv", per_second=161.2,
        seconds={"read": 0.8, "index": 0.2, "search": 158.0, "write": 0.6},
    )  # fmt: skip
    text = "".join(shown(view, width=width) for view in candidate_views(fixed))
    check_snapshot(f"build-candidates-{width}", text)
