"""HTML elements. What is not an element is text, and is escaped: there is no other way to write one.

    h("p.note", {"id": "why"}, "5 < 6, says ", h("b", title))

Texts of a store come from anywhere: they pass :func:`cli.console.clean` too, so that characters which
turn the direction of a page, or which nobody sees, are written out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from typing import TypeAlias

from cli.console import clean


@dataclass(frozen=True, slots=True)
class Html:
    """A finished piece of a page. Made by :func:`h` and :func:`join` only."""

    text: str


#: What can stand in an element: elements, texts and numbers, none, or several of them.
Part: TypeAlias = "Html | str | int | float | Iterable[Part] | None"

#: Name → value; True writes the bare name, None and False leave the attribute out.
Attributes: TypeAlias = Mapping[str, "str | int | float | bool | None"]

#: Elements that have no content, and no end.
_VOID = frozenset({"br", "hr", "img", "input", "link", "meta", "wbr"})


def h(tag: str, *parts: Part | Attributes) -> Html:
    """An element.

    Args:
        tag: its name, with classes behind dots: ``td.number.gold``.
        parts: its attributes (a mapping) and its content, in any order.

    Raises:
        ValueError: a link that leaves this site.
    """
    name, *classes = tag.split(".")
    attributes = f' class="{" ".join(classes)}"' if classes else ""
    content: list[str] = []
    for part in parts:
        if isinstance(part, Mapping):
            attributes += "".join(_attribute(key, value) for key, value in part.items())
        else:
            content.append(_text(part))
    start = f"<{name}{attributes}>"
    return Html(start if name in _VOID else f"{start}{''.join(content)}</{name}>")


def join(*parts: Part) -> Html:
    """Pieces behind each other, without an element around them."""
    return Html(_text(parts))


def document(*parts: Part) -> str:
    """A whole page."""
    return "<!doctype html>\n" + h("html", {"lang": "en"}, *parts).text


def _attribute(name: str, value: str | int | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    if value is True:
        return f" {name}"
    text = str(value)
    if name in ("href", "src", "action", "formaction") and not _ours(text):
        raise ValueError(f"no address of this site: {text!r}")
    return f' {name}="{escape(text)}"'


def _ours(address: str) -> bool:
    """Whether an address stays here: ``//host`` would not."""
    return address.startswith(("/", "#", "?")) and not address.startswith(("//", "/\\"))


def _text(part: Part) -> str:
    if isinstance(part, Html):
        return part.text
    if isinstance(part, str):
        return escape(clean(part), quote=False)
    if part is None:
        return ""
    if isinstance(part, int | float):
        return str(part)
    return "".join(map(_text, part))
