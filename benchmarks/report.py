"""What a benchmark finds: rows to compare, and targets that are met or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from cli.console import plain_text
from cli.render_parts import grid

#: One line of a table: column → what stands there, ready to print. Figures for programs are numbers.
Cell: TypeAlias = str | int | float | None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One contestant. ``ours`` is what the others are compared with."""

    name: str
    figures: Mapping[str, Cell]  # column → number, or words where there is none
    ours: bool = False


@dataclass(frozen=True, kw_only=True)
class Target:
    """What must be reached, as a ratio or an absolute bound.

    ``measured`` is None where it could not be measured; then ``why`` says why.
    """

    what: str
    bound: float
    measured: float | None
    unit: str = "×"
    at_least: bool = True  # False: at most
    why: str = ""

    @property
    def state(self) -> str:
        if self.measured is None:
            return "not measured"
        met = self.measured >= self.bound if self.at_least else self.measured <= self.bound
        return "PASS" if met else "short"


@dataclass(frozen=True, kw_only=True)
class Report:
    """The answer to one question."""

    question: str
    columns: Sequence[str]  # of ``Row.figures``, in order
    rows: Sequence[Row]
    targets: Sequence[Target] = ()
    conditions: Sequence[str] = ()  # what the figures hold for: shapes, threads, rounds
    left_out: Mapping[str, str] = field(default_factory=dict)  # alternative → why it is not here

    def as_json(self) -> dict[str, Any]:
        return {
            "question": self.question,
            "conditions": list(self.conditions),
            "rows": [
                {"name": row.name, "ours": row.ours, **dict(row.figures)} for row in self.rows
            ],
            "targets": [{**asdict(target), "state": target.state} for target in self.targets],
            "left_out": dict(self.left_out),
        }

    def views(self) -> list[RenderableType]:
        """What is printed: the table, what it holds for, and the targets."""
        parts: list[RenderableType] = [_table(self)]
        parts += [plain_text(line, "dim") for line in self.conditions]
        parts += [
            plain_text(f"left out: {name} ({why})", "dim") for name, why in self.left_out.items()
        ]
        if self.targets:
            parts += ["", _targets(self.targets)]
        return [*parts, ""]


def _table(report: Report) -> Table:
    table = grid(report.question, "", *report.columns, right=report.columns)
    for row in report.rows:
        style = "bold" if row.ours else ""
        cells = [plain_text(shown(row.figures.get(column)), style) for column in report.columns]
        table.add_row(plain_text(row.name, style), *cells)
    return table


def _targets(targets: Sequence[Target]) -> Table:
    table = grid("", "target", "bound", "measured", "", right=("bound", "measured"))
    for target in targets:
        sign = "≥" if target.at_least else "≤"
        bound = f"{sign} {shown(target.bound)} {target.unit}"
        found = "–" if target.measured is None else f"{shown(target.measured)} {target.unit}"
        style = {"PASS": "green", "short": "bold red"}.get(target.state, "yellow")
        state = Text(target.state, style)
        if target.why:
            state.append(f" ({target.why})", "dim")
        table.add_row(target.what, bound, found, state)
    return table


def shown(value: Cell) -> str:
    """A number with three figures, or the words as they are."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    if value == 0:
        return "0"
    magnitude = abs(value)
    decimals = 0 if magnitude >= 99.95 else 1 if magnitude >= 9.995 else 2
    if magnitude < 0.095:
        decimals = 3 if magnitude >= 0.0095 else 4
    return f"{value:,.{decimals}f}"
