"""Interrupted ingests: what is finished is kept, checked, gone on with or not; one writer at a time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import featurestore
from cli.main import main
from featurestore import lock
from featurestore.encoders import raw
from featurestore.errors import WriteError
from featurestore.ingest import ingest
from featurestore.lock import Held, Lock
from featurestore.manifest import Entry, Manifest
from featurestore.progress import Silent
from featurestore.work import Claim, runs_of
from featurestore.writer import StoreWriter
from tests.golden_for_tests import PREPROCESSED
from tests.interrupting import SOURCES, Stopping, digest, interrupted, small_parts

__all__ = ["small_parts"]  # a fixture

# going on ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_an_interrupted_ingest_goes_on_and_makes_the_same_store(
    name: str, share: float, tmp_path: Path
) -> None:
    source, options = SOURCES[name]
    target = tmp_path / "s.h5"
    notes = interrupted(source, target, options, share=share)
    assert any("the same command goes on from there, --restart begins anew" in n for n in notes)
    progress = Stopping()
    ingest(source, target, options=options, progress=progress)
    assert any(note.startswith("skips ") for note in progress.notes), progress.notes
    assert digest(target) == digest(tmp_path / "whole.h5")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.h5", "whole.h5"]


def test_what_is_finished_is_not_encoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, options = SOURCES["raw wikimel"]
    target = tmp_path / "s.h5"
    interrupted(source, target, options, share=0.99)
    encoded: list[int] = []
    encode = raw.TextEncoder.encode

    def counting(self: Any, texts: Any, **more: Any) -> Any:
        encoded.append(len(texts))
        return encode(self, texts, **more)

    monkeypatch.setattr(raw.TextEncoder, "encode", counting)
    ingest(source, target, options=options)
    assert encoded == []
    ingest(source, tmp_path / "other.h5", options=options)
    assert sum(encoded) > 40


def test_a_field_that_became_float32_stays_so(tmp_path: Path, monkeypatch: Any) -> None:
    source, options = SOURCES["preprocessed wikimel"]
    monkeypatch.setattr("featurestore.features.FLOAT16_BOUND", 3.5e-4)  # some vectors break it
    for share in (0.2, 0.5, 0.8):
        target = tmp_path / f"{share}.h5"
        interrupted(source, target, options, share=share)
        summary = ingest(source, target, options=options)
        assert digest(target) == digest(tmp_path / "whole.h5")
        assert summary.float32_fields


def test_damaged_parts_are_noticed_and_made_again(tmp_path: Path) -> None:
    source, options = SOURCES["preprocessed wikimel"]
    target = tmp_path / "s.h5"
    interrupted(source, target, options, share=0.9)
    data = tmp_path / ".s.h5.ingest" / "data"
    content = bytearray(data.read_bytes())
    for place in range(5000, len(content), 997):
        content[place] ^= 0xFF
    data.write_bytes(content)
    progress = Stopping()
    ingest(source, target, options=options, progress=progress)
    assert any("they are made again" in note for note in progress.notes)
    assert digest(target) == digest(tmp_path / "whole.h5")


def test_a_manifest_that_was_cut_off_is_believed_up_to_there(tmp_path: Path) -> None:
    source, options = SOURCES["preprocessed wikimel"]
    target = tmp_path / "s.h5"
    interrupted(source, target, options)
    manifest = tmp_path / ".s.h5.ingest" / "manifest"
    manifest.write_bytes(manifest.read_bytes()[:-5])
    ingest(source, target, options=options)
    assert digest(target) == digest(tmp_path / "whole.h5")


def test_what_a_kill_behind_the_publication_left_is_removed(tmp_path: Path) -> None:
    source, options = SOURCES["preprocessed wikimel"]
    target = tmp_path / "s.h5"
    interrupted(source, target, options)
    (tmp_path / ".s.h5.ingest" / "data").replace(target)  # as if it had been complete
    with pytest.raises(WriteError, match="the target exists"):
        ingest(source, target, options=options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.h5", "whole.h5"]


@pytest.mark.parametrize("rows", [3, 5000])
def test_what_was_begun_behind_the_last_part_is_not_written_over(tmp_path: Path, rows: int) -> None:
    """A column begun, but not finished, when an ingest ends has a place that others must not get."""
    target = tmp_path / "s.h5"
    boxes = np.random.default_rng(0).random((rows, 2, 4), np.float32)
    scores = np.random.default_rng(1).random((rows, 2), np.float32)

    def write(claim: Claim, *, whole: bool) -> None:
        options = {"dtype": "float32", "compression": "lz4", "overwrite": False}
        with StoreWriter.on(claim, identity={"a": 1}, **options) as writer:
            writer.table("entities", [f"Q{row}" for row in range(rows)])
            writer.table("mentions", [])
            writer.splits({"train": range(0)})
            means = writer.feature("entities/text_mean", (4,))
            means.write(range(rows), boxes[:, 0])
            writer.finished()
            writer.growing_column("entities/object_boxes", (2, 4)).write(np.arange(rows), boxes)
            if not whole:
                raise KeyboardInterrupt
            writer.column("entities/object_scores", scores)
            writer.publish(dataset="d", provenance={})

    claim = Claim(target)
    with pytest.raises(KeyboardInterrupt):
        write(claim, whole=False)
    write(claim, whole=True)
    claim.release()
    with featurestore.open(target) as store:
        every = range(rows)
        assert np.array_equal(store.entities.gather("object_boxes", every), boxes)
        assert np.array_equal(store.entities.gather("object_scores", every), scores)
        assert np.array_equal(store.entities.gather("text_mean", every), boxes[:, 0])


# how it ends ------------------------------------------------------------------------------------


def test_an_interruption_before_anything_is_finished_leaves_nothing(tmp_path: Path) -> None:
    source, options = SOURCES["raw wikimel"]
    with pytest.raises(KeyboardInterrupt):
        ingest(source, tmp_path / "s.h5", options=options, progress=Starting())
    assert list(tmp_path.iterdir()) == []


class Starting(Silent):
    """Interrupts when the first stage begins."""

    def stage(self, name: str, total: int, unit: str) -> Any:
        raise KeyboardInterrupt


# the command ------------------------------------------------------------------------------------


def command(target: Path) -> list[str]:
    return ["ingest", str(PREPROCESSED / "wikimel"), "-o", str(target)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_with_130_and_keeps_what_is_finished(
    number: signal.Signals, tmp_path: Path
) -> None:
    script = (
        "import sys; from featurestore import derive; derive.BLOCK_BYTES = 1 << 12\n"
        "from featurestore.writer import StoreWriter; import time\n"
        "finished = StoreWriter.finished\n"
        "def slowly(self): finished(self); print('.', flush=True); time.sleep(0.05)\n"
        "StoreWriter.finished = slowly\n"
        "from cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    target = tmp_path / "s.h5"
    with subprocess.Popen(
        [sys.executable, "-c", script, *command(target)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for _ in range(3):
            process.stdout.readline()
        process.send_signal(number)
        message = process.stderr.read()
    assert process.returncode == 130
    assert "kept: 1 finished part in" in message
    assert message.endswith("interrupted\n")
    assert main([*command(target), "--json"]) == 0
    ingest(PREPROCESSED / "wikimel", tmp_path / "whole.h5")
    assert digest(target) == digest(tmp_path / "whole.h5")


def test_no_room_is_said_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featurestore.writer.free_bytes", lambda folder: 1000)
    with pytest.raises(WriteError, match=r"no room: at least 0\.00 GB are needed") as caught:
        ingest(PREPROCESSED / "wikimel", tmp_path / "s.h5")
    assert "free some space" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_little_room_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featurestore.writer._BEST", 0.0)
    monkeypatch.setattr("featurestore.writer._LIKELY", 1000.0)
    monkeypatch.setattr("featurestore.writer.free_bytes", lambda folder: 5_000_000)
    progress = Stopping()
    ingest(PREPROCESSED / "wikimel", tmp_path / "s.h5", progress=progress)
    assert any("GB may be needed, 0.0 GB are free" in note for note in progress.notes)


# one writer at a time ---------------------------------------------------------------------------


def test_a_second_ingest_to_one_target_is_refused_with_the_holder_named(tmp_path: Path) -> None:
    target = tmp_path / "s.h5"

    class Meanwhile(Silent):
        refused = ""

        def note(self, text: str) -> None:
            if not self.refused:
                with pytest.raises(WriteError, match="another ingest writes this store") as caught:
                    ingest(PREPROCESSED / "wikidiverse", target)
                Meanwhile.refused = str(caught.value)

    ingest(PREPROCESSED / "wikimel", target, progress=Meanwhile())
    assert f"process {os.getpid()} on " in Meanwhile.refused
    assert " since 20" in Meanwhile.refused
    with featurestore.open(target) as store:
        assert store.dataset == "wikimel"


HOLDER = """
import sys, time
from pathlib import Path
from featurestore.lock import Lock
Lock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def test_the_lock_of_a_process_that_is_gone_is_none(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Held, match=f"process {holder.pid} on "):
            Lock(path)
        holder.kill()
    assert path.exists()
    Lock(path).release()
    assert not path.exists()


@pytest.fixture
def no_file_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a network file system that knows none."""
    monkeypatch.setattr(lock, "fcntl", None)


@pytest.mark.usefixtures("no_file_locks")
@pytest.mark.parametrize(
    ("note", "free"),
    [
        ({"host": "here", "process": 999_999_999, "since": "then"}, True),
        ({"host": "here", "process": os.getppid(), "since": "then"}, False),
        ({"host": "elsewhere", "process": 999_999_999, "since": "then"}, False),
        ({}, True),
    ],
)
def test_where_locks_fail_the_holders_note_counts(
    note: dict[str, Any], free: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "here")
    path = tmp_path / "lock"
    path.write_text(json.dumps(note) if note else "not JSON")
    if free:
        Lock(path).release()
        return
    with pytest.raises(Held) as caught:
        Lock(path)
    assert f"on {note['host']} since then" in caught.value.holder
    if note["host"] == "elsewhere":
        assert caught.value.stale_hint == f"if it is gone, delete {path}"


# the manifest -----------------------------------------------------------------------------------


def entries(count: int) -> list[Entry]:
    return [
        Entry(
            {"number": n, "é": [n]}, {"a": np.arange(2 * n).reshape(-1, 2), "b": np.zeros((0, 2))}
        )
        for n in range(count)
    ]


@given(cut=st.integers(0, 2000), flip=st.none() | st.integers(0, 2000))
@settings(max_examples=60)
def test_a_manifest_is_believed_up_to_its_first_flaw(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flip: int | None
) -> None:
    path = tmp_path_factory.mktemp("manifest") / "m"
    manifest = Manifest(path)
    ends = []
    for entry in entries(8):
        manifest.append(entry)
        ends.append(path.stat().st_size)
    manifest.close()
    content = bytearray(path.read_bytes())
    flaw = min(cut, len(content))
    del content[flaw:]
    if flip is not None and flip < len(content):
        content[flip] ^= 4
        flaw = flip
    path.write_bytes(content)
    whole = sum(end <= flaw for end in ends)
    again = Manifest(path)
    assert [entry.plain for entry in again.entries] == [e.plain for e in entries(whole)]
    for entry, wanted in zip(again.entries, entries(8), strict=False):
        assert np.array_equal(entry.runs["a"], wanted.runs["a"])
    again.append(entries(9)[8])
    again.close()
    final = Manifest(path)
    final.close()
    assert len(final.entries) == whole + 1


@given(st.lists(st.integers(0, 30), max_size=20))
def test_runs_hold_the_rows_in_their_order(rows: list[int]) -> None:
    runs = runs_of(np.array(rows, np.int64))
    assert [row for first, stop in runs.tolist() for row in range(first, stop)] == rows


# killed, and writes that fail -------------------------------------------------------------------


@pytest.fixture(scope="module")
def harness() -> subprocess.CompletedProcess[str]:
    """In a process of its own: pytest has threads, which a fork does not keep. Torch is loaded once."""
    code = (
        "import random, tempfile\n"
        "from pathlib import Path\n"
        "from tests.kills_ingest import SOURCES, Trial, main\n"
        "main(['--kills', '2', '--interrupts', '2', '--write-errors', '3'], standalone_mode=False)\n"
        "print('now a store that differs', flush=True)\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    trial = Trial(list(SOURCES)[2], Path(folder))\n"
        "    trial.digest = 'another'\n"
        "    trial.killed(random.Random(0))"
    )
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False
    )


def test_kills_and_failing_writes_leave_the_target_absent_or_complete(
    harness: subprocess.CompletedProcess[str],
) -> None:
    figures, _, after = harness.stdout.partition("now a store that differs")
    assert figures.count("every store equal to the uninterrupted one") == 3, harness.stderr
    assert after


def test_the_harness_notices_a_store_that_differs(
    harness: subprocess.CompletedProcess[str],
) -> None:
    assert harness.stdout.endswith("now a store that differs\n"), harness.stderr
    assert harness.returncode == 1
    assert "is another store" in harness.stderr
