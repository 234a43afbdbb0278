"""Tables of figures, for one run or several; every figure stands beside what it depends on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from featurestore.errors import ConfigError
from linker.models import ModelLine
from linker.run_folder import RunFolder

#: What figures must share to be compared, and the words a caption has for it.
CONDITIONS: Mapping[str, str] = {
    "protocol": "protocol",
    "tie_rule": "ties",
    "denominator": "mentions",
}

_PERCENT = "hits and MRR in %"

#: Headers of columns whose keys are longer than their figures: 80 characters hold a whole table.
_HEADERS: Mapping[str, str] = {"mean_rank": "MR", "mrr": "MRR", "mentions": "n"}

#: Below the list of models.
_HOW = (
    "trained: drin-fs train STORE --model NAME, then drin-fs evaluate RUN\n"
    "others:  drin-fs evaluate STORE --model NAME"
)

#: The splits that a summary may hold, in the order of the rows.
SPLITS = ("valid", "test")


def read_summaries(runs: Sequence[str | os.PathLike[str]]) -> dict[str, dict[str, Any]]:
    """Run folder → its summary.

    Raises:
        RunError: a folder without one.
    """
    return {os.fspath(run): RunFolder(run).read_summary() for run in runs}


def run_table(summary: Mapping[str, Any], splits: Sequence[str] = SPLITS) -> Table:
    """The figures of one run or evaluation: a row a split; n is what they are means over."""
    present = [split for split in splits if split in summary]
    names = _figure_names([summary[split] for split in present])
    seed = "" if summary["seed"] is None else f"; seed {summary['seed']}"
    stopped = f"; stopped {summary['stopped']}" if summary.get("stopped") else ""
    caption = f"{_model(summary)}; {_caption(summary)}{seed}{stopped}"
    figures = _table(["split", *names, "mentions"], caption=caption)
    for split in present:
        values = summary[split]
        cells = [_cell(name, values.get(name)) for name in names]
        counted = "retrieved" if summary["denominator"] == "retrieved" else "mentions"
        figures.add_row(split, *cells, f"{values[counted]:,}")
    return figures


def table(summaries: Mapping[str, Mapping[str, Any]], *, mixed: bool = False) -> Table:
    """The figures of several runs side by side: a row a run and split.

    Runs that lie in one folder are named without it; the caption names it.

    Args:
        summaries: name of the run → its summary.
        mixed: allow figures under different conditions; these then stand in columns of their own.

    Raises:
        ConfigError: the runs differ in protocol, tie rule, denominator, dataset or in the sentences
            of a split, and ``mixed`` is false.
    """
    if not mixed:
        _check_comparable(summaries)
    conditions = list(CONDITIONS) if mixed else []
    names = _figure_names([s[split] for s in summaries.values() for split in SPLITS if split in s])
    caption = _PERCENT if mixed else _caption(next(iter(summaries.values())))
    folder = _common_folder(summaries)
    if folder:
        caption = f"runs in {folder}; {caption}"
    figures = _table(["run", "model", *conditions, "seed", "split", *names], caption=caption)
    for split in SPLITS:
        for run, summary in summaries.items():
            if split in summary:
                cells = [_cell(name, summary[split].get(name)) for name in names]
                under = [str(summary[key]) for key in conditions]
                seed = "–" if summary["seed"] is None else str(summary["seed"])
                name = os.path.relpath(run, folder) if folder else run
                figures.add_row(Text(name), _model(summary), *under, seed, split, *cells)
    return figures


def _common_folder(runs: Iterable[str]) -> str:
    """The folder that all of several runs lie in; empty where there is none, or one run."""
    folders = [os.path.dirname(os.path.normpath(run)) for run in runs]
    return folders[0] if len(folders) > 1 and len(set(folders)) == 1 else ""


def models_table(models: Sequence[ModelLine]) -> Table:
    """The models there are: what each is, whether it learns, and what it reads."""
    texts = ["model", "what it is", "trained", "texts", "pictures"]
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, caption=_HOW, caption_justify="left")
    for column in texts:
        grid.add_column(column)
    for model in models:
        flags = (model.learns, model.reads_texts, model.reads_pictures)
        grid.add_row(model.name, model.summary, *("yes" if flag else "–" for flag in flags))
    return grid


def _check_comparable(summaries: Mapping[str, Mapping[str, Any]]) -> None:
    for key in CONDITIONS:
        _check_equal(key, {run: summary[key] for run, summary in summaries.items()})
    _check_equal(
        "dataset", {run: summary["store"]["dataset"] for run, summary in summaries.items()}
    )
    for split in SPLITS:
        digests = {  # earlier versions lack them
            run: summary["store"]["sentences"][split]
            for run, summary in summaries.items()
            if split in summary and split in summary["store"].get("sentences", {})
        }
        _check_equal(f"{split} split (by its sentences)", digests)


def _check_equal(what: str, values: Mapping[str, object]) -> None:
    """Refuse runs of which one has another value."""
    found: dict[str, str] = {}
    for run, value in values.items():
        found.setdefault(str(value), run)
    if len(found) > 1:
        differing = ", ".join(f"{value} in {run}" for value, run in found.items())
        raise ConfigError(
            f"figures under different conditions cannot be compared: {what} is {differing}",
            where="report",
            hint="score one of them again with drin-fs evaluate, or pass --mixed",
        )


def _table(columns: Sequence[str], *, caption: str | None) -> Table:
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, caption=caption, caption_justify="left")
    texts = {"run", "model", "split", *CONDITIONS}
    for column in columns:
        if column in texts:
            grid.add_column(column, overflow="fold")
        else:
            grid.add_column(_HEADERS.get(column, column), justify="right", no_wrap=True)
    return grid


def _caption(summary: Mapping[str, Any]) -> str:
    words = {name: f"{words} {summary[name]}" for name, words in CONDITIONS.items()}
    if "entities" in summary:
        words["protocol"] += f" ({summary['entities']:,} entities)"
    return f"{_PERCENT}; {', '.join(words.values())}"


def _model(summary: Mapping[str, Any]) -> str:
    """``text``, ``drin (tt it)`` with the edges that are on, ``clip (sum)`` with its options.

    Options of a trained model that are not the defaults stand there too, so that an ablation is not
    taken for the whole model. An encoder inside training is named behind.
    """
    words = list(summary.get("options", {}).values())
    if "edges" in summary:
        words = [*summary["edges"]] or ["no edges"]
    words += [f"{key}={value}" for key, value in summary.get("changed", {}).items()]
    name = f"{summary['model']} ({' '.join(words)})" if words else summary["model"]
    text = summary.get("text", "stored")
    return name if text == "stored" else f"{name}, text {text}"


def _figure_names(splits: Sequence[Mapping[str, Any]]) -> list[str]:
    """hits@k by growing k, then MRR, and the mean rank where there is one."""
    hits = {name for values in splits for name in values if name.startswith("hits@")}
    ordered = sorted(hits, key=lambda name: int(name.removeprefix("hits@")))
    ranked = any(values.get("mean_rank") is not None for values in splits)
    return [*ordered, "mrr", *(["mean_rank"] if ranked else [])]


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1f}" if name == "mean_rank" else f"{100 * value:.1f}"
