"""The benchmark of several trainings at once: it sees what processes have of a file, and share."""

from __future__ import annotations

import mmap
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import jobs
from benchmarks.data import TINY, Workspace
from benchmarks.jobs import Pages, pages_of, peak_pages
from cli.main import cli
from featurestore.progress import Silent

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has smaps")

MB = 1_000_000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "pages"
    path.write_bytes(bytes(20 * MB))
    return path


def test_every_size_has_its_row_and_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands run inside this process: what they take is tested below."""

    def run(commands: list[list[str]], store: Path) -> Pages:
        for command in commands:
            done = CliRunner().invoke(cli, command[2:], catch_exceptions=False)
            assert done.exit_code == 0, done.output
        return Pages(rss=len(commands) * MB, pss=MB + len(commands), anonymous=MB)

    monkeypatch.setattr(jobs, "peak_pages", run)
    report = jobs.measure(Workspace(tmp_path, TINY, Silent()))
    assert [row.name for row in report.rows] == ["1 run", "2 runs", "4 runs"]
    for row in report.rows:
        assert set(row.figures) == set(report.columns)
        assert all(isinstance(v, float) and np.isfinite(v) for v in row.figures.values())
    assert [target.state for target in report.targets] == ["PASS", "PASS"]
    assert report.targets[0].measured == pytest.approx(1, abs=1e-3)
    assert report.views()


def test_pages_of_a_file_are_those_that_were_read(file: Path) -> None:
    before = pages_of(os.getpid(), file)
    with (
        file.open("rb") as opened,
        mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
    ):
        assert sum(mapped[:: mmap.PAGESIZE]) == 0
        found = pages_of(os.getpid(), file)
    assert before.rss == before.pss == 0
    assert 20 * MB <= found.rss < 20.1 * MB
    assert found.anonymous > MB


def test_processes_share_the_pages_of_a_file(file: Path) -> None:
    code = (
        "import mmap, sys, time\n"
        "file = open(sys.argv[1], 'rb')\n"
        "mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)\n"
        "sum(mapped[::mmap.PAGESIZE])\n"
        "time.sleep(2)"
    )
    peak = peak_pages([["-c", code, str(file)]] * 2, file)
    assert 39 * MB < peak.rss < 41 * MB
    assert 19 * MB < peak.pss < 21 * MB


def test_a_look_between_two_pages_does_not_count() -> None:
    both = Pages(rss=80, pss=40, anonymous=1)
    skewed = Pages(rss=80, pss=60, anonymous=3)
    early = Pages(rss=50, pss=50, anonymous=2)
    for first, second in ((both, skewed), (skewed, both)):
        assert first.later(second) == Pages(rss=80, pss=40, anonymous=3)
    assert early.later(both).pss == both.later(early).pss == 40


def test_a_process_that_fails_or_is_gone(file: Path) -> None:
    with pytest.raises(RuntimeError, match="no such thing"):
        peak_pages([["-c", "raise SystemExit('no such thing')"]], file)
    assert pages_of(2**22 + 1, file) == Pages()
