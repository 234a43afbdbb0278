"""What two environments differ in, and where it is said: on resume, evaluate and in the record."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linker.config_text import read_config
from linker.environment_diff import (
    environment_differences,
    environment_notes,
    resumed,
    with_history,
)
from linker.evaluate import evaluate
from linker.run_folder import RunFolder
from linker.train import train
from tests.runs_for_tests import QUICK, QuickRun, Recording

HERE: dict[str, Any] = {
    "versions": {"drin-fs": "0.1.0", "torch": "2.9.0", "numpy": "2.1.0"},
    "device": "cpu",
    "threads": 4,
    "settings": {"float32_matmul": "highest"},
}
PLAIN = st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.floats())
ANY = st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


def test_equal_environments_say_nothing() -> None:
    assert environment_notes(HERE, json.loads(json.dumps(HERE))) == ()


def test_what_changes_figures_is_a_warning_and_the_rest_a_note() -> None:
    there = HERE | {
        "versions": {"drin-fs": "0.1.0", "torch": "2.8.0", "numpy": "1.26.0"},
        "device": "cuda (NVIDIA H100)",
        "threads": 1,
    }
    assert environment_notes(there, HERE) == (
        "WARNING: figures may differ in their last digits from the run's: "
        "device cuda (NVIDIA H100) → cpu; threads 1 → 4; torch 2.8.0 → 2.9.0",
        "not the run's environment in every part: numpy 1.26.0 → 2.1.0",
    )


def test_other_kernels_are_a_warning() -> None:
    there = HERE | {"settings": {"float32_matmul": "highest", "kernels": "AVX-512"}}
    now = HERE | {"settings": {"float32_matmul": "highest", "kernels": "none"}}
    assert environment_notes(there, now) == (
        "WARNING: figures may differ in their last digits from the run's: "
        "compiled kernels AVX-512 → none",
    )


def test_what_an_earlier_version_did_not_record_is_not_compared() -> None:
    old = {key: value for key, value in HERE.items() if key != "settings"}
    assert environment_differences(old, HERE) == ()


@given(st.dictionaries(st.sampled_from([*HERE, "resumed", "code"]), ANY), st.just(HERE))
def test_any_record_is_compared_on_one_line_each(
    recorded: dict[str, Any], now: dict[str, Any]
) -> None:
    for line in environment_notes(recorded, now):
        assert line.isprintable()
        assert len(line) < 4000
    assert all(isinstance(each.after, str) for each in resumed(recorded))


def test_each_continuation_is_kept_with_what_changed_then() -> None:
    first = with_history(HERE, HERE | {"threads": 2}, after="epoch 3")
    second = with_history(first, first | {"device": "cuda"}, after="batch 5 of epoch 4")
    assert [(each.after, each.changed) for each in resumed(second)] == [
        ("epoch 3", ("threads 4 → 2",)),
        ("batch 5 of epoch 4", ("device cpu → cuda",)),
    ]


def moved(quick: QuickRun, tmp_path: Path, **changes: object) -> Path:
    """A copy of the run that says it was made in another environment."""
    run = Path(shutil.copytree(quick.folder, tmp_path / "moved"))
    folder = RunFolder(run)
    folder.write_environment(folder.read_environment() | changes)
    return run


def test_evaluate_says_what_is_not_as_it_was(quick: QuickRun, tmp_path: Path) -> None:
    progress = Recording()
    run = moved(quick, tmp_path, threads=77)
    figures = evaluate(run, progress=progress)
    assert figures["test"] == quick.summary["test"]
    assert any("threads 77 → " in line for line in progress.lines)
    unmoved = Recording()
    evaluate(quick.folder, progress=unmoved)
    assert unmoved.lines == []


def test_resume_says_it_and_the_run_keeps_it(quick: QuickRun, tmp_path: Path) -> None:
    run, progress = moved(quick, tmp_path, device="abacus"), Recording()
    train(quick.store, read_config({**QUICK, "epochs": 7}), run=run, resume=True, progress=progress)
    assert [line for line in progress.lines if "device abacus → " in line]
    (entry,) = resumed(RunFolder(run).read_environment())
    assert entry.after == "epoch 6"
    assert entry.changed[0].startswith("device abacus → ")
    assert "- continued after epoch 6: device abacus → " in (run / "README.md").read_text()


@pytest.mark.parametrize("file", ["linker/losses.py", "linker/_pairs.c", "featurestore/_bits.h"])
def test_a_changed_source_file_changes_the_digest_of_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    import featurestore
    import linker.machine as machine

    packages = Path(featurestore.__file__).parent, Path(machine.__file__).parent
    for package in packages:
        shutil.copytree(package, tmp_path / package.name, ignore=shutil.ignore_patterns("*.pyc"))
    before = machine.code_digest.__wrapped__()
    monkeypatch.setattr(featurestore, "__file__", str(tmp_path / "featurestore/__init__.py"))
    monkeypatch.setattr(machine, "__file__", str(tmp_path / "linker/machine.py"))
    assert machine.code_digest.__wrapped__() == before
    with (tmp_path / file).open("a") as source:
        source.write("\n")
    assert machine.code_digest.__wrapped__() != before
