"""The benchmark of remote stores: it runs, compares values, and counts requests and bytes."""

from __future__ import annotations

import pytest

from benchmarks import remote
from benchmarks.alternatives.contract import Disagreement
from benchmarks.data import TINY, Workspace
from featurestore.progress import Silent

pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("benchmarks"), TINY, Silent())


def test_every_way_is_measured_and_reads_the_same(workspace: Workspace) -> None:
    report = remote.measure(workspace)
    figures = {row.name: row.figures for row in report.rows}
    assert len(figures) == 11
    size = workspace.store_path().stat().st_size / 1e6
    assert figures["ours, nothing kept: opening"]["requests"] == 2
    assert figures["ours, kept: the test split"]["requests"] == 1
    assert figures["the whole file by fsspec: the test split"]["MB"] == pytest.approx(size)
    assert report.targets[0].state == "PASS"
    assert [path.name for path in workspace.folder.glob("copied*")] == []


def test_other_values_are_no_result(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(file: object, mentions: range, fields: dict[str, list[str]]) -> dict[str, int]:
        paths = [*fields["mentions"], *(f"entities/{name}" for name in fields["entities"])]
        return dict.fromkeys(["candidates", *paths], 0)

    monkeypatch.setattr(remote, "_by_hdf5", nothing)
    with pytest.raises(Disagreement, match=r"h5py over fsspec's file"):
        remote.measure(workspace)
