"""What a person wants to know of candidates that were built: where, how good, how long it took."""

from __future__ import annotations

from rich import box
from rich.console import RenderableType
from rich.table import Table

from cli.console import count, plain_text
from cli.render_parts import facts
from featurestore.construct.candidates import CandidatesSummary
from featurestore.construct.recall import Recall


def candidate_views(summary: CandidatesSummary) -> list[RenderableType]:
    """Facts, then recall by split."""
    method = summary.method if summary.scorer is None else f"{summary.method}, {summary.scorer}"
    lines: list[tuple[str, RenderableType]] = [
        ("file", plain_text(summary.output, "cyan")),
        ("method", method),
        ("mentions", f"{count(summary.mentions)} × {count(summary.k)} candidates"),
        ("entities", _entities(summary)),
    ]
    for number, (why, mentions) in enumerate(summary.by_name.items()):
        lines.append(("" if number else "by name", f"{count(mentions)} mentions {why}"))
    if summary.filled:
        text = "mentions found fewer; the first entities of the titles follow"
        lines.append(("filled up", f"{count(summary.filled)} {text}"))
    lines.append(("time", _time(summary)))
    return [facts(lines), "", _recall(summary)]


def _entities(summary: CandidatesSummary) -> str:
    if summary.names == summary.entities:
        return count(summary.entities)
    return f"{count(summary.entities)} under {count(summary.names)} names"


def _time(summary: CandidatesSummary) -> str:
    spent = ", ".join(f"{stage} {seconds:,.1f} s" for stage, seconds in summary.seconds.items())
    if summary.per_second is None:
        return spent
    return f"{spent}; {summary.per_second:,.0f} mentions/s"


def _recall(summary: CandidatesSummary) -> Table:
    levels = list(summary.overall.recall)
    table = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, title="candidate recall", title_justify="left"
    )
    table.add_column("split")
    for name in ("mentions", "golds", *(level.removeprefix("recall") for level in levels)):
        table.add_column(name, justify="right")
    for split, own in summary.splits.items():
        table.add_row(plain_text(split), *_shares(own, levels))
    if len(summary.splits) > 1:
        table.add_row("all", *_shares(summary.overall, levels), style="bold")
    return table


def _shares(own: Recall, levels: list[str]) -> list[str]:
    shares = [f"{100 * own.recall[level]:.1f} %" if own.golds else "–" for level in levels]
    return [count(own.mentions), count(own.golds), *shares]
