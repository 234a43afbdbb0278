"""Checkpoints: every damage is noticed, nothing in them is run, no bad one replaces a good one."""

from __future__ import annotations

import errno
import os
import pickle
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from cli.main import main
from featurestore.errors import WriteError
from linker import atomic
from linker.atomic import replacing
from linker.checkpoint import (
    PLACE,
    CheckpointFiles,
    Place,
    load_weights,
    read_checkpoint,
    read_place,
    save_weights,
)
from linker.config_text import read_config
from linker.diagnosis import TrainingDiverged
from linker.run_folder import RunError, RunFolder
from linker.train import train
from tests.runs_for_tests import QUICK, QuickRun, figures_of


def checkpoint(**changes: Any) -> dict[str, Any]:
    """A small checkpoint with all that ours have."""
    whole: dict[str, Any] = {
        "state_dict": {"network.weight": torch.arange(4.0)},
        "loops": {},
        "callbacks": {},
        "optimizer_states": [],
        PLACE: {"epochs": 2, "batches": 5},
    }
    return {**whole, **changes}


def saved(path: Path, **changes: Any) -> Path:
    CheckpointFiles().save_checkpoint(checkpoint(**changes), path)
    return path


class Malicious:
    """Runs code where it is unpickled."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.victim),)


# what is saved is what is read --------------------------------------------------------------------


def test_a_checkpoint_is_read_as_it_was_saved_and_by_torch_itself(tmp_path: Path) -> None:
    path = saved(tmp_path / "last.ckpt")
    for found in (read_checkpoint(path), torch.load(path, weights_only=True)):
        assert torch.equal(found["state_dict"]["network.weight"], torch.arange(4.0))
        assert found[PLACE] == {"epochs": 2, "batches": 5}
    assert read_place(path) == Place(epochs=2, batches=5)
    assert str(read_place(path)) == "batch 5 of epoch 3"
    assert os.listdir(tmp_path) == ["last.ckpt"]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The bytes of a checkpoint and of weights."""
    folder = tmp_path_factory.mktemp("sound")
    save_weights(nn.Linear(3, 2), folder / "best.safetensors", description={"epoch": 1})
    saved(folder / "last.ckpt")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def read(name: str, path: Path) -> None:
    if name == "last.ckpt":
        read_checkpoint(path)
    else:
        load_weights(nn.Linear(3, 2), path)


@pytest.mark.parametrize("name", ["last.ckpt", "best.safetensors"])
@given(data=st.data())
def test_any_flipped_bit_and_any_missing_end_is_noticed(
    sound: dict[str, bytes],
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    data: st.DataObject,
) -> None:
    whole = sound[name]
    place = data.draw(st.integers(0, len(whole) - 1))
    damaged = bytearray(whole)
    damaged[place] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path_factory.mktemp("damaged") / name
    path.write_bytes(whole)
    read(name, path)
    for content in (bytes(damaged), whole[:place], whole + b"\0"):
        path.write_bytes(content)
        with pytest.raises(RunError) as raised:
            read(name, path)
        assert raised.value.where == str(path)
        assert "--overwrite" in raised.value.hint


@pytest.mark.parametrize("digest", ["with its digest", "without one"])
def test_a_checkpoint_made_to_run_code_is_refused_and_runs_nothing(
    quick: QuickRun, tmp_path: Path, capsys: pytest.CaptureFixture[str], digest: str
) -> None:
    run = Path(shutil.copytree(quick.folder, tmp_path / "run"))
    victim, path = tmp_path / "victim", run / "checkpoints/last.ckpt"
    if digest == "with its digest":
        saved(path, loops=Malicious(victim))
    else:
        path.write_bytes(pickle.dumps(Malicious(victim)))
    shutil.copy(path, run / "checkpoints/best.safetensors")
    for command in (
        ["train", str(quick.store), "-o", str(run), "--resume"],
        ["evaluate", str(run)],
    ):
        assert main(command) == 3
        said = capsys.readouterr().err
        assert said.startswith(
            ("error: not a checkpoint to continue from (", "error: damaged weights")
        )
        assert f"  where: {run}/checkpoints/" in said
        assert "  next:  put the file back" in said
    assert not victim.exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer_states": [{"state": {}, "param_groups": []}]},
        {"state_dict": {"network.weight": torch.ones(3)}},
        {"callbacks": {"RecordEpochs": {"history": 7}}},
        {"loops": {"fit_loop": {"epoch_progress": {"total": 1}}}},
        {"loops": 7},
        {PLACE: {"epochs": "many"}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_checkpoint_that_does_not_fit_the_run_is_no_traceback(
    quick: QuickRun, tmp_path: Path, changes: dict[str, Any]
) -> None:
    run = Path(shutil.copytree(quick.folder, tmp_path / "run"))
    path = run / "checkpoints/last.ckpt"
    CheckpointFiles().save_checkpoint({**torch.load(path, weights_only=True), **changes}, path)
    with pytest.raises(RunError, match=r"not a checkpoint to continue from") as raised:
        train(quick.store, read_config({**QUICK, "epochs": 7}), run=run, resume=True)
    assert raised.value.where == str(path)


@pytest.mark.parametrize("name", ["config.yaml", "environment.json"])
@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"7", b""])
def test_a_damaged_small_file_of_a_run_is_named(
    quick: QuickRun, tmp_path: Path, name: str, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(quick.folder, tmp_path / "run"))
    (run / name).write_bytes(content)
    for command in (
        ["train", str(quick.store), "-o", str(run), "--resume"],
        ["evaluate", str(run)],
    ):
        assert main(command) == 3
        said = capsys.readouterr().err
        assert said.startswith(f"error: {name} of the run is damaged (")
        assert f"  where: {run / name}" in said


# what cannot be saved -----------------------------------------------------------------------------


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """The kernel writes no file beyond so many bytes: a write is cut short, the next one fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.999])
def test_a_checkpoint_that_is_cut_short_leaves_the_old_one(tmp_path: Path, share: float) -> None:
    path = saved(tmp_path / "last.ckpt")
    old = path.read_bytes()
    new = {"network.weight": torch.ones(100_000)}
    with (
        largest_file(int(share * 400_000)),
        pytest.raises(WriteError, match="the disk is full or a size limit was reached") as raised,
    ):
        saved(path, state_dict=new)
    assert raised.value.where == str(path)
    assert raised.value.hint == "what was finished is kept: make room, then continue with --resume"
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["last.ckpt"]
    saved(path, state_dict=new)
    assert torch.equal(read_checkpoint(path)["state_dict"]["network.weight"], torch.ones(100_000))


def test_what_a_killed_process_was_writing_is_removed_and_nothing_else(tmp_path: Path) -> None:
    left = ("checkpoints/.last.ckpt.part", "ranks/.test.csv.part", ".metrics.csv.part")
    kept = ("checkpoints/last.ckpt", "mine/.film.part", ".film.part")
    for name in (*left, *kept):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    RunFolder(tmp_path).remove_unfinished()
    assert not any((tmp_path / name).exists() for name in left)
    assert all((tmp_path / name).exists() for name in kept)


def test_a_file_is_on_the_disk_before_it_has_its_name_and_then_its_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, str]] = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        calls.append(("fsync", os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def replaced(old: Path, new: Path) -> None:
        calls.append(("replace", str(new)))
        replace(old, new)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    path = tmp_path / "last.ckpt"
    with replacing(path) as temporary:
        temporary.write_bytes(b"new")
    assert calls == [("fsync", str(temporary)), ("replace", str(path)), ("fsync", str(tmp_path))]


@pytest.mark.parametrize(
    ("number", "time"),
    [
        (errno.ENOSPC, 2),  # within the first epoch
        (errno.EIO, 3),  # at its end
    ],
)
def test_a_run_whose_disk_fails_resumes_to_the_same_figures(
    quick: QuickRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, time: int
) -> None:
    run, last = tmp_path / "run", tmp_path / "run/checkpoints/last.ckpt"
    config = read_config({**QUICK, "epochs": 2, "checkpoint_steps": 2})
    sync, kept, saves = atomic.sync_path, [b""], 0

    def failing(path: Path) -> None:
        nonlocal saves
        if path.name == ".last.ckpt.part":
            saves += 1
            if saves == time:
                kept[0] = last.read_bytes()
                raise OSError(number, os.strerror(number), str(path))
        sync(path)

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "sync_path", failing)
        with pytest.raises(WriteError, match=r"the disk is full|cannot write") as raised:
            train(quick.store, config, run=run)
    assert raised.value.exit_code == 1
    assert raised.value.where == str(last)
    assert raised.value.hint.startswith("what was finished is kept: ")
    assert raised.value.hint.endswith("then continue with --resume")
    assert last.read_bytes() == kept[0] != b""
    train(quick.store, config, run=run, resume=True)
    assert figures_of(run / "metrics.csv") == figures_of(quick.folder / "metrics.csv")[:2]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_never_replace_good_ones(tmp_path: Path, value: float) -> None:
    path = saved(tmp_path / "last.ckpt")
    old = path.read_bytes()
    with pytest.raises(
        TrainingDiverged, match=r"the weight network\.weight is not finite any more"
    ):
        saved(path, state_dict={"network.weight": torch.tensor([1.0, value])})
    assert path.read_bytes() == old

    network, weights = nn.Linear(3, 2), tmp_path / "best.safetensors"
    save_weights(network, weights, description={})
    old = weights.read_bytes()
    nn.init.constant_(network.bias, value)
    with pytest.raises(TrainingDiverged, match="the weight bias is not finite any more"):
        save_weights(network, weights, description={})
    assert weights.read_bytes() == old
