"""``/``: what the store holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cli.console import count, percent, size
from cli.web.frame import headline
from cli.web.html import Html, Part, h, join
from cli.web.parts import bar, facts, grid, search_field
from cli.web.site import Page, Parameters, Site
from cli.web.urls import encode, with_query
from featurestore.summary import SplitSummary, StoreSummary, TableSummary

#: Figures of a run that the overview shows, as its summary calls them.
_FIGURES = ("hits@1", "hits@5", "hits@10", "mrr")


def overview(site: Site, given: Parameters) -> Page:
    summary = site.summary()
    rows = {table.name: table.rows for table in summary.tables}
    body = join(
        headline(
            summary.dataset,
            f"{count(rows['mentions'])} mentions · {count(rows['entities'])} entities · "
            f"{summary.candidates} candidates a mention · {size(summary.file_bytes)}",
        ),
        _search(),
        _splits(summary),
        _pictures(summary),
        _runs(site),
        h("section", h("h2", "Fields"), [_fields(table) for table in summary.tables]),
        _origin(summary),
    )
    return Page(title=summary.dataset, section="/", body=body)


def _search() -> Html:
    """One box for both tables."""
    return h(
        "form.search-all",
        {"action": "/mentions", "role": "search"},
        search_field("", "Search"),
        h("button", "Mentions"),
        h("button.second", {"formaction": "/entities"}, "Entities"),
    )


def _splits(summary: StoreSummary) -> Html:
    levels = sorted({k for split in summary.splits for k in split.recall})
    head = ["split", "mentions", "retrieved", *(f"recall@{k}" for k in levels)]
    unknown = any(split.gold_unknown for split in summary.splits)
    rows = [_split(split, levels, unknown) for split in summary.splits]
    head += ["gold not in table"] if unknown else []
    table = grid("How many golds are among the first k candidates, in %", head, rows, len(head) - 1)
    return h("section", h("h2", "Splits and candidate recall"), table)


def _split(split: SplitSummary, levels: list[int], unknown: bool) -> list[Part]:
    link = h("a", {"href": with_query("/mentions", encode({"split": split.name}))}, split.name)
    without = encode({"split": split.name, "gold": "no"})
    lost = split.mentions - split.retrieved
    cells: list[Part] = [link, count(split.mentions)]
    cells.append(
        join(
            count(split.retrieved),
            h("a.aside", {"href": with_query("/mentions", without)}, f"{count(lost)} not")
            if lost
            else None,
        )
    )
    for k in levels:
        share = split.recall.get(k)
        cells.append(bar(share, 0, 1, f"{100 * share:.1f}" if share is not None else "–"))
    return cells + ([count(split.gold_unknown)] if unknown else [])


def _pictures(summary: StoreSummary) -> Html | None:
    tables = [table for table in summary.tables if table.pictures]
    if not tables:
        return None
    return h("section", h("h2", "Pictures"), [_coverage(table) for table in tables])


def _coverage(table: TableSummary) -> Html:
    """A bar of one table, cut by status, and the same in words."""
    left, parts = 0.0, []
    for place, number in enumerate(table.pictures.values()):
        width = 100 * number / max(table.rows, 1)
        sides = {"x": f"{left:.2f}", "width": f"{width:.2f}", "height": 8}
        parts.append(h("rect", {"class": f"status-{place}"}, sides))
        left += width
    frame = {"viewBox": "0 0 100 8", "preserveAspectRatio": "none", "aria-hidden": "true"}
    words = [
        h("li", h("i", {"class": f"key status-{place}"}), f"{status} ", _share(table, number))
        for place, (status, number) in enumerate(table.pictures.items())
        if number
    ]
    without = with_query(f"/{table.name}", encode({"picture": "no"}))
    return h(
        "div.coverage",
        h("h3", h("a", {"href": without, "title": "those without a picture"}, table.name)),
        h("svg.coverage-bar", frame, parts),
        h("ul.legend", words),
    )


def _share(table: TableSummary, number: int) -> Html:
    return join(h("b", count(number)), f" {percent(number, table.rows)}")


def _runs(site: Site) -> Html | None:
    if not site.runs:
        return None
    head = ["run", "model", "split", *_FIGURES, "wrong"]
    rows: list[list[Part]] = []
    for run in site.runs:
        for split in run.splits:
            here = site.store.mentions.split(split)
            wrong = int(run.wrong[here.start : here.stop].sum())
            address = with_query("/mentions", encode({"wrong": run.name, "split": split}))
            known = run.figures(split)
            rows.append(
                [run.name, run.model, split]
                + [_percent(known.get(name)) for name in _FIGURES]
                + [h("a", {"href": address}, count(wrong))]
            )
    return h("section", h("h2", "Runs"), grid("Figures in %", head, rows, len(_FIGURES) + 1))


def _percent(figure: object) -> str:
    return f"{100 * figure:.1f}" if isinstance(figure, int | float) else "–"


def _fields(table: TableSummary) -> Html:
    head = ["field", "layout", "what it is", "shape of a row", "dtype", "size", "ratio"]
    rows: list[list[Part]] = [
        [
            h("code", field.name),
            f"{field.layout} · {field.compression}" if field.chunks else field.layout,
            field.doc,
            "×".join(map(str, field.shape[1:])) or "–",
            field.dtype,
            size(field.stored_bytes),
            f"{field.ratio:.2f}×" if field.ratio else "–",
        ]
        for field in table.fields
    ]
    words = f"{table.name}: {len(rows)} fields, {size(table.stored_bytes)}"
    caption = f"Fields of {table.name}"
    return h("details", h("summary", words), grid(caption, head, rows, 4), _absent(table))


def _absent(table: TableSummary) -> Html | None:
    if not table.absent:
        return None
    lines = [f"{', '.join(names)} (from {option})" for option, names in table.absent.items()]
    return h("p.note", f"Not stored: {'; '.join(lines)}.")


def _origin(summary: StoreSummary) -> Html:
    made = h("details", h("summary", "How it was made"), origin(summary))
    return h("section", h("h2", "Origin"), made)


def origin(summary: StoreSummary) -> Html:
    """How the store was made, as its provenance says."""
    lines: list[tuple[str, Any]] = [
        ("made", summary.created),
        ("file", h("code", summary.path)),
        ("fingerprint", h("code", summary.fingerprint)),
        ("format", summary.format_version),
    ]
    for name, value in summary.provenance.items():
        lines += [(name, _value(value))] if value else []
    return facts(lines)


def _value(value: Any) -> Html | str:
    """A value of the provenance: texts as they are, mappings as names and values, lists as lists."""
    if isinstance(value, Mapping):
        return facts((str(name), _value(part)) for name, part in value.items() if part is not None)
    if isinstance(value, list):
        return h("ul", [h("li", _value(part)) for part in value])
    return value if isinstance(value, str) else json.dumps(value)
