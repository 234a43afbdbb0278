"""The benchmark of precision and the plots: what is rounded, what is copied, what is drawn."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import featurestore
from benchmarks import forms, plots, precision, precision_runs, store_runs
from benchmarks.data import TINY, Workspace
from benchmarks.forms import EXACT, FORMS, rounding_errors
from benchmarks.precision import KeptView
from benchmarks.report import Report, Row
from benchmarks.rounded_store import write_rounded_store
from benchmarks.saved import load, save
from featurestore import Store
from featurestore.errors import NotFinite
from featurestore.progress import Silent
from tests.benchmarks_for_tests import no_collections_between_turns  # noqa: F401
from tests.stores_for_tests import planted_store
from tests.tiny_store import TinyStore

MACHINE = {"processor": "Example", "cores": 2, "memory_gb": 8.0}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted_store(tmp_path_factory.mktemp("planted") / "planted.h5")


@pytest.fixture
def vectors() -> np.ndarray:
    """(300, 2, 64), a vector of zeros among them."""
    values = np.random.default_rng(5).standard_normal((300, 2, 64)).astype(np.float32)
    values[7, 1] = 0
    return values


# forms ----------------------------------------------------------------------------------------------


def test_errors_are_ordered(vectors: np.ndarray) -> None:
    errors = {name: rounding_errors(form, {"view": vectors}) for name, form in FORMS.items()}
    assert errors["float32"] == forms.Errors(mean=0, largest=0, cosine=0)
    for what in ("mean", "largest", "cosine"):
        found = [getattr(errors[name], what) for name in FORMS]
        assert found[0] < found[1] < min(found[2:])
    assert errors["float16"].largest <= 2**-11
    assert errors["bfloat16"].largest <= 2**-8


def test_forms_round_to_the_nearest(vectors: np.ndarray) -> None:
    half = FORMS["float16"].rounded(vectors)
    assert np.array_equal(half, vectors.astype(np.float16).astype(np.float32))
    brain = FORMS["bfloat16"].rounded(vectors)
    assert np.array_equal(brain, torch.from_numpy(vectors).bfloat16().float().numpy())
    step = np.abs(vectors).max(axis=-1, keepdims=True) / 127
    assert (np.abs(FORMS["int8"].rounded(vectors) - vectors) <= 0.5001 * step).all()
    assert all(not form.rounded(vectors)[7, 1].any() for form in FORMS.values())


def test_bytes_of_a_row() -> None:
    sizes = {name: form.row_bytes((3, 100)) for name, form in FORMS.items()}
    assert sizes == {"float32": 1200, "float16": 600, "bfloat16": 600, "int8": 3 * (100 + 4)}


@pytest.mark.parametrize("name", FORMS)
def test_a_kept_view_gathers_what_was_rounded(
    name: str, vectors: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_BLOCK", 1000)
    kept = KeptView(FORMS[name], vectors, tmp_path / "view")
    rows = np.array([299, 7, 7, 0])
    found = kept.gather(rows)
    assert found.dtype == torch.float32
    assert np.array_equal(found.numpy(), FORMS[name].rounded(vectors)[rows])


def test_measure_has_every_form(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, TINY, Silent())
    report = precision.measure(workspace)
    assert [row.name for row in report.rows] == list(FORMS)
    for row in report.rows:
        assert set(row.figures) == set(report.columns)
        assert row.figures["ms a batch"]
    sizes = [row.figures["bytes an entity"] for row in report.rows]
    assert sizes == [4 * 128, 2 * 128, 2 * 128, 128 + 4 * 4]
    assert report.views()
    assert not list(workspace.folder.glob("precision-*"))


# copies of a store ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMS)
def test_a_copy_differs_in_its_views_alone(
    name: str, tiny: TinyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.rounded_store._BLOCK", 50)
    with featurestore.open(tiny.path) as store:
        path = write_rounded_store(tmp_path / "copy.h5", store, FORMS[name])
        with featurestore.open(path) as copy:
            assert copy.mentions.splits == store.mentions.splits
            assert copy.dataset == store.dataset
            assert copy.provenance["views_rounded_to"] == name
            for table in ("entities", "mentions"):
                check_table(copy, store, table, name)


def check_table(copy: Store, store: Store, table: str, form: str) -> None:
    """Every field but the records is there; views are rounded, all else is equal."""
    old, new = store.table(table), copy.table(table)
    rows = np.arange(len(old))
    kept = {name for name, field in old.fields.items() if field.schema.layout != "record"}
    assert set(new.fields) == kept
    for name in kept:
        found, expected = new.gather(name, rows), old.gather(name, rows)
        if old.fields[name].schema.layout == "view":
            assert found.dtype == np.float32
            expected = FORMS[form].rounded(expected.astype(np.float32))
        assert np.array_equal(found, expected)


def test_a_value_that_a_form_cannot_hold(planted: Path, tmp_path: Path) -> None:
    overflowing = replace(FORMS["float16"], widen=lambda parts, out: out.fill_(torch.inf))
    with (
        featurestore.open(planted) as store,
        pytest.raises(NotFinite, match="NaN or infinite"),
    ):
        write_rounded_store(tmp_path / "copy.h5", store, overflowing)
    assert not (tmp_path / "copy.h5").exists()


# runs -----------------------------------------------------------------------------------------------


def run(*arguments: object) -> str:
    done = CliRunner().invoke(precision.main, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    return done.output[
        done.output.index("drin on planted") :
    ]  # what progress said stands before it


def test_models_are_trained_on_every_form(
    planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = {name: FORMS[name] for name in (EXACT, "int8")}
    monkeypatch.setattr(precision_runs, "FORMS", chosen)
    runs, target = tmp_path / "runs", tmp_path / "figures.json"
    arguments = (planted, "--seeds", "0,3", "--epochs", 1, "--runs", runs, "--json", target)
    output = run(*arguments)
    assert "±" in output
    assert "the store's own precision" in output  # it has float16 views
    assert not list(runs.rglob("*.h5"))
    assert len(list(runs.glob("*/*/summary.json"))) == 4
    saved = load([target])["precision-runs"]
    assert [row["name"] for row in saved.rows] == list(chosen)
    assert all(0 <= row["hits@1, seed 3"] <= 1 for row in saved.rows)

    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("a finished run was trained again")

    monkeypatch.setattr(store_runs, "train", refuse)
    assert run(*arguments) == output


def test_wrong_arguments_are_explained(planted: Path, tiny: TinyStore, tmp_path: Path) -> None:
    for arguments, message in (
        ((planted, "--seeds", "0,x"), "'0,x' is not integers"),
        ((tmp_path / "none.h5",), "none.h5"),
        ((planted, "--model", "dring"), "dring"),
        ((tiny.path, "--model", "ghmfc"), "ghmfc reads records (mentions/"),
    ):
        done = CliRunner().invoke(precision.main, list(map(str, arguments)))
        assert done.exit_code != 0
        assert message in done.output
        assert "Traceback" not in done.output


def test_spread_is_that_of_a_sample() -> None:
    assert store_runs.spread([0.5]) == "50.00"
    assert store_runs.spread([0.4, 0.6]) == "50.00 ± 14.14"


# plots ----------------------------------------------------------------------------------------------


def timed(name: str, milliseconds: float | None, ours: bool = False) -> Row:
    return Row(name=name, figures={"ms a batch": milliseconds}, ours=ours)


def held(name: str, entities: int, peak: float) -> Row:
    figures = {"entities": entities, "peak GB": peak}
    return Row(name=name, figures=figures, ours=name.startswith("drin-fs"))


def report(*rows: Row) -> Report:
    return Report(question="a question", columns=(), rows=rows, conditions=["made up"])


@pytest.fixture
def results(tmp_path: Path) -> list[Path]:
    """Figures in two files, of which the second has another ``gather``."""
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    old = {"gather": report(timed("old", 1.0)), "records": report(timed("ours", 2.0, ours=True))}
    new = {
        "gather": report(
            timed("ours", 2.0, ours=True), timed("another", 1e4), timed("ours, cold", 9.0)
        ),
        "memory": report(
            held("drin-fs train", 100, 0.8),
            held("reference", 100, 6.0),
            held("reference: WikiMEL (computed)", 2000, 80.0),
        ),
    }
    save(first, old, sizes="tiny", machine=MACHINE)
    save(second, new, sizes="tiny", machine=MACHINE)
    return [first, second]


def test_plots_are_png_files(results: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "images"
    done = CliRunner().invoke(plots.main, [*map(str, results), "-o", str(folder)])
    assert done.exit_code == 0, done.output
    written = sorted(folder.iterdir())
    assert [path.name for path in written] == ["batch-time.png", "memory.png", "records.png"]
    for path in written:
        content = path.read_bytes()
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
        assert int.from_bytes(content[16:20], "big") == 1600  # pixels across


def test_bars_are_warm_rows_fastest_first(results: list[Path]) -> None:
    figure = plots.bars(load(results)["gather"])
    assert figure is not None
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["ours", "another"]
    assert [text.get_text() for text in axes.texts] == ["2.00 ms", "10,000 ms"]


def test_what_was_not_measured_is_not_drawn(results: list[Path], tmp_path: Path) -> None:
    saved = json.loads(results[0].read_text())
    saved["benchmarks"] = {"gather": {"question": "a", "conditions": [], "rows": []}}
    results[0].write_text(json.dumps(saved))
    assert plots.draw(load(results[:1]), tmp_path / "images") == []
