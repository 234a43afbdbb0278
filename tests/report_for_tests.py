"""Reads a report back: sections, tables, drawings."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = frozenset({"br", "hr", "img", "input", "link", "meta", "wbr"})


@dataclass
class Node:
    """An element: its name, attributes, and what stands in it in order."""

    tag: str
    attributes: dict[str, str | None]
    children: list[Node | str] = field(default_factory=list)

    def all(self, tag: str, css: str = "") -> list[Node]:
        """Every element of a name, and of a class where one is given, in the order of the page."""
        found = []
        for child in self.children:
            if isinstance(child, Node):
                classes = (child.attributes.get("class") or "").split()
                if child.tag == tag and (not css or css in classes):
                    found.append(child)
                found += child.all(tag, css)
        return found

    def every(self) -> list[Node]:
        """Every element below this one."""
        below = [child for child in self.children if isinstance(child, Node)]
        return [node for child in below for node in (child, *child.every())]

    @property
    def words(self) -> str:
        return "".join(child if isinstance(child, str) else child.words for child in self.children)

    def rows(self) -> list[list[str]]:
        """The cells of the body of a table."""
        return [[cell.words for cell in row.all("td")] for row in self.all("tr") if row.all("td")]

    def table(self, caption: str) -> list[list[str]]:
        """The rows of the table whose caption begins so."""
        for table in self.all("table"):
            if table.all("caption")[0].words.startswith(caption):
                return table.rows()
        raise AssertionError(f"no table {caption!r}")


class _Reader(HTMLParser):
    """Refuses what browsers would mend: ends without a beginning, and elements left open."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Node("", {})
        self._open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute twice: {attrs}"
        node = Node(tag, dict(attrs))
        self._open[-1].children.append(node)
        if tag not in _VOID:
            self._open.append(node)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        self._open[-1].children.append(data)

    def finished(self) -> Node:
        self.close()
        assert self._open == [self.root]
        return self.root


def read_report(text: str) -> Node:
    """The page as a tree."""
    reader = _Reader()
    reader.feed(text)
    return reader.finished()


def section(page: Node, key: str) -> Node:
    """The section with an id."""
    (found,) = [node for node in page.all("section") if node.attributes["id"] == key]
    return found


def points(path: Node) -> list[tuple[float, float]]:
    """The places that a path of moves and lines names."""
    drawn = (path.attributes["d"] or "").replace("h0", "").replace("L", "M")
    return [(float(x), float(y)) for x, y in (step.split() for step in drawn.split("M") if step)]
