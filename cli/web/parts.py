"""Building blocks that the pages share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from cli.console import count
from cli.web.html import Html, Part, h, join
from cli.web.query import PAGE_ROWS, Paged
from cli.web.urls import row_url, with_query
from featurestore.table import Table

#: Characters of a text that a list shows.
BEGINNING = 160


def beginning(text: str, length: int = BEGINNING) -> str:
    """The first characters of a text."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def marked(sentence: str, span: tuple[int, int] | None) -> Html:
    """The sentence with the mention marked; ``bdi`` keeps the direction of its letters to itself."""
    if span is None:
        return h("bdi", sentence)
    start, end = span
    return h("bdi", sentence[:start], h("mark", sentence[start:end]), sentence[end:])


def around(sentence: str, span: tuple[int, int] | None, length: int = 220) -> Html:
    """A part of a long sentence that holds the mention, marked."""
    if len(sentence) <= length:
        return marked(sentence, span)
    start, end = span or (0, 0)
    end = min(end, start + length)
    first = max(0, min(start - (length - (end - start)) // 2, len(sentence) - length))
    before, after = "…" if first else "", "…" if first + length < len(sentence) else ""
    part = before + sentence[first : first + length] + after
    shift = len(before) - first
    return marked(part, (start + shift, end + shift) if span else None)


def row_link(table: str, row: int, key: str, title: str | None, query: str = "") -> Html:
    """A link to a row's page; its title, or its id where it has none."""
    words = beginning(title or key or f"row {row}", 120)
    words = beginning(title or key or f"row {row}", 120)
    return h("a", {"href": row_url(table, row, key, query), "data-item": True}, h("bdi", words))


def entity_names(table: Table, rows: Sequence[int] | np.ndarray) -> list[tuple[str, str | None]]:
    """(id, title) of entities."""
    ids = table.ids(rows)
    titles = table.gather("title", rows) if "title" in table else [None] * len(ids)
    return list(zip(ids, titles, strict=True))


def facts(rows: Iterable[tuple[str, Part]]) -> Html:
    """Names and values."""
    return h("dl.facts", [h("div", h("dt", name), h("dd", value)) for name, value in rows])


def badge(kind: str, words: str, why: str = "") -> Html:
    """A short word in a frame; ``kind`` is its class."""
    return h(f"span.badge.{kind}", {"title": why or None}, words)


def bar(value: float | None, low: float, high: float, words: str) -> Html:
    """A number and a bar that shows where it lies from ``low`` to ``high``."""
    if value is None or not np.isfinite(value):
        return h("span.bar-number", "–")
    share = (value - low) / (high - low) if high > low else 0.0
    drawing = h(
        "svg.bar",
        {"viewBox": "0 0 100 4", "preserveAspectRatio": "none", "aria-hidden": "true"},
        h("rect.track", {"width": 100, "height": 4}),
        h("rect.fill", {"width": f"{100 * min(max(share, 0), 1):.1f}", "height": 4}),
    )
    return join(h("span.bar-number", words), drawing)


def grid(caption: str, head: Sequence[str], rows: Iterable[Sequence[Part]], numbers: int) -> Html:
    """A table in a frame that scrolls where it is too wide; the last ``numbers`` columns align right."""
    first_number = len(head) - numbers
    kinds = ["td.number" if place >= first_number else "td" for place in range(len(head))]
    heads = [
        h("th.number" if place >= first_number else "th", {"scope": "col"}, name)
        for place, name in enumerate(head)
    ]
    body = [
        h("tr", [h(kind, cell) for kind, cell in zip(kinds, cells, strict=True)]) for cells in rows
    ]
    return h(
        "div.scroll",
        {"tabindex": 0, "role": "region", "aria-label": caption},
        h("table", h("caption", caption), h("thead", h("tr", heads)), h("tbody", body)),
    )


def select(name: str, label: str, choices: Iterable[tuple[str, str]], chosen: str) -> Html:
    """A labelled choice; (value, words) each."""
    options = [
        h("option", {"value": value, "selected": value == chosen}, words)
        for value, words in choices
    ]
    return h("label.field", h("span", label), h("select", {"name": name}, options))


def search_field(text: str, label: str) -> Html:
    """The box for free text; ``/`` jumps to it."""
    box = {"type": "search", "name": "q", "value": text, "autocomplete": "off", "maxlength": 300}
    return h("label.field.search", h("span", label), h("input", box, {"data-search": True}))


def pager(path: str, query: Paged, total: int, complete: bool) -> Html:
    """Where in a list this page is, and the way to the others."""
    pages = page_count(total)
    page = min(query.page, pages)
    first, last = (page - 1) * PAGE_ROWS + 1, min(page * PAGE_ROWS, total)
    of = count(total) if complete else f"the first {count(total)}"
    words = f"{count(first)} – {count(last)} of {of}" if total else "none"
    return h(
        "nav.pager",
        {"aria-label": "Pages of this list"},
        step(with_query(path, query.encode(page=page - 1)) if page > 1 else None, "prev"),
        h("span", words),
        step(with_query(path, query.encode(page=page + 1)) if page < pages else None, "next"),
    )


def step(address: str | None, rel: str) -> Html:
    """A way to what comes before or next; plain words where there is nothing."""
    words = {"prev": "‹ Previous", "next": "Next ›"}[rel]
    if address is None:
        return h("span.step.off", {"aria-hidden": "true"}, words)
    return h("a.step", {"href": address, "rel": rel}, words)


def page_count(total: int) -> int:
    return max(1, -(-total // PAGE_ROWS))


def page_of(rows: np.ndarray, page: int) -> np.ndarray:
    """The rows of one page; the last one where there are not so many."""
    first = (min(page, page_count(len(rows))) - 1) * PAGE_ROWS
    return rows[first : first + PAGE_ROWS]


def span_of(values: dict[str, Any], place: int) -> tuple[int, int] | None:
    """Characters of a mention in its sentence, where the source has them."""
    if "char_start" not in values:
        return None
    start = max(0, int(values["char_start"][place]))
    return start, max(start, int(values["char_end"][place]))
