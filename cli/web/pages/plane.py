"""``/map``: entities and mentions as points of a plane, and ``/map.json``, the points themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cli.console import count
from cli.web.frame import headline
from cli.web.html import Html, h, join
from cli.web.parts import beginning, entity_names, row_link, select
from cli.web.runs import pair
from cli.web.site import Page, Parameters, Site
from cli.web.static_files import static_url
from cli.web.urls import encode, row_url, with_query
from featurestore.plane import Plane, PlanePoints

#: Sides of the drawing, in its own units.
WIDTH, HEIGHT, MARGIN = 1000, 520, 14

#: Points of each table that the list below the map names.
_NAMED = 12


def plane(site: Site, given: Parameters) -> Page:
    found = site.plane()
    wrong = given.get("run", "")
    layers = _layers(site, found, wrong)
    body = join(
        headline("Map", _caption(found)),
        _form(site, wrong) if site.runs else None,
        h(
            "figure.map",
            {"data-map": with_query("/map.json", encode({"run": wrong}))},
            _drawing(layers, found),
            h(
                "figcaption",
                h("ul.legend", [_key(name, words, len(at)) for name, words, at in layers]),
            ),
            h("p.hover", {"role": "status", "data-map-status": True}),
        ),
        _list(site, found),
        h("script", {"src": static_url("map.js"), "defer": True}),
    )
    return Page(title="Map", section="/map", body=body)


def points_json(site: Site, given: Parameters) -> dict[str, Any]:
    """Every point as [x, y, group, words, address], in the units of the drawing."""
    found = site.plane()
    mentions, entities = found.mentions, found.entities
    at = {"mentions": scaled(found, mentions), "entities": scaled(found, entities)}
    wrong = _wrong(site, mentions.rows, given.get("run", ""))
    table = site.store.mentions
    ids = table.ids(mentions.rows)
    words = table.gather("mention" if "mention" in table else "sentence", mentions.rows)
    points = [
        [*xy, "wrong" if bad else "mention", beginning(text, 80), row_url("mentions", row, key)]
        for xy, bad, text, row, key in zip(
            at["mentions"].tolist(), wrong.tolist(), words, mentions.rows.tolist(), ids, strict=True
        )
    ]
    names = entity_names(site.store.entities, entities.rows)
    points += [
        [*xy, "entity", beginning(title or key, 80), row_url("entities", row, key)]
        for xy, row, (key, title) in zip(
            at["entities"].tolist(), entities.rows.tolist(), names, strict=True
        )
    ]
    return {"width": WIDTH, "height": HEIGHT, "points": points}


def _layers(site: Site, found: Plane, run: str) -> list[tuple[str, str, np.ndarray]]:
    """(class, words, points) of what is drawn, the lowest first."""
    wrong = _wrong(site, found.mentions.rows, run)
    at = scaled(found, found.mentions)
    layers = [
        ("entity", "entities", scaled(found, found.entities)),
        ("mention", "mentions", at[~wrong]),
    ]
    return layers + ([("wrong", f"mentions wrong in {run}", at[wrong])] if run else [])


def _wrong(site: Site, rows: np.ndarray, run: str) -> np.ndarray:
    if not run:
        return np.zeros(len(rows), bool)
    return pair(site.runs, run, run)[0].wrong[rows]


def scaled(found: Plane, part: PlanePoints) -> np.ndarray:
    """(n, 2) places in the drawing; both axes have one scale, so that distances compare."""
    every = np.concatenate([found.mentions.points, found.entities.points])
    if not len(every):
        return part.points
    low, high = every.min(axis=0), every.max(axis=0)
    room = np.array([WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN])
    spread = np.maximum(high - low, 1e-12)
    scale = float((room / spread).min())
    centred = (part.points - (low + high) / 2) * scale
    return np.round(centred * [1, -1] + np.array([WIDTH, HEIGHT]) / 2, 1)


def _drawing(layers: Sequence[tuple[str, str, np.ndarray]], found: Plane) -> Html:
    words = ", ".join(f"{count(len(at))} {name}" for _, name, at in layers)
    return h(
        "svg",
        {"viewBox": f"0 0 {WIDTH} {HEIGHT}", "role": "img", "aria-label": f"Map of {words}"},
        [h(f"path.dots.{kind}", {"d": dots(at)}) for kind, _, at in layers],
    )


def dots(at: np.ndarray) -> str:
    """A path of lines without length: with round ends each is a dot."""
    return "".join(f"M{x:g} {y:g}h0" for x, y in at.tolist())


def _key(kind: str, words: str, number: int) -> Html:
    return h("li", h("i", {"class": f"key {kind}"}), h("b", count(number)), f" {words}")


def points_of(found: Plane) -> str:
    """How many mentions and entities stand in a plane, of how many."""
    parts = []
    for name, part in (("mentions", found.mentions), ("entities", found.entities)):
        whole = len(part.rows) == part.of
        sampled = "" if whole else f" of {count(part.of)}, sampled with seed {found.seed}"
        parts.append(f"{count(len(part.rows))} {name}{sampled}")
    return "; ".join(parts)


def _caption(found: Plane) -> str:
    shares = " + ".join(f"{100 * share:.0f}" for share in found.explained)
    fields = " and ".join(dict.fromkeys(found.fields))
    return f"{points_of(found)}. Principal axes of {fields}, showing {shares} % of the variance."


def _form(site: Site, run: str) -> Html:
    runs = [("", "none"), *((run.name, run.name) for run in site.runs)]
    choice = select("run", "Mark what was wrong in", runs, run)
    return h("form.filters", {"action": "/map"}, choice, h("button", "Show"))


def _list(site: Site, found: Plane) -> Html:
    """Some of the points in words, for who does not see or point."""
    mentions, entities = found.mentions.rows[:_NAMED], found.entities.rows[:_NAMED]
    table = site.store.mentions
    words = table.gather("mention" if "mention" in table else "sentence", mentions)
    of_mentions = [
        row_link("mentions", row, key, beginning(text, 60))
        for row, key, text in zip(mentions.tolist(), table.ids(mentions), words, strict=True)
    ]
    names = entity_names(site.store.entities, entities)
    of_entities = [
        row_link("entities", row, key, title)
        for row, (key, title) in zip(entities.tolist(), names, strict=True)
    ]
    every = len(table) + len(site.store.entities)
    return h(
        "details",
        h("summary", "The map in words"),
        h("p", "Near points have similar texts. Some of the points, by row; ",
          h("a", {"href": "/mentions"}, "mentions"), " and ",
          h("a", {"href": "/entities"}, "entities"), f" list all {count(every)}."),
        h("div.columns", [h("ul.names", [h("li", link) for link in links])
                          for links in (of_mentions, of_entities)]),
    )  # fmt: skip
