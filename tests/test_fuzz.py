"""A short run of every kind of mutated input; ``python -m tests.fuzz`` is the long one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

import featurestore
from featurestore.errors import SourceError
from tests.fuzz import runner
from tests.fuzz.kinds import OWNED, Case, Kind, Seed
from tests.fuzz.registry import KINDS
from tests.fuzz.report import FAILURES

ROOT = Path(featurestore.__file__).parents[1]

#: Of each kind, with this seed: some 25 s in all on an idle machine, half of it loading libraries.
CASES, SEED = 6, 1


def test_no_mutated_input_ends_in_anything_but_data_or_an_error_of_ours(tmp_path: Path) -> None:
    """In a process of its own: pytest has threads, which a fork does not keep."""
    figures = tmp_path / "figures.json"
    command = [sys.executable, "-m", "tests.fuzz", "--cases", str(CASES), "--seed", str(SEED)]
    done = subprocess.run(
        [*command, "--json", str(figures)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    reports = json.loads(figures.read_text())
    assert {report["kind"]: report["cases"] for report in reports} == dict.fromkeys(KINDS, CASES)
    for report in reports:
        assert report["ok"] + report["refused"] == CASES
        assert report["kind"] == "pictures" or report["refused"] > CASES // 4, report["kind"]


# does it notice? ----------------------------------------------------------------------------------


def _crash(case: Case) -> None:
    os.abort()


def _hang(case: Case) -> None:
    time.sleep(60)


def _fill(case: Case) -> None:
    bytearray(3 << 30)


def _untyped(case: Case) -> None:
    raise KeyError("x")


def _vague(case: Case) -> None:
    raise SourceError("something is wrong")


def _foreign_file(case: Case) -> None:
    (case.out.parent / OWNED).mkdir()


def _foreign_program(case: Case) -> None:
    os.system("true")


def _leave_the_folder(case: Case) -> None:
    (case.source / "more").write_text("x")


_BAD: dict[str, tuple[str, Callable[[Case], None]]] = {
    "a crash": ("crash", _crash),
    "a hang": ("hang", _hang),
    "memory": ("memory", _fill),
    "another exception": ("untyped", _untyped),
    "an error that says no place": ("vague", _vague),
    "a folder elsewhere": ("foreign", _foreign_file),
    "a program": ("foreign", _foreign_program),
    "a file beside the input": ("foreign", _leave_the_folder),
}


def kind_with(bad: Callable[[Case], None]) -> Kind:
    """Reads its seed well, and no case."""

    def seeds(folder: Path) -> list[Seed]:
        (folder / "seed").mkdir()
        (folder / "seed" / "file").write_bytes(b"good")
        return [Seed(folder / "seed", ("file",))]

    def read(case: Case) -> None:
        if (case.source / "file").read_bytes() != b"good":
            bad(case)

    def change(rng: Random, data: bytes, other: bytes) -> bytes:
        return b"bad"

    return Kind(name="made up", about="", seeds=seeds, mutators=[change], read=read)


def endings() -> dict[str, dict[str, int]]:
    """How two cases of each bad kind end."""
    runner.SECONDS = 1
    found = {}
    for name, (_, bad) in _BAD.items():
        found[name] = dict(runner.run(kind_with(bad), cases=range(2)).ends)
    return found


@pytest.fixture(scope="module")
def noticed() -> dict[str, dict[str, int]]:
    program = "import json\nfrom tests import test_fuzz\nprint(json.dumps(test_fuzz.endings()))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found: dict[str, dict[str, int]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("bad", _BAD)
def test_a_bad_ending_is_noticed_and_the_run_goes_on(
    bad: str, noticed: dict[str, dict[str, int]]
) -> None:
    assert noticed[bad] == {_BAD[bad][0]: 2}
    assert _BAD[bad][0] in FAILURES
