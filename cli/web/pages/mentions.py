"""``/mentions``: search, filter and page through mentions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from cli.console import clean, count
from cli.web.html import Html, h
from cli.web.pages.listing import listing
from cli.web.parts import (
    around,
    badge,
    entity_names,
    search_field,
    select,
    span_of,
)
from cli.web.pictures import pictures
from cli.web.query import MentionQuery, list_mentions
from cli.web.runs import Run
from cli.web.site import Page, Parameters, Site
from cli.web.urls import row_url
from featurestore.schema import NO_ROW

#: Topics that can be chosen (chosen here: WikiDiverse has twelve).
_MOST_TOPICS = 100


def mentions(site: Site, given: Parameters) -> Page:
    query = MentionQuery.parse(given)
    return listing(
        "mention",
        "mentions",
        form=_form(site, query),
        listed=list_mentions(site, query),
        query=query,
        lines=lambda rows: mention_lines(site, rows, query.encode()),
    )


def _form(site: Site, query: MentionQuery) -> Html:
    store = site.store
    splits = [("", "all"), *((name, name) for name in store.mentions.splits)]
    fields = [search_field(query.text, "Search"), select("split", "Split", splits, query.split)]
    if "image_status" in store.mentions:
        choices = [("", "any"), ("yes", "has one"), ("no", "has none")]
        fields.append(select("picture", "Picture", choices, query.picture))
    choices = [("", "any"), ("yes", "retrieved"), ("no", "not retrieved")]
    fields.append(select("gold", "Gold", choices, query.gold))
    if site.runs:
        runs = [("", "any"), *((run.name, f"wrong in {run.name}") for run in site.runs)]
        fields.append(select("wrong", "Model", runs, query.wrong))
    topics = _topics(site)
    if topics:
        named = [("", "all"), *((name, f"{name} · {count(n)}") for name, n in topics)]
        fields.append(select("topic", "Topic", named, query.topic))
    clear = h("a.clear", {"href": "/mentions"}, "Clear") if query.narrowed else None
    return h(
        "form.filters",
        {"action": "/mentions", "role": "search", "data-live": "results"},
        fields,
        h("button", "Show"),
        clear,
    )


def _topics(site: Site) -> list[tuple[str, int]]:
    """Topics to choose from, with their mentions; a form changes those with line breaks and the like."""
    known = site.selections.topics().counts.items()
    return [(name, n) for name, n in known if name and clean(name) == name][:_MOST_TOPICS]


def mention_lines(site: Site, rows: np.ndarray, query: str = "") -> list[Html]:
    """An entry of a list for each of some mentions.

    Args:
        query: the list's address, which the mentions' pages are to keep.
    """
    table = site.store.mentions
    fields = [
        name
        for name in ("id", "sentence", "gold", "answer", "char_start", "char_end", "topic")
        if name in table
    ]
    values = table.gather_all(fields, rows)
    golds = values["gold"]
    known = np.flatnonzero((golds != NO_ROW) & (golds < len(site.store.entities)))
    names = dict(zip(known.tolist(), entity_names(site.store.entities, golds[known]), strict=True))
    shown = pictures(site, "mentions", rows)
    split_of = _splits(site)
    width = site.store.width("mentions/candidates")
    lines = []
    for place, row in enumerate(rows.tolist()):
        key = values["id"][place]
        gold = names.get(place)
        title = gold and (gold[1] or gold[0])
        topic = values["topic"][place] if "topic" in values else ""
        below = [h("bdi", title) if title else "gold not in the table"]
        below += [key, split_of(row), *([topic] if topic else [])]
        sentence = around(values["sentence"][place], span_of(values, place))
        lines.append(
            h(
                "li",
                shown[place],
                h(
                    "div.what",
                    h("a.main", {"href": row_url("mentions", row, key, query), "data-item": True},
                      sentence),
                    h("p.below", [h("span", part) for part in below]),
                ),
                h("div.marks", _answer(int(values["answer"][place]), width), run_marks(site.runs, row)),
            )
        )  # fmt: skip
    return lines


def _splits(site: Site) -> Callable[[int], str]:
    """Row → its split."""
    bounds = list(site.store.mentions.splits.items())
    return lambda row: next((name for name, rows in bounds if row in rows), "no split")


def _answer(answer: int, width: int) -> Html:
    """Where the gold stands among the candidates."""
    if 0 <= answer < width:
        return badge("quiet", f"#{answer + 1}", f"the gold is candidate {answer + 1} of {width}")
    return badge("lost", "not retrieved", f"the gold is none of {width} candidates")


def run_marks(runs: Sequence[Run], row: int) -> list[Html]:
    """What each run made of a mention."""
    return [rank_mark(run.name, float(run.ranks[row])) for run in runs if run.ranked[row]]


def rank_mark(name: str, rank: float) -> Html:
    """The rank of the gold, in words that need no colour."""
    if rank == 1:
        return badge("right", f"✓ {name}", f"{name}: the gold is first")
    if np.isinf(rank):
        return badge("wrong", f"✗ {name}", f"{name}: the gold has no rank")
    return badge("wrong", f"✗ {name} {rank:g}", f"{name}: the gold has rank {rank:g}")


def mention_list(site: Site, rows: np.ndarray) -> Html:
    """A short list without pages."""
    return h("ol.rows.short", mention_lines(site, rows))
