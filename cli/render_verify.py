"""What ``drin-fs verify`` prints."""

from __future__ import annotations

from rich.console import RenderableType
from rich.text import Text

from cli.console import clean, plain_text, size
from cli.render_parts import grid
from featurestore.verify import Verification

#: Level → what was looked at, in words.
_LOOKED_AT = {
    "quick": "fields, texts, ids, candidates and spans; not the values of features",
    "normal": "fields, texts, ids, candidates, spans, and every value of the views",
    "full": "fields, texts, ids, candidates, spans, every value of the views, and every byte",
}


def verification_view(found: Verification) -> list[RenderableType]:
    """One line if the store is sound, otherwise a table of what is not."""
    rows = f"{found.rows['mentions']:,} mentions, {found.rows['entities']:,} entities"
    compared = f"; {size(found.bytes_compared)} compared" if found.bytes_compared else ""
    looked = plain_text(f"looked at {_LOOKED_AT[found.level]}{compared}", "dim")
    if not found.problems:
        name = Text.assemble(plain_text(found.store), ": ", ("sound", "bold green"), f" ({rows})")
        content = f"content {found.content}: equal for stores of the same bytes in every field"
        return [name, looked, *([plain_text(content, "dim")] if found.content else [])]
    count = len(found.problems)
    shards = any(problem.file for problem in found.problems)
    table = grid("", *["shard"] * shards, "field", "row", "what is wrong", right=["row"])
    for problem in found.problems:
        row = "" if problem.row is None else f"{problem.row:,}"
        shard = [clean(problem.file)] * shards
        table.add_row(*shard, clean(problem.path), row, plain_text(problem.what))
    problems = f"{count} problem{'s' if count > 1 else ''}"
    head = Text.assemble(plain_text(found.store), ": ", (problems, "bold red"), f" ({rows})")
    return [head, table, looked]
