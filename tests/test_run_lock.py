"""One process writes to a run folder: a second is told who does; a dead one is no obstacle."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli.main import main
from featurestore.progress import Silent
from linker.folder_lock import RunLocked
from linker.run_folder import RunFolder
from tests.runs_for_tests import QuickRun, Recording

#: Holds the lock until its input ends, and so does a child that it forks, if asked for.
_HOLDER = """
import os, sys
from pathlib import Path
from featurestore.progress import Silent
from linker.run_folder import RunFolder
with RunFolder(Path(sys.argv[1]).parent).locked(progress=Silent()):
    if not sys.argv[2:] or not os.fork():  # the child says it, once it has come to be
        print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def other_process(lock: Path, *, forking: bool = False) -> Iterator[subprocess.Popen[str]]:
    """A process that holds a lock until it is told to end, or killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(lock), *(["forking"] if forking else [])],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.communicate()


def test_a_second_process_is_refused_and_told_who_is_there(
    quick: QuickRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with other_process(run / ".lock") as process:
        for options in ([], ["--resume"], ["--overwrite"]):
            assert main(["train", str(quick.store), "-o", str(run), *options]) == 1
            said = capsys.readouterr().err
            assert re.match(
                rf"error: another process is writing to this run: process {process.pid} on "
                rf"{re.escape(socket.gethostname())} since \d{{4}}-\d\d-\d\dT[0-9:]+[+-]\d\d:\d\d\n"
                rf"  where: {re.escape(str(run))}\n  next:  wait for it or end it, or name another",
                said,
            )
        baseline = ["evaluate", str(quick.store), "--model", "candidates", "-o", str(run)]
        assert main(baseline) == 1
        assert os.listdir(run) == [".lock"]


def test_the_lock_of_a_killed_process_is_free_and_its_end_is_told(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    with other_process(lock) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert json.loads(lock.read_text())["process"] == process.pid
    progress = Recording()
    with RunFolder(lock.parent).locked(progress=progress):
        assert json.loads(lock.read_text())["process"] == os.getpid()
    (line,) = progress.lines
    assert line.startswith(f"process {process.pid} on {socket.gethostname()} since ")
    assert line.endswith(" was writing to this run and did not come to its end")
    assert not lock.exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"host": "a"}'])
def test_a_lock_that_says_nothing_is_as_free_as_any(tmp_path: Path, content: str) -> None:
    lock = tmp_path / ".lock"
    lock.write_text(content)
    with (
        RunFolder(lock.parent).locked(progress=Silent()),
        pytest.raises(RunLocked, match=f"process {os.getpid()} on"),
        RunFolder(lock.parent).locked(progress=Silent()),
    ):
        pass
    with RunFolder(lock.parent).locked(progress=Silent()):
        pass


def test_a_forked_child_does_not_hold_the_lock_of_its_parent_that_was_killed(
    tmp_path: Path,
) -> None:
    lock = tmp_path / ".lock"
    with other_process(lock, forking=True) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with RunFolder(lock.parent).locked(
            progress=Silent()
        ):  # the child is there until its input ends
            pass
