"""``drin-fs grid``: a skin over :func:`linker.grid.run_grid`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click
from rich.console import RenderableType

from cli.console import show, show_json, stderr, stdout
from featurestore.errors import ConfigError

if TYPE_CHECKING:
    from linker.grid import GridResult
    from linker.grid_file import Grid


@click.command()
@click.argument("file", metavar="GRID.yaml", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    metavar="RUNS",
    type=click.Path(path_type=Path),
    help="Folder of the runs. Default: the file's output, or runs/<name of the file>.",
)
@click.option(
    "--store",
    type=click.Path(path_type=Path),
    help="The store, instead of the one that FILE names.",
)
@click.option("--jobs", type=click.IntRange(min=1), default=1, metavar="N", help="Runs at once.")
@click.option("--dry-run", is_flag=True, help="Check everything, list the runs, and stop.")
@click.option(
    "--only",
    multiple=True,
    metavar="CELL",
    help="Run this cell alone; a pattern with *, or several.",
)
@click.option(
    "--overwrite",
    is_flag=True,
    help="Replace runs of another configuration or store, and unfinished ones.",
)
@click.option("--json", "as_json", is_flag=True, help="Print every run and its figures as JSON.")
def grid(
    file: Path,
    output: Path | None,
    store: Path | None,
    jobs: int,
    dry_run: bool,
    only: tuple[str, ...],
    overwrite: bool,
    as_json: bool,
) -> int:
    """Train and score a grid of models, options and seeds.

    GRID.yaml names a store, seeds, defaults, and the cells: the configuration of each, in the words of
    drin-fs train --config. A matrix of values multiplies the cells. The runs lie in RUNS/CELL/seed-N,
    models that do not learn in RUNS/CELL; what each one said is in RUNS/logs.

    Everything is checked before the first run starts. Each run has a process of its own: one that fails
    does not stop the rest. Finished runs are kept, and a grid that was stopped in whatever way goes on
    where it was when it is run again. N runs at once share the cores and, in memory, the store.

    \b
    Examples:
    $ drin-fs grid examples/wikimel.yaml -o runs/wikimel
    $ drin-fs grid examples/sample.yaml --store demo/sample.h5 --jobs 2
    $ drin-fs grid grid.yaml --dry-run
    $ drin-fs grid grid.yaml --only drin --only 'ghmfc-*' --overwrite
    $ drin-fs report runs/wikimel

    The same in Python: linker.grid.run_grid.
    """
    from linker.grid_file import read_grid

    read = read_grid(file, store=store)
    folder = output or read.output or Path("runs") / file.stem
    if dry_run:
        list_plans(read, folder, only=only, overwrite=overwrite, as_json=as_json)
        return 0
    result, status = run_watched(read, folder, jobs=jobs, only=only, overwrite=overwrite)
    if as_json:
        show_json(result.as_json())
    elif result.done:
        show(runs_table(result.done))
    return status


def list_plans(
    grid: Grid, folder: Path, *, only: Sequence[str], overwrite: bool, as_json: bool
) -> None:
    """Print what a grid would do."""
    from cli.render_grid import plan_view
    from linker.grid_plan import plan_grid
    from linker.grid_state import RunState

    plans = plan_grid(grid, output=folder, only=only, overwrite=overwrite)
    if as_json:
        show_json([{**RunState.of(plan).as_json(folder), "action": plan.action} for plan in plans])
    else:
        show(plan_view(plans))


def run_watched(
    grid: Grid, folder: Path, *, jobs: int, only: Sequence[str], overwrite: bool
) -> tuple[GridResult, int]:
    """Run a grid, show on stderr how it goes and what failed; with the exit status."""
    from cli.render_grid import failures_view, watcher_on
    from linker.grid import run_grid
    from linker.grid_state import DONE

    console = stderr()
    result = run_grid(
        grid, output=folder, jobs=jobs, only=only, overwrite=overwrite, watcher=watcher_on(console)
    )
    undone = [run for run in result.runs if run.state not in DONE]
    if undone:
        console.print(failures_view(undone))
    return result, 1 if undone else 0


def runs_table(runs: Sequence[Path]) -> RenderableType:
    """The figures of runs side by side, whatever they differ in."""
    from linker.recorded import RecordedRun
    from linker.report_formats.terminal import terminal
    from linker.report_rows import read_table
    from linker.report_sheet import layout

    found = [RecordedRun(run) for run in runs]
    try:
        table = read_table(found)
    except ConfigError:  # under different conditions, which then stand in columns of their own
        table = read_table(found, mixed=True)
    return terminal(layout(table), styled=stdout().is_terminal)
