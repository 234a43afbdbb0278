"""Copying a remote store: continued where it was cut off, verified, and never half at its place."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.main import main
from featurestore import remote_copy, remote_transfer
from featurestore.errors import ConfigError, StoreError, WriteError
from featurestore.header import read_header
from featurestore.lock import Lock
from featurestore.progress import Silent
from featurestore.remote_check import merged
from featurestore.remote_fetch import fetch
from featurestore.remote_transfer import Patience
from featurestore.store import Store
from tests.range_server import RangeServer, serving
from tests.tiny_store import write_tiny_store

pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")

#: Bytes of a piece here, and how long a request that failed is waited for.
PIECE, IMPATIENT = 16 << 10, Patience(attempts=3, first=0.001, longest=0.01)

CHILD = f"""
import sys
from featurestore import remote_transfer
from featurestore.remote_fetch import fetch
remote_transfer.MOST, remote_transfer.AT_ONCE = {PIECE}, 1
fetch(sys.argv[1], sys.argv[2])
"""


class Notes(Silent):
    """Keeps the lines of a progress."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("fetched") / "tiny.h5"
    return write_tiny_store(path, entities=150, mentions=(20, 10, 10)).path.read_bytes()


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_transfer, "MOST", PIECE)


@pytest.fixture
def server(content: bytes) -> Iterator[RangeServer]:
    with serving(content) as running:
        yield running


def _journaled(journal: Path, size: int) -> int:
    """Bytes of the pieces that a journal says are there."""
    pieces = map(int, journal.read_text().splitlines()[1:])
    return sum(min(size, (piece + 1) * PIECE) - piece * PIECE for piece in pieces)


def _leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_copy_has_every_byte_and_leaves_nothing_beside_it(
    server: RangeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "copy.h5"
    assert main(["fetch", server.url, "-o", str(target), "--json"]) == 0
    printed = capsys.readouterr()
    done = json.loads(printed.out)
    assert target.read_bytes() == server.content
    assert _leftovers(tmp_path) == ["copy.h5"]
    assert done["bytes"] == len(server.content)
    assert (done["resumed"], done["repaired"], done["retries"]) == (0, 0, 0)
    assert done["requests"] == server.requests == 1 + -(-len(server.content) // PIECE)
    assert done["compared"] > len(server.content) / 2
    assert "fetch:" in printed.err


def test_the_default_place_is_the_urls_name_in_this_folder(
    server: RangeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert fetch(server.url + "?signature=secret", patience=IMPATIENT).path == "tiny.h5"
    with pytest.raises(WriteError, match="the target exists"):
        fetch(server.url)
    with pytest.raises(WriteError, match="names no file"):
        fetch("https://example.org/")
    with pytest.raises(ConfigError, match="no URL"):
        fetch("tiny.h5", "other.h5")


def test_a_killed_fetch_goes_on_without_what_it_has(server: RangeServer, tmp_path: Path) -> None:
    target = tmp_path / "copy.h5"
    server.gate, server.free = threading.Event(), 4  # the first page, and three pieces
    child = subprocess.Popen([sys.executable, "-c", CHILD, server.url, str(target)], env=os.environ)
    journal = tmp_path / ".copy.h5.part.done"
    while not journal.exists() or len(journal.read_text().splitlines()) < 4:
        assert child.poll() is None
        threading.Event().wait(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not target.exists()
    there = _journaled(journal, len(server.content))
    server.gate.set()
    server.gate = None
    server.reset()
    done = fetch(server.url, target, patience=IMPATIENT)
    assert done.resumed == there > 2 * PIECE
    assert server.sent == len(server.content) - there + 4096
    assert target.read_bytes() == server.content
    assert _leftovers(tmp_path) == ["copy.h5"]


def test_a_fetch_that_the_server_ends_goes_on(server: RangeServer, tmp_path: Path) -> None:
    target, notes = tmp_path / "copy.h5", Notes()
    server.faults.extend(["", "", "", *["500"] * 100])
    with pytest.raises(StoreError, match="no answer in 3 attempts") as caught:
        fetch(server.url, target, patience=IMPATIENT)
    assert "what was read is kept" in caught.value.hint
    server.faults.clear()
    assert fetch(server.url, target, patience=IMPATIENT, progress=notes).resumed > 0
    assert any("are here already" in line for line in notes.lines)
    assert target.read_bytes() == server.content


@pytest.mark.parametrize("faults", [["500"], ["", "503", "429"], ["", "cut", "cut"], ["cut"]])
def test_faults_on_the_way_are_got_over(
    faults: list[str], server: RangeServer, tmp_path: Path
) -> None:
    server.faults.extend(faults)
    done = fetch(server.url, tmp_path / "copy.h5", patience=IMPATIENT)
    assert (tmp_path / "copy.h5").read_bytes() == server.content
    assert done.retries == sum(fault != "" for fault in faults)


def test_a_file_that_changed_since_begins_anew(server: RangeServer, tmp_path: Path) -> None:
    target, notes = tmp_path / "copy.h5", Notes()
    server.faults.extend(["", "", "", *["500"] * 100])
    with pytest.raises(StoreError):
        fetch(server.url, target, patience=IMPATIENT)
    server.faults.clear()
    server.content = write_tiny_store(tmp_path / "new.h5", seed=5).path.read_bytes()
    server.tag = '"two"'
    done = fetch(server.url, target, patience=IMPATIENT, progress=notes)
    assert done.resumed == 0
    assert any("another one than when this fetch began" in line for line in notes.lines)
    assert target.read_bytes() == server.content


@pytest.mark.parametrize("tag", ['"two"', '"one"'])  # the second: only checksums can tell
def test_a_file_that_changes_meanwhile_is_an_error(
    tag: str, server: RangeServer, tmp_path: Path
) -> None:
    other = write_tiny_store(
        tmp_path / "new.h5", seed=5, entities=150, mentions=(20, 10, 10)
    ).path.read_bytes()
    server.swap = 3, other.ljust(len(server.content))[: len(server.content)], tag
    folder = tmp_path / "here"
    folder.mkdir()
    with pytest.raises(StoreError, match="changed while it was fetched"):
        fetch(server.url, folder / "copy.h5", patience=IMPATIENT)
    assert _leftovers(folder) == []


def test_the_same_file_under_another_etag_goes_on(server: RangeServer, tmp_path: Path) -> None:
    server.swap = 3, server.content, '"of another machine"'
    done = fetch(server.url, tmp_path / "copy.h5", patience=IMPATIENT)
    assert (tmp_path / "copy.h5").read_bytes() == server.content
    assert done.repaired == 0


def _places(content: bytes, folder: Path) -> dict[str, int]:
    """Bytes of a view, of a record, of the checksums, and of the catalog."""
    (folder / "whole.h5").write_bytes(content)
    with Store(folder / "whole.h5") as store, (folder / "whole.h5").open("rb") as file:
        header = read_header(file, store.path)
        view = store.entities.fields["text_mean"].extent
        assert header is not None
        assert view is not None
        return {
            "view": view.offset + 5,
            "record": int(store.entities.chunk_table("text_tokens")[3, 0]) + 1,
            "tail": header.tail_start + 1,
            "catalog": header.file_bytes - 2,
        }


@pytest.mark.parametrize("where", ["view", "record", "tail", "catalog"])
def test_bytes_that_come_wrong_are_fetched_once_more(
    where: str, server: RangeServer, tmp_path: Path
) -> None:
    place, notes = _places(server.content, tmp_path)[where], Notes()
    server.spoiled[place] = 1
    done = fetch(server.url, tmp_path / "copy.h5", patience=IMPATIENT, progress=notes)
    assert done.repaired > 0
    assert any("came damaged" in line for line in notes.lines)
    assert (tmp_path / "copy.h5").read_bytes() == server.content
    server.spoiled[place] = 1000
    with pytest.raises(StoreError, match="damaged where it comes from"):
        fetch(server.url, tmp_path / "second.h5", patience=IMPATIENT)
    assert _leftovers(tmp_path) == ["copy.h5", "whole.h5"]


def test_a_server_without_ranges_gives_the_whole_file(server: RangeServer, tmp_path: Path) -> None:
    server.ranges, notes = False, Notes()
    server.faults.extend(["", "cut"])
    fetch(server.url, tmp_path / "copy.h5", patience=IMPATIENT, progress=notes)
    assert (tmp_path / "copy.h5").read_bytes() == server.content
    assert any("only whole files" in line for line in notes.lines)
    server.faults.extend(["", *["cut"] * 10])
    with pytest.raises(StoreError, match="did not come whole in 3 attempts"):
        fetch(server.url, tmp_path / "second.h5", patience=IMPATIENT)


def test_a_full_disk_keeps_what_came(
    server: RangeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, written = remote_copy.write_at, []

    def full(descriptor: int, place: int, data: bytes) -> None:
        if len(written) == 2:
            raise OSError(errno.ENOSPC, "no space")
        written.append(place)
        write(descriptor, place, data)

    monkeypatch.setattr(remote_copy, "write_at", full)
    with pytest.raises(WriteError, match="disk is full") as caught:
        fetch(server.url, tmp_path / "copy.h5", patience=IMPATIENT)
    assert "what was fetched is kept" in caught.value.hint
    monkeypatch.setattr(remote_copy, "write_at", write)
    there = _journaled(tmp_path / ".copy.h5.part.done", len(server.content))
    assert fetch(server.url, tmp_path / "copy.h5", patience=IMPATIENT).resumed == there > PIECE


def test_no_room_is_said_before_anything_comes(
    server: RangeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_copy, "free_bytes", lambda folder: 1000)
    with pytest.raises(WriteError, match=r"0\.00 GB are free"):
        fetch(server.url, tmp_path / "copy.h5", patience=IMPATIENT)
    assert server.requests == 1
    assert _leftovers(tmp_path) == []


def test_one_fetch_at_a_time(server: RangeServer, tmp_path: Path) -> None:
    lock = Lock(tmp_path / ".copy.h5.lock")
    with pytest.raises(WriteError, match="another process writes this file"):
        fetch(server.url, tmp_path / "copy.h5", patience=IMPATIENT)
    lock.release()


def test_what_is_no_store_does_not_come(server: RangeServer, tmp_path: Path) -> None:
    server.content = b"<html>" * 1000
    with pytest.raises(StoreError, match="not a drin-fs store"):
        fetch(server.url, tmp_path / "copy.h5", patience=IMPATIENT)
    assert _leftovers(tmp_path) == []


def test_other_protocols_come_too(content: bytes, tmp_path: Path) -> None:
    import fsspec

    fsspec.filesystem("memory").pipe_file("/stores/tiny.h5", content)
    done = fetch("memory://stores/tiny.h5", tmp_path / "copy.h5", patience=IMPATIENT)
    assert (tmp_path / "copy.h5").read_bytes() == content
    assert done.transferred == len(content) + 4096


def test_ranges_that_touch_are_one() -> None:
    assert merged([(5, 7), (0, 2), (2, 4), (5, 6), (9, 10)]) == [(0, 4), (5, 7), (9, 10)]
    assert merged([]) == []
