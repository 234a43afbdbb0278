"""``drin-fs report`` as it is typed."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
from pathlib import Path

import pytest

from cli.main import COMMANDS, main
from linker.report_formats.csv_lines import COLUMNS
from tests.reported_for_tests import drawn_ranks, grid, reported_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("command") / "runs"
    return grid(folder, {"text": 0.5, "drin": 0.7, "clip": 0.3}, mentions=300, seeds=2)


def said(capsys: pytest.CaptureFixture[str], *arguments: object, status: int = 0) -> str:
    assert main(["report", *map(str, arguments)]) == status
    out, err = capsys.readouterr()
    return err if status else out


def test_runs_are_shown_below_each_other(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, runs).splitlines()
    assert [line.split()[0] for line in lines if line.startswith((" clip", " drin", " text"))] == [
        *("clip", "drin", "text")
    ] * 2
    assert "±" in lines[5]
    assert not any(line.endswith(" ") for line in lines)
    assert "bold" not in lines[-2], "a pipe shows none"


def test_named_runs_are_shown_in_their_order(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = said(capsys, runs / "text", runs / "drin" / "seed-0", "--split", "test")
    assert out.index(" text") < out.index(" drin")
    assert "valid" not in out


def test_a_baseline_adds_differences(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, runs, "--baseline", "text", "--resamples", 200, "--seed", 3)
    assert "Differences from text: points, interval, corrected p" in out
    assert "200 resamples, seed 3" in out
    assert "Intervals of the figures" not in out
    assert "Intervals of the figures" in said(capsys, runs, "--intervals", "--resamples", 200)
    assert "rows: clip, drin, text" in said(capsys, runs, "--baseline", "x", status=2)


def test_json_is_the_whole_table(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = json.loads(said(capsys, runs, "--json", "--baseline", "text", "--resamples", 1_000))
    drin = next(row for row in out["rows"] if row["name"] == "drin")
    cell = drin["cells"]["test"]["hits@1"]
    assert set(cell) == {*("mean", "std", "n", "values", "place", "interval", "comparison")}
    assert cell["place"] == "best"
    assert cell["comparison"]["corrected"] < 0.05
    assert drin["runs"] == [str(runs / "drin" / f"seed-{seed}") for seed in range(2)]
    assert out["tested"]["baseline"] == "text"
    one = json.loads(said(capsys, runs / "text", "--by", "run", "--json", "--resamples", 200))
    assert [row["seeds"] for row in one["rows"]] == [[0], [1]]


@pytest.mark.parametrize(
    ("name", "begin"),
    [
        ("t.md", "valid\n\n| run |"),
        ("t.tex", "% needs \\usepackage{booktabs}\n\\begin{table}"),
        ("t.csv", "run,model,protocol"),
        ("t.html", "<!doctype html>"),
        ("t.HTM", "<!doctype html>"),
        ("t.txt", "valid\n"),
    ],
)
def test_a_file_has_the_format_of_its_ending(
    name: str, begin: str, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / name
    assert said(capsys, runs, "-o", target, "--resamples", 200) == ""
    assert target.read_text().startswith(begin)
    assert "the target exists" in said(capsys, runs, "-o", target, status=1)
    said(capsys, runs, "-o", target, "--overwrite", "--split", "test", "--resamples", 200)
    assert "valid" not in target.read_text()


def test_a_format_goes_to_stdout_or_to_any_file(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = said(capsys, runs, "--format", "csv", "--resamples", 200)
    assert len(list(csv.reader(io.StringIO(out, newline="")))) == 1 + 2 * 3 * 5
    assert "\r\n" in out
    said(capsys, runs, "--format", "csv", "-o", tmp_path / "x.dat", "--resamples", 200)
    assert (tmp_path / "x.dat").read_bytes() == out.encode()
    assert "does not tell the format" in said(capsys, runs, "-o", tmp_path / "y.dat", status=2)
    assert not (tmp_path / "y.dat").exists()


def test_other_conditions_need_to_be_asked_for(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {"test": drawn_ranks(0.5, 300, seed=0)}
    reported_run(tmp_path / "paper", found, protocol="paper", config="model: paper\n")
    assert "protocol is strict in" in said(capsys, runs, tmp_path, status=2)
    out = said(capsys, runs, tmp_path, "--mixed")
    assert "protocol" in out.splitlines()[2]
    assert "Protocol strict" not in out


def test_a_folder_without_runs_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "holds no finished one" in said(capsys, tmp_path, status=3)


PAGE = (Path(__file__).parent.parent / "docs" / "reports.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("line", sorted(set(re.findall(r"`(drin-fs report [^`]*)`", PAGE))))
def test_a_command_of_the_page_is_understood(line: str) -> None:
    _, name, *arguments = shlex.split(line)
    COMMANDS[name].load(name).make_context(name, arguments)


def test_the_example_of_the_page_runs(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(runs.parent)
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(example, "reports.md", "exec"), {})
    assert "\\begin{table}" in capsys.readouterr().out


def test_the_page_names_the_columns_of_the_csv() -> None:
    listed = PAGE.split("Columns of the CSV: ")[1].split("\n\n")[0].replace("\n", " ")
    names = re.findall(r"[a-z_0-9]+", "".join(re.findall(r"`[^`]*`", listed)).replace("`", " "))
    assert tuple(names) == COLUMNS
