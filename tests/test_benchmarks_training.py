"""The benchmarks of training: both sides compute the same, and every question gets its figures."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import featurestore
from benchmarks import epoch, memory, products, reference_run, step
from benchmarks.bare_store import BareSizes, write_bare_store
from benchmarks.data import TINY, Workspace
from benchmarks.direct_drin import DirectDrin, entity_means, span_means
from benchmarks.reference_loader import ReferenceBatch, ReferenceDataset, collated, reference_loader
from benchmarks.reference_run import BatchTimes
from benchmarks.report import Report
from cli.main import cli
from featurestore import Store
from featurestore.progress import Silent
from linker.batch import Batch
from linker.job import Job, prepare_job
from linker.losses import triplet_loss
from linker.models.drin import Drin


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("benchmarks"), TINY, Silent())


@pytest.fixture(scope="module")
def exact(workspace: Workspace) -> Iterator[Store]:
    """The arrays as a float32 store: nothing is rounded."""
    with featurestore.open(workspace.store_path(dtype="float32")) as store:
        yield store


@pytest.fixture(scope="module")
def job(workspace: Workspace, exact: Store) -> Job:
    return prepare_job(exact, step.training_config(workspace))


@pytest.fixture(scope="module")
def batches(workspace: Workspace, job: Job) -> tuple[Batch, ReferenceBatch]:
    """The same mentions as the product reads them, and as the reference does."""
    rows = job.rows("train")[: TINY.batch]
    dataset = ReferenceDataset(workspace.arrays, "train", in_memory=False)
    ours = job.loader("train").reader[np.arange(rows.start, rows.stop)].float()
    return ours, collated(dataset, range(len(rows)))


def test_reference_batch_holds_what_ours_does(batches: tuple[Batch, ReferenceBatch]) -> None:
    ours, theirs = batches
    candidates = ours.candidates
    slots = TINY.candidates + 1
    shape = (TINY.batch, slots, TINY.entity_tokens, TINY.text_width)
    assert theirs["entity_text"].shape == shape
    pairs = {
        "entity_text": entity_means(theirs["entity_text"], theirs["entity_text_mask"]),
        "entity_text_cls": theirs["entity_text"][:, :, 0],
        "entity_image": theirs["entity_image"].mean(dim=2),
        "entity_objects": theirs["entity_objects"],
        "entity_object_scores": theirs["entity_object_scores"],
    }
    for name, expected in pairs.items():
        torch.testing.assert_close(ours.need(name)[candidates], expected, atol=1e-6, rtol=1e-5)
    mentions = {
        "mention_text_span": span_means(
            theirs["mention_text"], theirs["mention_start"], theirs["mention_end"]
        ),
        "mention_image_mean": theirs["mention_image"].mean(dim=1),
        **{n: theirs[n] for n in ("mention_objects", "mention_object_scores", "answer")},
        **{n: theirs[n] for n in ("sim_image_text", "sim_text_image")},
    }
    for name, expected in mentions.items():
        torch.testing.assert_close(getattr(ours, name), expected, atol=1e-6, rtol=1e-5)


def test_loader_shuffles_and_collates(workspace: Workspace) -> None:
    mapped = ReferenceDataset(workspace.arrays, "train", in_memory=False)
    held = ReferenceDataset(workspace.arrays, "train", in_memory=True)
    first, second = (next(iter(reference_loader(d, batch_size=4, seed=1))) for d in (mapped, held))
    for name, value in first.items():
        assert torch.equal(value, second[name])
    in_order = collated(mapped, range(4))
    assert not torch.equal(first["entity_image"], in_order["entity_image"])


def test_direct_drin_is_the_product_drin(job: Job, batches: tuple[Batch, ReferenceBatch]) -> None:
    ours, theirs = batches
    torch.manual_seed(0)
    product = job.match.build()
    assert isinstance(product, Drin)
    direct = DirectDrin.like(product, text_width=TINY.text_width, image_width=TINY.image_width)
    scores, expected = product(ours), direct(theirs)
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=0)
    for found in (scores, expected):
        triplet_loss(found, ours.answer, retrieved=TINY.candidates).backward()
    weights = dict(direct.named_parameters())
    for name, weight in product.named_parameters():
        assert weight.grad is not None
        torch.testing.assert_close(weight.grad, weights[name].grad, atol=1e-6, rtol=1e-3)


def test_direct_drin_refuses_other_variants(job: Job) -> None:
    static = job.match.config.model_copy(update={"edge_update": "static"})
    product = Drin(config=static, text_width=TINY.text_width, image_width=TINY.image_width)
    with pytest.raises(ValueError, match="not the default DRIN"):
        DirectDrin.like(product, text_width=TINY.text_width, image_width=TINY.image_width)


def check_figures(report: Report) -> None:
    assert report.rows
    for row in report.rows:
        assert set(row.figures) <= {*report.columns, "GPU busy %"}
        numbers = [value for value in row.figures.values() if isinstance(value, int | float)]
        assert len(numbers) >= 3
        assert all(np.isfinite(number) and number >= 0 for number in numbers)
    assert report.views()


def test_step_has_every_contestant(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.machine.bfloat16_units", lambda: "emulated")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(products, "_TRIED", 64)  # 2048 rows take seconds where bfloat16 is emulated
    report = step.measure(workspace)
    check_figures(report)
    assert [row.name for row in report.rows] == [step.DIRECT, step.OURS, step.BF16]
    assert "--quick" in report.left_out[step.COMPILED]
    assert [target.state for target in report.targets][1] == "not measured"
    assert "no bfloat16 units" in report.targets[1].why


def test_what_compiling_is_worth() -> None:
    assert step._worth(30.0, 0.1) == "30 s, paid back after 300 steps"
    assert step._worth(30.0, -0.1) == "30 s, no gain"


@pytest.mark.filterwarnings("ignore:.*lance is not fork-safe.*")  # if it was imported before
def test_epoch_has_the_reference_and_workers(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.machine.bfloat16_units", lambda: "emulated")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(epoch, "WORKERS", (0, 1))
    monkeypatch.setattr(epoch, "_QUICK_EPOCHS", 1)
    report = epoch.measure(workspace)
    check_figures(report)
    assert [row.ours for row in report.rows] == [False, True, True]
    assert all(row.figures["waiting %"] <= 100 for row in report.rows)


def test_an_epoch_is_scaled_by_mentions() -> None:
    batch = BatchTimes(loading=2.0, step=4.0, mentions=8)
    assert epoch.scaled(batch, mentions=12) == epoch.Epoch(seconds=9.0, waiting=3.0)


def test_memory_of_ours_and_the_reference(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands run inside this process: what they print and take is tested elsewhere."""
    programs = {"cli": cli, "benchmarks.reference_run": reference_run.main}

    def run(arguments: list[str]) -> int:
        done = CliRunner().invoke(programs[arguments[1]], arguments[2:], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return 10**9

    monkeypatch.setattr(memory, "peak_memory", run)
    report = memory.measure(workspace)
    check_figures(report)
    assert [row.ours for row in report.rows] == [True, True, False, False, False, False]
    computed = report.rows[-1]
    assert "computed" in computed.name
    assert computed.figures["entities"] == memory.WIKIMEL_ENTITIES
    assert [target.state for target in report.targets] == ["PASS"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells RssAnon")
def test_peak_memory_sees_what_a_process_held() -> None:
    code = "import time; held = b'1' * 100_000_000; time.sleep(0.3); del held; time.sleep(0.1)"
    assert 1e8 < memory.peak_memory(["-c", code]) < 1.5e8
    with pytest.raises(RuntimeError, match="no such thing"):
        memory.peak_memory(["-c", "raise SystemExit('no such thing')"])


def test_bare_store_has_what_drin_reads(tmp_path: Path) -> None:
    sizes = BareSizes(
        entities=50, splits={"train": 6, "valid": 3, "test": 2}, candidates=4, text_width=8,
        image_width=12,
    )  # fmt: skip
    path = write_bare_store(tmp_path / "bare.h5", sizes)
    again = write_bare_store(tmp_path / "again.h5", sizes)
    with featurestore.open(path) as store, featurestore.open(again) as same:
        assert store.fingerprint == same.fingerprint
        assert store.entities.find(["Q7", "Q50"]).tolist() == [7, -1]
        assert {name: len(rows) for name, rows in store.mentions.splits.items()} == sizes.splits
        gold, answer = (store.mentions.view(name) for name in ("gold", "answer"))
        assert (store.mentions.view("candidates")[np.arange(11), answer] == gold).all()
        images = store.entities.view("image_pooled")
        assert images.dtype == np.float16
        assert len(np.unique(images, axis=0)) == 50
        assert np.array_equal(images, same.entities.view("image_pooled"))
