"""Plots of runs: files that are what they say, numbers that are the runs', names as they are."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import binomtest

import featurestore
from cli.main import main
from featurestore.describe import describe_mention
from featurestore.errors import ConfigError
from linker.edge_weights import EdgeWeights
from linker.plots import write_plots
from linker.plots.breakdown import wilson
from linker.plots.labels import spread
from linker.plots.mention_edges import mention_plot
from linker.plots.naming import named
from linker.plots.plot import Plot, csv_text
from linker.plots.style import drawable, styled
from linker.ranks import rank_scores
from linker.recorded import RecordedRun
from linker.run_folder import RunError
from linker.run_groups import Group, group_runs, runs_below
from tests.recorded_for_tests import recorded_run
from tests.runs_for_tests import QuickRun, Recording
from tests.stores_for_tests import planted_store

#: Names that would be formulas, commands, legends' secrets, or nothing.
HOSTILE = (
    "$x_{",
    "_hidden",
    "50%_a\\b",
    "模型",
    "é\u202ex",
    "a&<b>",
    "$\\frac{1}{2}$",
    "x" * 90,
    "--",
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted_store(
        tmp_path_factory.mktemp("store") / "s.h5",
        also={
            "entities/image_status": np.arange(36, dtype=np.uint8) % 2,
            "mentions/image_status": np.zeros(176, np.uint8),
        },
        topics=[f"topic {place % 3}" for place in range(176)],
    )


def scores_of(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(40, 6)).astype(np.float32)


def made_run(
    folder: Path, store: Path, *, seed: int, epochs: int = 3, ranks: bool = True, **changes: Any
) -> None:
    """A finished run of ``epochs`` epochs, whose curves tell its seed."""
    figures = {"hits@1": 0.5 + seed / 100, "mrr": 0.6 + seed / 100, "mentions": 40, "retrieved": 35}
    summary = {"test": figures, "parameters": 1000, "peak_rss_anon_mb": 500.0, "seed": seed}
    run = recorded_run(
        folder, store, {"test": scores_of(seed)} if ranks else {}, **summary | changes
    )
    run.write_config(
        f"model: {{name: text}}\nlabel: {json.dumps(folder.parent.name)}\nseed: {seed}\n"
    )
    if epochs:
        run.write_metrics(
            [
                {
                    "epoch": epoch,
                    "train_loss": 1 / epoch + seed,
                    "valid_mrr": epoch / 10 + seed / 100,
                    "valid_mean_rank": None,
                    "seconds": 2.0 + seed,
                    "valid_seconds": 9.0,
                }
                for epoch in range(1, epochs + 1)
            ]
        )


def groups_of(*folders: Path) -> tuple[Group, ...]:
    return group_runs(map(RecordedRun, runs_below(folders)))


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def assert_pictures(written: Sequence[Path]) -> None:
    """Every plot is a PNG, an SVG, a CSV and a caption, and the pictures are pictures."""
    assert {path.suffix for path in written} == {".png", ".svg", ".csv", ".txt"}
    for path in written:
        if path.suffix == ".png":
            with Image.open(path) as picture:
                picture.load()
                assert picture.format == "PNG"
                assert min(picture.size) > 300
        elif path.suffix == ".svg":
            root = ElementTree.parse(path).getroot()
            assert root.tag.endswith("svg")
            assert list(root.iter("{http://www.w3.org/2000/svg}path"))


@pytest.fixture(scope="module")
def drawn(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two groups of unequal seeds and epochs."""
    folder = tmp_path_factory.mktemp("drawn")
    for seed, epochs in ((0, 3), (1, 3), (2, 2)):
        made_run(folder / "runs/many" / f"seed-{seed}", store, seed=seed, epochs=epochs)
    made_run(folder / "runs/one" / "seed-5", store, seed=5, epochs=1)
    made_run(folder / "runs/untrained", store, seed=0, epochs=0, model="clip")
    written = write_plots(groups_of(folder / "runs"), folder / "plots")
    assert_pictures(written)
    return folder / "plots"


# numbers ------------------------------------------------------------------------------------------


def test_every_plot_is_there_with_its_numbers_and_caption(drawn: Path) -> None:
    names = {"learning", "hits", "topics", "coverage", "cost"}
    kinds = ("csv", "png", "svg", "txt")
    assert {path.name for path in drawn.iterdir()} == {f"{n}.{k}" for n in names for k in kinds}
    for name in names - {"learning"}:
        caption = " ".join((drawn / f"{name}.txt").read_text().split())
        assert (
            "split test, 40 mentions; protocol strict; tie rule expected; denominator all"
            in caption
        )
        assert "seeds 0, 1, 2 (many); seed 5 (one)" in caption


def test_bands_are_of_the_seeds_that_reached_an_epoch(drawn: Path) -> None:
    found = {
        (row["group"], row["figure"], row["epoch"]): (row["mean"], row["std"], row["seeds"])
        for row in rows(drawn, "learning")
    }
    mean, std, seeds = found["many", "valid_mrr", "2"]
    assert (float(mean), float(std), seeds) == (pytest.approx(0.21), pytest.approx(0.01), "3")
    mean, std, seeds = found["many", "valid_mrr", "3"]
    wanted = np.std([0.30, 0.31], ddof=1)
    assert (float(mean), float(std), seeds) == (pytest.approx(0.305), pytest.approx(wanted), "2")
    mean, std, seeds = found["one", "train_loss", "1"]
    assert (float(mean), std, seeds) == (pytest.approx(6.0), "", "1")
    assert not any(figure == "valid_mean_rank" for _, figure, _ in found)
    assert not any(group == "untrained" for group, _, _ in found)


def test_hits_at_k_are_means_over_the_seeds_ranks(drawn: Path, store: Path) -> None:
    with featurestore.open(store) as opened:
        test = opened.mentions.split("test")
        answer = opened.mentions.gather("answer", np.arange(test.start, test.stop))
    found = {(row["group"], int(row["k"])): row for row in rows(drawn, "hits")}
    for k in range(1, 7):
        each = [
            float(np.mean(rank_scores(scores_of(seed), answer).expected <= k)) for seed in range(3)
        ]
        row = found["many", k]
        assert float(row["mean"]) == pytest.approx(np.mean(each))
        assert float(row["std"]) == pytest.approx(np.std(each, ddof=1))
        assert float(row["candidate_recall"]) == pytest.approx(np.mean(answer < 6))
        assert found["one", k]["std"] == ""
    assert max(k for _, k in found) == 6


def test_breakdowns_are_shares_of_the_mentions_of_a_category(drawn: Path, store: Path) -> None:
    with featurestore.open(store) as opened:
        test = np.arange(*(lambda r: (r.start, r.stop))(opened.mentions.split("test")))
        answer, gold = (opened.mentions.gather(name, test) for name in ("answer", "gold"))
    hits = [rank_scores(scores_of(seed), answer).expected <= 1 for seed in range(3)]
    chosen = {
        ("topics", "topic 1"): test % 3 == 1,
        ("coverage", "missing"): (gold >= 0) & (gold % 2 == 1),
        ("coverage", "gold not in the store"): gold < 0,
    }
    for (name, category), of in chosen.items():
        (row,) = (
            row
            for row in rows(drawn, name)
            if (row["category"], row["group"]) == (category, "many")
        )
        mean = np.mean([run[of].mean() for run in hits])
        assert int(row["mentions"]) == of.sum() > 0
        assert float(row["hits@1"]) == pytest.approx(mean)
        low, high = wilson(float(mean), int(of.sum()))
        assert float(row["wilson_low"]) == pytest.approx(low)
        assert float(row["wilson_high"]) == pytest.approx(high)


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilsons_interval_is_that_of_scipy(case: tuple[int, int]) -> None:
    hits, count = case
    wanted = binomtest(hits, count).proportion_ci(method="wilson")
    assert wilson(hits / count, count) == pytest.approx((wanted.low, wanted.high), abs=1e-9)


def test_cost_is_the_sum_over_epochs_without_validation(drawn: Path) -> None:
    found = {row["group"]: row for row in rows(drawn, "cost")}
    assert float(found["many"]["seconds"]) == pytest.approx((6 + 9 + 8) / 3)
    assert float(found["many"]["seconds_std"]) == pytest.approx(np.std([6, 9, 8], ddof=1))
    assert float(found["many"]["mrr"]) == pytest.approx(0.61)
    assert found["one"]["seconds_std"] == ""
    assert found["untrained"]["seconds"] == ""
    assert float(found["one"]["parameters"]) == 1000


def test_denominator_retrieved_leaves_the_others_out(store: Path, tmp_path: Path) -> None:
    made_run(tmp_path / "runs/a/seed-0", store, seed=0, denominator="retrieved")
    write_plots(groups_of(tmp_path / "runs"), tmp_path / "plots")
    assert float(rows(tmp_path / "plots", "hits")[-1]["mean"]) == 1.0
    counted = sum(int(row["mentions"]) for row in rows(tmp_path / "plots", "topics"))
    with featurestore.open(store) as opened:
        test = opened.mentions.split("test")
        answer = opened.mentions.gather("answer", np.arange(test.start, test.stop))
    assert counted == (answer < 6).sum() < 40


# files --------------------------------------------------------------------------------------------


def test_the_same_runs_give_the_same_bytes(drawn: Path, tmp_path: Path) -> None:
    write_plots(groups_of(drawn.parent / "runs"), tmp_path)
    for path in drawn.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def test_settings_of_matplotlib_stay_as_they_were(drawn: Path, tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    with mpl.rc_context({"font.size": 31, "text.usetex": True}):  # as a user's matplotlibrc may
        write_plots(groups_of(drawn.parent / "runs"), tmp_path)
        assert mpl.rcParams["font.size"] == 31
    assert dict(mpl.rcParams) == before
    assert (tmp_path / "cost.svg").read_bytes() == (drawn / "cost.svg").read_bytes()


def test_names_are_drawn_as_they_are(store: Path, tmp_path: Path) -> None:
    groups = []
    for place, name in enumerate(HOSTILE):
        made_run(tmp_path / str(place) / "seed-0", store, seed=place)
        groups.append(Group(name=name, runs=(RecordedRun(tmp_path / str(place) / "seed-0"),)))
    written = write_plots(groups, tmp_path / "plots")
    assert_pictures(written)
    assert {row["group"] for row in rows(tmp_path / "plots", "hits")} == set(HOSTILE)
    assert "\u202e" not in (tmp_path / "plots" / "hits.svg").read_text(encoding="utf-8")


def test_what_no_font_has_is_written_out_and_long_names_are_cut() -> None:
    assert drawable("$x_{") == "$x_{"
    assert drawable("a\u202eb\nc") == "a\\u202eb c"
    assert drawable("\U0010fffe") == "\\U0010fffe"
    assert drawable("") == "(no name)"
    cut = drawable("a" * 40 + "z" * 40)
    assert len(cut) == 28
    assert cut.startswith("aaa") and cut.endswith("zzz") and "…" in cut  # noqa: PT018


def test_equal_names_are_told_apart(store: Path, tmp_path: Path) -> None:
    for folder in ("a/text", "b/text"):
        made_run(tmp_path / folder / "seed-0", store, seed=0)
        (tmp_path / folder / "seed-0/config.yaml").write_text(
            f"model: {{name: text}}\nx: {folder}\n"
        )
    assert [each.name for each in named(groups_of(tmp_path))] == ["a/text", "b/text"]
    (group, _) = groups_of(tmp_path)
    assert [each.name for each in named([group, group])][1].endswith("text (2)")


# what is not there --------------------------------------------------------------------------------


def test_runs_without_ranks_are_left_out_and_said(store: Path, tmp_path: Path) -> None:
    made_run(tmp_path / "runs/with/seed-0", store, seed=0)
    made_run(tmp_path / "runs/without/seed-0", store, seed=1, ranks=False)
    said = Recording()
    write_plots(groups_of(tmp_path / "runs"), tmp_path / "plots", progress=said)
    assert {row["group"] for row in rows(tmp_path / "plots", "hits")} == {"with"}
    assert {row["group"] for row in rows(tmp_path / "plots", "learning")} == {"with", "without"}
    assert any("without/seed-0: the run has no ranks" in line for line in said.lines)


def test_runs_of_all_entities_have_curves_where_they_recorded_ranks(
    store: Path, tmp_path: Path
) -> None:
    made_run(tmp_path / "runs/a/seed-0", store, seed=0, protocol="full-kb", entities=2_000_000)
    made_run(tmp_path / "runs/b/seed-0", store, seed=0, ranks=False, protocol="full-kb", epochs=0)
    said = Recording()
    write_plots(groups_of(tmp_path / "runs"), tmp_path / "plots", progress=said)
    ks = [int(row["k"]) for row in rows(tmp_path / "plots", "hits")]
    assert (ks[0], ks[-1]) == (1, 2_000_000)
    assert len(ks) <= 300
    assert any("protocol full-kb ranks all entities" in line for line in said.lines)


def test_nothing_to_draw_is_said_plot_by_plot(store: Path, tmp_path: Path) -> None:
    recorded_run(tmp_path / "runs/a", store, {})
    said = Recording()
    assert write_plots(groups_of(tmp_path / "runs"), tmp_path / "plots", progress=said) == ()
    for name in ("learning", "hits", "cost", "topics and coverage"):
        assert any(f"{name}: " in line for line in said.lines), name


def test_a_store_that_is_gone_leaves_its_plots_out_and_a_given_one_must_be_right(
    tmp_path: Path,
) -> None:
    path = planted_store(tmp_path / "s.h5", topics=["one"] * 176)
    made_run(tmp_path / "runs/a/seed-0", path, seed=0)
    path.rename(tmp_path / "moved.h5")
    groups, said = groups_of(tmp_path / "runs"), Recording()
    write_plots(groups, tmp_path / "plots", progress=said)
    assert not (tmp_path / "plots/topics.png").exists()
    assert any("say where the store is: --store PATH" in line for line in said.lines)
    write_plots(groups, tmp_path / "plots", store=tmp_path / "moved.h5")
    assert (tmp_path / "plots/topics.png").exists()
    assert not (tmp_path / "plots/coverage.png").exists()  # it knows nothing of pictures
    other = planted_store(tmp_path / "other.h5", seed=4)
    with pytest.raises(RunError, match="not the store the run was trained from"):
        write_plots(groups, tmp_path / "plots", store=other)


def test_runs_that_the_table_refuses_are_refused(store: Path, tmp_path: Path) -> None:
    made_run(tmp_path / "runs/a/seed-0", store, seed=0)
    made_run(tmp_path / "runs/b/seed-0", store, seed=0, protocol="paper")
    with pytest.raises(ConfigError, match="cannot be compared: protocol"):
        write_plots(groups_of(tmp_path / "runs"), tmp_path / "plots")
    assert not (tmp_path / "plots").exists()
    write_plots(groups_of(tmp_path / "runs"), tmp_path / "plots", mixed=True)
    assert "protocol strict and paper" in (tmp_path / "plots/hits.txt").read_text()


def test_a_damaged_file_of_epochs_is_named(store: Path, tmp_path: Path) -> None:
    made_run(tmp_path / "runs/a/seed-0", store, seed=0)
    for text in (
        "epoch,train_loss\n1,x\n",
        "train_loss\n1\n",
        "",
        "epoch,x\n1,2,3\n",
        "epoch\nnan\n",
    ):
        (tmp_path / "runs/a/seed-0/metrics.csv").write_text(text)
        with pytest.raises(RunError, match=r"metrics\.csv of the run is damaged"):
            write_plots(groups_of(tmp_path / "runs"), tmp_path / "plots")


# labels -------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0.001, 0.2))
def test_names_keep_their_order_and_distance(wanted: list[float], gap: float) -> None:
    found = spread(wanted, gap=gap, low=0.0, high=1.0)
    assert all(-1e-9 <= place <= 1 + 1e-9 for place in found)
    order = np.argsort(wanted, kind="stable")
    steps = np.diff(np.array(found)[order])
    assert (steps >= min(gap, 1 / max(1, len(wanted) - 1)) - 1e-9).all()


def test_names_with_room_stay_where_they_belong() -> None:
    assert spread([0.9, 0.1, 0.5], gap=0.1, low=0, high=1) == pytest.approx([0.9, 0.1, 0.5])
    assert spread([0.5, 0.5], gap=0.1, low=0, high=1) == pytest.approx([0.45, 0.55])
    assert spread([], gap=0.1, low=0, high=1) == []


def test_csv_leaves_what_is_not_there_empty() -> None:
    assert csv_text(("a", "b", "c"), [(1.5, float("nan"), None)]) == "a,b,c\n1.5,,\n"


# edges --------------------------------------------------------------------------------------------


def test_edges_are_drawn_when_asked_for(quick: QuickRun, tmp_path: Path) -> None:
    said = Recording()
    written = write_plots(groups_of(quick.folder), tmp_path, edges=True, progress=said)
    assert_pictures(written)
    (all_golds,) = (
        row
        for row in rows(tmp_path, "edges")
        if (row["group"], row["layer"], row["edge"], row["candidates"])
        == ("all mentions", "1", "it", "gold")
    )
    with featurestore.open(quick.store) as opened:
        test = opened.mentions.split("test")
        answer = opened.mentions.gather("answer", np.arange(test.start, test.stop))
        values = opened.mentions.gather("sim_image_text", np.arange(test.start, test.stop)) / 100
    golds = values[answer < 6, answer[answer < 6]]
    assert float(all_golds["mean"]) == pytest.approx(golds.mean(), abs=1e-6)
    assert float(all_golds["standard_error"]) == pytest.approx(
        golds.std(ddof=1) / np.sqrt(len(golds)), rel=1e-4
    )
    assert int(all_golds["pairs"]) == len(golds)


def mention_plot_of(store: Path, **changes: Any) -> Plot:
    """Of mention 140, with edges that are made up."""
    weights = np.linspace(-0.5, 1, 2 * 6 * 4, dtype=np.float32).reshape(2, 6, 4)
    weights[1, :, 3] = np.nan
    values: dict[str, Any] = {
        **{"run": "runs/drin", "model": "drin", "protocol": "strict", "row": 140},
        **{"edges": ("tt", "ti", "it", "ii"), "edge_kind": "scalar", "edge_update": "dynamic"},
        **{"retrieved": 6, "scores": np.linspace(1, 0, 6, dtype=np.float32), "weights": weights},
        "deviations": np.zeros_like(weights),
    }
    with featurestore.open(store) as opened, styled():
        return mention_plot(EdgeWeights(**values | changes), describe_mention(opened, 140))


def test_a_mentions_edges_are_drawn_with_their_numbers(store: Path, tmp_path: Path) -> None:
    plot = mention_plot_of(store)
    assert_pictures(plot.write(tmp_path))
    found = rows(tmp_path, "edges")
    assert len(found) == 6 * 7  # one edge of the second layer is not read
    first = next(
        row for row in found if (row["listed"], row["layer"], row["edge"]) == ("2", "1", "ti")
    )
    assert float(first["weight"]) == pytest.approx(-0.5 + 1.5 / 47 * 5, rel=1e-5)
    assert sum(int(row["gold"]) for row in found) == 7


def test_a_mention_without_any_edge_is_drawn(store: Path, tmp_path: Path) -> None:
    nothing = np.full((3, 6, 4), np.nan, np.float32)
    plot = mention_plot_of(store, weights=nothing, deviations=nothing)
    assert_pictures(plot.write(tmp_path))
    assert rows(tmp_path, "edges") == []


# commands -----------------------------------------------------------------------------------------


def test_report_draws_and_says_what(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [str(path) for path in sorted((drawn.parent / "runs").glob("*/seed-*"))]
    assert main(["report", *runs, "--plots", str(tmp_path / "new/plots")]) == 0
    assert f"wrote to {tmp_path / 'new/plots'}: learning, hits, cost, topics, coverage" in (
        capsys.readouterr().err
    )
    assert main(["report", *runs, "--edges"]) == 2
    assert "--edges goes with --plots" in capsys.readouterr().err
    assert main(["report", *runs, "--plots", str(tmp_path), "--edges"]) == 0
    assert "edges are those of runs of drin" in capsys.readouterr().err


def test_inspect_draws_edges_over_a_split_and_of_a_mention(
    quick: QuickRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["inspect", str(quick.store), "--run", str(quick.folder), "--edges", "--plot"]
    target = tmp_path / "edges.png"
    assert main([*arguments, str(target)]) == 0
    with Image.open(target) as picture:
        assert "Right: gold ranked first" in picture.info["Description"]
    assert main([*arguments, str(target)]) == 1
    assert "the target exists" in capsys.readouterr().err
    assert main([*arguments, str(target), "--overwrite", "--mention", "m140"]) == 0
    with Image.open(target) as picture:
        assert picture.info["Title"] == "Edges of mention m140"
    assert main([*arguments, str(tmp_path / "edges.pdf")]) == 2
    assert "plots are written as PNG or SVG" in capsys.readouterr().err
    (tmp_path / "notes.svg").write_text("do not lose me")
    assert main([*arguments, str(tmp_path / "notes.svg"), "--overwrite"]) == 2
    assert (tmp_path / "notes.svg").read_text() == "do not lose me"
    assert main([*arguments, str(tmp_path / "edges.svg")]) == 0
    ElementTree.parse(tmp_path / "edges.svg")


def test_drawing_chooses_no_backend(drawn: Path, tmp_path: Path) -> None:
    code = """
import sys
from linker.plots import write_plots
from linker.recorded import RecordedRun
from linker.run_groups import group_runs, runs_below
write_plots(group_runs(map(RecordedRun, runs_below([sys.argv[1]]))), sys.argv[2])
sys.exit("matplotlib.pyplot" in sys.modules)
"""
    command = [sys.executable, "-c", code, str(drawn.parent / "runs"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
