"""The nearest rows of a table, for people."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from cli.console import clean, count, plain_text
from cli.render_parts import LAYOUT_STYLE, beginning, grid, yielding
from featurestore.neighbours import Neighbourhood

_KIND = {"entities": "entity", "mentions": "mention"}


def neighbours_view(found: Neighbourhood) -> RenderableType:
    """The row, then a line for each neighbour, nearest first."""
    kind = _KIND[found.table]
    head = Text.assemble(f"neighbours of {kind} ", plain_text(found.id, "bold"))
    if found.title and found.title != found.id:
        head.append(f"  {clean(found.title)}")
    head.append(f"   row {count(found.row)}", "dim")
    compared = Text.assemble("by the cosine of ", (found.field, LAYOUT_STYLE["view"]))
    compared.append(f", exact, among {count(found.compared)} others", "dim")
    parts: list[RenderableType] = [head, compared]
    if found.also_a_mention:
        parts.append(Text("a mention has this id too: --field mentions/NAME shows its", "dim"))
    titles = any(near.title and near.title != near.id for near in found.neighbours)
    heads = ["title" if kind == "entity" else "mention"] if titles else []
    texts = any(near.text for near in found.neighbours)
    heads += ["description" if kind == "entity" else "sentence"] if texts else []
    table = grid("", "cosine", "id", right=("cosine",))
    for words in heads:
        table.add_column(words)
    for near in found.neighbours:
        cells = [yielding(clean(near.title or ""))] if titles else []
        cells += [beginning(near.text or "")] if texts else []
        table.add_row(f"{near.cosine:.4f}", plain_text(near.id), *cells)
    if not found.neighbours:
        return Group(*parts, Text(), Text("no other row has a direction to compare", "dim"))
    return Group(*parts, Text(), table)
