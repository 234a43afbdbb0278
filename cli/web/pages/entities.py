"""``/entities``: search and page through entities."""

from __future__ import annotations

import numpy as np

from cli.web.html import Html, h
from cli.web.pages.listing import listing
from cli.web.parts import beginning, row_link, search_field, select
from cli.web.pictures import pictures
from cli.web.query import ListQuery, list_entities
from cli.web.site import Page, Parameters, Site


def entities(site: Site, given: Parameters) -> Page:
    query = ListQuery.parse(given)
    return listing(
        "entity",
        "entities",
        form=_form(site, query),
        listed=list_entities(site, query),
        query=query,
        lines=lambda rows: entity_lines(site, rows),
    )


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
