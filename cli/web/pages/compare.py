"""``/compare?a=…&b=…``: two runs side by side, and the mentions they disagree on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cli.console import count, percent
from cli.web.frame import headline
from cli.web.html import Html, Part, h, join
from cli.web.pages.mentions import mention_lines
from cli.web.parts import grid, page_of, pager, select
from cli.web.query import Paged, page_number
from cli.web.runs import Run, pair
from cli.web.site import Page, Parameters, Site
from cli.web.urls import encode, with_query
from featurestore.errors import ConfigError

#: Which mentions → (first is right, second is right).
KINDS: dict[str, tuple[bool, bool]] = {
    "a": (True, False),
    "b": (False, True),
    "neither": (False, False),
    "both": (True, True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareQuery(Paged):
    """``show``: one of :data:`KINDS`, or empty: all that the runs disagree on."""

    a: str
    b: str
    split: str
    show: str

    def parameters(self) -> Mapping[str, str]:
        return {"a": self.a, "b": self.b, "split": self.split, "show": self.show}


def compare(site: Site, given: Parameters) -> Page:
    """The page of two runs; the first two where the address names none.

    Raises:
        ConfigError: fewer than two runs, an unknown one, or no split that both ranked.
    """
    if len(site.runs) < 2:
        raise ConfigError(
            "two runs are compared", hint="drin-fs inspect STORE --web --run RUN --run RUN"
        )
    query, first, second, splits = _asked(site, given)
    here = site.store.mentions.split(query.split)
    rows = np.arange(here.start, here.stop)
    rows = rows[first.ranked[rows] & second.ranked[rows]]
    right = (~first.wrong[rows], ~second.wrong[rows])
    counts = {
        kind: int(((right[0] == x) & (right[1] == y)).sum()) for kind, (x, y) in KINDS.items()
    }
    chosen = rows[_chosen(query.show, *right)]
    found = mention_lines(site, page_of(chosen, query.page))
    body = join(
        headline("Two runs"),
        _form(site, query, splits),
        _matrix(query, counts, len(rows)),
        h("h2", {"id": "list"}, _heading(query)),
        h("ol.rows", found) if found else h("p.empty", "No such mention."),
        pager("/compare", query, len(chosen), True) if found else None,
    )
    return Page(title=f"{first.name} and {second.name}", section="/compare", body=body)


def _asked(site: Site, given: Parameters) -> tuple[CompareQuery, Run, Run, list[str]]:
    """The query, its runs, and the splits that both ranked."""
    names = [run.name for run in site.runs]
    first, second = pair(site.runs, given.get("a") or names[0], given.get("b") or names[1])
    splits = [split for split in first.splits if split in second.splits]
    split = given.get("split") or (splits[-1] if splits else "")
    if split not in splits:
        raise ConfigError(
            f"{first.name} and {second.name} have no common ranks of {split or 'any split'}",
            hint=f"splits: {', '.join(splits) or 'none'}",
        )
    show = given.get("show", "")
    if show and show not in KINDS:
        raise ConfigError(f"show={show!r}", hint=f"one of {', '.join(KINDS)}")
    query = CompareQuery(
        a=first.name, b=second.name, split=split, show=show, page=page_number(given)
    )
    return query, first, second, splits


def _chosen(show: str, first: NDArray[np.bool_], second: NDArray[np.bool_]) -> NDArray[np.bool_]:
    if not show:
        chosen: NDArray[np.bool_] = first != second
        return chosen
    x, y = KINDS[show]
    return (first == x) & (second == y)


def _form(site: Site, query: CompareQuery, splits: list[str]) -> Html:
    runs = [(run.name, run.name) for run in site.runs]
    return h(
        "form.filters",
        {"action": "/compare"},
        select("a", "First run", runs, query.a),
        select("b", "Second run", runs, query.b),
        select("split", "Split", [(name, name) for name in splits], query.split),
        h("button", "Compare"),
    )


def _matrix(query: CompareQuery, counts: dict[str, int], total: int) -> Html:
    """How often both, one or none of them was right; each number leads to its mentions."""

    def cell(kind: str) -> Html:
        address = with_query("/compare", encode(replace(query, show=kind, page=1).parameters()))
        current = "true" if query.show == kind else None
        link = h("a", {"href": f"{address}#list", "aria-current": current}, count(counts[kind]))
        return join(link, " ", h("span.below", percent(counts[kind], total)))

    head = ["", f"{query.b} right", f"{query.b} wrong"]
    rows: list[list[Part]] = [
        [f"{query.a} right", cell("both"), cell("a")],
        [f"{query.a} wrong", cell("b"), cell("neither")],
    ]
    words = f"{count(total)} mentions of {query.split} that both ranked"
    return h("div.matrix", grid(words, head, rows, 2))


def _heading(query: CompareQuery) -> str:
    return {
        "": "They disagree",
        "a": f"Right in {query.a}, wrong in {query.b}",
        "b": f"Right in {query.b}, wrong in {query.a}",
        "both": "Both are right",
        "neither": "Both are wrong",
    }[query.show]
