"""Groups with names that tell them apart, and what a caption says of them all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from linker.plots.style import colour, dash, drawable, filling, marker
from linker.recorded import RecordedRun
from linker.run_groups import SEED_FOLDER, Group


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A group as it is drawn. ``name``: unique among all, as it stands in CSV; ``shown``: in a plot."""

    name: str
    shown: str
    place: int
    runs: tuple[RecordedRun, ...]

    @property
    def colour(self) -> str:
        return colour(self.place)

    @property
    def dash(self) -> Any:
        return dash(self.place)

    @property
    def filling(self) -> dict[str, Any]:
        return filling(self.place)

    @property
    def marker(self) -> str:
        return marker(self.place)


def named(groups: Sequence[Group]) -> tuple[Named, ...]:
    """The groups in their order; equal names get as much of their folders as tells them apart."""
    names = [group.name for group in groups]
    folders = [_folder(group) for group in groups]
    for depth in range(2, 2 + max((len(folder.parts) for folder in folders), default=0)):
        again = {name for name, count in Counter(names).items() if count > 1}
        if not again:
            break
        names = [
            "/".join(folder.parts[-depth:]) if name in again else name
            for name, folder in zip(names, folders, strict=True)
        ]
    counted: Counter[str] = Counter()
    found = []
    for place, (group, name) in enumerate(zip(groups, names, strict=True)):
        counted[name] += 1
        unique = name if counted[name] == 1 else f"{name} ({counted[name]})"
        found.append(Named(name=unique, shown=drawable(unique), place=place, runs=group.runs))
    return tuple(found)


def conditions(groups: Sequence[Named], split: str) -> str:
    """``Dataset wikimel, split test, 4,975 mentions; protocol strict; ties expected; …``.

    Under several conditions, each value that there is.
    """
    runs = [run for group in groups for run in group.runs]
    datasets = _values(run.summary["store"]["dataset"] for run in runs)
    counts = _values(
        f"{run.environment['store']['splits'][split]:,}"
        for run in runs
        if split in run.environment["store"]["splits"]
    )
    rules = "; ".join(
        f"{words} {_values(run.summary[key] for run in runs)}"
        for key, words in (
            ("protocol", "protocol"),
            ("tie_rule", "tie rule"),
            ("denominator", "denominator"),
        )
    )
    return f"Dataset {datasets}, split {split}, {counts} mentions; {rules}; {seeds(groups)}."


def seeds(groups: Sequence[Named]) -> str:
    """``seeds 0, 1, 2``; where groups differ, with the names of those that have them."""
    of: dict[str, list[str]] = {}
    for group in groups:
        of.setdefault(_seeds(group.runs), []).append(group.shown)
    if len(of) == 1:
        return next(iter(of))
    return "; ".join(f"{words} ({', '.join(names)})" for words, names in of.items())


def _seeds(runs: Sequence[RecordedRun]) -> str:
    found = sorted({run.summary["seed"] for run in runs if run.summary["seed"] is not None})
    if not found:
        return "no seed"
    return f"seed{'s' if len(found) > 1 else ''} {', '.join(map(str, found))}"


def _values(values: Any) -> str:
    return " and ".join(dict.fromkeys(map(str, values))) or "none"


def _folder(group: Group) -> Path:
    path = group.runs[0].path.resolve()
    return path.parent if SEED_FOLDER.fullmatch(path.name) else path
