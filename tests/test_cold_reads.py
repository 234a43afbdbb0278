"""Rows that had to come from disk: the next ones are announced to the kernel, and only then."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import featurestore
from featurestore import Store, chunks, filemap, threads
from featurestore.filemap import FileMap
from tests.stores_for_tests import planted_store


class Disk:
    """Stands in for the kernel's account of what was read from disk."""

    def __init__(self) -> None:
        self.read = 0
        self.step = 0

    def bytes(self) -> int:
        self.read += self.step
        return self.read


class Map:
    """A map that notes what was announced."""

    def __init__(self) -> None:
        self.announced: list[tuple[int, int]] = []

    def madvise(self, advice: int, start: int, length: int) -> None:
        assert advice == mmap.MADV_WILLNEED
        self.announced.append((start, length))


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    monkeypatch.setattr(filemap, "disk_bytes", disk.bytes)
    return disk


@pytest.fixture
def file(disk: Disk, tmp_path: Path) -> FileMap:
    path = tmp_path / "file"
    path.write_bytes(bytes(64 * mmap.PAGESIZE))
    file = FileMap(path)
    file._map = Map()  # type: ignore[assignment]
    return file


def announced(file: FileMap) -> list[tuple[int, int]]:
    assert isinstance(file._map, Map)
    found, file._map.announced = file._map.announced, []
    return found


def test_rows_are_announced_while_the_file_is_cold(file: FileMap, disk: Disk) -> None:
    starts = np.arange(20) * 3 * mmap.PAGESIZE
    disk.step = 1 << 20
    for _ in range(2):
        with file.reading() as reading:
            reading.announce(starts, 100)
            assert announced(file) == [(start, mmap.PAGESIZE) for start in starts.tolist()]
    disk.step = 0
    with file.reading() as reading:
        reading.announce(starts, 100)
        assert len(announced(file)) == 20
    with file.reading() as reading:
        reading.announce(starts, 100)
        assert announced(file) == []  # nothing came from disk any more
    disk.step = 1 << 20
    with file.reading() as reading:
        reading.announce(starts, 100)
        assert announced(file) == []
    with file.reading() as reading:
        reading.announce(starts, 100)
        assert len(announced(file)) == 20  # again it did


def test_a_few_rows_are_not_announced(file: FileMap, disk: Disk) -> None:
    disk.step = 1 << 20
    with file.reading() as reading:
        reading.announce(np.arange(15), 100)
        assert announced(file) == []


def test_pieces_that_overlap_or_touch_are_announced_once(file: FileMap) -> None:
    page = mmap.PAGESIZE
    starts = np.array([9 * page, 0, 10, page - 1, 5 * page + 100, 5 * page])
    sizes = np.array([page, 10, 10, 2, 3 * page, 1])
    file._announce(starts, starts + sizes)
    assert announced(file) == [(0, 2 * page), (5 * page, 5 * page)]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with featurestore.open(planted_store(tmp_path_factory.mktemp("cold") / "planted.h5")) as store:
        yield store


@pytest.mark.parametrize("field", ["text_span", "text_tokens", "objects"])
def test_a_cold_store_gives_what_a_warm_one_gives(planted: Store, field: str) -> None:
    rows = np.random.default_rng(0).integers(0, len(planted.mentions), 50)
    warm = planted.mentions.gather(field, rows)
    planted._file._cold = True
    np.testing.assert_array_equal(planted.mentions.gather(field, rows), warm)


def test_several_threads_give_what_one_gives(
    planted: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.random.default_rng(1).integers(0, len(planted.mentions), 333)
    alone = {name: planted.mentions.gather(name, rows) for name in ("text_span", "text_tokens")}
    monkeypatch.setattr(chunks, "_PARALLEL", 1)
    monkeypatch.setattr(threads, "available_processors", lambda: 6)
    for name, values in alone.items():
        np.testing.assert_array_equal(planted.mentions.gather(name, rows), values, err_msg=name)


def test_an_error_of_a_thread_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "available_processors", lambda: 3)

    def work(part: int) -> None:
        if part == 3:
            raise ValueError("part 3")

    with pytest.raises(ValueError, match="part 3"), threads.together() as together:
        together.add([partial(work, part) for part in range(5)])


def test_after_an_error_nothing_more_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "available_processors", lambda: 1)
    done: list[int] = []

    def fail() -> None:
        with threads.together() as together:
            together.add([partial(done.append, part) for part in range(5)])
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not done


@pytest.mark.parametrize("field", ["text_span", "text_tokens"])
def test_a_destination_of_another_shape_dtype_or_order_is_refused(
    planted: Store, field: str
) -> None:
    right = planted.mentions.gather(field, [0, 1])
    for out in (
        right.astype(np.float64),
        np.concatenate([right, right]),
        np.asfortranarray(right),
    ):
        with pytest.raises(ValueError, match="where a C-contiguous float"):
            planted.mentions.gather(field, [0, 1], new=lambda *_, out=out: out)
