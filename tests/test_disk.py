"""The file a store is written to: whatever the order of writes, it holds what a plain file would."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurestore import disk
from featurestore.disk import DataFile, bytes_of

#: (where, how much).
Write: TypeAlias = tuple[int, int]

WRITES = st.lists(st.tuples(st.integers(0, 90), st.integers(0, 70)), max_size=30)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few writes are several pieces, and synced meanwhile."""
    for name, size in {"_PIECE": 16, "_SYNCED": 100}.items():
        monkeypatch.setattr(disk, name, size)


def write_all(file: DataFile, writes: list[Write]) -> bytes:
    """Make the writes; what a plain file would hold."""
    expected = bytearray()
    for number, (start, size) in enumerate(writes):
        data = bytes([number + 1]) * size
        file.write(start, data)
        if size:
            expected.extend(bytes(max(0, start + size - len(expected))))
            expected[start : start + size] = data
    return bytes(expected)


@given(WRITES, st.integers(0, 120), st.integers(0, 60))
def test_writes_in_any_order_come_out_as_in_a_plain_file(
    tmp_path_factory: pytest.TempPathFactory, writes: list[Write], place: int, size: int
) -> None:
    path = tmp_path_factory.mktemp("disk") / "f"
    file = DataFile(path)
    expected = write_all(file, writes)
    assert file.read(place, size) == expected[place : place + size]
    file.sync()
    file.close()
    assert path.read_bytes() == expected


@given(WRITES)
def test_calls_come_after_what_was_written_before_them(
    tmp_path_factory: pytest.TempPathFactory, writes: list[Write]
) -> None:
    path = tmp_path_factory.mktemp("disk") / "f"
    file = DataFile(path)
    found: list[bytes] = []
    expected = write_all(file, writes)
    file.then(lambda: found.append(path.read_bytes()))
    file.write(0, b"later")
    file.close()
    assert found == [expected]


def test_what_a_file_holds_is_kept_and_what_is_cut_off_is_gone(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"0123456789")
    file = DataFile(tmp_path / "f")
    file.write(4, b"abc")
    file.truncate(8)
    file.close()
    assert (tmp_path / "f").read_bytes() == b"0123abc7"


@pytest.mark.parametrize("call", ["pwrite", "fsync"])
def test_a_failure_in_the_thread_is_told_from_then_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    file = DataFile(tmp_path / "f")
    monkeypatch.setattr(os, call, fail)
    file.write(0, bytes(50))
    for again in (file.sync, file.check, lambda: file.write(0, b"x"), lambda: file.read(0, 1)):
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            again()
    file.close()
    assert not [each for each in threading.enumerate() if each.name == "write" and each.is_alive()]


def test_short_writes_are_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, place: pwrite(fd, data[:3], place))
    file = DataFile(tmp_path / "f")
    expected = write_all(file, [(5, 40), (2, 7)])
    file.close()
    assert (tmp_path / "f").read_bytes() == expected


@pytest.mark.parametrize("array", [np.arange(6.0).reshape(2, 3), np.zeros((0, 4)), np.eye(3).T])
def test_the_bytes_of_an_array_are_those_of_its_rows(array: np.ndarray) -> None:
    assert bytes(bytes_of(array)) == array.tobytes()
