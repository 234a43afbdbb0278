"""Scores that runs record: written with the ranks, read back without torch, never those of another."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import featurestore
from cli.main import main
from featurestore.errors import ConfigError, UnknownId, WriteError
from linker.baseline import evaluate_untrained
from linker.config_text import read_config
from linker.evaluate import evaluate
from linker.metrics import rank_gold
from linker.ranks import Ranks, TieRule, rank_scores
from linker.recorded import NotRecorded, RecordedRun
from linker.run_folder import RunError, RunFolder
from linker.train import train
from linker.verdicts import candidate_ranks, judge, judge_mention
from tests.recorded_for_tests import recorded_run
from tests.runs_for_tests import QUICK, QuickRun, Recording
from tests.stores_for_tests import planted_store
from tests.tiny_store import SIZES, TinyStore

K = SIZES["K"]


def same_ranks(one: Ranks, other: Ranks) -> bool:
    names = ("optimistic", "pessimistic", "retrieved")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


def changed(quick: QuickRun, folder: Path) -> Path:
    """A copy of a finished run that a test may change."""
    return Path(shutil.copytree(quick.folder, folder / "copy"))


# ranks from scores --------------------------------------------------------------------------------


@st.composite
def scored(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Few values, so that they tie, and NaN."""
    n, k = draw(st.integers(0, 5)), draw(st.integers(1, 6))
    value = st.sampled_from([-1.0, 0.0, 0.5, 1.0, np.nan])
    values = draw(st.lists(value, min_size=n * k, max_size=n * k))
    answer = draw(st.lists(st.integers(0, k), min_size=n, max_size=n))
    return np.array(values, np.float32).reshape(n, k), np.array(answer, np.int64)


@given(scored())
def test_ranks_of_arrays_are_those_of_tensors(case: tuple[np.ndarray, np.ndarray]) -> None:
    scores, answer = case
    wanted = rank_gold(
        torch.from_numpy(scores), torch.from_numpy(answer), retrieved=scores.shape[1]
    )
    assert same_ranks(rank_scores(scores, answer), wanted)


@given(scored(), st.sampled_from(["optimistic", "expected", "pessimistic"]))
def test_a_candidate_has_the_rank_that_it_would_have_as_the_gold(
    case: tuple[np.ndarray, np.ndarray], ties: TieRule
) -> None:
    scores, _ = case
    for own in scores:
        found = candidate_ranks(own, ties)
        for place, rank in enumerate(found):
            as_gold = rank_scores(own[None], np.array([place])).under(ties)[0]
            assert rank == as_gold or (np.isnan(rank) and np.isinf(as_gold))


# what runs write ----------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["valid", "test"])
def test_the_scores_of_a_trained_run_give_its_ranks(quick: QuickRun, split: str) -> None:
    run = RecordedRun(quick.folder)
    scores = run.scores(split)
    assert (scores.shape, scores.dtype) == ((40, 6), np.float32)
    assert isinstance(scores, np.memmap)
    with featurestore.open(quick.store) as store:
        rows = store.mentions.split(split)
        answer = store.mentions.gather("answer", np.arange(rows.start, rows.stop))
        verdicts = judge(store, run, split=split)
    assert same_ranks(rank_scores(scores, answer), run.ranks(split))
    assert 1 - verdicts.wrong.mean() == quick.summary[split]["hits@1"]


def test_the_gold_slot_of_protocol_paper_is_not_among_the_scores(tmp_path: Path) -> None:
    store = planted_store(tmp_path / "s.h5")
    config = read_config({**QUICK, "epochs": 1, "protocol": "paper"})
    train(store, config, run=tmp_path / "run")
    assert RecordedRun(tmp_path / "run").scores("test").shape == (40, 6)


def test_untrained_models_record_their_scores_too(tmp_path: Path) -> None:
    store = planted_store(tmp_path / "s.h5")
    evaluate_untrained(store, read_config({"model": {"name": "clip"}}), run=tmp_path / "run")
    with featurestore.open(store) as opened:
        rows = np.arange(136, 176)
        wanted = opened.mentions.gather("sim_image_text", rows)[:, :6]
        wanted = wanted + opened.mentions.gather("sim_text_image", rows)[:, :6]
    np.testing.assert_array_equal(RecordedRun(tmp_path / "run").scores("test"), wanted)


def test_all_entities_of_full_kb_are_not_recorded(tmp_path: Path) -> None:
    store = planted_store(tmp_path / "s.h5")
    config = read_config({"model": {"name": "bert"}})
    evaluate_untrained(store, config, run=tmp_path / "run", protocol="full-kb")
    run = RecordedRun(tmp_path / "run")
    assert len(run.ranks("test")) == 40
    with pytest.raises(NotRecorded, match="protocol full-kb ranks all entities"):
        run.scores("test")
    with pytest.raises(ConfigError, match="whose scores are not recorded"):
        evaluate(tmp_path / "run", record=True)


def test_a_run_that_cannot_be_scored_leaves_its_folder_to_the_next(tmp_path: Path) -> None:
    store, run = planted_store(tmp_path / "s.h5"), tmp_path / "run"
    config = read_config({"model": {"name": "candidates"}})
    with pytest.raises(ConfigError, match="were not retrieved"):
        evaluate_untrained(store, config, run=run, protocol="full-kb")
    assert list(run.iterdir()) == []
    evaluate_untrained(store, config, run=run)
    assert RecordedRun(run).scores("test").tolist() == 40 * [[0, -1, -2, -3, -4, -5]]


def test_a_score_that_is_none_stays_none_and_beats_the_gold(tmp_path: Path) -> None:
    store = planted_store(tmp_path / "s.h5")
    scores = np.zeros((40, 6), np.float32)
    scores[3] = np.nan
    run = RecordedRun(recorded_run(tmp_path / "run", store, {"test": scores}).path)
    assert np.isnan(run.scores("test")[3]).all()
    with featurestore.open(store) as opened:
        assert judge(opened, run, split="test").wrong[3]
        verdict = judge_mention(opened, run, 136 + 3)
    assert (verdict.rank, verdict.right) == (None, False)
    assert np.isnan(verdict.ranks).all()


def test_infinite_scores_have_ranks_and_no_margin(tmp_path: Path) -> None:
    store = planted_store(tmp_path / "s.h5")
    scores = np.full((40, 6), np.inf, np.float32)
    scores[1] = -np.inf
    run = recorded_run(tmp_path / "run", store, {"test": scores})
    with featurestore.open(store) as opened:
        verdicts = judge(opened, run.path, split="test")
    assert np.isnan(verdicts.margins).all()
    assert set(verdicts.ranks[verdicts.retrieved]) == {3.5}
    assert verdicts.rivals[1] == -1


def test_overwrite_removes_the_scores_of_the_old_run(quick: QuickRun, tmp_path: Path) -> None:
    run = changed(quick, tmp_path)
    other = planted_store(tmp_path / "other.h5", splits={"train": 40, "valid": 8})
    train(other, read_config({**QUICK, "epochs": 1}), run=run, overwrite=True)
    assert [path.name for path in (run / "scores").iterdir()] == ["valid.npy"]


def test_a_run_interrupted_while_it_scores_keeps_what_was_there(
    quick: QuickRun, tmp_path: Path
) -> None:
    run = RunFolder(changed(quick, tmp_path))
    before = run.scores("test").read_bytes()

    def interrupted() -> None:
        with run.writing_scores("test", mentions=40, candidates=6) as sink:
            sink(np.zeros((16, 6), np.float32))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert run.scores("test").read_bytes() == before
    assert list(run.path.rglob(".*.part")) == []


def test_what_a_killed_run_left_of_its_scores_is_removed(quick: QuickRun, tmp_path: Path) -> None:
    run = changed(quick, tmp_path)
    left = run / "scores" / ".test.npy.part"
    left.write_bytes(b"half")
    (run / "summary.json").unlink()
    train(quick.store, read_config(QUICK), run=run, resume=True)
    assert not left.exists()
    np.testing.assert_array_equal(
        RecordedRun(run).scores("test"), RecordedRun(quick.folder).scores("test")
    )


def test_a_resumed_run_has_the_scores_of_an_unbroken_one(tmp_path: Path) -> None:
    store = planted_store(tmp_path / "s.h5")
    config = read_config({**QUICK, "epochs": 2})
    train(store, config, run=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(store, config, run=tmp_path / "broken", progress=Recording(interrupt_after=170))
    train(store, config, run=tmp_path / "broken", resume=True)
    for split in ("valid", "test"):
        paths = [tmp_path / run / "scores" / f"{split}.npy" for run in ("whole", "broken")]
        assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_disk_that_is_full_is_a_write_error(quick: QuickRun, tmp_path: Path) -> None:
    run = RunFolder(changed(quick, tmp_path))

    def full(scores: np.ndarray) -> None:
        with run.writing_scores("test", mentions=1, candidates=6):
            raise OSError(28, "No space left on device")

    with pytest.raises(WriteError, match="the disk is full"):
        full(np.zeros((1, 6), np.float32))


# recording later ----------------------------------------------------------------------------------


def test_evaluate_records_what_training_would_have(quick: QuickRun, tmp_path: Path) -> None:
    run = changed(quick, tmp_path)
    shutil.rmtree(run / "scores")
    (run / "ranks/test.csv").unlink()
    with pytest.raises(NotRecorded) as raised:
        RecordedRun(run).scores("test")
    assert raised.value.hint == f"drin-fs evaluate {run} --split test --record"
    assert main(["evaluate", str(run), "--split", "test", "--record", "--json"]) == 0
    for name in ("scores/test.npy", "ranks/test.csv"):
        assert (run / name).read_bytes() == (quick.folder / name).read_bytes()
    assert not (run / "scores/valid.npy").exists()
    evaluate(run, split="train", record=True)
    assert RecordedRun(run).scores("train").shape == (96, 6)


def test_evaluating_without_record_writes_nothing(quick: QuickRun, tmp_path: Path) -> None:
    run = changed(quick, tmp_path)
    shutil.rmtree(run / "scores")
    evaluate(run)
    assert not (run / "scores").exists()


@pytest.mark.parametrize(
    ("settings", "option"),
    [
        ({"protocol": "paper"}, "--protocol paper"),
        ({"protocol": "full-kb"}, "--protocol full-kb"),
        ({"precision": "bf16-mixed"}, "--precision bf16-mixed"),
        ({"other_store": True}, "--other-store"),
    ],
)
def test_what_the_run_would_not_have_scored_is_not_recorded(
    quick: QuickRun, settings: dict[str, Any], option: str
) -> None:
    before = (quick.folder / "scores/test.npy").read_bytes()
    with pytest.raises(ConfigError, match="the run's own settings") as raised:
        evaluate(quick.folder, record=True, **settings)
    assert raised.value.where == option
    assert (quick.folder / "scores/test.npy").read_bytes() == before


def test_record_is_for_runs(quick: QuickRun, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(quick.store), "--model", "bert", "--record"]) == 2
    assert "--record is for a RUN" in capsys.readouterr().err


# reading ------------------------------------------------------------------------------------------


def test_a_run_is_read_where_torch_is_not_installed(quick: QuickRun) -> None:
    program = (
        "import sys\n"
        "for name in ('torch', 'lightning', 'transformers', 'PIL'): sys.modules[name] = None\n"
        "from linker.recorded import RecordedRun\n"
        "run = RecordedRun(sys.argv[1])\n"
        "print(run.model, len(run.ranks('test')), run.scores('test').shape)"
    )
    command = [sys.executable, "-c", program, str(quick.folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("drin 40 (40, 6)\n", "")


def _npy(values: np.ndarray) -> bytes:
    import io

    file = io.BytesIO()
    np.save(file, values, allow_pickle=True)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a complete .npy array"),
        (b"\x93NUMPY\x01\x00", "not a complete .npy array"),
        (_npy(np.zeros((40, 6), np.float32))[:-4], "cut off in row 39"),
        (_npy(np.zeros((39, 6), np.float32)), "39 rows where 40 belong"),
        (_npy(np.zeros(40, np.float32)), "shape (40,) where 2 axes belong"),
        (_npy(np.zeros((40, 6), np.float64)), "dtype float64, not float32"),
        (_npy(np.zeros((40, 6), np.int32)), "dtype int32 where features belong"),
        (_npy(np.full((40, 6), None)), "not a complete .npy array"),
    ],
)
def test_damaged_scores_are_refused(
    quick: QuickRun, tmp_path: Path, content: bytes, reason: str
) -> None:
    run = changed(quick, tmp_path)
    (run / "scores/test.npy").write_bytes(content)
    with pytest.raises(RunError) as raised:
        RecordedRun(run).scores("test")
    assert reason in raised.value.what
    assert raised.value.where == str(run / "scores/test.npy")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: text.rpartition("m175")[0], "39 lines of 40 mentions"),
        (lambda text: text + "m176,1,1,1,1\n", "41 lines of 40 mentions"),
        (lambda text: text.replace("m137,1,", "m137,1,zero,", 1), "line 3 holds no rank"),
        (lambda text: text.replace("m137,1,", "m137,1,-1,", 1), "line 3 holds no rank"),
        (lambda text: text.replace("rank_pessimistic", "other", 1), "no column"),
        (lambda text: text.replace("m140,1,", "m140,1,\0", 1), "line 6 holds no rank"),
    ],
)
def test_damaged_ranks_are_refused(
    quick: QuickRun, tmp_path: Path, change: Any, reason: str
) -> None:
    run = changed(quick, tmp_path)
    path = run / "ranks/test.csv"
    path.write_text(change(path.read_text()))
    with pytest.raises(RunError, match=reason):
        RecordedRun(run).ranks("test")


def test_scores_of_another_time_than_the_ranks_are_refused(quick: QuickRun, tmp_path: Path) -> None:
    run = changed(quick, tmp_path)
    scores = np.load(run / "scores/test.npy")
    np.save(run / "scores/test.npy", -scores)
    with (
        featurestore.open(quick.store) as store,
        pytest.raises(RunError, match="are not those of its ranks") as raised,
    ):
        judge(store, run, split="test")
    assert "--record" in raised.value.hint


def test_scores_of_another_number_of_candidates_are_refused(
    tiny: TinyStore, tmp_path: Path
) -> None:
    run = recorded_run(tmp_path / "run", tiny.path, {"test": np.zeros((3, K + 2))})
    with (
        featurestore.open(tiny.path) as store,
        pytest.raises(RunError, match=f"scores of {K + 2} candidates a mention"),
    ):
        judge(store, run.path, split="test")


def test_a_run_of_another_store_is_refused_with_what_to_do(quick: QuickRun, tmp_path: Path) -> None:
    other = planted_store(tmp_path / "other.h5", groups=11)
    with (
        featurestore.open(other) as store,
        pytest.raises(RunError, match="entities 36 → 33") as raised,
    ):
        RecordedRun(quick.folder).check_store(store)
    assert f"look at {quick.store.resolve()}" in raised.value.hint
    assert "--other-store" in raised.value.hint


def test_what_a_run_does_not_have_is_named(quick: QuickRun, tmp_path: Path) -> None:
    run = RecordedRun(quick.folder)
    with pytest.raises(UnknownId, match="no split 'dev'") as raised:
        run.scores("dev")
    assert raised.value.hint == "splits: train, valid, test"
    with pytest.raises(NotRecorded, match="no ranks of split 'train'"):
        run.ranks("train")
    with pytest.raises(RunError, match="no such run folder"):
        RecordedRun(tmp_path / "none")
    unfinished = changed(quick, tmp_path)
    (unfinished / "summary.json").unlink()
    with pytest.raises(RunError, match=r"no summary\.json: it was not finished"):
        RecordedRun(unfinished)


def test_a_tie_rule_that_there_is_not_is_damage(tiny: TinyStore, tmp_path: Path) -> None:
    run = recorded_run(tmp_path / "run", tiny.path, {"test": np.zeros((3, K))}, tie_rule="best")
    with pytest.raises(RunError, match="tie_rule is 'best'"):
        _ = RecordedRun(run.path).tie_rule
