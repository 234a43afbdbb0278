"""Rows of a table of runs: what is put together, what it is called, what is refused, what is said."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featurestore.errors import ConfigError
from linker.report_caption import caption
from linker.report_rows import RunsTable, read_table
from linker.report_sheet import layout
from linker.run_folder import RunFolder
from tests.reported_for_tests import STORE, drawn_ranks, grid, ranks, recorded, reported_run

HALF = {"test": ranks([1, 2])}
OTHER = {**STORE, "path": "/data/wikimel32.h5", "fingerprint": "0123456789abcdef"}


def names(table: RunsTable) -> list[str]:
    return [row.name for row in table.rows]


def words(table: RunsTable) -> str:
    return "; ".join(caption(table))


# what is one row -----------------------------------------------------------------------------------


def test_seeds_are_one_row_with_mean_and_sample_deviation(tmp_path: Path) -> None:
    for seed, share in enumerate((0.5, 0.25, 1.0)):
        best = np.repeat([1.0, 3.0], [int(8 * share), 8 - int(8 * share)])
        reported_run(tmp_path / "text" / f"seed-{seed}", {"test": ranks(best)}, seed=seed)
    (row,) = read_table(recorded(tmp_path)).rows
    cell = row.cells["test"]["hits@1"]
    assert (row.name, row.seeds) == ("text", (0, 1, 2))
    assert cell.values == (0.5, 0.25, 1.0)
    assert cell.mean == pytest.approx(1.75 / 3)
    assert cell.std == pytest.approx(
        math.sqrt(((0.5 - 1.75 / 3) ** 2 + (0.25 - 1.75 / 3) ** 2 + (1 - 1.75 / 3) ** 2) / 2)
    )
    assert row.cells["test"]["hits@5"].std == 0
    assert "mean ± sample standard deviation over seeds" in words(read_table(recorded(tmp_path)))


def test_one_seed_has_no_deviation(tmp_path: Path) -> None:
    reported_run(tmp_path / "text", HALF)
    table = read_table(recorded(tmp_path / "text"))
    assert table.rows[0].cells["test"]["hits@1"].std is None
    assert "±" not in words(table)
    assert "seed 0" in words(table)


def test_what_one_row_is_can_be_chosen(tmp_path: Path) -> None:
    grid(tmp_path, {"drin": 0.6, "drin-long": 0.6, "clip": 0.3}, mentions=20, seeds=2)
    runs = recorded(tmp_path)
    assert names(read_table(runs)) == ["clip", "drin", "drin-long"]
    models = read_table(runs, by="model")
    assert names(models) == ["clip (sum)", "drin (tt ti it ii)"]
    assert [row.configurations for row in models.rows] == [1, 2]
    assert "which ± is over as well: drin (tt ti it ii)" in words(models)
    each = read_table(runs, by="run")
    assert names(each) == [
        *("clip", "drin/seed-0", "drin/seed-1", "drin-long/seed-0", "drin-long/seed-1")
    ]
    assert [row.seeds for row in each.rows] == [(None,), (0,), (1,), (0,), (1,)]


def test_runs_of_one_folder_are_named_without_it(tmp_path: Path) -> None:
    for name in ("one", "two"):
        reported_run(tmp_path / name, HALF, config=f"model: {{name: {name}}}\n")
    table = read_table(recorded(tmp_path), by="run")
    assert names(table) == ["one", "two"]
    assert words(table).startswith(f"runs in {tmp_path}; hits and MRR in %")


def test_runs_of_no_common_folder_keep_their_whole_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a/one", "b/one"):
        reported_run(Path(name), HALF)
    assert names(read_table(recorded(Path("a"), Path("b")), by="run")) == ["a/one", "b/one"]
    assert names(read_table(recorded(Path("a"), tmp_path / "b"), by="run")) == [
        *("a/one", str(tmp_path / "b" / "one"))
    ]
    assert names(read_table(recorded(Path("a/one")), by="run")) == ["a/one"]


def test_folders_that_people_number_by_seed_are_called_by_what_they_share(tmp_path: Path) -> None:
    for name in ("drin-10", "drin-11", "text_seed0", "text_seed1", "v2"):
        seed = int(name[-1])
        config = f"model: {{name: {name[:4]}}}\n"
        reported_run(tmp_path / name, HALF, config=config, seed=seed)
    assert names(read_table(recorded(tmp_path))) == ["drin", "text", "v2"]


def test_rows_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for place in ("a/x/text", "b/x/text", "b/drin"):
        reported_run(tmp_path / place / "seed-0", HALF, config=f"model: {{name: {place}}}\n")
    assert names(read_table(recorded(tmp_path))) == ["a/x/text", "drin", "b/x/text"]
    reported_run(tmp_path / "p" / "seed-0", HALF, config="a: 1\n")
    reported_run(tmp_path / "p" / "seed-1", HALF, config="a: 2\n")
    assert names(read_table(recorded(tmp_path / "p"))) == ["p/seed-0", "p/seed-1"]


def test_a_split_that_a_run_lacks_is_no_row_there(tmp_path: Path) -> None:
    reported_run(tmp_path / "both", {"valid": ranks([1]), **HALF}, config="a: 1\n")
    reported_run(tmp_path / "test", HALF, config="a: 2\n")
    table = read_table(recorded(tmp_path))
    assert [row.name for row in table.on("valid")] == ["both"]
    assert [row.name for row in table.on("test")] == ["both", "test"]
    assert read_table(recorded(tmp_path), splits=["test"]).splits == ("test",)


# the best ------------------------------------------------------------------------------------------


def places(table: RunsTable, figure: str) -> dict[str, str | None]:
    return {row.name: row.cells["test"][figure].place for row in table.rows}


def test_the_best_and_the_second_of_a_column_share_what_reads_the_same(tmp_path: Path) -> None:
    for name, hits in {"a": 5_000, "b": 4_999, "c": 4_000, "d": 3_000}.items():
        best = np.repeat([1.0, 3.0], [hits, 10_000 - hits])
        reported_run(tmp_path / name, {"test": ranks(best)}, config=f"a: {name}\n")
    table = read_table(recorded(tmp_path))
    assert places(table, "hits@1") == {"a": "best", "b": "best", "c": "second", "d": None}
    assert places(table, "mean_rank") == {"a": "best", "b": "best", "c": "second", "d": None}
    assert set(places(table, "hits@5").values()) == {"best"}


def test_one_row_is_not_the_best(tmp_path: Path) -> None:
    reported_run(tmp_path / "a", HALF)
    assert places(read_table(recorded(tmp_path / "a")), "hits@1") == {"a": None}


# what is refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"protocol": "paper"}, "protocol is strict in {a}, paper in {b}"),
        ({"ties": "optimistic"}, "tie_rule is expected in {a}, optimistic in {b}"),
        ({"denominator": "retrieved"}, "denominator is all in {a}, retrieved in {b}"),
        ({"store": {**OTHER, "dataset": "x"}}, "dataset is wikimel in {a}, x in {b}"),
        (
            {"store": {**OTHER, "sentences": {"test": "beef"}}},
            "test split (by its sentences) is bbaec6093df12373 in {a}, beef in {b}",
        ),
        (
            {
                "store": {
                    **OTHER,
                    "fields": {**STORE["fields"], "entities/text_tokens": "float32[64]"},
                }
            },
            "store is /data/wikimel.h5 (fingerprint d36fd5a425bab229fa20fdff603ba06f) in {a}, "
            "/data/wikimel32.h5 (fingerprint 0123456789abcdef) in {b}; the scored sentences are the "
            "same, but it is another store: entities/text_tokens float16[64, 384] → float32[64]",
        ),
    ],
)
def test_other_conditions_are_refused_by_name(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    store = {**STORE, "sentences": {"test": "bbaec6093df12373"}}
    found = {"test": ranks([1, 2, np.inf])}
    reported_run(a, found, store=store)
    if "store" in change and "sentences" not in change["store"]:
        change["store"]["sentences"] = store["sentences"]
    reported_run(b, found, **{"store": store, **change})
    with pytest.raises(ConfigError) as raised:
        read_table(recorded(tmp_path))
    assert message.format(a=a, b=b) in raised.value.what
    assert "--mixed" in raised.value.hint
    table = read_table(recorded(tmp_path), mixed=True)
    assert len(table.rows) == 2
    assert table.differing
    assert {places(table, "hits@1")[name] for name in names(table)} == {None}, "no rivals"


def test_a_message_names_some_of_many_runs(tmp_path: Path) -> None:
    for place in range(6):
        protocol = "paper" if place == 5 else "strict"
        reported_run(tmp_path / f"r{place}", HALF, config=f"a: {place}\n", protocol=protocol)
    with pytest.raises(ConfigError, match=r"r0, \S+r1, \S+r2 and 2 more, paper in \S+r5\n"):
        read_table(recorded(tmp_path))


def test_a_store_that_was_moved_is_the_same_store(tmp_path: Path) -> None:
    moved = {**STORE, "path": "/elsewhere/w.h5"}
    reported_run(tmp_path / "a", HALF)
    reported_run(tmp_path / "b", HALF, store=moved, seed=1)
    reported_run(tmp_path / "c", HALF, store=moved, config="model: c\n")
    table = read_table(recorded(tmp_path))
    assert [row.seeds for row in table.rows] == [(0, 1), (0,)]
    assert table.differing == ()
    assert set(places(table, "hits@1").values()) == {"best"}
    assert len(read_table(recorded(tmp_path), by="model").rows) == 1


def test_stores_are_told_apart_by_name_or_else_by_fingerprint(tmp_path: Path) -> None:
    reported_run(tmp_path / "a", HALF)
    reported_run(tmp_path / "b", HALF, store=OTHER)
    sheet = layout(read_table(recorded(tmp_path), mixed=True)).sheets[0]
    assert [
        (c.title, box.text) for c, box in zip(sheet.columns, sheet.blocks[0].rows[1], strict=True)
    ][2] == ("store", "wikimel32.h5")
    reported_run(tmp_path / "c", HALF, store={**OTHER, "fingerprint": "third"})
    sheet = layout(read_table(recorded(tmp_path), mixed=True)).sheets[0]
    assert [column.title for column in sheet.columns][2] == "fingerprint"
    assert [row[2].text for row in sheet.blocks[0].rows] == ["d36fd5a4", "01234567", "third"]


def test_runs_of_versions_without_digests_are_compared_by_their_store(tmp_path: Path) -> None:
    old = {key: value for key, value in STORE.items() if key != "sentences"}
    reported_run(tmp_path / "a", HALF, store=old)
    reported_run(tmp_path / "b", HALF, store={**old, "fingerprint": "x"})
    with pytest.raises(ConfigError, match="same shapes, but other ids, encoders or options"):
        read_table(recorded(tmp_path))


# what is said --------------------------------------------------------------------------------------


def test_the_caption_says_what_the_figures_stand_under(tmp_path: Path) -> None:
    grid(tmp_path, {"text": 0.5, "drin": 0.6, "clip": 0.3}, mentions=1_000)
    said = words(read_table(recorded(tmp_path)))
    assert (
        "protocol strict, ties expected, mentions all, 100 candidates, store wikimel.h5 (wikimel, "
        "fingerprint d36fd5a4); valid: 500 mentions; test: 1,000 mentions; 3 seeds (0–2) in every row "
        "that learns; column n: the runs of a row"
    ) in said


def test_the_caption_says_of_how_many_mentions_the_gold_was_retrieved(tmp_path: Path) -> None:
    found = {"test": ranks([1, 2, np.inf])}
    reported_run(tmp_path / "a", found, denominator="retrieved")
    assert "test: 2 of 3 mentions" in words(read_table(recorded(tmp_path / "a")))


def test_seeds_that_rows_do_not_share_are_said(tmp_path: Path) -> None:
    grid(tmp_path, {"text": 0.5}, mentions=20)
    grid(tmp_path, {"drin": 0.5}, mentions=20, seeds=1)
    said = words(read_table(recorded(tmp_path)))
    assert "the seeds are not the same in all rows (drin 0; text 0–2)" in said
    grid(tmp_path, {f"m{place}": 0.5 for place in range(7)}, mentions=20, seeds=2)
    said = words(read_table(recorded(tmp_path)))
    assert "the seeds are not the same in all rows (1, 2 and 3 of them)" in said


def test_a_seed_that_is_there_twice_is_said(tmp_path: Path) -> None:
    for place in ("a", "b"):
        reported_run(tmp_path / place / "seed-3", HALF, seed=3)
    said = words(read_table(recorded(tmp_path)))
    assert "one seed is there more than once, so that ± is too small: a" in said


def test_the_candidates_are_those_that_the_run_ranked(tmp_path: Path) -> None:
    reported_run(tmp_path / "first", HALF, config="candidates: 10\n")
    reported_run(tmp_path / "all", HALF, config="candidates: null\n")
    reported_run(tmp_path / "kb", HALF, protocol="full-kb", entities=18_880)
    of = {r.path.name: read_table([r]).rows[0].conditions.candidates for r in recorded(tmp_path)}
    assert of == {"first": 10, "all": 100, "kb": 18_880}
    (kb,) = recorded(tmp_path / "kb")
    assert "protocol full-kb, ties expected, mentions all, all 18,880 entities" in words(
        read_table([kb])
    )
    both = read_table(recorded(tmp_path / "first", tmp_path / "all"))
    assert both.differing == ("candidates",)
    assert "candidates" not in words(both)


def test_figures_that_only_some_runs_have_are_in_the_table(tmp_path: Path) -> None:
    reported_run(tmp_path / "a", HALF, ks=(1, 5), config="a: 1\n")
    reported_run(tmp_path / "b", HALF, ks=(1, 3), config="a: 2\n")
    table = read_table(recorded(tmp_path))
    assert table.figures == ("hits@1", "hits@3", "hits@5", "mrr", "mean_rank")
    assert "hits@3" not in table.rows[0].cells["test"]


def test_a_row_has_no_mean_of_what_one_seed_lacks(tmp_path: Path) -> None:
    found = [ranks([1, 2]), ranks([1, np.inf])]
    for seed, each in enumerate(found):
        reported_run(tmp_path / "a" / f"seed-{seed}", {"test": each}, seed=seed)
    (row,) = read_table(recorded(tmp_path)).rows
    assert "mean_rank" not in row.cells["test"]
    assert row.cells["test"]["mrr"].n == 2


def test_importing_it_imports_no_torch() -> None:
    program = (
        "import sys, linker.report_formats, linker.report_statistics, linker.run_groups\n"
        "sys.exit('torch' in sys.modules or 'scipy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_damaged_configuration_is_an_error_of_the_run(tmp_path: Path) -> None:
    reported_run(tmp_path / "a", {"test": drawn_ranks(0.5, 9, seed=0)})
    RunFolder(tmp_path / "a").write_config("")
    with pytest.raises(Exception, match=r"config\.yaml of the run is damaged"):
        read_table(recorded(tmp_path / "a"))
