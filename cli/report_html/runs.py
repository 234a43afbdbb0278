"""Figures of runs, side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cli.console import count, percent
from cli.report_html.charts import Line, line_chart, share_bar
from cli.report_html.report import Report, Section, note
from cli.web.html import Html, Part, h, join
from cli.web.parts import beginning, grid
from cli.web.runs import Run

#: Figures of the table, as a run's summary calls them.
_FIGURES = ("hits@1", "hits@5", "hits@10", "hits@20", "mrr")


def runs(report: Report) -> Section | None:
    if not report.runs:
        return None
    beside = h("div.beside", h("div", _curves(report)), h("div", _pairs(report)))
    body = join(_figures(report), beside)
    return Section(key="runs", title="Runs", body=body)


def _figures(report: Report) -> Html:
    rows = [
        _cells(report, run, split)
        for split in report.store.mentions.splits
        for run in report.runs
        if split in run.splits
    ]
    head = ("split", "run", "model", *_FIGURES, "mean rank", "wrong")
    rules = {_rules(run) for run in report.runs}
    words = [f"{run.name}: {_rules(run)}" for run in report.runs] if len(rules) > 1 else list(rules)
    warning = "These runs were not measured alike: do not compare their figures. "
    return join(
        grid("Hits and MRR in %", head, rows, len(_FIGURES) + 2),
        note(warning if len(rules) > 1 else None, "; ".join(words) + "."),
    )


def _rules(run: Run) -> str:
    """What one has to know to compare figures."""
    of = run.recorded.summary.get("denominator", "not recorded")
    first = run.recorded.candidates
    lists = "" if first is None else f"first {first} candidates, "
    rules = f"protocol {run.recorded.protocol}, ties {run.recorded.tie_rule}"
    return f"{lists}{rules}, over {of} mentions"


def _cells(report: Report, run: Run, split: str) -> list[Part]:
    rows = report.store.mentions.split(split)
    known = run.figures(split)
    wrong = int(run.wrong[rows.start : rows.stop].sum())
    return [
        split,
        h("bdi", beginning(run.name, 60)),
        h("bdi", beginning(run.model, 60)),
        *(_percent(known.get(name)) for name in _FIGURES),
        _number(known.get("mean_rank")),
        f"{count(wrong)} of {count(len(rows))}",
    ]


def _percent(value: Any) -> str:
    return f"{100 * value:.1f}" if isinstance(value, int | float) else "–"


def _number(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, int | float) else "–"


# curves -----------------------------------------------------------------------------------------


def _curves(report: Report) -> Html:
    split = report.split
    if split is None:
        return note("The runs have no split in common.")
    rows = report.store.mentions.split(split)
    within = next(each for each in report.coverage.splits if each.name == split)
    lines = [
        Line(name=run.name, shares=hits(run.ranks[rows.start : rows.stop], len(within.found)))
        for run in report.runs
    ]
    bound = np.full(len(within.found), within.recall[-1])
    lines.append(
        Line(name="gold among the candidates: no run can do better", shares=bound, limit=True)
    )
    words = "; ".join(
        f"{line.name}: {100 * line.shares[0]:.1f} % at 1, {100 * line.shares[-1]:.1f} % at "
        f"{len(line.shares)}"
        for line in lines
    )
    title = f"hits@k in {split}, over all mentions"
    return join(h("h3", title), line_chart("hits", title, words, lines, "k"))


def hits(ranks: NDArray[np.float32], most: int) -> NDArray[np.float64]:
    """(most,) the share of the golds ranked 1, 2, … ``most`` or better; of all ranks given."""
    up = np.ceil(ranks[ranks <= most]).astype(np.int64)
    return np.cumsum(np.bincount(up, minlength=most + 1)[1:]) / max(len(ranks), 1)


# pairs ------------------------------------------------------------------------------------------


def _pairs(report: Report) -> list[Html]:
    """How often the first run and each of the others are right about the same mentions."""
    split = report.split
    if split is None or len(report.runs) < 2:
        return []
    first, *others = report.runs
    rows = report.store.mentions.split(split)
    part = slice(rows.start, rows.stop)
    return [h("h3", f"The same mentions, in {split}"), *(_pair(first, run, part) for run in others)]


def _pair(first: Run, second: Run, part: slice) -> Html:
    one, two = ~first.wrong[part], ~second.wrong[part]
    cases = (
        ("both right", one & two),
        (f"only {first.name} right", one & ~two),
        (f"only {second.name} right", ~one & two),
        ("both wrong", ~one & ~two),
    )
    rows: list[list[Part]] = [
        [
            h("bdi", words),
            share_bar(int(which.sum()), len(one)),
            count(int(which.sum())),
            percent(int(which.sum()), len(one)),
        ]
        for words, which in cases
    ]
    caption = f"{first.name} and {second.name}"
    return h("div.texts", grid(caption, ("case", "", "mentions", "share"), rows, 2))
