"""``drin-fs report``: a skin over :mod:`linker.report_rows` and :mod:`linker.report_formats`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from cli.console import clean, plain_lines, show, show_json, stderr, stdout
from cli.progress import progress_on

if TYPE_CHECKING:
    from linker.recorded import RecordedRun
    from linker.report_formats import Format
    from linker.report_names import By
    from linker.report_rows import RunsTable


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["rich", "md", "latex", "csv", "html"]),
    help="How to write the table. Default: by the ending of -o, else rich, for a terminal.",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write it to a file."
)
@click.option("--overwrite", is_flag=True, help="Replace FILE.")
@click.option(
    "--by",
    type=click.Choice(["cell", "model", "run"]),
    default="cell",
    show_default=True,
    help="What is one row: runs that differ in their seed alone, runs of one model with the same "
    "options of its own, or one run.",
)
@click.option(
    "--baseline",
    metavar="NAME",
    help="Compare every other row with the row of this name: differences, intervals, corrected p.",
)
@click.option(
    "--split", type=click.Choice(["valid", "test"]), help="Show one split. Default: both."
)
@click.option("--intervals", is_flag=True, help="Show an interval of each figure as well.")
@click.option(
    "--resamples",
    type=click.IntRange(100, 100_000),
    default=10_000,
    show_default=True,
    help="Resamples of tests and intervals.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="What draws them."
)
@click.option(
    "--mixed",
    is_flag=True,
    help="Compare figures under different protocols, tie rules, denominators, stores or splits all "
    "the same; columns say which.",
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
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
def report(
    runs: tuple[Path, ...],
    form: Format | None,
    output: Path | None,
    overwrite: bool,
    by: By,
    baseline: str | None,
    split: str | None,
    intervals: bool,
    resamples: int,
    seed: int,
    mixed: bool,
    plots: Path | None,
    edges: bool,
    store: Path | None,
    as_json: bool,
) -> None:
    """Put RUNS side by side: run folders, or folders that hold runs at any depth.

    Runs that differ in their seed alone are one row, mean ± sample standard deviation. The best
    figure of a column is bold, the second underlined; hits and MRR are in percent. Figures are
    comparable only under the same protocol, tie rule, denominator and store, so anything else is
    refused without --mixed. What p and intervals mean is in docs/reports.md.

    \b
    Examples:
    $ drin-fs report runs/drin runs/text
    $ drin-fs report runs --baseline text --split test
    $ drin-fs report runs --baseline text -o table.tex
    $ drin-fs report runs --by run --json | jq '.rows[].cells.test'
    $ drin-fs report runs --plots plots --edges

    The same in Python: linker.report_rows.read_table, linker.report_statistics.with_statistics,
    linker.report_formats.write_table, linker.plots.write_plots.
    """
    if plots is None and (edges or store):
        raise click.UsageError(f"{'--edges' if edges else '--store'} goes with --plots")
    from featurestore.target import check_target
    from linker.recorded import RecordedRun
    from linker.report_formats import ENDINGS
    from linker.report_rows import read_table
    from linker.report_statistics import with_statistics
    from linker.report_words import SPLITS
    from linker.run_groups import runs_below

    chosen = form or ENDINGS.get(output.suffix.lower() if output else ".txt")
    if chosen is None:
        raise click.UsageError(f"-o {output} does not tell the format: give --format as well.")
    if output:
        check_target(output, overwrite=overwrite)
    found = [RecordedRun(run) for run in runs_below(runs)]
    table = read_table(found, by=by, splits=[split] if split else SPLITS, mixed=mixed)
    if baseline is not None or intervals or as_json or chosen == "csv":
        table = with_statistics(
            table,
            baseline=baseline,
            resamples=resamples,
            seed=seed,
            progress=progress_on(stderr()),
        )
    if plots is not None:
        _draw(found, plots, store=store, edges=edges, mixed=mixed)
    _print(table, chosen, output, intervals=intervals, as_json=as_json)


def _print(
    table: RunsTable, form: Format, output: Path | None, *, intervals: bool, as_json: bool
) -> None:
    """To FILE or to stdout; with --json that goes to stdout, whatever goes to FILE."""
    if output:
        from featurestore.target import replace_file

        replace_file(output, _text(table, form, intervals=intervals).encode())
    if as_json:
        show_json(table)
    elif output:
        stderr().print(f"wrote {clean(str(output))} ({form})")
    elif form == "rich":
        from linker.report_formats.terminal import terminal
        from linker.report_sheet import layout

        show(terminal(layout(table, intervals=intervals), styled=stdout().is_terminal))
    else:
        sys.stdout.write(_text(table, form, intervals=intervals))


def _text(table: RunsTable, form: Format, *, intervals: bool) -> str:
    """What stands in a file."""
    from linker.report_formats import write_table
    from linker.report_formats.terminal import terminal
    from linker.report_sheet import layout

    if form == "rich":
        return plain_lines(terminal(layout(table, intervals=intervals), styled=False))
    return write_table(table, form, intervals=intervals)


def _draw(
    runs: Sequence[RecordedRun], folder: Path, *, store: Path | None, edges: bool, mixed: bool
) -> None:
    """Write the plots of the runs, and say on stderr which."""
    from linker.plots import write_plots
    from linker.run_groups import group_runs

    progress = progress_on(stderr())
    written = write_plots(
        group_runs(runs), folder, store=store, edges=edges, mixed=mixed, progress=progress
    )
    names = ", ".join(dict.fromkeys(path.stem for path in written))
    progress.note(f"wrote to {folder}: {names}" if names else "no plot was written")
