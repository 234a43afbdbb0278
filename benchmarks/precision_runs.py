"""Train one model on copies of a store that differ in how far their views are rounded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import forms
from benchmarks.forms import EXACT, FORMS, STORED, Form
from benchmarks.report import Cell, Report, Row
from benchmarks.rounded_store import views_of, write_rounded_store
from benchmarks.store_runs import changes, finished, spread
from featurestore import Store
from featurestore.errors import ConfigError
from featurestore.progress import Progress, Silent
from featurestore.schema import BY_PATH
from linker.config import TrainConfig
from linker.config_text import read_config
from linker.job import prepare_job
from linker.run_folder import RunFolder

COLUMNS = (*forms.COLUMNS, "hits@1, %", "MRR, %", "hits@1 − float32, points")

#: The figures of the test split of one run, by name.
Figures = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What is trained on every copy: one run a seed, everything else as ``drin-fs train`` has it."""

    model: str = "drin"
    epochs: int = 2
    seeds: Sequence[int] = (0, 1, 2)

    def config(self, seed: int) -> TrainConfig:
        return read_config({"model": self.model, "epochs": self.epochs, "seed": seed})

    def folder(self, store: Store) -> str:
        """A name for its runs on a store: what is made with other arguments never mixes with them."""
        return f"{store.fingerprint[:8]}-{self.model}-{self.epochs}-epochs"


def compare(
    store: Store, experiment: Experiment, *, folder: Path, progress: Progress | None = None
) -> Report:
    """Train and score the model on every form of the store's views.

    Raises:
        ConfigError: there is no such model, it has nothing to learn, or it reads records.
        FieldMissing: the store lacks what the model reads.
        UnknownId: the store has no test split.
        NotFinite: a form cannot hold a value.
    """
    progress = progress or Silent()
    store.mentions.split("test")
    views = _entity_views(store, experiment)
    place = folder / experiment.folder(store)
    place.mkdir(exist_ok=True)
    scored = {
        name: _scored(store, form, experiment, folder=place, progress=progress)
        for name, form in FORMS.items()
    }
    rows = [
        _row(form, views, scored[name], exact=scored[EXACT], seeds=experiment.seeds)
        for name, form in FORMS.items()
    ]
    store.release_pages()
    return Report(
        question=f"{experiment.model} on {store.dataset}, its views rounded to each form",
        columns=COLUMNS,
        rows=rows,
        conditions=_conditions(store, experiment, list(views)),
    )


def _entity_views(store: Store, experiment: Experiment) -> dict[str, np.ndarray]:
    """The entity views that the model reads, by name.

    Raises:
        ConfigError: it reads records too, which copies are without.
    """
    paths = sorted(prepare_job(store, experiment.config(0)).match.paths.values())
    records = [path for path in paths if BY_PATH[path].layout == "record"]
    if records:
        raise ConfigError(
            f"{experiment.model} reads records ({', '.join(records)}), which are not compared here",
            where=f"--model {experiment.model}",
            hint="name a model that reads views alone",
        )
    fields = [BY_PATH[path] for path in paths]
    return {
        field.name: store.entities.view(field.name)
        for field in fields
        if field.table == "entities" and field.layout == "view"
    }


def _scored(
    store: Store, form: Form, experiment: Experiment, *, folder: Path, progress: Progress
) -> list[Figures]:
    """The figures of every seed, on a copy that is there while it is needed."""
    copy = folder / f"{form.name}.h5"

    def rounded() -> Path:
        if not copy.exists():
            write_rounded_store(copy, store, form, progress=progress)
        return copy

    found = []
    for seed in experiment.seeds:
        summary = finished(
            RunFolder(folder / f"{form.name}-seed-{seed}"),
            experiment.config(seed),
            store=rounded,
            what=f"{form.name}, seed {seed}",
            progress=progress,
        )
        found.append(summary["test"])
    copy.unlink(missing_ok=True)
    return found


def _row(
    form: Form,
    views: Mapping[str, np.ndarray],
    scored: Sequence[Figures],
    *,
    exact: Sequence[Figures],
    seeds: Sequence[int],
) -> Row:
    cells: dict[str, Cell] = {
        **forms.size_and_errors(form, views),
        "hits@1, %": spread([figures["hits@1"] for figures in scored]),
        "MRR, %": spread([figures["mrr"] for figures in scored]),
        "hits@1 − float32, points": changes(scored, exact),
    }
    for seed, figures in zip(seeds, scored, strict=True):  # for programs
        cells |= {f"{name}, seed {seed}": figures[name] for name in ("hits@1", "mrr")}
    return Row(name=form.name, figures=cells, ours=form.name in STORED)


def _conditions(store: Store, experiment: Experiment, views: Sequence[str]) -> list[str]:
    tables = (store.entities, store.mentions)
    narrow = [f.schema.path for t in tables for f in views_of(t) if f.dtype == np.float16]
    own = (
        f"the store itself has float16 {', '.join(narrow)}: of these, float32 is the store's own "
        "precision, and only what rounds further differs; to compare with exact values, ingest with "
        "--dtype float32"
        if narrow
        else "the store holds every view as float32: nothing was rounded before"
    )
    return [
        f"{len(store.entities):,} entities, {len(store.mentions):,} mentions; bytes and errors: the "
        f"entity views that {experiment.model} reads ({', '.join(views)})",
        f"test split; mean ± standard deviation over seeds {', '.join(map(str, experiment.seeds))}; "
        f"{experiment.epochs} epochs, of which the best on the validation split",
        "views of mentions and entities are rounded, then widened to float32; similarities, scores "
        "and all else are as in the store; error and cosine as in benchmarks.precision",
        own,
    ]
