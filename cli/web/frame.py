"""What stands around every page."""

from __future__ import annotations

from cli.console import size
from cli.web.html import Html, document, h, join
from cli.web.site import Page, Site
from cli.web.static_files import static_url

_SECTIONS = (
    ("/", "Overview"),
    ("/mentions", "Mentions"),
    ("/entities", "Entities"),
    ("/map", "Map"),
    ("/compare", "Compare"),
)

#: Key → what it does; ``static/app.js`` does it.
_KEYS = (
    ("/", "search"),
    ("j  k", "next and previous entry of a list"),
    ("n  p", "next and previous page, or mention"),
    ("g o", "overview"),
    ("g m", "mentions"),
    ("g e", "entities"),
    ("?", "these keys"),
)


def framed(site: Site, page: Page) -> str:
    """The whole text of a page."""
    dataset = site.store.dataset
    return document(
        h(
            "head",
            h("meta", {"charset": "utf-8"}),
            h("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
            h("meta", {"name": "color-scheme", "content": "light dark"}),
            h("title", f"{page.title} · {dataset}" if page.title != dataset else dataset),
            h("link", {"rel": "icon", "href": static_url("icon.svg"), "type": "image/svg+xml"}),
            h("link", {"rel": "stylesheet", "href": static_url("style.css")}),
            h("script", {"src": static_url("app.js"), "defer": True}),
        ),
        h(
            "body",
            h("a.skip", {"href": "#main"}, "Skip to content"),
            _header(site, page.section),
            h("main", {"id": "main", "tabindex": -1}, page.body),
            _footer(site),
            _keys(),
        ),
    )


def _header(site: Site, section: str) -> Html:
    links = [
        h("a", {"href": address, "aria-current": "page" if address == section else None}, name)
        for address, name in _SECTIONS
        if address != "/compare" or len(site.runs) > 1
    ]
    brand = h("a.brand", {"href": "/"}, h("span", "drin-fs"), " ", h("bdi", site.store.dataset))
    return h("header.top", brand, h("nav", {"aria-label": "Pages"}, links))


def _footer(site: Site) -> Html:
    return h(
        "footer",
        h("span", h("bdi", site.store.path.name), f" · {size(site.store.file_bytes)}"),
        h("button.plain", {"type": "button", "data-keys": True, "hidden": True}, "Keyboard keys"),
    )


def _keys() -> Html:
    lines = [
        h("div", h("dt", [h("kbd", key) for key in keys.split()]), h("dd", words))
        for keys, words in _KEYS
    ]
    switch = h("input", {"type": "checkbox", "data-keys-on": True, "checked": True})
    return h(
        "dialog",
        {"id": "keys", "aria-labelledby": "keys-title"},
        h("h2", {"id": "keys-title"}, "Keyboard"),
        h("dl.keys", lines),
        h("label.check", switch, " Use single keys"),
        h("form", {"method": "dialog"}, h("button", "Close")),
    )


def headline(title: str, *below: Html | str) -> Html:
    """The heading of a page, and a line below it."""
    return join(h("h1", h("bdi", title)), h("p.below", below) if below else None)
