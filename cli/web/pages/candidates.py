"""The candidates of a mention: picture, text, similarities, and what the runs made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from cli.console import figure
from cli.web.html import Html, Part, h, join
from cli.web.pages.edges import edge_cell, edge_words, static_cell, static_words
from cli.web.parts import badge, bar, beginning, row_link
from cli.web.pictures import pictures, placeholder
from cli.web.site import Site
from featurestore.describe import EntityLine, MentionSummary
from linker.verdicts import MentionVerdict

if TYPE_CHECKING:
    from linker.edge_weights import EdgeWeights


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What the runs made of a mention.

    ``verdicts``: name of a run → scores and ranks. ``order_urls``: the same names, and "" for the order
    of retrieval → the address of this page in that order. ``ordered_by``: one of these. ``edges``: of
    the run ``edges_of``.
    """

    verdicts: dict[str, MentionVerdict]
    order_urls: dict[str, str]
    ordered_by: str
    edges_of: str
    edges: EdgeWeights | None


def candidate_table(site: Site, one: MentionSummary, judged: Judged) -> Html:
    """A row a candidate, in the order that was asked for; the gold last where it is not among them."""
    columns = [*_plain_columns(site, one, judged)]
    columns += [_run_column(one.candidates, name, judged) for name in judged.verdicts]
    if judged.edges is not None:
        edges = judged.edges
        cells: list[Part] = [edge_cell(edges, line.rank) for line in one.candidates]
        columns.append(
            ("layers", f"edges of {judged.edges_of}", f"edges of {judged.edges_of}", cells)
        )
    head = [h("th", {"scope": "col", "role": "columnheader"}, words) for _, _, words, _ in columns]
    rows = [
        h(
            "tr.gold" if line.is_gold else "tr",
            {"role": "row"},
            [
                h(f"td.{kind}", {"role": "cell", "data-label": label}, cells[place])
                for kind, label, _, cells in columns
            ],
        )
        for place, line in enumerate(one.candidates)
    ]
    return h(
        "table.candidates",
        {"role": "table"},
        h("caption", _caption(site, judged)),
        h("thead", {"role": "rowgroup"}, h("tr", {"role": "row"}, head)),
        h("tbody", {"role": "rowgroup"}, rows),
    )


#: Class, name where there is no head, head, and a cell for each candidate.
_Column: TypeAlias = tuple[str, str, Part, Sequence[Part]]


def _plain_columns(site: Site, one: MentionSummary, judged: Judged) -> list[_Column]:
    """What the store says. The edges that it has are among those of a run, as its first layer's."""
    lines = one.candidates
    columns: list[_Column] = [
        ("rank", "", _order_link("rank", "", judged), [str(line.rank or "–") for line in lines]),
        ("image", "", h("span.unseen", "picture"), _pictures(site, lines)),
        ("entity", "", "entity", [_entity(line) for line in lines]),
    ]
    if judged.edges is None and any(line.edges for line in lines):
        columns.append(("edges", "edges", "edges", [static_cell(line.edges) for line in lines]))
    return columns


def _run_column(lines: Sequence[EntityLine], name: str, judged: Judged) -> _Column:
    """Rank and score that a run gave each candidate."""
    verdict = judged.verdicts[name]
    ends = _range(verdict.scores.tolist())
    cells: list[Part] = []
    for line in lines:
        if line.rank is None:
            cells.append("–")
            continue
        score, rank = float(verdict.scores[line.rank - 1]), float(verdict.ranks[line.rank - 1])
        place = h("b", f"{rank:g}") if np.isfinite(rank) else "–"
        cells.append(join(place, " ", bar(score, *ends, figure(score))))
    return ("score", name, _order_link(name, name, judged), cells)


def _order_link(words: str, order: str, judged: Judged) -> Part:
    """The head of a column that the candidates can be ordered by."""
    if not judged.verdicts:
        return words
    current = "true" if order == judged.ordered_by else None
    return h("a", {"href": judged.order_urls[order], "aria-current": current}, words)


def _caption(site: Site, judged: Judged) -> Html:
    """What the numbers are, and what the bars span."""
    runs = "runs: rank and score, bars from the lowest to the highest in this list"
    edges = static_words() if judged.edges is None else edge_words(judged.edges)
    return h(
        "span",
        h("span.line", runs if judged.verdicts else "as retrieved, best first"),
        h("span.line", edges),
    )


def _entity(line: EntityLine) -> Part:
    if line.row is None:
        return h("span.below", "no entity")
    name = h("span.main", row_link("entities", line.row, line.id or "", line.title))
    mark = badge("right", "★ gold") if line.is_gold else None
    text = h("p.text", h("bdi", beginning(line.text))) if line.text else None
    return [name, " ", mark, text, h("p.below", line.id or "")]


def _range(values: Sequence[float | None]) -> tuple[float, float]:
    """The lowest and the highest of some values that there are."""
    known = [value for value in values if value is not None and np.isfinite(value)]
    return (min(known), max(known)) if known else (0.0, 0.0)


def _pictures(site: Site, lines: Sequence[EntityLine]) -> list[Html]:
    """The picture of each candidate, read together."""
    rows = np.array([line.row for line in lines if line.row is not None], np.int64)
    shown = iter(pictures(site, "entities", rows))
    return [next(shown) if line.row is not None else placeholder("no entity") for line in lines]
