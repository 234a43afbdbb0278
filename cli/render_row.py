"""One mention or one entity for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.console import clean, count, figure, plain_text
from cli.render_parts import LAYOUT_STYLE, beginning, facts, grid, marked, yielding
from cli.render_run import verdict_columns, verdict_line
from featurestore.describe import EntityLine, EntitySummary, FieldStatistics, MentionSummary
from featurestore.rivals import Standing

if TYPE_CHECKING:
    from linker.verdicts import MentionVerdict

_EDGES = (
    "tt ti it ii: cosine of the mention's text or picture and the entity's; ti and it by CLIP, ii of "
    "their objects"
)


def mention_view(
    mention: MentionSummary, verdicts: Sequence[MentionVerdict] = ()
) -> RenderableType:
    """The sentence with the mention marked, its candidates, and the numbers of its features.

    Args:
        verdicts: of runs on this mention; each adds a line, and the columns of score and rank.
    """
    where = f"row {count(mention.row)}" + (f" of {mention.split}" if mention.split else "")
    title = Text.assemble("mention ", plain_text(mention.id, "bold"), (f"   {clean(where)}", "dim"))
    values = {name: value for name, value in mention.values.items() if name != "mention"}
    lines = [
        ("sentence", marked(mention.sentence, mention.span)),
        ("gold", _gold(mention)),
        *_picture(mention.image_path, mention.image_status),
        *(verdict_line(verdict, mention) for verdict in verdicts),
        *_values(values),
    ]
    table = _candidates(mention, verdicts)
    parts: list[RenderableType] = [title, Text(), facts(lines), Text(), table]
    if any(line.edges for line in mention.candidates) and len(verdicts) < 2:
        parts.append(Text(_EDGES, "dim"))
    return Group(*parts, Text(), _statistics(mention.statistics))


def entity_view(entity: EntitySummary) -> RenderableType:
    """Title and texts, who points at the entity, and the numbers of its features."""
    title = Text.assemble("entity ", plain_text(entity.id, "bold"))
    title.append(f"   row {count(entity.row)}", "dim")
    lines: list[tuple[str, RenderableType]] = [
        (name, plain_text(value))
        for name, value in (
            ("title", entity.title),
            ("description", entity.description),
            ("text", entity.text),
        )
        if value
    ]
    lines += _picture(entity.image_path, entity.image_status)
    standing = entity.standing
    lines.append(("gold of", plain_text(_mentions(standing.gold_of, standing.gold_examples))))
    lines.append(("candidate of", plain_text(_mentions(standing.candidate_of))))
    lines += [("competes with", _rivals(standing))] if standing.rivals else []
    lines += _values(entity.values)
    return Group(title, Text(), facts(lines), Text(), _statistics(entity.statistics))


def _mentions(number: int, examples: Sequence[str] = ()) -> str:
    words = f"{count(number)} mention" + ("" if number == 1 else "s")
    if not examples:
        return words
    more = ", …" if number > len(examples) else ""
    return f"{words}: {', '.join(examples)}{more}"


def _rivals(standing: Standing) -> Text:
    """The entities that are most often in the same candidate lists, one a line."""
    lines = (
        f"{clean(rival.id)}  {clean(rival.title or '')}  in {count(rival.shared)} of the lists"
        for rival in standing.rivals
    )
    return Text("\n".join(lines))


def _gold(mention: MentionSummary) -> Text:
    if mention.gold is None:
        return Text("not in the entity table", "red")
    text = plain_text(mention.gold.id, "bold green")
    if mention.gold.title and mention.gold.title != mention.gold.id:
        text.append(f"  {clean(mention.gold.title)}")
    if mention.answer < mention.retrieved:
        return text.append(f"   rank {mention.answer + 1} of {mention.retrieved}", "dim")
    return text.append(f"   not among the {mention.retrieved} candidates", "red")


def _picture(path: str | None, status: str | None) -> Iterator[tuple[str, RenderableType]]:
    if not path and status in (None, "unknown"):
        return
    text = plain_text(path) if path else Text("no file known", "dim")
    if status == "ok":
        text.append("   ok", "green")
    elif status and status != "unknown":
        text.append(f"   {status}", "red").append(": the default picture stands for it", "dim")
    yield "picture", text


def _values(values: dict[str, Any]) -> Iterator[tuple[str, RenderableType]]:
    words = [
        f"{name} {value}"
        for name, value in values.items()
        if value != "" and name != "thumbnail_size"
    ]
    if words:
        yield "values", plain_text(" · ".join(words))


def _candidates(mention: MentionSummary, verdicts: Sequence[MentionVerdict]) -> Table:
    """One line a candidate; columns that no line fills are left out."""
    lines = mention.candidates
    order: Sequence[int] = range(mention.retrieved)
    title, place = "Candidates", "rank"
    if verdicts:
        order = verdicts[0].order
        title, place = f"Candidates, best of {clean(verdicts[0].name)} first", "listed"
    table = grid(title, place, "", "id", right=(place,))
    cells: list[Callable[[EntityLine], RenderableType]] = [
        lambda line: str(line.rank) if line.rank else "–",
        lambda line: "★" if line.is_gold else " ",
        lambda line: plain_text("(empty place)" if line.id is None else line.id),
    ]
    if any(line.title and line.title != line.id for line in lines):
        table.add_column("title")
        cells.append(lambda line: yielding(clean(line.title or "")))
    for verdict in verdicts:
        for head, cell in verdict_columns(verdict):
            table.add_column(head, justify="right", no_wrap=True)
            cells.append(cell)
    for name in lines[0].edges if lines and len(verdicts) < 2 else ():
        table.add_column(name, justify="right", no_wrap=True)
        cells.append(partial(_edge, name))
    if any(line.text for line in lines) and len(verdicts) < 2:  # else titles have no room
        table.add_column("description")
        cells.append(lambda line: beginning(line.text or ""))
    for number, line in enumerate(lines):
        if line.is_gold and (line.rank is None or order[number] != line.rank - 1):
            table.add_section()  # the gold stands further down, or was not retrieved
        table.add_row(*(cell(line) for cell in cells), style="green" if line.is_gold else "")
    return table


def _edge(name: str, line: EntityLine) -> str:
    value = line.edges[name]
    return "–" if value is None else f"{round(value, 2) + 0:.2f}"  # no -0.00


def _statistics(fields: Sequence[FieldStatistics]) -> Table:
    names = ("shape", "mean", "std", "min", "max", "norm", "zero")
    table = grid("Fields of this row", "field", *names, right=names)
    for field in fields:
        zeros = "–" if field.zeros is None else f"{100 * field.zeros:.0f} %"
        numbers = (field.mean, field.std, field.minimum, field.maximum, field.norm)
        table.add_row(
            Text(field.field, LAYOUT_STYLE[field.layout]),
            "×".join(map(str, field.shape)),
            *map(figure, numbers),
            zeros,
        )
    return table
