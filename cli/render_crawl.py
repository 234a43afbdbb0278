"""What a person wants to know of a crawl: how far it is, and what became of entities and pictures."""

from __future__ import annotations

from rich.console import RenderableType

from cli.console import count, percent, plain_text, size
from cli.render_parts import facts, grid
from featurestore.construct.crawl_status import CrawlStatus, StateCount

#: States as they are shown, in this order.
_ENTITIES = {
    "done": "with picture",
    "bare": "without",
    "failed": "failed for now",
    "ready": "picture chosen",
    "files": "pictures listed",
    "listing": "to be listed",
    "lead": "first picture known",
    "named": "title known",
    "new": "to be begun",
}
_PICTURES = {
    "done": "on disk",
    "refused": "cannot be used",
    "failed": "failed for now",
    "known": "not fetched",
    "named": "to be looked at",
}


def crawl_views(status: CrawlStatus) -> list[RenderableType]:
    """The figures, then a table of entities and one of pictures."""
    done = status.total - status.left
    figures: list[tuple[str, RenderableType]] = [
        ("folder", plain_text(status.folder)),
        (
            "entities",
            f"{count(done)} of {count(status.total)} finished ({percent(done, status.total)})",
        ),
        ("briefs", f"{count(status.briefs)} ({percent(status.briefs, status.total)})"),
        ("pictures", f"{count(status.files)} on disk, {size(status.bytes)}"),
        (
            "titles",
            f"{count(status.redirected)} redirected, {count(status.normalised)} spelt anew",
        ),
        ("requests", f"{count(status.calls)} API calls, {count(status.requests)} pictures"),
        ("time", f"{_time(status.seconds)} (runs: {count(status.runs)}), {_left(status)}"),
    ]
    return [
        facts(figures),
        "",
        _states("entities", status.entities, _ENTITIES, status.total),
        "",
        _states("pictures", status.pictures, _PICTURES, sum(p.count for p in status.pictures)),
    ]


def _states(
    title: str, states: tuple[StateCount, ...], names: dict[str, str], total: int
) -> RenderableType:
    table = grid(title, "state", "reason", "count", "share", right=("count", "share"))
    order = list(names)
    for each in sorted(states, key=lambda each: order.index(each.state)):
        table.add_row(
            names[each.state],
            plain_text(each.reason),
            count(each.count),
            percent(each.count, total),
        )
    return table


def _left(status: CrawlStatus) -> str:
    if not status.left:
        return "nothing left to do"
    if status.seconds_left is None:
        return "pace not known yet"
    return f"about {_time(status.seconds_left)} left at the last pace"


def _time(seconds: float) -> str:
    """``42 s``, ``17 min``, ``5.2 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
