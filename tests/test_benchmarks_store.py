"""The benchmarks of a whole store: opening, ids, writing, and growing. No timing is asserted."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from benchmarks import gather_run, ingest, memory_limit, scale
from benchmarks import open as opening
from benchmarks.alternatives.contract import INSTALL, Disagreement
from benchmarks.alternatives.id_lookups import H5Dict, IdLookup, LmdbIds, SqliteIds
from benchmarks.bare_store import write_bare_store
from benchmarks.data import TINY, Workspace
from benchmarks.memory_limit import NotPermitted, limited_group
from benchmarks.report import Report
from featurestore.progress import Silent
from tests.benchmarks_for_tests import no_collections_between_turns  # noqa: F401


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("benchmarks"), TINY, Silent())


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bare") / "bare.h5"
    return write_bare_store(path, scale._sizes(300, text_width=8, image_width=8))


def figures(report: Report, column: str) -> dict[str, float]:
    return {row.name: row.figures[column] for row in report.rows if row.figures.get(column)}  # type: ignore[misc]


# opening ----------------------------------------------------------------------------------------------


def test_open_measures_ours_and_every_installed_alternative(workspace: Workspace) -> None:
    report = opening.measure(workspace)
    taken = figures(report, "first ms")
    assert all(value > 0 for value in taken.values())
    for name in ("opening the store", "finding 50 ids", "ids of 50 rows"):
        assert f"ours: {name}" in taken
    for one in (H5Dict, LmdbIds, SqliteIds):
        installed = all(map(find_spec, one.needs))
        assert (f"{one.name}: finding 50 ids" in taken) == installed
        assert (report.left_out.get(one.name) == INSTALL) != installed
    assert ("cold opening" in report.left_out) != ("ours: finding 50 ids, from disk" in taken)
    assert [target.unit for target in report.targets] == ["s", "ms"]
    assert all(target.measured for target in report.targets)


def test_copies_of_ids_are_removed(workspace: Workspace) -> None:
    assert not list(workspace.folder.glob("ids*"))


class Reversed(SqliteIds):
    name = "reversed"

    def find(self, ids: list[str]) -> np.ndarray:  # type: ignore[override]
        return super().find(ids)[::-1]


def test_ids_found_in_other_rows_end_the_benchmark(tmp_path: Path) -> None:
    ids, rows = [f"Q{row}" for row in range(9)], [np.array([3, 1, 8]), np.array([2, 4])]
    one: IdLookup = SqliteIds(tmp_path / "ids")
    ready, found = opening._alternative(one, ids, rows)
    assert len(found.later) == 1
    assert ready.first > 0
    with pytest.raises(Disagreement, match="reversed read another rows of ids"):
        opening._alternative(Reversed(tmp_path / "ids"), ids, rows)
    assert not (tmp_path / "ids").exists()


def test_other_ids_than_asked_for_end_the_benchmark() -> None:
    opening._check_ids(np.array([2, 7]), ["Q2", "Q7"])
    with pytest.raises(Disagreement, match="other ids"):
        opening._check_ids(np.array([2, 7]), ["Q2", "Q8"])


# ingest -----------------------------------------------------------------------------------------------


def test_ingest_is_compared_with_what_its_parts_cost(workspace: Workspace) -> None:
    report = ingest.measure(workspace)
    assert set(figures(report, "seconds")) == {
        *(ingest.OURS, ingest.PUBLISH, ingest.PLAIN, ingest.PLAIN_BITS, ingest.PADDED),
        *(ingest.SCRIPT, ingest.COPY),
    }
    assert figures(report, "share of the plain speed")[ingest.PLAIN] == 1
    assert figures(report, "to disk")[ingest.OURS] == "synced"
    assert report.targets[0].measured
    assert not list(workspace.folder.glob("ingest*"))


def test_records_of_another_size_end_the_benchmark() -> None:
    ingest._check_bytes({ingest.PLAIN: 7}, 7)
    with pytest.raises(Disagreement, match="8 bytes of records, the store has 7"):
        ingest._check_bytes({ingest.PLAIN: 7, ingest.PLAIN_BITS: 8}, 7)


def test_a_script_that_writes_other_values_ends_the_benchmark(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = ingest._script_rows
    changed = {"entities/objects": np.zeros((5, 32), np.float16)}
    monkeypatch.setattr(ingest, "_script_rows", lambda path: read(path) | changed)
    with pytest.raises(Disagreement, match="entities/objects"):
        ingest.measure(workspace)


# scale ------------------------------------------------------------------------------------------------


def test_scale_measures_every_size(workspace: Workspace) -> None:
    report = scale.measure(workspace)
    for entities in ("200 entities", "400 entities"):
        assert figures(report, "store MB")[entities] > 0
        assert figures(report, "gather ms")[entities] > 0
        assert ("cold gathers" in report.left_out) != (entities in figures(report, "cold ms"))
    limited = [row for row in report.rows if row.name.startswith("under a limit")]
    assert len(limited) == (0 if scale.LIMITED in report.left_out else 4)
    assert not list(workspace.folder.glob("scale*"))


def test_other_values_gathered_end_the_benchmark(bare: Path) -> None:
    found = gather_run.run(bare, rows=40, batches=2, ids=20)
    assert len(found.batches) == len(found.from_disk) == 2
    assert scale._checked(bare, found, 40) is found
    with pytest.raises(Disagreement, match="other values"):
        scale._checked(bare, replace(found, digest="00"), 40)


def test_a_process_that_fails_says_why(tmp_path: Path) -> None:
    arguments = scale._arguments(tmp_path / "missing.h5", rows=1, batches=1, ids=1)
    with pytest.raises(RuntimeError, match="no such store"):
        scale._process([sys.executable, *arguments])


def test_without_a_group_the_rest_is_measured(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise NotPermitted("this system has no control group for memory")

    monkeypatch.setattr(memory_limit, "_own_group", refuse)
    left_out: dict[str, str] = {}
    assert scale._limited(workspace, scale._PLANS["tiny"], left_out) == ([], [])
    assert left_out == {scale.LIMITED: "this system has no control group for memory"}


def test_a_group_that_cannot_be_limited_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the group above does not hand on its control: no file for the limit appears."""
    monkeypatch.setattr(memory_limit, "_own_group", lambda: (tmp_path, 2))
    with (
        pytest.raises(NotPermitted, match="does not hand on its control of memory"),
        limited_group(1 << 30),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_a_group_cannot_be_made_where_nobody_may_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_limit, "_own_group", lambda: (tmp_path / "missing", 1))
    with pytest.raises(NotPermitted, match="no memory control group"), limited_group(1 << 30):
        pass


def test_a_group_holds_its_processes(bare: Path) -> None:
    try:
        with limited_group(100_000_000) as group:
            where = group.path
            arguments = scale._arguments(bare, rows=40, batches=2, ids=20)
            found = scale._process(group.command(arguments))
            assert group.peak
    except NotPermitted as reason:
        pytest.skip(str(reason))
    assert scale._checked(bare, found, 40) is found
    assert not where.exists()
