"""Tables and figures of docs/studies/, out of the run folders of examples/studies/.

python -m benchmarks.studies cells RUNS… [-o FIGURE.png]        hits@1 of each cell
python -m benchmarks.studies lengths RUNS… [-o FIGURE.png]      against the length of candidate lists
python -m benchmarks.studies gold-slot RUNS… [-o FIGURE.png]    runs under the protocol of the other

RUNS are run folders, or folders of them; seeds of one configuration are put together. A figure is the
mean over them in %, ± the sample standard deviation; the test split throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

import click

from benchmarks.study_figures import draw_groups, draw_lines, draw_pairs
from cli.console import stderr
from cli.progress import progress_on
from featurestore.errors import ConfigError
from linker.data import Protocol
from linker.evaluate import evaluate
from linker.recorded import RecordedRun
from linker.run_groups import Group, group_runs, runs_below

_SPLIT = "test"

#: Columns of the tables.
_FIGURES = ("hits@1", "hits@5", "hits@10", "mrr")

#: The other protocol of those that a model can be trained under.
_OTHER: dict[str, Protocol] = {"strict": "paper", "paper": "strict"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A figure over the seeds, in %."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return mean(self.values)

    @property
    def std(self) -> float | None:
        """The sample standard deviation; None of one value."""
        return stdev(self.values) if len(self.values) > 1 else None

    def __str__(self) -> str:
        return f"{self.mean:.1f}" if self.std is None else f"{self.mean:.1f} ± {self.std:.1f}"


def spread(group: Group, name: str) -> Spread:
    """A figure of the runs of a group."""
    return Spread(values=tuple(100 * run.summary[_SPLIT][name] for run in group.runs))


def markdown(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Print the table of a study, and draw its figure."""


def _arguments(command: Callable[..., None]) -> Callable[..., None]:
    runs = click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
    figure = click.option("-o", "--output", type=click.Path(path_type=Path), help="A PNG file.")
    return runs(figure(command))


def _groups(runs: Sequence[Path]) -> tuple[Group, ...]:
    return group_runs(RecordedRun(path) for path in runs_below(runs))


@main.command()
@_arguments
def cells(runs: tuple[Path, ...], output: Path | None) -> None:
    """The figures of each cell."""
    groups = _groups(runs)
    rows = [
        [f"`{group.name}`", len(group.runs), *(spread(group, name) for name in _FIGURES)]
        for group in groups
    ]
    click.echo(markdown(["cell", "seeds", *_FIGURES], rows))
    if output:
        draw_groups({group.name: spread(group, "hits@1").values for group in groups}, output)


@main.command()
@_arguments
@click.option(
    "--whole", is_flag=True, help="Also score the runs of whole lists on the shorter ones."
)
def lengths(runs: tuple[Path, ...], output: Path | None, whole: bool) -> None:
    """hits@1 of each model, a column a length of the lists that it saw."""
    lines: dict[str, dict[int, Spread]] = {}
    ceiling: dict[int, float] = {}
    of_whole: list[Group] = []
    for group in _groups(runs):
        first, figures = group.runs[0], group.runs[0].summary[_SPLIT]
        length = first.candidates or first.scores(_SPLIT).shape[1]
        lines.setdefault(first.model, {})[length] = spread(group, "hits@1")
        ceiling[length] = 100 * figures["retrieved"] / figures["mentions"]
        if first.candidates is None:
            of_whole.append(group)
    every = sorted(ceiling)
    for group in of_whole if whole else ():
        if group.runs[0].summary["seed"] is not None:  # it learned from something
            name = f"{group.runs[0].model}, trained on {every[-1]}"
            lines[name] = {length: _scored(group, candidates=length) for length in every}
    head = ["hits@1", *(f"{length} candidates" for length in every)]
    best = ["gold among them", *(f"{ceiling[length]:.1f}" for length in every)]
    rows = [[name, *(found.get(length, "–") for length in every)] for name, found in lines.items()]
    click.echo(markdown(head, [best, *rows]))
    if output:
        values = {m: {k: v.values for k, v in found.items()} for m, found in lines.items()}
        draw_lines(values, ceiling, output)


def _scored(
    group: Group, *, protocol: Protocol | None = None, candidates: int | None = None
) -> Spread:
    """hits@1 of the runs of a group under other settings than their own."""
    progress = progress_on(stderr())
    scored = (
        evaluate(run.path, protocol=protocol, candidates=candidates, progress=progress)
        for run in group.runs
    )
    return Spread(values=tuple(100 * figures[_SPLIT]["hits@1"] for figures in scored))


@main.command("gold-slot")
@_arguments
def gold_slot(runs: tuple[Path, ...], output: Path | None) -> None:
    """Runs under the protocol that they were trained with, and under the other one."""
    rows: list[list[object]] = []
    pairs: dict[str, dict[str, tuple[float, ...]]] = {}
    for group in _groups(runs):
        own = group.runs[0].protocol
        if own not in _OTHER:
            raise ConfigError(f"the runs stand under protocol {own}", where=group.name)
        scored = {
            own: spread(group, "hits@1"),
            _OTHER[own]: _scored(group, protocol=_OTHER[own]),
        }
        gains = [
            p - s for p, s in zip(scored["paper"].values, scored["strict"].values, strict=True)
        ]
        rows.append(
            [f"`{group.name}`", own, scored["strict"], scored["paper"], Spread(values=tuple(gains))]
        )
        pairs[group.name] = {name: each.values for name, each in scored.items()}
    head = ["cell", "trained under", "scored strict", "scored paper", "gain by the slot"]
    click.echo(markdown(head, rows))
    if output:
        draw_pairs(pairs, output)


if __name__ == "__main__":
    main()
