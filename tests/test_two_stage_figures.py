"""What is said of figures behind a first stage: in summaries, reports, cards, and by the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import full_kb
from benchmarks.data import TINY, Workspace
from cli.main import main
from featurestore.errors import ConfigError
from featurestore.progress import Silent
from linker.baseline import evaluate_untrained
from linker.config_text import read_config
from linker.evaluate import evaluate
from linker.first_stage import FirstStage
from linker.recorded import RecordedRun
from linker.report_conditions import check_comparable
from linker.scoring import FullKb
from tests.stores_for_tests import planted_store


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 entities: enough for an index with several lists."""
    folder = tmp_path_factory.mktemp("figures")
    return planted_store(folder / "planted.h5", groups=100, namesakes=3, clip_scale=80.0)


def filed(path: Path, run: Path, stage: FirstStage | None) -> dict[str, Any]:
    return evaluate_untrained(
        path,
        read_config({"model": "bert", "device": "cpu"}),
        run=run,
        protocol="full-kb",
        full_kb=FullKb(first_stage=stage),
    )


def test_figures_name_the_first_stage_and_stand_in_no_table_with_others(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = FirstStage(method="exact", retrieve=30)
    summary = filed(path, tmp_path / "thirty", stage)
    assert summary["protocol"] == "two-stage"
    assert summary["first_stage"] == {
        "method": "exact",
        "vectors": "the model's own vectors",
        "fields": None,
        "retrieve": 30,
    }
    whole = filed(path, tmp_path / "all", None)
    assert whole["test"]["hits@20"] == summary["test"]["hits@20"] <= summary["test"]["recall@30"]
    assert whole["test"]["retrieved"] == summary["test"]["retrieved"]
    filed(path, tmp_path / "forty", replace(stage, retrieve=40))
    thirty, everything, forty = (
        RecordedRun(tmp_path / name) for name in ("thirty", "all", "forty")
    )
    check_comparable([thirty, thirty])
    with pytest.raises(ConfigError, match=r"protocol is two-stage in .*, full-kb in "):
        check_comparable([thirty, everything])
    with pytest.raises(ConfigError, match=r"the first stage is exact on .* 30 retrieved in"):
        check_comparable([thirty, forty])

    assert main(["report", str(tmp_path / "thirty"), str(tmp_path / "forty")]) == 2
    both = ["report", "--mixed", str(tmp_path / "thirty"), str(tmp_path / "all")]
    capsys.readouterr()
    assert main(both) == 0
    assert "exact on the model's own vectors, 30 retrieved" in capsys.readouterr().out
    card = (tmp_path / "thirty" / "README.md").read_text()
    assert "--protocol full-kb --first-stage exact --retrieve 30 --ties" in card
    assert "The first stage is the ceiling" in card


def test_the_command_reports_recall_beside_the_figures(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", str(path), "--model", "clip", "--set", "model.pair=image-text"]
    command += ["--device", "cpu", "--protocol", "full-kb", "--first-stage", "ivf"]
    command += ["--retrieve", "25", "--index", str(tmp_path / "index"), "--probe", "2"]
    assert main([*command, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["first_stage"] == {
        "method": "ivf",
        "vectors": "clip_image:clip_text",
        "fields": "clip_image:clip_text",
        "retrieve": 25,
        "lists": 7,
        "probe": 2,
    }
    assert 0 < figures["test"]["recall@25"] < 1
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "recall@25" in shown
    words = " ".join(shown.split())
    assert "first ivf on clip_image:clip_text, 25 retrieved, 2 of 7 lists" in words


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--retrieve", "50"], "--retrieve needs --first-stage exact, ivf or ivf-pq"),
        (["--first-stage-field", "x"], "--first-stage-field needs --first-stage"),
        (["--first-stage", "ivf"], "only protocol full-kb is scored so"),
        (["--devices", "2"], "only protocol full-kb is scored so"),
        (["--protocol", "full-kb", "--first-stage", "ivf", "--retrieve", "5"], "hits@20 are"),
        (["--protocol", "full-kb", "--first-stage", "exact", "--probe", "2"], "has no index"),
        (["--protocol", "full-kb", "--first-stage", "ivf", "--probe", "0"], "no list would"),
        (
            [
                "--protocol",
                "full-kb",
                "--first-stage",
                "exact",
                "--first-stage-field",
                "text_span:x",
            ],
            "no field 'x'",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused(
    path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main(["evaluate", str(path), "--model", "bert", "--device", "cpu", *options]) in (2, 3)
    assert message in " ".join(capsys.readouterr().err.split())


def test_the_benchmark_says_what_each_way_costs(tmp_path: Path) -> None:
    report = full_kb.measure(Workspace(tmp_path, TINY, Silent()))
    recalls = [row.figures["recall, %"] for row in report.rows]
    assert recalls[0] is None
    assert all(0 < row.figures["s"] < 1000 for row in report.rows)
    assert [row.figures["hits@1, %"] for row in report.rows[:2]] == [
        report.rows[0].figures["hits@1, %"]
    ] * 2


def test_a_run_is_scored_so_too(path: Path) -> None:
    with pytest.raises(ConfigError, match="only protocol full-kb is scored so"):
        evaluate(path.parent, full_kb=FullKb(devices=2))
