"""Building blocks that the views share."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from cli.console import clean, plain_text
from featurestore.histogram import Histogram

#: Layout of a field → its colour, wherever the field is named.
LAYOUT_STYLE = {"record": "magenta", "view": "cyan", "column": "green", "text": "yellow"}

#: Heights of a sparkline.
_LEVELS = "▁▂▃▄▅▆▇█"

#: Characters of a description that a list shows where no terminal cuts it.
_BEGINNING = 160


def grid(title: str, *columns: str, right: Sequence[str] = ()) -> Table:
    """A light table: bold title, a line under the heads; columns named in ``right`` align right."""
    table = Table(
        title=Text(title, "bold") if title else None,
        title_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="dim",
        border_style="dim",
    )
    for column in columns:
        justify: JustifyMethod = "right" if column in right else "left"
        table.add_column(column, justify=justify, no_wrap=True)
    return table


def facts(rows: Sequence[tuple[str, RenderableType]]) -> Table:
    """Names on the left, values beside them, wrapped under themselves."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(Text(name), value)
    return table


def ratio(logical: int, stored: int) -> str:
    """How many decoded bytes one stored byte holds: ``1.31×``."""
    return f"{logical / stored:.2f}×" if stored else "–"


def marked(sentence: str, span: tuple[int, int] | None) -> Text:
    """The sentence; the mention stands in ⟦ ⟧, and in reverse where the terminal can."""
    if span is None:
        return plain_text(sentence)
    start, end = span
    return Text.assemble(
        plain_text(sentence[:start]),
        ("⟦", "dim"), plain_text(sentence[start:end], "bold reverse"), ("⟧", "dim"),
        plain_text(sentence[end:]),
    )  # fmt: skip


def beginning(text: str) -> Text:
    """A cell with the first characters of a long text, cut where a terminal has no room."""
    shown = clean(text)
    return yielding(shown if len(shown) <= _BEGINNING else shown[: _BEGINNING - 1] + "…")


def sparkline(histogram: Histogram | None) -> str:
    """At most eight characters, the height of each the count of a bin, or of as many as it stands for.

    The lowest line is an empty bin.
    """
    if histogram is None:
        return ""
    together = -(-len(histogram.counts) // len(_LEVELS))
    places = range(0, len(histogram.counts), together)
    counts = [sum(histogram.counts[place : place + together]) for place in places]
    return "".join(_LEVELS[_level(count, max(counts))] for count in counts)


def _level(count: int, most: int) -> int:
    return max(1, round(count / most * (len(_LEVELS) - 1))) if count else 0


def bar(share: float, width: int) -> str:
    """A bar of at most ``width`` characters, drawn in eighths of one; what is not 0 … 1 ends there."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    return "█" * (eighths // 8) + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[eighths % 8]


def yielding(text: str) -> Text:
    """A cell that is cut where a terminal has no room, so that ids and numbers are not."""
    return Text(text, no_wrap=True, overflow="ellipsis")
