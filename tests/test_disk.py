"""The file HDF5 writes to: whatever the order of writes, it holds what a plain file would."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurestore import disk
from featurestore.disk import DiskFile

#: (where, how much): at the end and a little beyond it, as chunks are written; or anywhere.
Write: TypeAlias = tuple[bool, int, int]

WRITES = st.lists(st.tuples(st.booleans(), st.integers(0, 90), st.integers(0, 70)), max_size=30)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few writes fill several blocks."""
    for name, size in {"_COLLECTED": 64, "_GAP": 16, "_SYNCED": 100}.items():
        monkeypatch.setattr(disk, name, size)


def write_all(file: DiskFile, writes: list[Write]) -> bytes:
    """Make the writes; what a plain file would hold."""
    expected = bytearray()
    for number, (at_end, place, size) in enumerate(writes):
        start = len(expected) + place // 10 if at_end else place
        data = bytes([number + 1]) * size
        file.seek(start)
        assert file.write(data) == size
        if size:
            expected.extend(bytes(max(0, start + size - len(expected))))
            expected[start : start + size] = data
    return bytes(expected)


@given(WRITES)
def test_writes_in_any_order_come_out_as_in_a_plain_file(
    tmp_path_factory: pytest.TempPathFactory, writes: list[Write]
) -> None:
    path = tmp_path_factory.mktemp("disk") / "f"
    file = DiskFile(path)
    expected = write_all(file, writes)
    file.sync()
    file.close()
    assert path.read_bytes() == expected


@given(WRITES, st.integers(0, 120), st.integers(0, 60))
def test_what_was_written_can_be_read_at_once(
    tmp_path_factory: pytest.TempPathFactory, writes: list[Write], place: int, size: int
) -> None:
    file = DiskFile(tmp_path_factory.mktemp("disk") / "f")
    expected = write_all(file, writes)
    found = bytearray(size)
    file.seek(place)
    file.readinto(found)
    file.close()
    assert found == expected[place : place + size].ljust(size, b"\0")


def test_what_is_cut_off_is_gone(tmp_path: Path) -> None:
    file = DiskFile(tmp_path / "f")
    write_all(file, [(True, 0, 50), (True, 0, 50)])
    file.truncate(60)
    file.close()
    assert (tmp_path / "f").read_bytes() == b"\1" * 50 + b"\2" * 10


@pytest.mark.parametrize("call", ["pwrite", "fsync"])
def test_a_failure_in_a_thread_is_told_and_never_to_hdf5(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, fail)
    file = DiskFile(tmp_path / "f")
    write_all(file, [(True, 0, 50)] * 10)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        file.sync()
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        file.check()
    file.close()
