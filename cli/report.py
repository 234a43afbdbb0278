"""``drin-fs report``: a skin over :func:`linker.report.table`."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from cli.console import show, show_json


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--mixed",
    is_flag=True,
    help="Compare figures under different protocols, tie rules or denominators all the same.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summaries as JSON.")
def report(runs: tuple[Path, ...], mixed: bool, as_json: bool) -> None:
    """Compare the figures of RUNS, the folders that drin-fs train made.

    Hits and MRR are shown in percent. Figures are comparable only under the same protocol, tie
    rule and denominator, so anything else is refused without --mixed.

    \b
    Examples:
    $ drin-fs report runs/drin runs/text
    $ drin-fs report runs/* --json | jq '.[].test'

    The same in Python: linker.report.table.
    """
    from linker.report import read_summaries, table

    summaries = read_summaries(runs)
    compared = table(summaries, mixed=mixed)
    show_json(summaries) if as_json else show(compared)
