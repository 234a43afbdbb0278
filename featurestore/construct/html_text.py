"""The words of a piece of HTML, such as the author of a picture."""

from __future__ import annotations

from html.parser import HTMLParser

#: Elements whose content is nothing to read.
_SILENT = ("style", "script")

#: Characters that are kept. Chosen here: authors' names with their affiliations are shorter.
LONGEST = 500


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._silent += tag in _SILENT
        if tag in ("br", "p", "div", "li", "td"):
            self.pieces.append(" ")

    def handle_endtag(self, tag: str) -> None:
        self._silent = max(0, self._silent - (tag in _SILENT))

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.pieces.append(data)


def text_of_html(html: str) -> str:
    """The text between the tags in one line, at most ``LONGEST`` characters; "" of nothing."""
    if "<" not in html and "&" not in html:
        return " ".join(html.split())[:LONGEST]
    words = _Words()
    words.feed(html)
    words.close()
    return " ".join("".join(words.pieces).split())[:LONGEST]
