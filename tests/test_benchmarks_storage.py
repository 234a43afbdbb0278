"""The benchmarks of storage: they run, they compare values, and they say what they left out."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest

from benchmarks import cold, gather, page_cache, records, size
from benchmarks.alternatives.arrow import ArrowFile
from benchmarks.alternatives.contract import (
    INSTALL,
    Alternative,
    Arrays,
    Disagreement,
    First,
    check_agrees,
    missing,
    prepared,
)
from benchmarks.alternatives.h5 import H5Coalesced, H5Fancy, H5Rows
from benchmarks.alternatives.hidefix_ import Hidefix
from benchmarks.alternatives.lance_ import Lance
from benchmarks.alternatives.litdata_ import LitData
from benchmarks.alternatives.lmdb_ import Lmdb
from benchmarks.alternatives.npy import NpyFancy, NpyRows
from benchmarks.alternatives.pyfive_ import PyfiveGzip
from benchmarks.alternatives.tensorstore_ import (
    TensorStoreBlocks,
    TensorStoreRecords,
    TensorStoreRows,
)
from benchmarks.alternatives.zarr3 import ZarrBlocks, ZarrRecords
from benchmarks.data import TINY, Workspace
from benchmarks.reading import Asked, check_all
from benchmarks.report import Report
from featurestore.catalog import Extent
from featurestore.progress import Silent
from tests.benchmarks_for_tests import no_collections_between_turns  # noqa: F401

#: Importing LitData takes seconds; whoever changes its file runs the benchmark.
SLOW_TO_IMPORT = (LitData,)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("benchmarks"), TINY, Silent())


def figures(report: Report, column: str) -> dict[str, float]:
    return {row.name: row.figures[column] for row in report.rows if column in row.figures}  # type: ignore[misc]


def without_slow_imports(contestants: list[Alternative]) -> list[Alternative]:
    return [one for one in contestants if not isinstance(one, SLOW_TO_IMPORT)]


# the questions --------------------------------------------------------------------------------------


def test_gather_measures_ours_and_every_installed_alternative(workspace: Workspace) -> None:
    report = gather.measure(workspace)
    taken = figures(report, "ms a batch")
    for one in gather._contestants(workspace):
        assert (one.name in taken) != (report.left_out.get(one.name) == INSTALL)
    assert {gather.BATCH, gather.WIDENED, gather.VIEWS, gather.TAKE, gather.COPY} <= taken.keys()
    assert all(value > 0 for value in taken.values())
    assert figures(report, "× time of ours")[gather.VIEWS] == 1
    assert len(report.targets) == 4
    assert ("cold reads" in report.left_out) != (cold.OURS in taken)


def test_records_measures_ours_and_every_installed_alternative(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    contestants = without_slow_imports(records._contestants(workspace))
    monkeypatch.setattr(records, "_contestants", lambda _: contestants)
    report = records.measure(workspace)
    taken = figures(report, "ms a batch")
    for one in contestants:
        assert (one.name in taken) != (report.left_out.get(one.name) == INSTALL)
    assert all(value > 0 for value in taken.values())
    assert all(target.measured for target in report.targets)


def test_copies_are_removed_after_measuring(workspace: Workspace) -> None:
    places = [
        one.place
        for one in (*gather._contestants(workspace), *records._contestants(workspace))
        if one.owns_place
    ]
    assert places
    assert not [place for place in places if place.exists()]


def test_size_compares_every_compression_and_dtype(workspace: Workspace) -> None:
    shares = figures(size.measure(workspace), "share of .npy")
    for dtype in ("float16", "float32"):
        lz4, fast = shares[f"ours: {dtype}, lz4"], shares[f"ours: {dtype}, lz4-fast"]
        none = shares[f"ours: {dtype}, none"]
        assert 0 < lz4 < min(fast, none)
        assert fast <= 1.01 * none  # 16 bytes a record, of such short ones
    assert shares["ours: float32, none"] == pytest.approx(1, abs=0.05)
    assert shares[".npy float16"] == pytest.approx(0.5, abs=0.05)


# values are compared --------------------------------------------------------------------------------


@pytest.fixture
def arrays() -> Arrays:
    """Two fields of 300 rows, so that shards, blocks and sorting all matter."""
    random = np.random.default_rng(3)
    return {
        "tokens": random.standard_normal((300, 6, 8)).astype(np.float16),
        "pooled": random.standard_normal((300, 16)).astype(np.float16),
    }


COPYING: dict[str, Callable[[Path], Alternative]] = {
    **{
        kind.__name__: kind
        for kind in (
            *(NpyFancy, NpyRows, ZarrBlocks, ZarrRecords, TensorStoreBlocks, TensorStoreRecords),
            *(TensorStoreRows, Lmdb, ArrowFile, Lance, PyfiveGzip),
        )
    },
    "Hidefix": partial(Hidefix, gzip=False),
    "Hidefix gzip": partial(Hidefix, gzip=True),
}


@pytest.fixture(params=COPYING)
def copying(request: pytest.FixtureRequest, tmp_path: Path) -> Alternative:
    one = COPYING[request.param](tmp_path / "copy")
    if missing(one):
        pytest.skip(INSTALL)
    return one


def read_all(one: Alternative, arrays: Arrays, rows: np.ndarray, first: First) -> None:
    """Check what it reads against plain indexing."""
    expected = {name: values[rows, : first.get(name)] for name, values in arrays.items()}
    with prepared([one], arrays, {}) as ready:
        assert ready == [one]
        check_agrees(one.name, one.read(rows, first), expected)


def test_an_alternative_reads_rows_in_any_order(copying: Alternative, arrays: Arrays) -> None:
    read_all(copying, arrays, np.array([250, 3, 4, 5, 299, 0, 17]), {"tokens": 4})
    assert not copying.place.exists()


@pytest.mark.parametrize("rows", [[5, 2, 2, 9], [0, 1, 2, 14, 15, 299]], ids=["repeated", "runs"])
@pytest.mark.parametrize("gap", [0, 8])
def test_h5py_reads_rows_in_any_order(
    tmp_path: Path, arrays: Arrays, rows: list[int], gap: int
) -> None:
    place = tmp_path / "plain.h5"
    with h5py.File(place, "w") as file:
        for name, values in arrays.items():
            file[f"entities/{name}"] = values
    ways = (
        H5Fancy(place, table="entities"),
        H5Rows(place, table="entities"),
        H5Coalesced(place, table="entities", gap=gap),
    )
    for one in ways:
        read_all(one, arrays, np.array(rows), {"tokens": 4})
    assert place.exists()  # it belongs to the store, not to the alternative


class Shuffled(NpyFancy):
    """An alternative that gives sorted rows back as if they stood in the order asked for."""

    name = "shuffled"

    def read(self, rows: np.ndarray, first: First) -> dict[str, np.ndarray]:
        return super().read(np.sort(rows), first)


def test_wrong_values_end_the_benchmark(tmp_path: Path, arrays: Arrays) -> None:
    asked = Asked(rows=np.array([7, 3, 9]), first={"tokens": 2})

    def ours(rows: np.ndarray) -> Arrays:
        return {"tokens": arrays["tokens"][rows, :2], "pooled": arrays["pooled"][rows]}

    with (
        prepared([Shuffled(tmp_path / "copy")], arrays, {}) as ready,
        pytest.raises(Disagreement, match="shuffled read another tokens than the store"),
    ):
        check_all(ready, asked, ours)
    with prepared([NpyFancy(tmp_path / "copy")], arrays, {}) as ready:
        check_all(ready, asked, ours)


def test_a_missing_field_is_a_disagreement(arrays: Arrays) -> None:
    with pytest.raises(Disagreement, match="ours did not read pooled"):
        check_agrees("ours", {"tokens": arrays["tokens"]}, arrays)


def test_a_missing_package_is_left_out(tmp_path: Path, arrays: Arrays) -> None:
    class Absent(NpyFancy):
        name = "absent"
        needs = ("no_such_package",)

    left_out: dict[str, str] = {}
    with prepared([Absent(tmp_path / "copy")], arrays, left_out) as ready:
        assert ready == []
    assert left_out == {"absent": "pip install 'drin-fs[bench]'"}


# cold -----------------------------------------------------------------------------------------------


@pytest.fixture
def on_disk(tmp_path: Path) -> tuple[Path, Extent]:
    path = tmp_path / "pages"
    path.write_bytes(bytes(1 << 20))
    return path, Extent(0, (1 << 20,), np.dtype(np.uint8))


def test_resident_bytes_counts_what_is_in_memory(on_disk: tuple[Path, Extent]) -> None:
    path, extent = on_disk
    path.read_bytes()
    try:
        assert page_cache.resident_bytes(path, [extent]) == 1 << 20
        page_cache.drop(path)
    except page_cache.StaysWarm as reason:
        pytest.skip(str(reason))
    left = page_cache.resident_bytes(path, [extent])
    assert left in (0, 1 << 20)  # a file system in memory keeps it


def test_positioned_reads_give_the_rows(on_disk: tuple[Path, Extent]) -> None:
    path, _ = on_disk
    if not hasattr(os, "preadv"):
        pytest.skip("this system has no preadv")
    values = np.arange(300 * 5, dtype=np.float32).reshape(300, 5)
    path.write_bytes(b"head" + values.tobytes())
    extents = {"values": Extent(4, values.shape, values.dtype)}
    rows = np.array([0, 4, 5, 299])
    for depth in (1, 3, 16):
        with cold._positioned(path, extents, rows, depth=depth) as read:
            assert np.array_equal(read()["values"], values[rows])


def test_what_stays_in_memory_is_not_called_cold(
    on_disk: tuple[Path, Extent], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, extent = on_disk
    monkeypatch.setattr(cold, "drop", lambda path: None)
    path.read_bytes()
    measured = cold.measure_cold(
        path, extents={"values": extent}, batches=[np.arange(3)], megabytes=1.0
    )
    assert "stay in the page cache" in measured.left_out["cold reads"]
    assert [target.state for target in measured.targets] == ["not measured"]
