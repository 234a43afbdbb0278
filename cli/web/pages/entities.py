"""``/entities``: search and page through entities."""

from __future__ import annotations

import numpy as np

from cli.console import count
from cli.web.frame import headline
from cli.web.html import Html, h, join
from cli.web.parts import beginning, page_of, pager, row_link, search_field, select
from cli.web.pictures import pictures
from cli.web.query import ListQuery, list_entities
from cli.web.site import Page, Parameters, Site


def entities(site: Site, given: Parameters) -> Page:
    query = ListQuery.parse(given)
    listed = list_entities(site, query)
    rows, total = page_of(listed.rows, query.page), len(listed.rows)
    of = count(total) if listed.complete else f"more than {count(total)}"
    found = (
        h("ol.rows", entity_lines(site, rows))
        if total
        else h("p.empty", "No entity is like this. ", h("a", {"href": "/entities"}, "Show all"))
    )
    body = join(
        headline("Entities"),
        _form(site, query),
        h(
            "div",
            {"id": "results", "aria-busy": "false"},
            h("p.total", {"role": "status"}, h("b", of), " entities"),
            found,
            pager("/entities", query, total, listed.complete) if total else None,
        ),
    )
    return Page(title="Entities", section="/entities", body=body)


def _form(site: Site, query: ListQuery) -> Html:
    fields = [search_field(query.text, "Search")]
    if "image_status" in site.store.entities:
        choices = [("", "any"), ("yes", "has one"), ("no", "has none")]
        fields.append(select("picture", "Picture", choices, query.picture))
    clear = h("a.clear", {"href": "/entities"}, "Clear") if query.text or query.picture else None
    return h(
        "form.filters",
        {"action": "/entities", "role": "search", "data-live": "results"},
        fields,
        h("button", "Show"),
        clear,
    )


def entity_lines(site: Site, rows: np.ndarray) -> list[Html]:
    """An entry of a list for each of some entities."""
    table = site.store.entities
    ids = table.ids(rows)
    titles = table.gather("title", rows) if "title" in table else [None] * len(ids)
    about = next((name for name in ("description", "text") if name in table), None)
    texts = table.gather(about, rows) if about else [""] * len(ids)
    lines = []
    for row, key, title, text, shown in zip(
        rows.tolist(), ids, titles, texts, pictures(site, "entities", rows), strict=True
    ):
        link = row_link("entities", row, key, title)
        words = h("p.text", h("bdi", beginning(text))) if text else None
        lines.append(
            h("li", shown, h("div.what", h("p.main", link), words, h("p.below", h("span", key))))
        )
    return lines
