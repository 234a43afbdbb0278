"""Tables about one run, and of the models; several runs side by side: ``linker.report_rows``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from linker.models import ModelLine
from linker.report_words import (
    CONDITIONS,
    SPLITS,
    figure_names,
    figure_text,
    first_stage_words,
    header,
    model_label,
)

_PERCENT = "hits and MRR in %"

#: Below the list of models.
_HOW = (
    "trained: drin-fs train STORE --model NAME, then drin-fs evaluate RUN\n"
    "others:  drin-fs evaluate STORE --model NAME"
)


def run_table(summary: Mapping[str, Any], splits: Sequence[str] = SPLITS) -> Table:
    """The figures of one run or evaluation: a row a split; n is what they are means over."""
    present = [split for split in splits if split in summary]
    names = figure_names([summary[split] for split in present])
    seed = "" if summary["seed"] is None else f"; seed {summary['seed']}"
    first = summary.get("candidates")
    seen = "" if first is None else f", first {first} candidates"
    stopped = f"; stopped {summary['stopped']}" if summary.get("stopped") else ""
    caption = f"{model_label(summary)}{seen}; {_caption(summary)}{seed}{stopped}"
    figures = _table(["split", *names, "mentions"], caption=caption)
    for split in present:
        values = summary[split]
        cells = [figure_text(name, values.get(name)) for name in names]
        counted = "retrieved" if summary["denominator"] == "retrieved" else "mentions"
        figures.add_row(split, *cells, f"{values[counted]:,}")
    return figures


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


def _table(columns: Sequence[str], *, caption: str) -> Table:
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, caption=caption, caption_justify="left")
    for column in columns:
        if column == "split":
            grid.add_column(column, overflow="fold")
        else:
            grid.add_column(header(column), justify="right", no_wrap=True)
    return grid


def _caption(summary: Mapping[str, Any]) -> str:
    words = {name: f"{words} {summary[name]}" for name, words in CONDITIONS.items()}
    if "entities" in summary:
        first = first_stage_words(summary.get("first_stage"))
        after = f"; first {first}" if first else ""
        words["protocol"] += f" ({summary['entities']:,} entities{after})"
    return f"{_PERCENT}; {', '.join(words.values())}"
