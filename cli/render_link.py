"""Answers for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.console import clean, count, figure, plain_text
from cli.render_parts import beginning, facts, grid, marked, yielding

if TYPE_CHECKING:
    from linker.link import Linked
    from linker.link_lines import LinkSummary

#: Word on a picture → what it says of the answers; see ``linker.link.Linked``.
_PICTURES = {
    "ok": "used",
    "not given": "none given: the default picture stands for it",
    "not read": "this model reads no pictures",
}


def linked_view(linked: Linked) -> RenderableType:
    """The sentence with the mention marked, what became of its picture, and the answers."""
    mention = linked.mention
    lines: list[tuple[str, RenderableType]] = [
        ("sentence", marked(mention.sentence, (mention.start, mention.end))),
        ("picture", _picture(linked.picture)),
        *(("note", Text(note, "yellow")) for note in linked.notes),
    ]
    if not linked.answers:
        return facts(lines)
    return Group(facts(lines), Text(), _answers(linked))


def summary_view(summary: LinkSummary, target: str) -> RenderableType:
    """What was written, and how fast."""
    rate = summary.mentions / summary.seconds if summary.seconds else 0.0
    pictures = ", ".join(f"{word} {count(number)}" for word, number in summary.pictures.items())
    lines: list[tuple[str, RenderableType]] = [
        ("file", plain_text(target, "cyan")),
        ("mentions", f"{count(summary.mentions)} in {summary.seconds:.1f} s ({rate:.0f} a second)"),
        ("pictures", pictures or "–"),
    ]
    if summary.without_candidates:
        lines.append(("without candidates", count(summary.without_candidates)))
    return facts(lines)


def _picture(word: str) -> Text:
    if word in _PICTURES:
        return Text(_PICTURES[word], "green" if word == "ok" else "dim")
    return Text(word, "red").append(": the default picture stands for it", "dim")


def _answers(linked: Linked) -> Table:
    """One line an answer; columns that no line fills are left out."""
    title = f"Best of {count(linked.candidates)} candidates"
    table = grid(title, "rank", "score", "before", "id", right=("rank", "score", "before"))
    titled = any(answer.title and answer.title != answer.id for answer in linked.answers)
    described = any(answer.description for answer in linked.answers)
    for name, shown in (("title", titled), ("description", described)):
        if shown:
            table.add_column(name)
    for answer in linked.answers:
        cells: list[RenderableType] = [
            str(answer.rank), figure(answer.score), str(answer.position), plain_text(answer.id)
        ]  # fmt: skip
        if titled:
            cells.append(yielding(clean(answer.title or "")))
        if described:
            cells.append(beginning(answer.description or ""))
        table.add_row(*cells)
    return table
