"""What a run got wrong, for people: how much of it for which reason, and the surest mistakes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.console import clean, count, figure, percent, plain_text
from cli.render_parts import facts, grid, marked
from linker.mistakes import REASONS, SHARED_LACK

if TYPE_CHECKING:
    from linker.mistakes import Answer, Mistake, MistakeGroup, Mistakes

_ONCE = "A mistake counts once, under the first reason that holds."

#: Characters of a sentence that are shown before and behind the mention (chosen here: two lines of a
#: terminal).
_AROUND = 60


def mistakes_view(found: Mistakes) -> RenderableType:
    """Everything ``drin-fs inspect STORE --errors RUN`` shows."""
    title = Text(f"{count(found.wrong)} of {count(found.mentions)} mentions wrong", "bold")
    title.append(f" in {clean(found.split)} ({percent(found.wrong, found.mentions)})", "not bold")
    run = plain_text(found.run, "cyan")
    first = "" if found.candidates is None else f"first {found.candidates} candidates, "
    conditions = f"   {found.model}, {first}protocol {found.protocol}, ties {found.tie_rule}"
    run.append(clean(conditions), "dim")
    parts: list[RenderableType] = [title, run]
    if found.groups:
        parts += [Text(), _groups(found), Text(_ONCE, "dim")]
        if not all(group.count for group in found.groups):
            parts.append(Text(SHARED_LACK, "dim"))
    parts += [
        Text(f"not known here: {REASONS[reason]} (the store has no {fields})", "dim")
        for reason, fields in found.not_known.items()
    ]
    parts += [part for group in found.groups for part in _group(group)]
    return Group(*parts)


def _groups(found: Mistakes) -> Table:
    names = ("mistakes", "share", "holds for")
    table = grid("Why", "reason", *names, right=names)
    for group in found.groups:
        share = percent(group.count, found.wrong)
        table.add_row(Text(group.words), count(group.count), share, count(group.holds))
    return table


def _group(group: MistakeGroup) -> list[RenderableType]:
    if not group.mistakes:
        return []
    shown = "the surest" if len(group.mistakes) < group.count else "all"
    head = Text(f"\n{group.words}", "bold").append(
        f"   {shown} {count(len(group.mistakes))} of {count(group.count)}", "dim not bold"
    )
    return [head, *(_mistake(mistake) for mistake in group.mistakes)]


def _mistake(mistake: Mistake) -> RenderableType:
    lines: list[tuple[str, RenderableType]] = [
        ("sentence", _excerpt(mistake)),
        ("gold", _entity(mistake.gold, "green", _rank(mistake), nobody="not in the entity table")),
    ]
    if mistake.taken is not None:
        margin = "" if mistake.margin is None else f"margin {figure(mistake.margin)}"
        lines.append(("taken", _entity(mistake.taken, "red", margin, nobody="(empty place)")))
    if len(mistake.reasons) > 1:
        lines.append(
            ("also", Text(" · ".join(REASONS[reason] for reason in mistake.reasons[1:]), "dim"))
        )
    title = Text.assemble("mention ", plain_text(mistake.mention, "bold"))
    return Group(title.append(f"   row {count(mistake.row)}", "dim"), facts(lines))


def _rank(mistake: Mistake) -> str:
    return "" if mistake.rank is None else f"rank {mistake.rank:g}"


def _entity(answer: Answer, style: str, more: str, *, nobody: str) -> Text:
    if answer.row is None:
        text = Text(nobody, style)
    else:
        text = plain_text(answer.id, style)
        if answer.title and answer.title != answer.id:
            text.append(f"  {clean(answer.title)}")
    if answer.score is not None:
        text.append(f"   score {figure(answer.score)}", "dim")
    return text.append(f"   {more}" if more else "", "dim")


def _excerpt(mistake: Mistake) -> Text:
    """The sentence around the mention, or its beginning where nobody knows where that stands."""
    start, end = mistake.span or (0, 0)
    end = min(end, start + 2 * _AROUND)
    first = max(0, start - _AROUND)
    last = (end if mistake.span else _AROUND) + _AROUND
    cut = mistake.sentence[first:last]
    shown = marked(cut, (start - first, end - first) if mistake.span else None)
    return Text.assemble("…" if first else "", shown, "…" if last < len(mistake.sentence) else "")
