"""``python -m benchmarks.plan``: machine-hours, disk and memory for large datasets, computed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from benchmarks.plan_costs import Costs
from benchmarks.plan_limits import Means, first_limits, limits_of
from benchmarks.plan_sizes import DATASETS, Dataset, every_row_has_a_picture
from benchmarks.plan_stages import (
    WORKS,
    Choices,
    Stage,
    cache_bytes,
    divided_seconds,
    ingest_memory,
    record_bytes,
    scratch_bytes,
    serial_seconds,
    stages_of,
    wall_seconds,
)
from benchmarks.report import Cell, shown
from benchmarks.saved import load
from cli.console import plain_text, show, show_json, stderr
from cli.render_parts import grid
from featurestore.errors import ConfigError

#: Where the figures of the documentation come from.
COSTS = Path(__file__).with_name("results") / "costs-2-cores.json"


#: Columns that hold words.
_WORDS = ("limits", "measured on")


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A table of the plan."""

    title: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that is planned with, and the stages of each dataset."""

    costs: Costs
    choices: Choices
    means: Means
    workers: Sequence[int]
    datasets: Sequence[Dataset]

    def stages(self, data: Dataset) -> list[Stage]:
        return stages_of(data, self.costs, self.choices)

    def sheets(self) -> list[Sheet]:
        return [self._machine_hours(), self._wall_hours(), self._room(), self._breaks()]

    def _machine_hours(self) -> Sheet:
        """Stages down, datasets across."""
        columns = [self.stages(data) for data in self.datasets]
        rows = [
            (f"{of[0].work}: {of[0].name}", [stage.seconds / 3600 for stage in of])
            for of in zip(*columns, strict=True)
        ]
        names = [data.name for data in self.datasets]
        return Sheet(title="machine-hours of each stage", columns=names, rows=rows)

    def _wall_hours(self) -> Sheet:
        rows = []
        for data in self.datasets:
            stages = self.stages(data)
            for work in WORKS:
                hours = [wall_seconds(stages, work, count) / 3600 for count in self.workers]
                serial = serial_seconds(stages, work, max(self.workers)) / 3600
                faster = hours[0] / hours[-1]
                rows.append((f"{data.name}: {work}", [*hours, serial, faster]))
        columns = [f"{count} workers" if count > 1 else "1 worker" for count in self.workers]
        return Sheet(
            title="hours from start to end",
            columns=[*columns, "of these serial", "times as fast"],
            rows=rows,
        )

    def _room(self) -> Sheet:
        rows = []
        for data in self.datasets:
            needs = (
                data.view_bytes,
                data.view_bytes + record_bytes(data, self.costs),
                *(scratch_bytes(data, self.costs, count) for count in (1, 2)),
                ingest_memory(data, self.costs),
                cache_bytes(data),
            )
            rows.append((data.name, [need / 1e9 for need in needs]))
        columns = (
            *("store without records", "with records", "scratch, 1 worker", "scratch, several"),
            *("memory, an ingest worker", "page cache, training"),
        )
        return Sheet(title="disk and memory, GB", columns=columns, rows=rows)

    def _breaks(self) -> Sheet:
        rows: list[tuple[str, list[Cell]]] = []
        for data in self.datasets:
            stages = self.stages(data)
            for count in self.workers:
                found = limits_of(data, self.costs, stages, workers=count, means=self.means)
                rows.append((data.name, [count, first_limits(found)]))
        return Sheet(title="what breaks first", columns=["workers", "limits"], rows=rows)

    def lines(self) -> list[str]:
        """What the tables hold for."""
        choices, means = self.choices, self.means
        return [
            f"computed from costs measured on {self.costs.machine}; a worker is such a machine",
            "what cores and workers share divides evenly: none waits for another, and nothing travels",
            f"encoders {choices.encode:g} times, training and ranking {choices.train:g} times as fast as "
            f"measured; text encoder {'MiniLM-L6' if choices.minilm else 'BERT-base'}; every text is "
            "encoded, and a picture for every row",
            f"a worker has {means.memory / 1e9:,.0f} GB of memory, a store and its scratch "
            f"{means.disk / 1e12:g} TB of disk; more than {means.hours:g} hours are too many",
        ]

    def as_json(self) -> dict[str, Any]:
        return {
            "costs": self.costs.machine,
            "choices": asdict(self.choices),
            "means": asdict(self.means),
            "workers": list(self.workers),
            "datasets": {data.name: self._of(data) for data in self.datasets},
        }

    def _of(self, data: Dataset) -> dict[str, Any]:
        stages = self.stages(data)
        return {
            **asdict(data),
            "stages": [asdict(stage) for stage in stages],
            "bytes": {
                "views": data.view_bytes,
                "records": record_bytes(data, self.costs),
                "page_cache": cache_bytes(data),
                "ingest_memory": ingest_memory(data, self.costs),
            },
            "workers": {
                str(count): {
                    "wall_seconds": {w: wall_seconds(stages, w, count) for w in WORKS},
                    "serial_seconds": {w: serial_seconds(stages, w, count) for w in WORKS},
                    "scratch_bytes": scratch_bytes(data, self.costs, count),
                    "limits": [
                        asdict(limit)
                        for limit in limits_of(
                            data, self.costs, stages, workers=count, means=self.means
                        )
                    ],
                }
                for count in self.workers
            },
            "divided_seconds": {w: divided_seconds(stages, w) for w in WORKS},
        }


def cost_sheet(path: Path) -> Sheet:
    """The table of the costs themselves."""
    saved = load([path])["costs"]
    columns = ("µs", "bytes", "measured on")
    rows = [(row["name"], [row[name] for name in columns]) for row in saved.rows]
    return Sheet(title="what one costs", columns=columns, rows=rows)


def markdown(sheet: Sheet) -> str:
    """The table as the documentation has it."""
    head = "| " + " | ".join(["", *sheet.columns]) + " |"
    rule = "|---" * (len(sheet.columns) + 1) + "|"
    rows = ["| " + " | ".join([name, *map(shown, cells)]) + " |" for name, cells in sheet.rows]
    return "\n".join([head, rule, *rows])


class _Counts(click.ParamType):
    name = "N,N,…"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        try:
            found = tuple(sorted({int(part) for part in str(value).split(",")}))
        except ValueError:
            self.fail(f"{value!r} is no list of numbers such as 1,8,64", param, ctx)
        if found[0] < 1:
            self.fail(f"{found[0]} is no number of workers", param, ctx)
        return found


_POSITIVE = click.FloatRange(min=0, min_open=True)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option(
    "--costs", type=click.Path(path_type=Path, dir_okay=False), default=COSTS, show_default=False,
    help="What python -m benchmarks costs --json FILE saved; by default the figures of the docs.",
)  # fmt: skip
@click.option("--workers", type=_Counts(), default="1,8,64", help="Machines like the measured one.")
@click.option(
    "--speedup-encode", type=_POSITIVE, default=1.0, help="Of encoders on a GPU of yours."
)
@click.option("--speedup-train", type=_POSITIVE, default=1.0, help="Of training and ranking on it.")
@click.option("--minilm", is_flag=True, help="Encode texts with MiniLM-L6, not with BERT-base.")
@click.option("--memory", type=_POSITIVE, help="GB of a worker; default: the measured machine's.")
@click.option("--disk", type=_POSITIVE, default=2.0, help="TB for a store and its scratch.")
@click.option("--hours", type=_POSITIVE, default=168.0, help="Longer than this is too long.")
@click.option("--entities", type=click.IntRange(min=1), help="Plan for so many entities instead.")
@click.option("--mentions", type=click.IntRange(min=1), default=1_000_000, help="With --entities.")
@click.option("--json", "as_json", is_flag=True, help="All figures, in seconds and bytes.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Tables as docs/scaling.md has them.")
def main(
    costs: Path,
    workers: tuple[int, ...],
    speedup_encode: float,
    speedup_train: float,
    minilm: bool,
    memory: float | None,
    disk: float,
    hours: float,
    entities: int | None,
    mentions: int,
    as_json: bool,
    as_markdown: bool,
) -> None:
    """Plan large datasets: machine-hours, hours, disk, memory, and what breaks first."""
    try:
        known = Costs.read(costs)
        plan = Plan(
            costs=known,
            choices=Choices(encode=speedup_encode, train=speedup_train, minilm=minilm),
            means=Means(
                memory=known.memory if memory is None else memory * 1e9,
                disk=disk * 1e12,
                hours=hours,
            ),
            workers=workers,
            datasets=DATASETS if entities is None else [_own(entities, mentions)],
        )
        sheets = plan.sheets()
    except ConfigError as error:
        stderr().print(plain_text(f"error: {error}"))
        sys.exit(2)
    if as_json:
        show_json(plan.as_json())
    elif as_markdown:
        tables = [cost_sheet(costs), *sheets]
        show(plain_text("\n\n".join(markdown(sheet) for sheet in tables)))
    else:
        _show(sheets, plan.lines())


def _own(entities: int, mentions: int) -> Dataset:
    return every_row_has_a_picture(
        f"{entities:,} entities",
        mentions=mentions,
        entities=entities,
        candidates=100,
        tested=min(5_000, mentions),
    )


def _show(sheets: Sequence[Sheet], lines: Sequence[str]) -> None:
    for sheet in sheets:
        numbers = [name for name in sheet.columns if name not in _WORDS]
        table = grid(sheet.title, "", *sheet.columns, right=numbers)
        for name, cells in sheet.rows:
            table.add_row(plain_text(name), *(plain_text(shown(cell)) for cell in cells))
        for place, column in enumerate(
            table.columns
        ):  # narrow terminals wrap words, and no numbers
            column.no_wrap = False
            if place and sheet.columns[place - 1] in numbers:
                column.min_width = max(len(shown(cells[place - 1])) for _, cells in sheet.rows)
        show(table, "")
    show(*(plain_text(line, "dim") for line in lines))


if __name__ == "__main__":
    main()
