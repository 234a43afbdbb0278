"""What one field holds, for people: a column for all rows and each split, and histograms."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import TypeVar

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from cli.console import clean, count, figure, percent, plain_text, size
from cli.render_parts import LAYOUT_STYLE, bar, beginning, facts, grid, sparkline
from featurestore.field_report import FeaturePart, FieldReport
from featurestore.field_texts import TextPart
from featurestore.field_values import LISTED, ValuePart
from featurestore.histogram import Histogram

_Part = TypeVar("_Part", FeaturePart, ValuePart, TextPart)

#: Characters of the longest bar, and the width from which on two histograms stand side by side.
_BAR, _SIDE_BY_SIDE = 24, 110

#: The figures of one part → cells; the name of the line before them.
_Lines = list[tuple[str, Callable[[_Part], str | Text]]]


def field_view(report: FieldReport) -> RenderableType:
    """Everything ``drin-fs inspect STORE --field`` shows."""
    parts: list[RenderableType] = [*_header(report), Text()]
    features = [part for part in report.parts if isinstance(part, FeaturePart)]
    values = [part for part in report.parts if isinstance(part, ValuePart)]
    texts = [part for part in report.parts if isinstance(part, TextPart)]
    if features:
        parts += [_figures(features, _feature_lines(features)), *_feature_notes(features, report)]
    if values:
        parts += [_figures(values, _value_lines()), Text(), *_common(values)]
        if values[0].distinct > LISTED:
            parts += _histograms([("values", values[0].histogram)])
    if texts:
        parts += [_figures(texts, _text_lines()), *_repeated(texts[0])]
        parts += _histograms([("characters", texts[0].histogram)])
    return Group(*parts)


def _header(report: FieldReport) -> Iterator[RenderableType]:
    shape = "×".join(map(count, report.shape))
    words = f"   {report.layout} · {report.dtype} · {shape}"
    yield Text.assemble((report.path, f"bold {LAYOUT_STYLE[report.layout]}"), (words, "dim"))
    yield Text(
        report.doc if report.unit in ("feature", "text") else f"{report.doc} ({report.unit})"
    )


def _figures(parts: Sequence[_Part], lines: _Lines[_Part]) -> Table:
    """A line a figure, a column a part."""
    names = [part.name for part in parts]
    table = grid("", "", *map(clean, names), right=names)
    for name, cell in lines:
        table.add_row(Text(name, "dim"), *(cell(part) for part in parts))
    return table


def _bad(number: int) -> Text:
    return Text(count(number), "red" if number else "")


def _feature_lines(parts: Sequence[FeaturePart]) -> _Lines[FeaturePart]:
    lines: _Lines[FeaturePart] = [
        ("rows", lambda p: count(p.rows)),
        ("rows read", lambda p: count(p.rows_read)),
        ("all zero", lambda p: _bad(p.zero_rows)),
        ("with NaN", lambda p: _bad(p.nan_rows)),
        ("with infinity", lambda p: _bad(p.infinite_rows)),
        ("equal to an earlier", lambda p: count(p.duplicate_rows)),
        ("value mean", lambda p: figure(p.mean)),
        ("  std", lambda p: figure(p.std)),
        ("  min", lambda p: figure(p.minimum)),
        *((f"  {q}", _quantile(q)) for q in parts[0].quantiles),
        ("  max", lambda p: figure(p.maximum)),
        ("  histogram", lambda p: Text(sparkline(p.histogram), "blue")),
    ]
    if all(part.rows_read == part.rows for part in parts):
        del lines[1]
    return lines + (_norm_lines() if parts[0].norms else [])


def _quantile(name: str) -> Callable[[FeaturePart | ValuePart | TextPart], str]:
    return lambda part: figure(part.quantiles.get(name))


def _norm_lines() -> _Lines[FeaturePart]:
    return [
        ("norm mean", lambda p: figure(p.norms.mean if p.norms else None)),
        ("  std", lambda p: figure(p.norms.std if p.norms else None)),
        ("  min", lambda p: figure(p.norms.minimum if p.norms else None)),
        ("  max", lambda p: figure(p.norms.maximum if p.norms else None)),
        ("  histogram", lambda p: Text(sparkline(p.norms.histogram if p.norms else None), "blue")),
        ("vectors", lambda p: count(p.norms.vectors if p.norms else 0)),
        ("  of length 0", lambda p: count(p.norms.zeros if p.norms else 0)),
        ("effective rank", _effective_rank),
        ("  at most", lambda p: count(p.rank.bound if p.rank else 0)),
    ]


def _effective_rank(part: FeaturePart) -> str:
    if part.rank is None or part.rank.effective is None:
        return "–"
    return f"{part.rank.effective:.1f}"


def _feature_notes(parts: Sequence[FeaturePart], report: FieldReport) -> Iterator[RenderableType]:
    whole = parts[0]
    examples = (
        ("all zero", whole.zero_examples),
        ("not finite", whole.not_finite_examples),
        ("equal to an earlier", whole.duplicate_examples),
    )
    named: list[tuple[str, RenderableType]] = [
        (name, plain_text(", ".join(ids))) for name, ids in examples if ids
    ]
    if named:
        yield Text("\nFor example", "bold")
        yield facts(named)
    norms = whole.norms.histogram if whole.norms else None
    yield from _histograms([("values", whole.histogram), ("norms", norms)])
    yield Text()
    if whole.rows_read < whole.rows:
        read, rows = count(whole.rows_read), count(whole.rows)
        yield Text(f"read: a sample of {read} of {rows} rows (seed {report.seed})", "dim")
    sampled = count(whole.rows_sampled)
    if whole.rows_sampled < whole.rows:
        words = f"a sample of {sampled} rows of each column at most (seed {report.seed})"
        yield Text(f"quantiles, histogram of values: {words}", "dim")
    if whole.rank:
        yield Text(
            f"effective rank: exp of the entropy of the singular values of {count(whole.rank.vectors)} "
            "vectors at most, not centred (Roy & Vetterli 2007)",
            "dim",
        )


def _value_lines() -> _Lines[ValuePart]:
    return [
        ("rows", lambda p: count(p.rows)),
        ("values", lambda p: count(p.values)),
        ("distinct", lambda p: count(p.distinct)),
        ("mean", lambda p: figure(p.mean)),
        ("std", lambda p: figure(p.std)),
        ("min", lambda p: "–" if p.minimum is None else str(p.minimum)),
        *((q, _whole_quantile(q)) for q in ("5%", "50%", "95%")),
        ("max", lambda p: "–" if p.maximum is None else str(p.maximum)),
        ("histogram", lambda p: Text(sparkline(p.histogram), "blue")),
    ]


def _whole_quantile(name: str) -> Callable[[ValuePart | TextPart], str]:
    return lambda part: f"{part.quantiles[name]:.0f}" if part.quantiles else "–"


def _common(parts: Sequence[ValuePart]) -> Iterator[RenderableType]:
    """The most frequent values of all rows, and their share in each split where all are listed."""
    whole = parts[0]
    shown = parts if whole.distinct <= LISTED else parts[:1]
    names = [part.name for part in shown]
    heads = ["meaning"] if any(line.meaning for line in whole.common) else []
    table = grid("Most frequent", "value", *heads, "rows", *names, right=["value", "rows", *names])
    for line in whole.common:
        shares = []
        for part in shown:
            counts = {other.value: other.count for other in part.common}
            shares.append(percent(counts.get(line.value, 0), part.values))
        meaning = [plain_text(line.meaning)] if heads else []
        table.add_row(str(line.value), *meaning, count(line.count), *shares)
    yield table
    if whole.distinct > LISTED:
        yield Text(f"and {count(whole.distinct - LISTED)} other values", "dim")


def _text_lines() -> _Lines[TextPart]:
    return [
        ("rows", lambda p: count(p.rows)),
        ("size", lambda p: size(p.bytes)),
        ("empty", lambda p: count(p.empty)),
        ("distinct", lambda p: count(p.distinct)),
        ("equal to an earlier", lambda p: count(p.duplicates)),
        ("characters mean", lambda p: figure(p.mean)),
        ("  std", lambda p: figure(p.std)),
        ("  min", lambda p: "–" if p.minimum is None else count(p.minimum)),
        *((f"  {q}", _whole_quantile(q)) for q in ("5%", "50%", "95%")),
        ("  max", lambda p: "–" if p.maximum is None else count(p.maximum)),
        ("  histogram", lambda p: Text(sparkline(p.histogram), "blue")),
    ]


def _repeated(part: TextPart) -> Iterator[RenderableType]:
    if not part.repeated:
        return
    yield Text()
    table = grid("Most frequent", "rows", "share", right=("rows", "share"))
    table.add_column("text")
    for line in part.repeated:
        table.add_row(count(line.count), percent(line.count, part.rows), beginning(line.text))
    yield table


def _histograms(pairs: Sequence[tuple[str, Histogram | None]]) -> list[RenderableType]:
    drawn = [_bars(f"Histogram of {name}", held) for name, held in pairs if held is not None]
    return [Text(), _Beside(drawn)] if drawn else []


class _Beside:
    """Tables side by side where there is room, below each other elsewhere."""

    def __init__(self, tables: Sequence[Table]) -> None:
        self._tables = tables

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if options.max_width >= _SIDE_BY_SIDE:
            row = Table.grid(padding=(0, 4))
            row.add_row(*self._tables)
            yield row
            return
        for place, table in enumerate(self._tables):
            yield from ([Text()] if place else [])
            yield table


def _bars(title: str, drawn: Histogram) -> Table:
    table = grid(title, "from", "to", "", "count", right=("from", "to", "count"))
    most = max(drawn.counts)
    for (first, last), number in zip(pairwise(drawn.edges), drawn.counts, strict=True):
        shown = Text(f"{bar(number / most, _BAR):<{_BAR}}", "blue")
        table.add_row(*_range(first, last), shown, count(number))
    return table


def _range(first: float, last: float) -> tuple[str, str]:
    """The ends of a bin, with as many digits as tell them apart; of integers, its last one."""
    if isinstance(first, int) and isinstance(last, int):
        return count(first), count(last - 1)
    if first == last:
        return figure(first), figure(last)
    decimals = max(0, 2 - math.floor(math.log10(last - first)))
    if decimals > 8 or max(abs(first), abs(last)) >= 1e6:
        return f"{first:.3e}", f"{last:.3e}"
    return f"{first:.{decimals}f}", f"{last:.{decimals}f}"
