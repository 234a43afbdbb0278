"""``/entity/ID``: one entity, who points at it, and whom it competes with."""

from __future__ import annotations

import numpy as np

from cli.console import count
from cli.web.frame import headline
from cli.web.html import Html, h, join
from cli.web.pages.mentions import mention_list
from cli.web.pages.statistics import statistics
from cli.web.parts import beginning, entity_names, facts, row_link
from cli.web.pictures import pictures
from cli.web.site import Page, Parameters, Site
from featurestore.browse import Pointing, pointing_at
from featurestore.describe import EntitySummary, describe_entity

#: Mentions and competitors that are named.
_NAMED = 10


def entity(site: Site, row: int, given: Parameters) -> Page:
    one, pointing = describe_entity(site.store, row), pointing_at(site.store, row)
    title = one.title or one.id
    body = join(
        headline(beginning(title, 200), h("span", f"{one.id} · row {count(row)}")),
        h(
            "div.record",
            h("div", _texts(one), _facts(one)),
            h("figure.big", h("div.frame", pictures(site, "entities", np.array([row]),
                                                   alt="The entity's picture")[0])),
        ),
        _golds(site, pointing),
        _competitors(site, pointing),
        _listed(site, pointing),
        statistics(one.statistics),
    )  # fmt: skip
    return Page(title=beginning(f"{title} ({one.id})", 80), section="/entities", body=body)


def _texts(one: EntitySummary) -> Html:
    """What is known of the entity, and what was encoded where that is something else."""
    about = one.description or one.text or ""
    other = one.text if one.text and one.text != about else None
    return join(
        h("p.about", h("bdi", about or "No description.")),
        h("details", h("summary", "The text that was encoded"), h("p", h("bdi", other)))
        if other
        else None,
    )


def _facts(one: EntitySummary) -> Html:
    lines: list[tuple[str, Html | str]] = [
        ("gold of", f"{count(one.gold_of)} mentions"),
        ("candidate of", f"{count(one.candidate_of)} mentions"),
    ]
    if one.image_status:
        words = one.image_status + (f" · {one.image_path}" if one.image_path else "")
        lines.append(("picture", words))
    if one.values.get("token_count") is not None:
        lines.append(("tokens", str(one.values["token_count"])))
    return facts(lines)


def _golds(site: Site, pointing: Pointing) -> Html:
    rows = pointing.gold_of
    shown = mention_list(site, rows[:_NAMED]) if len(rows) else h("p.empty", "No mention means it.")
    return h("section", h("h2", _titled("Mentions of it", len(rows))), shown, _rest(len(rows)))


def _listed(site: Site, pointing: Pointing) -> Html | None:
    rows = pointing.candidate_of
    if not len(rows):
        return None
    heading = h("h2", _titled("Candidate of other mentions", len(rows)))
    return h("section", heading, mention_list(site, rows[:_NAMED]), _rest(len(rows)))


def _competitors(site: Site, pointing: Pointing) -> Html | None:
    """The golds of the mentions that list it, most frequent first."""
    named = dict(list(pointing.golds.items())[:_NAMED])
    if not named:
        return None
    names = entity_names(site.store.entities, list(named))
    lines = [
        h("li", row_link("entities", row, key, title), h("span", f"{count(number)} ×"))
        for (row, number), (key, title) in zip(named.items(), names, strict=True)
    ]
    return h(
        "section",
        h("h2", _titled("Competes with", len(pointing.golds))),
        h("p.note", "Golds of the mentions that list this entity as a candidate, and how often."),
        h("ol.names", lines),
        _rest(len(pointing.golds)),
    )


def _titled(words: str, number: int) -> Html:
    return h("span", words, h("span.aside", count(number)))


def _rest(number: int) -> Html | None:
    left = number - _NAMED
    return h("p.note", f"and {count(left)} more") if left > 0 else None
