"""``drin-fs ablate``: a skin over :func:`linker.ablation_grid.ablation_grid`, run as a grid."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.console import plain_text, show, show_json, stderr
from cli.render_parts import facts, grid

if TYPE_CHECKING:
    from linker.ablation_table import AblationTable, Column


@click.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    metavar="RUNS",
    type=click.Path(path_type=Path),
    help="Folder of the runs. Default: runs/<store>-ablations.",
)
@click.option("--seeds", default="0,1,2", show_default=True, metavar="LIST", help="Of every row.")
@click.option(
    "--epochs", type=int, metavar="N", help="Passes over the training split, of every row."
)
@click.option("--preset", metavar="NAME", help="Start from a published set-up: drin-wikimel, ….")
@click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path),
    help="YAML as of drin-fs train, of every row.",
)
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Set one key of every row."
)
@click.option("--jobs", type=click.IntRange(min=1), default=1, metavar="N", help="Runs at once.")
@click.option("--dry-run", is_flag=True, help="Check everything, list the runs, and stop.")
@click.option(
    "--only", multiple=True, metavar="ROW", help="Run this row alone; a pattern with *, or several."
)
@click.option(
    "--overwrite",
    is_flag=True,
    help="Replace runs of another configuration or store, and unfinished ones.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
def ablate(
    store: Path,
    output: Path | None,
    seeds: str,
    epochs: int | None,
    preset: str | None,
    file: Path | None,
    settings: tuple[str, ...],
    jobs: int,
    dry_run: bool,
    only: tuple[str, ...],
    overwrite: bool,
    as_json: bool,
) -> int:
    """Take parts of DRIN away, one at a time, and compare with the whole model.

    The rows: without each type of edge (tt, ti, it, ii), edges that are not updated, a number an edge and
    channel, one to three graph layers, text alone, pictures alone. What the store cannot serve is left
    out, and said. All rows are one grid: it can be stopped and run again, and its runs lie in
    RUNS/ROW/seed-N.

    \b
    Examples:
    $ drin-fs ablate wikimel.h5 -o runs/ablations --seeds 0,1,2 --epochs 2
    $ drin-fs ablate wikimel.h5 -o runs/ablations --only whole --only 'without-*' --jobs 2
    $ drin-fs ablate wikimel.h5 --dry-run
    $ drin-fs report runs/ablations

    The same in Python: linker.ablation_grid.ablation_grid, linker.grid.run_grid.
    """
    from cli.grid import list_plans, run_watched
    from linker.ablation_grid import ablation_grid
    from linker.ablation_table import ablation_table
    from linker.config_layers import layered_values
    from linker.seeds import parse_seeds

    ablations = ablation_grid(
        store,
        seeds=parse_seeds(seeds),
        settings=layered_values(
            preset_name=preset, file=file, settings=settings, flags={"epochs": epochs}
        ),
    )
    folder = output or Path("runs") / f"{store.stem}-ablations"
    if dry_run:
        list_plans(ablations.grid, folder, only=only, overwrite=overwrite, as_json=as_json)
        stderr().print(left_out_view(ablations.left_out))
        return 0
    result, status = run_watched(ablations.grid, folder, jobs=jobs, only=only, overwrite=overwrite)
    select = result.runs[0].select
    table = ablation_table(ablations.rows, folder, select=select)
    if as_json:
        show_json({"table": table, "left_out": ablations.left_out, **result.as_json()})
    elif table is not None:
        show(ablation_view(table), left_out_view(ablations.left_out))
    return status


def ablation_view(table: AblationTable) -> RenderableType:
    """Every row with its figures in %, and the differences to the whole model in points."""
    names = list(table.lines[0].figures)
    heads = [head for name in names for head in (_head(name), "Δ " + _head(name))]
    view = grid("", "", "seeds", *heads, right=("seeds", *heads))
    view.columns[0].no_wrap, view.columns[0].overflow = False, "fold"
    for line in table.lines:
        cells = [cell for name in names for cell in _cells(line.figures[name])]
        view.add_row(line.what, str(len(line.seeds)), *cells)
    under = ", ".join(str(value) for value in table.conditions.values())
    caption = (
        f"{table.split} split; {under}; %, mean ± standard deviation over the seeds; "
        "Δ: points more than the whole model, over the seeds of both"
    )
    return Group(view, Text(caption, "dim italic"))


def _head(name: str) -> str:
    return "MRR" if name == "mrr" else name


def _cells(column: Column) -> tuple[str, str]:
    spread = "" if column.deviation is None else f" ± {100 * column.deviation:.1f}"
    difference = "" if column.difference is None else f"{100 * column.difference:+.1f}"
    return f"{100 * column.mean:.1f}{spread}", difference


def left_out_view(left_out: Mapping[str, Any]) -> Table:
    """Which rows there are not, and why."""
    return facts([(f"not run: {name}", plain_text(reason)) for name, reason in left_out.items()])
