"""Intervals and p-values of a table, from the ranks that runs recorded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from featurestore.errors import ConfigError
from linker.ranks import summarise
from linker.recorded import NotRecorded
from linker.report_caption import caption
from linker.report_rows import Cell, RunsTable, read_table
from linker.report_sheet import marked
from linker.report_statistics import with_statistics
from linker.run_folder import RunError
from linker.statistics import bootstrap_means, holm, paired_randomisation, percentile_interval
from tests.reported_for_tests import STORE, drawn_ranks, grid, ranks, recorded, reported_run

FIGURES = ("hits@1", "hits@5", "hits@10", "hits@20", "mrr")


def compared_table(folder: Path, baseline: str | None = None, *, mixed: bool = False) -> RunsTable:
    table = read_table(recorded(folder), mixed=mixed)
    return with_statistics(table, baseline=baseline, resamples=500)


def cells(table: RunsTable, name: str, split: str = "test") -> dict[str, Cell]:
    (row,) = [row for row in table.rows if row.name == name]
    return dict(row.cells[split])


def words(table: RunsTable) -> str:
    return "; ".join(caption(table))


@pytest.mark.parametrize("ties", ["optimistic", "expected", "pessimistic"])
@pytest.mark.parametrize("denominator", ["all", "retrieved"])
def test_they_are_of_the_values_that_the_figures_are_means_of(
    ties: str, denominator: str, tmp_path: Path
) -> None:
    """Naively, of the ranks; with ties, golds that were not retrieved, and two seeds a row."""
    found = {}
    for name, share in (("a", 0.5), ("b", 0.6)):
        for seed in range(2):
            best = drawn_ranks(share, 200, seed=seed).optimistic
            found[name, seed] = ranks(best, ties=np.arange(200) % 3)
            folder = tmp_path / name / f"seed-{seed}"
            reported_run(
                folder,
                {"test": found[name, seed]},
                config=f"model: {name}\n",
                ties=ties,  # type: ignore[arg-type]
                denominator=denominator,  # type: ignore[arg-type]
                seed=seed,
            )
    counted = found["a", 0].retrieved if denominator == "retrieved" else np.ones(200, bool)

    def of(name: str, figure: str) -> np.ndarray:
        under = [found[name, seed].under(ties)[counted] for seed in range(2)]  # type: ignore[arg-type]
        k = figure.removeprefix("hits@")
        return np.mean([1 / r if figure == "mrr" else r <= int(k) for r in under], axis=0)

    table = compared_table(tmp_path, "a")
    differences = [of("b", figure) - of("a", figure) for figure in FIGURES]
    p = [paired_randomisation(each, resamples=500).p[0] for each in differences]
    for place, figure in enumerate(FIGURES):
        cell = cells(table, "b")[figure]
        means = bootstrap_means(np.stack([of("a", figure), of("b", figure)], axis=1), resamples=500)
        assert cell.mean == pytest.approx(of("b", figure).mean())
        (interval,) = percentile_interval(means[:, 1:])
        assert cell.interval is not None
        assert cell.interval.low == pytest.approx(interval.low)
        assert cell.interval.high == pytest.approx(interval.high)
        (interval,) = percentile_interval(means[:, 1:] - means[:, :1])
        assert cell.comparison is not None
        assert cell.comparison.difference == pytest.approx(differences[place].mean())
        assert cell.comparison.interval.low == pytest.approx(interval.low)
        assert cell.comparison.interval.high == pytest.approx(interval.high)
        assert cell.comparison.p == p[place]
        assert cell.comparison.corrected == pytest.approx(holm(p)[place])
        assert cells(table, "a")[figure].comparison is None


def test_p_is_corrected_for_all_of_the_table(tmp_path: Path) -> None:
    grid(tmp_path, {"text": 0.5, "drin": 0.6, "clip": 0.3}, mentions=200)
    table = compared_table(tmp_path, "text")
    found = [
        cell.comparison
        for row in table.rows
        for split in row.cells.values()
        for cell in split.values()
        if cell.comparison
    ]
    assert table.tested is not None
    assert len(found) == table.tested.comparisons == 2 * 2 * 5
    assert [each.corrected for each in found] == holm([each.p for each in found]).tolist()
    assert "corrected by Holm for the 20 comparisons of the table" in words(table)


def test_equal_runs_differ_in_nothing(tmp_path: Path) -> None:
    for name in ("a", "b"):
        found = {"test": drawn_ranks(0.5, 300, seed=0)}
        reported_run(tmp_path / name, found, config=f"model: {name}\n")
    compared = cells(compared_table(tmp_path, "a"), "b")["hits@1"].comparison
    assert compared is not None
    assert (compared.difference, compared.p, compared.corrected, compared.exact) == (0, 1, 1, True)
    assert (compared.interval.low, compared.interval.high) == (0, 0)
    assert marked(compared) == ""


def test_a_difference_is_found_and_marked_and_chance_is_not(tmp_path: Path) -> None:
    shares = {"text": (0.5, 0), "better": (0.7, 0), "worse": (0.3, 0), "equal": (0.5, 9)}
    for name, (share, seed) in shares.items():
        found = {"test": drawn_ranks(share, 800, seed=seed)}
        reported_run(tmp_path / name, found, config=f"model: {name}\n")
    table = with_statistics(read_table(recorded(tmp_path)), baseline="text")
    marks = {row.name: marked(row.cells["test"]["hits@1"].comparison) for row in table.rows}
    assert marks == {"text": "", "better": "‡", "worse": "‡", "equal": ""}


def test_an_interval_needs_no_baseline(tmp_path: Path) -> None:
    grid(tmp_path, {"text": 0.5}, mentions=100)
    table = compared_table(tmp_path)
    cell = cells(table, "text")["hits@1"]
    assert cell.interval is not None
    assert cell.interval.low < cell.mean < cell.interval.high
    assert cell.comparison is None
    assert "intervals are 95 % bootstrap percentiles over mentions (500 resamples" in words(table)
    assert "†" not in words(table)


def test_the_mean_rank_is_not_compared(tmp_path: Path) -> None:
    for name in ("a", "b"):
        reported_run(tmp_path / name, {"test": ranks([1, 2, 3])}, config=f"model: {name}\n")
    cell = cells(compared_table(tmp_path, "a"), "b")["mean_rank"]
    assert (cell.mean, cell.interval, cell.comparison) == (2, None, None)


def test_a_baseline_that_there_is_not_names_the_rows(tmp_path: Path) -> None:
    grid(tmp_path, {"text": 0.5, "drin": 0.6}, mentions=20)
    with pytest.raises(ConfigError, match="no row of the table is called 'txt'") as raised:
        compared_table(tmp_path, "txt")
    assert raised.value.hint == "did you mean 'text'? rows: drin, text"


# runs without, or with other ranks -----------------------------------------------------------------


def test_a_row_without_ranks_is_shown_without_and_named(tmp_path: Path) -> None:
    found = {"test": drawn_ranks(0.5, 50, seed=0)}
    reported_run(tmp_path / "old", found, recorded=False, config="a: 1\n")
    reported_run(tmp_path / "text", found, config="a: 2\n")
    table = compared_table(tmp_path, "text")
    assert cells(table, "old")["mrr"].interval is None
    assert cells(table, "text")["mrr"].interval is not None
    assert "no interval where no ranks were recorded: old" in words(table)
    with pytest.raises(NotRecorded, match=r"no ranks of split 'test'"):
        compared_table(tmp_path, "old")


def test_ranks_that_are_not_those_of_the_figures_are_refused(tmp_path: Path) -> None:
    run = reported_run(tmp_path / "a", {"test": drawn_ranks(0.5, 50, seed=0)})
    run.write_ranks("test", ids=list(map(str, range(50))), ranks=drawn_ranks(0.8, 50, seed=0))
    with pytest.raises(RunError, match=r"ranks/test\.csv of the run has hits@1 \S+ %, its summary"):
        with_statistics(read_table(recorded(tmp_path / "a")))


def test_ranks_of_no_counted_mention_are_refused(tmp_path: Path) -> None:
    found = {"test": ranks([1, 2])}
    run = reported_run(tmp_path / "a", found, denominator="retrieved")
    run.write_ranks("test", ids=["a", "b"], ranks=ranks([np.inf, np.inf]))
    with pytest.raises(RunError, match="not of one evaluation"):
        with_statistics(read_table(recorded(tmp_path / "a")))


def test_seeds_that_count_other_mentions_are_refused(tmp_path: Path) -> None:
    for seed, best in enumerate(([1, 2, np.inf], [1, np.inf, 2])):
        folder = tmp_path / "a" / f"seed-{seed}"
        reported_run(folder, {"test": ranks(best)}, denominator="retrieved", seed=seed)
    with pytest.raises(RunError, match="counts other mentions than another run of the row"):
        compared_table(tmp_path)


def test_a_figure_is_that_of_the_summary_to_half_of_the_last_digit(tmp_path: Path) -> None:
    found = drawn_ranks(0.5, 4_000, seed=0)
    run = reported_run(tmp_path / "a", {"test": found})
    summary = json.loads(run.summary.read_text())
    mrr = summarise(found, ks=(1,), denominator="all").mrr
    for shift, allowed in ((0.0004, True), (0.0006, False)):
        summary["test"]["mrr"] = mrr + shift
        run.write_summary(summary)
        if allowed:
            with_statistics(read_table(recorded(tmp_path / "a")), resamples=100)
        else:
            with pytest.raises(RunError, match="mrr"):
                with_statistics(read_table(recorded(tmp_path / "a")), resamples=100)


# other stores --------------------------------------------------------------------------------------


def two_stores(folder: Path, **change: object) -> None:
    other = {**STORE, "fingerprint": "beef", **change}
    found = {"test": drawn_ranks(0.5, 60, seed=0)}
    better = {"test": drawn_ranks(0.9, 60, seed=0)}
    reported_run(folder / "half", found)
    reported_run(folder / "single", better, store=other, ids=str(change.get("ids", "m")))


def test_the_same_mentions_of_another_store_are_paired(tmp_path: Path) -> None:
    two_stores(tmp_path)
    compared = cells(compared_table(tmp_path, "half", mixed=True), "single")["hits@1"].comparison
    assert compared is not None
    assert compared.p < 0.01


@pytest.mark.parametrize("change", [{"ids": "n"}, {"sentences": {"test": "other"}}])
def test_other_mentions_are_not_paired(change: dict[str, object], tmp_path: Path) -> None:
    two_stores(tmp_path, **change)
    table = compared_table(tmp_path, "half", mixed=True)
    assert cells(table, "single")["hits@1"].comparison is None
    assert cells(table, "single")["hits@1"].interval is not None
    assert "not compared, because scored on other mentions: single" in words(table)


def test_other_denominators_are_not_paired(tmp_path: Path) -> None:
    found = {"test": ranks([1, 2, np.inf])}
    reported_run(tmp_path / "all", found)
    reported_run(tmp_path / "retrieved", found, denominator="retrieved")
    table = compared_table(tmp_path, "all", mixed=True)
    assert table.tested is not None
    assert table.tested.unpaired == ("retrieved",)
    assert table.tested.comparisons == 0


# what is said --------------------------------------------------------------------------------------


def test_the_caption_says_how_it_was_tested(tmp_path: Path) -> None:
    grid(tmp_path, {"text": 0.5, "drin": 0.6}, mentions=300)
    said = words(compared_table(tmp_path, "text"))
    assert (
        "† p < 0.05, ‡ p < 0.01: differs from text, for better or worse; two-sided approximate "
        "randomisation paired over mentions (500 resamples, seed 0"
    ) in said
    assert "a mention's value is its mean over the seeds, and neither they nor p say" in said


def test_it_says_when_no_p_can_be_small_enough(tmp_path: Path) -> None:
    grid(tmp_path, {"text": 0.5, "drin": 0.7}, mentions=400)
    table = read_table(recorded(tmp_path))
    said = words(with_statistics(table, baseline="text", resamples=100))
    assert "so many comparisons make 0.099 the smallest p that so few resamples can give" in said
    assert "smallest" not in words(with_statistics(table, baseline="text", resamples=2_000))


def test_the_seed_draws_and_the_resamples_count(tmp_path: Path) -> None:
    grid(tmp_path, {"text": 0.5, "drin": 0.53}, mentions=400)
    table = read_table(recorded(tmp_path), splits=["test"])
    first, again, other = (
        with_statistics(table, baseline="text", resamples=300, seed=seed) for seed in (0, 0, 1)
    )
    assert first == again
    assert first.rows != other.rows
