"""Pages of what went wrong."""

from __future__ import annotations

from collections.abc import Sequence

from cli.web.frame import headline
from cli.web.html import Html, h, join
from cli.web.site import Page

_TITLES = {400: "This cannot be shown", 404: "Not found", 500: "Something is wrong"}


def problem(
    status: int, what: str, *, where: str = "", hint: str = "", near: Sequence[Html] = ()
) -> Page:
    """What was found, where, and what to do next.

    Args:
        near: links to what may have been meant; they replace the hint.
    """
    title = _TITLES[status]
    body = join(
        headline(title),
        h("p.about", what),
        h("p.note", h("code", where)) if where else None,
        h("p", "Nearest: ", near[0], [[", ", link] for link in near[1:]]) if near else h("p", hint),
        h("p", h("a", {"href": "/"}, "Overview"), " · ", h("a", {"href": "/mentions"}, "Mentions"),
          " · ", h("a", {"href": "/entities"}, "Entities")),
    )  # fmt: skip
    return Page(title=title, section="", body=body, status=status)
