"""``drin-fs report``: a skin over :func:`linker.report.table`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import rich_click as click

from cli.console import show, show_json, stderr
from cli.progress import progress_on


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--mixed",
    is_flag=True,
    help="Compare figures under different protocols, tie rules or denominators all the same.",
)
@click.option(
    "--plots",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Also draw the runs, as PNG and SVG with their numbers as CSV: learning curves, hits@k, topics, "
    "pictures, cost. Files of these names in DIR are replaced.",
)
@click.option(
    "--edges",
    is_flag=True,
    help="With --plots: also what the edges of each drin are, on the test split.",
)
@click.option(
    "--store",
    metavar="STORE",
    type=click.Path(path_type=Path),
    help="With --plots: where the store of the runs is now. Default: where it was.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summaries as JSON.")
def report(
    runs: tuple[Path, ...],
    mixed: bool,
    plots: Path | None,
    edges: bool,
    store: Path | None,
    as_json: bool,
) -> None:
    """Compare the figures of RUNS, the folders that drin-fs train made.

    Hits and MRR are shown in percent. Figures are comparable only under the same protocol, tie
    rule and denominator, so anything else is refused without --mixed.

    \b
    Examples:
    $ drin-fs report runs/drin runs/text
    $ drin-fs report runs/* --json | jq '.[].test'
    $ drin-fs report runs/* --plots plots --edges

    The same in Python: linker.report.table, linker.plots.write_plots.
    """
    if plots is None and (edges or store):
        raise click.UsageError(f"{'--edges' if edges else '--store'} goes with --plots")
    from linker.report import read_summaries, table

    summaries = read_summaries(runs)
    compared = table(summaries, mixed=mixed)
    if plots is not None:
        draw(runs, plots, store=store, edges=edges, mixed=mixed)
    show_json(summaries) if as_json else show(compared)


def draw(
    runs: Sequence[Path], folder: Path, *, store: Path | None, edges: bool, mixed: bool
) -> None:
    """Write the plots of the runs below some folders, and say on stderr which."""
    from linker.plots import write_plots
    from linker.recorded import RecordedRun
    from linker.run_groups import group_runs, runs_below

    progress = progress_on(stderr())
    groups = group_runs(map(RecordedRun, runs_below(runs)))
    written = write_plots(groups, folder, store=store, edges=edges, mixed=mixed, progress=progress)
    names = ", ".join(dict.fromkeys(path.stem for path in written))
    progress.note(f"wrote to {folder}: {names}" if names else "no plot was written")
