"""``/entity/ID``: one entity, who points at it, and whom it competes with."""

from __future__ import annotations

import numpy as np

from cli.console import count
from cli.web.frame import headline
from cli.web.html import Html, h, join
from cli.web.pages.mentions import mention_list
from cli.web.pages.statistics import statistics
from cli.web.parts import beginning, facts, row_link
from cli.web.pictures import pictures
from cli.web.site import Page, Parameters, Site
from featurestore.browse import Pointing, pointing_at
from featurestore.describe import EntitySummary, describe_entity
from featurestore.errors import DataError
from featurestore.neighbours import Neighbour, default_field
from featurestore.rivals import Standing

#: Mentions and competitors that are named.
_NAMED = 10


def entity(site: Site, row: int, given: Parameters) -> Page:
    pointing = pointing_at(site.store, row)
    one = describe_entity(site.store, row, pointing=pointing)
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
        _rivals(one.standing),
        _neighbours(site, row),
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
        ("gold of", f"{count(one.standing.gold_of)} mentions"),
        ("candidate of", f"{count(one.standing.candidate_of)} mentions"),
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


def _rivals(standing: Standing) -> Html | None:
    """The entities beside it in candidate lists."""
    if not standing.rivals:
        return None
    lines = [
        h(
            "li",
            row_link("entities", rival.row, rival.id, rival.title),
            h("span", count(rival.shared)),
        )
        for rival in standing.rivals
    ]
    words = "The entities that are most often in the same candidate lists, and in how many."
    return h("section", h("h2", "Competes with"), h("p.note", words), h("ol.names", lines))


def _neighbours(site: Site, row: int) -> Html:
    """The entities nearest to it; until they are found it says that they follow."""
    near, why = _near(site, row)
    waiting = near is None and not why
    note = why or ("Being compared with every entity; they follow." if waiting else "")
    lines = [
        h(
            "li",
            row_link("entities", other.row, other.id, other.title),
            h("span", f"{other.cosine:.3f}"),
        )
        for other in near or ()
    ]
    words = "" if near is None else f"By cosine of {default_field(site.store, 'entities')}."
    return h(
        "section",
        {"id": "neighbours", "data-pending": waiting},
        h("h2", "Nearest entities"),
        h("p.note", {"role": "status"}, note or words),
        h("ol.names", lines) if lines else None,
    )


def _near(site: Site, row: int) -> tuple[tuple[Neighbour, ...] | None, str]:
    """The neighbours, or why there are none; neither while they are searched for."""
    try:
        return site.neighbours(row), ""
    except DataError as error:
        return None, f"None: {error.what}."


def _titled(words: str, number: int) -> Html:
    return h("span", words, h("span.aside", count(number)))


def _rest(number: int) -> Html | None:
    left = number - _NAMED
    return h("p.note", f"and {count(left)} more") if left > 0 else None
