"""The map: entities and mentions as points of a plane, near ones alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cli.console import count
from cli.report_html.charts import named
from cli.report_html.report import Report, Section, note
from cli.web.html import Html, h, join
from cli.web.pages.plane import HEIGHT, WIDTH, dots, points_of, scaled
from cli.web.parts import beginning, entity_names
from featurestore.errors import FieldMissing
from featurestore.plane import Plane, sample_plane
from featurestore.umap_plane import FEWEST, umap_is_installed, umap_plane

#: Entities whose names stand beside the map (chosen here: two columns of names).
NAMED = 16

#: Points of the map by UMAP (chosen here: below 4,096 it compares all pairs, which takes a few seconds
#: and no half a minute of compilation).
UMAP_POINTS = 4000


def plane(report: Report) -> Section:
    try:
        found = sample_plane(report.store, seed=report.seed)
    except FieldMissing as error:
        return Section(
            key="map", title="Map", body=note(f"{error.what[:1].upper()}{error.what[1:]}.")
        )
    shares = " + ".join(f"{100 * share:.0f}" for share in found.explained)
    drawn = _figure(
        report, "pca", "Principal axes", f"They show {shares} % of the variance.", found
    )
    return Section(
        key="map", title="Map", body=join(h("p.below", _caption(found)), drawn, _umap(report))
    )


def _umap(report: Report) -> Html | None:
    if not umap_is_installed():
        return note("A second map, by UMAP, stands here where umap-learn is installed.")
    sampled = sample_plane(report.store, points=UMAP_POINTS, seed=report.seed)
    points = len(sampled.mentions.rows) + len(sampled.entities.rows)
    if points < FEWEST:
        return None
    with report.progress.stage("UMAP", points, "points") as stage:
        placed = umap_plane(report.store, sampled)
        stage.advance(points)
    words = f"Distances between groups mean little, neighbours much; seed {report.seed}."
    return _figure(report, "umap", "UMAP", words, placed)


def _caption(found: Plane) -> str:
    fields = " and ".join(dict.fromkeys(found.fields))
    return f"{points_of(found)}. Features: {fields}. Near points have similar texts or pictures."


def _figure(report: Report, key: str, title: str, words: str, found: Plane) -> Html:
    layers = _layers(report, found)
    described = ", ".join(f"{count(len(at))} {name}" for _, name, at in layers)
    named_rows, places = _landmarks(found)
    drawing = named(
        "svg",
        key,
        f"{title}: entities and mentions in a plane",
        f"{described}. {words}",
        {"viewBox": f"0 0 {WIDTH} {HEIGHT}"},
        [h(f"path.dots.{kind}", {"d": dots(at)}) for kind, _, at in layers],
        [_label(number, x, y) for number, (x, y) in enumerate(places.tolist(), 1)],
    )
    legend = [
        h("li", h("i", {"class": f"key {kind}"}), h("b", count(len(at))), " ", h("bdi", name))
        for kind, name, at in layers
    ]
    names = [
        h("li", h("bdi", beginning(name or key, 60)))
        for key, name in entity_names(report.store.entities, named_rows)
    ]
    return h(
        "figure.map",
        h("h3", title),
        drawing,
        h("figcaption", h("ul.legend", legend), note(words), h("ol.landmarks", names)),
    )


def _layers(report: Report, found: Plane) -> list[tuple[str, str, NDArray[np.float32]]]:
    """(class, words, points) of what is drawn, the lowest first: what the first run got wrong on top."""
    entities, mentions = scaled(found, found.entities), scaled(found, found.mentions)
    layers = [("entity", "entities", entities)]
    if not report.runs:
        return [*layers, ("mention", "mentions", mentions)]
    run = report.runs[0]
    wrong = run.wrong[found.mentions.rows]
    return [
        *layers,
        ("mention", "other mentions", mentions[~wrong]),
        ("wrong", f"mentions wrong in {run.name}", mentions[wrong]),
    ]


def _label(number: int, x: float, y: float) -> Html:
    """A ring around the point that a number names, and the number above it; below where that is out."""
    beside = y - 10 if y > 30 else y + 26
    return join(
        h("circle.landmark-ring", {"cx": f"{x:g}", "cy": f"{y:g}", "r": 6}),
        h("text.landmark", {"x": f"{x:g}", "y": f"{beside:g}"}, number),
    )


def _landmarks(found: Plane) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Some entities that lie far from each other: their rows, and their places in the drawing.

    Each is the one farthest from all before; the first is the farthest from the middle.
    """
    places = scaled(found, found.entities)
    if not len(places):
        return found.entities.rows, places
    chosen: list[int] = []
    distances = np.square(places - places.mean(axis=0)).sum(axis=1)
    while len(chosen) < min(NAMED, len(places)):
        chosen.append(int(distances.argmax()))
        away = np.square(places - places[chosen[-1]]).sum(axis=1)
        distances = away if len(chosen) == 1 else np.minimum(distances, away)
    order = sorted(chosen, key=lambda at: (float(places[at, 1]), float(places[at, 0])))
    return found.entities.rows[order], places[order]
