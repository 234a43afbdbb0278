"""What the benchmarks that train on a store of one's own share: ``python -m benchmarks.NAME STORE``."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import click

import featurestore
from benchmarks import machine
from benchmarks.files import kept_or_temporary
from benchmarks.report import Report
from benchmarks.saved import save
from cli.console import plain_text, show, stderr
from cli.progress import progress_on
from featurestore import Store
from featurestore.errors import DrinFsError
from featurestore.progress import Progress
from linker.config import TrainConfig
from linker.run_folder import RunFolder
from linker.train import train


class Integers(click.ParamType):
    """Integers with commas between them."""

    name = "N,N,…"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        try:
            return tuple(dict.fromkeys(int(part) for part in str(value).split(",")))
        except ValueError:
            self.fail(f"{value!r} is not integers with commas between them", param, ctx)


def report_on(
    path: Path,
    compare: Callable[[Store, Path, Progress], Report],
    *,
    name: str,
    runs: Path | None,
    target: Path | None,
) -> None:
    """Open a store, compare runs on it, print what was found, and save it.

    Args:
        compare: is given the store and a folder for runs.
        name: of the report, in the file and in the name of a temporary folder.
        runs: where runs are kept; None = they vanish.
        target: the file of figures, if there is to be one.

    Raises:
        click.ClickException: the store or an option does not fit.
    """
    described = machine.describe()
    try:
        with (
            featurestore.open(path) as store,
            kept_or_temporary(runs, prefix=f"drin-fs-{name}-") as folder,
        ):
            report = compare(store, folder, progress_on(stderr()))
            dataset = store.dataset
    except DrinFsError as error:
        raise click.ClickException(str(error)) from error
    show(plain_text(machine.line(described)), "", *report.views())
    if target is not None:
        save(target, {name: report}, sizes=dataset, machine=described)


def finished(
    run: RunFolder,
    config: TrainConfig,
    *,
    store: Callable[[], Path],
    what: str,
    progress: Progress,
) -> dict[str, Any]:
    """The summary of a run, which is trained if that has not been done before.

    Args:
        store: gives the store to train on; called only then.
        what: names the run.
    """
    if not run.summary.is_file():
        path = store()
        shutil.rmtree(run.path, ignore_errors=True)
        progress.note(what)
        train(path, config, run=run.path, progress=progress)
    return run.read_summary()


def spread(shares: Sequence[float]) -> str:
    """In percent, mean ± standard deviation of a sample; of one, the value alone."""
    percent = [100 * share for share in shares]
    if len(percent) == 1:
        return f"{percent[0]:.2f}"
    return f"{mean(percent):.2f} ± {stdev(percent):.2f}"


def changes(scored: Sequence[Mapping[str, Any]], base: Sequence[Mapping[str, Any]]) -> str:
    """hits@1 of each run less that of the run it is compared with, in points; – = the same runs."""
    if scored is base:
        return "–"
    points = [100 * (a["hits@1"] - b["hits@1"]) for a, b in zip(scored, base, strict=True)]
    return "  ".join(f"{change:+.2f}".replace("-", "−") for change in points)
