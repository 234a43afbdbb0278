"""``/mention/ID``: one mention, its picture with the detected boxes, and its candidates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from cli.console import count
from cli.web.frame import headline
from cli.web.html import Html, h, join
from cli.web.pages.candidates import Judged, candidate_table
from cli.web.pages.mentions import rank_mark
from cli.web.pages.statistics import statistics
from cli.web.parts import badge, beginning, facts, marked, row_link, step
from cli.web.pictures import boxes, boxes_over, have_thumbnails, pictures
from cli.web.query import PAGE_ROWS, MentionQuery, list_mentions
from cli.web.runs import Run
from cli.web.site import Page, Parameters, Site
from cli.web.urls import encode, row_url, with_query
from featurestore.describe import MentionSummary, describe_mention
from featurestore.errors import DrinFsError
from linker.verdicts import MentionVerdict

if TYPE_CHECKING:
    from linker.edge_weights import EdgeWeights

#: Candidates that are shown before all are asked for.
FIRST = 20


def mention(site: Site, row: int, given: Parameters) -> Page:
    query = MentionQuery.parse(given)
    asked = _Asked(top=given.get("top", ""), by=given.get("by", ""), query=query.encode())
    verdicts = {run.name: found for run in site.runs if (found := run.verdict(site.store, row))}
    by = verdicts.get(asked.by)
    one = describe_mention(
        site.store,
        row,
        top=site.store.width("mentions/candidates") if asked.top == "all" else FIRST,
        order=by.order if by else None,
    )
    name = one.values.get("mention") or (one.sentence[slice(*one.span)] if one.span else "")
    where = f"{one.id} · row {count(row)}" + (f" of {one.split}" if one.split else "")
    body = join(
        _around(site, row, query),
        headline(beginning(name or one.id, 200), h("span", where)),
        h(
            "div.record",
            h("div", h("p.sentence", marked(one.sentence, _span(one))), _facts(site, one)),
            _figure(site, row),
        ),
        _candidates(site, one, asked, verdicts),
        statistics(one.statistics),
    )
    return Page(title=beginning(f"{name or one.id} ({one.id})", 80), section="/mentions", body=body)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """How the candidates are asked for. ``top``: "all"; ``by``: a run; ``query``: the list's address."""

    top: str
    by: str
    query: str

    def url(self, one: MentionSummary) -> str:
        own = encode({"top": self.top, "by": self.by})
        return row_url("mentions", one.row, one.id, "&".join(filter(None, (self.query, own))))


def _candidates(
    site: Site, one: MentionSummary, asked: _Asked, verdicts: dict[str, MentionVerdict]
) -> Html:
    """The table, ordered as asked; while the network of a run is loaded it says that edges follow."""
    with_edges = [run for run in site.runs if run.has_edges]
    run = next((run for run in with_edges if run.name == asked.by), next(iter(with_edges), None))
    edges, why = (None, "") if run is None else _edges(site, run, one.row)
    by = asked.by if asked.by in verdicts else ""
    judged = Judged(
        verdicts=verdicts,
        order_urls={name: replace(asked, by=name).url(one) for name in ("", *verdicts)},
        ordered_by=by,
        edges_of=run.name if run else "",
        edges=edges,
    )
    waiting = {"data-pending": run is not None and edges is None and not why}
    note = why or (f"The network of {run.name} is being loaded; its edges follow." if run else "")
    return h(
        "section",
        {"id": "candidates"},
        waiting,
        h("h2", "Candidates"),
        h("p.note", {"role": "status"}, note) if edges is None and note else None,
        candidate_table(site, one, judged),
        _more(one, asked),
    )


def _edges(site: Site, run: Run, row: int) -> tuple[EdgeWeights | None, str]:
    """The edges, or why there are none to come; neither while they are computed."""
    try:
        return site.edges(run, row), ""
    except ModuleNotFoundError as error:
        return None, f'Edges need {error.name}: pip install "drin-fs[train]"'
    except DrinFsError as error:
        return None, f"No edges: {error.what}"


def _span(one: MentionSummary) -> tuple[int, int] | None:
    return (max(0, one.span[0]), max(0, *one.span)) if one.span else None


def _around(site: Site, row: int, query: MentionQuery) -> Html:
    """The way to the list this mention stands in, and to those before and behind it."""
    listed = list_mentions(site, query).rows
    here = np.flatnonzero(listed == row)
    if not len(here):  # opened by another way than that list
        query, listed, here = MentionQuery(), np.arange(len(site.store.mentions)), np.array([row])
    place, address = int(here[0]), query.encode()
    page = query.encode(page=place // PAGE_ROWS + 1)
    words = f"{count(place + 1)} of {count(len(listed))}"
    back = "the list" if query.narrowed else "all mentions"
    near = [
        _step(site, listed, place + shift, rel, address)
        for shift, rel in ((-1, "prev"), (1, "next"))
    ]
    return h(
        "nav.pager.top-pager",
        {"aria-label": "Mentions before and after"},
        h("a", {"href": with_query("/mentions", page), "rel": "up"}, f"↑ {back}"),
        h("span", words),
        near,
    )


def _step(site: Site, listed: np.ndarray, place: int, rel: str, address: str) -> Html:
    if not 0 <= place < len(listed):
        return step(None, rel)
    row = int(listed[place])
    return step(row_url("mentions", row, site.store.mentions.ids([row])[0], address), rel)


def _facts(site: Site, one: MentionSummary) -> Html:
    lines: list[tuple[str, Html | str | list[Html]]] = [("gold", _gold(one))]
    marks = [
        rank_mark(run.name, float(run.ranks[one.row])) for run in site.runs if run.ranked[one.row]
    ]
    lines += [("model", marks)] if marks else []
    if one.image_status:
        words = one.image_status + (f" · {one.image_path}" if one.image_path else "")
        lines.append(("picture", words))
    quiet = {"mention", "token_start", "token_end", "token_count", "span_empty", "thumbnail_size"}
    lines += [
        (name.replace("_", " "), h("bdi", str(value)))
        for name, value in one.values.items()
        if name not in quiet and value not in (None, "")
    ]
    if one.values.get("span_empty"):
        why = "the text was cut before the mention: its feature is that of [CLS]"
        lines.append(("span", badge("lost", "cut off", why)))
    tokens = one.values.get("token_count")
    if tokens is not None:
        first, end = one.values["token_start"] + 1, one.values["token_end"] + 1
        lines.append(("tokens", f"{tokens}; the mention is [{first}, {end})"))
    return facts(lines)


def _gold(one: MentionSummary) -> Html:
    if one.gold is None or one.gold.row is None:
        return badge("lost", "not in the entity table")
    link = row_link("entities", one.gold.row, one.gold.id or "", one.gold.title)
    if one.gold.rank is None:
        return join(link, " ", badge("lost", f"not among the {one.retrieved} candidates"))
    return join(link, " ", badge("quiet", f"candidate {one.gold.rank} of {one.retrieved}"))


def _figure(site: Site, row: int) -> Html:
    """The picture and the boxes on it; without a thumbnail the boxes alone would say nothing."""
    table, rows = site.store.mentions, np.array([row])
    shown = pictures(site, "mentions", rows, alt="The mention's picture")[0]
    found = boxes(table, row)
    if not have_thumbnails(table, rows)[0] or not found:
        return h("figure.big", h("div.frame", shown))
    switch = h("input", {"type": "checkbox", "class": "boxes-on", "checked": True})
    words = " ".join(f"{score:.2f}" for score, _ in found)
    return h(
        "figure.big",
        h("div.frame", shown, boxes_over(found)),
        h("figcaption", h("label.check", switch, f" {len(found)} detected: "), words),
    )


def _more(one: MentionSummary, asked: _Asked) -> Html | None:
    if one.retrieved <= FIRST:
        return None
    everything = asked.top == "all"
    words = f"Show the first {FIRST}" if everything else f"Show all {one.retrieved} candidates"
    return h("p", h("a", {"href": replace(asked, top="" if everything else "all").url(one)}, words))
