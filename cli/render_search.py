"""What a search found, for people."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.console import clean, count, plain_text
from cli.render_parts import beginning, grid, yielding
from featurestore.search import SearchHit, SearchResult

#: Characters that are shown before what was found, and after it where no terminal cuts the line.
_BEFORE, _AFTER = 20, 140

_ONE = {"entities": "entity", "mentions": "mention"}


def search_view(results: Mapping[str, SearchResult]) -> RenderableType:
    """Of each table, how many rows contain the text, and the page of them that was asked for."""
    parts: list[RenderableType] = []
    for name, found in results.items():
        least = "at least " if found.at_least else ""
        rows = _ONE[name] if found.total == 1 else name
        words = f" is in {least}{count(found.total)} {rows}"
        parts += [Text()] if parts else []
        parts.append(Text.assemble(plain_text(found.text, "bold"), words))
        if found.hits:
            parts += [Text(), _hits(found), Text(_place(found), "dim")]
    return Group(*parts)


def _place(found: SearchResult) -> str:
    first, last = found.offset + 1, found.offset + len(found.hits)
    more = f"; --skip {last} shows further ones" if last < found.total or found.at_least else ""
    return f"{count(first)} … {count(last)} of them, best first{more}"


def _hits(found: SearchResult) -> Table:
    entities = found.hits[0].table == "entities"
    table = grid("", "id")
    table.add_column("title" if entities else "mention")
    table.add_column("found in", no_wrap=True)
    table.add_column("description" if entities else "sentence")
    for hit in found.hits:
        field = hit.field if hit.match == "within" else f"{hit.field}, {_MATCH[hit.match]}"
        table.add_row(_cell(hit, hit.id), _cell(hit, hit.title), field, _cell(hit, hit.about))
    return table


#: How a name matches, in words.
_MATCH = {"exact": "all of it", "start": "its start", "word": "a word"}


def _cell(hit: SearchHit, text: str | None) -> Text:
    """A text; what was found is marked, where it was found in this one, and stands near the start."""
    if text != hit.text:
        return beginning(text or "")
    start, end = hit.span
    begin = max(0, start - _BEFORE)
    cell = yielding(("…" if begin else "") + clean(text[begin:start]))
    cell.append(clean(text[start:end]), "bold reverse")
    after = clean(text[end : end + _AFTER])
    return cell.append(after + ("…" if len(text) > end + _AFTER else ""))
