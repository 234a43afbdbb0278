"""What the pages of mentions and of entities share: a form, the number found, a page of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cli.console import count
from cli.web.frame import headline
from cli.web.html import Html, Part, h, join
from cli.web.parts import page_of, pager
from cli.web.query import Listed, Paged
from cli.web.site import Page


def listing(
    one: str,
    many: str,
    *,
    form: Html,
    listed: Listed,
    query: Paged,
    lines: Callable[[np.ndarray], Part],
) -> Page:
    """The page at ``/many``.

    Args:
        lines: what is shown of the rows of a page.
    """
    path, title, total = f"/{many}", many.capitalize(), len(listed.rows)
    of = count(total) if listed.complete else f"more than {count(total)}"
    nothing = h("p.empty", f"No {one} is like this. ", h("a", {"href": path}, "Show all"))
    found = h("ol.rows", lines(page_of(listed.rows, query.page))) if total else nothing
    body = join(
        headline(title),
        form,
        h(
            "div",
            {"id": "results", "aria-busy": "false"},
            h("p.total", {"role": "status"}, h("b", of), f" {many}"),
            found,
            pager(path, query, total, listed.complete) if total else None,
        ),
    )
    return Page(title=title, section=path, body=body)
