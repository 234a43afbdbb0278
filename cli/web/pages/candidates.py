"""The candidates of a mention: picture, text, similarities, and what the runs made of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cli.console import figure
from cli.web.html import Html, Part, h
from cli.web.parts import badge, bar, beginning, row_link
from cli.web.pictures import pictures, placeholder
from cli.web.site import Site
from featurestore.describe import EntityLine, MentionSummary

#: Column → the similarity it shows, and what it compares.
_SIMILARITIES = (
    ("sim_image_text", "it", "the mention's picture and the entity's text"),
    ("sim_text_image", "ti", "the mention's text and the entity's picture"),
)


def candidate_table(site: Site, one: MentionSummary) -> Html:
    """A row a candidate, best first; the gold last where it was not retrieved."""
    stored = [column for column in _SIMILARITIES if column[0] in site.store.mentions]
    ranges = [_range(one.candidates, name) for name, _, _ in stored]
    heads = ["rank", "picture", "entity", *(["similarity"] if stored else [])]
    shown = _pictures(site, one.candidates)
    rows = []
    for line, image in zip(one.candidates, shown, strict=True):
        cells: list[tuple[str, Part]] = [
            ("rank", str(line.rank) if line.rank else "–"),
            ("image", image),
            ("entity", _entity(line)),
        ]
        if stored:
            cells.append(("edges", _similarities(line, stored, ranges)))
        kind = "tr.gold" if line.is_gold else "tr"
        rows.append(h(kind, {"role": "row"}, [h(f"td.{c}", {"role": "cell"}, v) for c, v in cells]))
    head = [h("th", {"scope": "col", "role": "columnheader"}, name) for name in heads]
    return h(
        "table.candidates",
        {"role": "table"},
        h("caption", _caption(stored)),
        h("thead", {"role": "rowgroup"}, h("tr", {"role": "row"}, head)),
        h("tbody", {"role": "rowgroup"}, rows),
    )


def _caption(stored: Sequence[tuple[str, str, str]]) -> Html | str:
    if not stored:
        return "Retrieved candidates, best first."
    meaning = [h("span", h("b", name), f" {words}") for _, name, words in stored]
    return h(
        "span",
        "CLIP similarity (100·cos) as stored: ",
        meaning[0],
        [[", ", part] for part in meaning[1:]],
        ". Bars run from the least to the most similar of these candidates.",
    )


def _entity(line: EntityLine) -> Part:
    if line.row is None:
        return h("span.below", "no entity")
    name = h("span.main", row_link("entities", line.row, line.id or "", line.title))
    mark = badge("right", "★ gold") if line.is_gold else None
    text = h("p.text", h("bdi", beginning(line.text))) if line.text else None
    return [name, " ", mark, text, h("p.below", line.id or "")]


def _range(lines: Sequence[EntityLine], name: str) -> tuple[float, float]:
    values = [getattr(line, name) for line in lines]
    known = [value for value in values if value is not None and np.isfinite(value)]
    return (min(known), max(known)) if known else (0.0, 0.0)


def _similarities(
    line: EntityLine,
    stored: Sequence[tuple[str, str, str]],
    ranges: Sequence[tuple[float, float]],
) -> Html:
    """A small bar each."""
    return h(
        "div.bars",
        [
            h("div", h("abbr", {"title": words}, name), bar(value, *ends, figure(value)))
            for (field, name, words), ends in zip(stored, ranges, strict=True)
            for value in [getattr(line, field)]
        ],
    )


def _pictures(site: Site, lines: Sequence[EntityLine]) -> list[Html]:
    """The picture of each candidate, read together."""
    rows = np.array([line.row for line in lines if line.row is not None], np.int64)
    shown = iter(pictures(site, "entities", rows))
    return [next(shown) if line.row is not None else placeholder("no entity") for line in lines]
