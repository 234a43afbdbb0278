"""What figures stand under, and which may stand in one table. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import PurePath

from featurestore.errors import ConfigError
from linker.recorded import RecordedRun
from linker.report_words import ALL_ENTITIES, CONDITIONS, SPLITS, first_stage_words
from linker.run_folder import RunFolder
from linker.store_identity import store_differences, told

#: Runs of a value that a message names (chosen here: enough to find them).
_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What one has to know to compare figures.

    store: the file's name, which is no condition: ``fingerprint`` is. candidates: how many entities a
    mention's gold is ranked among; None where the run does not tell. first_stage: what chose those
    that were scored, in words; empty where all were.
    """

    protocol: str
    first_stage: str
    tie_rule: str
    denominator: str
    dataset: str
    store: str = field(compare=False)
    fingerprint: str
    candidates: int | None


def conditions_of(run: RecordedRun) -> Conditions:
    """The conditions that a finished run recorded.

    Raises:
        RunError: its configuration is damaged.
    """
    identity = run.environment["store"]
    return Conditions(
        protocol=run.protocol,
        first_stage=first_stage_words(run.summary.get("first_stage")),
        tie_rule=str(run.summary["tie_rule"]),
        denominator=str(run.summary["denominator"]),
        dataset=identity["dataset"],
        store=PurePath(identity["path"]).name,
        fingerprint=identity["fingerprint"],
        candidates=_candidates(run),
    )


def _candidates(run: RecordedRun) -> int | None:
    """All entities where they are ranked; else the store's list, or the beginning that was configured."""
    if run.protocol in ALL_ENTITIES:
        entities = run.summary.get("entities")
        return int(entities) if entities else None
    form = run.environment["store"]["fields"].get("mentions/candidates", "")
    shape = re.search(r"\[(\d{1,9})\]$", form)
    first = RunFolder(run.path).read_config().get("candidates")
    lengths = [int(shape[1])] if shape else []
    lengths += [first] if isinstance(first, int) else []
    return min(lengths, default=None)


def differing(conditions: Sequence[Conditions]) -> tuple[str, ...]:
    """The attributes that are not the same everywhere, in their order."""
    return tuple(
        each.name
        for each in fields(Conditions)
        if each.compare and len({getattr(found, each.name) for found in conditions}) > 1
    )


def check_comparable(runs: Sequence[RecordedRun]) -> None:
    """Refuse to put figures under different conditions beside each other.

    Raises:
        ConfigError: the runs differ in protocol, first stage, tie rule, denominator, dataset, in the
            sentences of a split, or in the store by its fingerprint; names runs and values.
    """
    for key in CONDITIONS:
        _check_equal(key, runs, [str(run.summary[key]) for run in runs])
    _check_equal(
        "the first stage", runs, [first_stage_words(run.summary.get("first_stage")) for run in runs]
    )
    stores = [run.environment["store"] for run in runs]
    _check_equal("dataset", runs, [store["dataset"] for store in stores])
    for split in SPLITS:
        asked = [
            (run, digest)
            for run, store in zip(runs, stores, strict=True)
            if split in run.summary and (digest := store.get("sentences", {}).get(split))
        ]  # earlier versions lack the digests
        _check_equal(
            f"{split} split (by its sentences)", [r for r, _ in asked], [d for _, d in asked]
        )
    _check_stores(runs)


def _check_stores(runs: Sequence[RecordedRun]) -> None:
    """Refuse another store of the same sentences."""
    stores = {run.environment["store"]["fingerprint"]: run.environment["store"] for run in runs}
    if len(stores) > 1:
        first, *others = stores.values()
        shown = {key: f"{store['path']} (fingerprint {key})" for key, store in stores.items()}
        _check_equal(
            "store",
            runs,
            [shown[run.environment["store"]["fingerprint"]] for run in runs],
            more="; the scored sentences are the same, but it is another store: "
            + told(store_differences(first, others[0])),
        )


def _check_equal(
    what: str, runs: Sequence[RecordedRun], values: Sequence[str], *, more: str = ""
) -> None:
    """Refuse runs of which one has another value."""
    found: dict[str, list[str]] = {}
    for run, value in zip(runs, values, strict=True):
        found.setdefault(value, []).append(str(run.path))
    if len(found) > 1:
        told_of = ", ".join(f"{value} in {_named(names)}" for value, names in found.items())
        raise ConfigError(
            f"figures under different conditions cannot be compared: {what} is {told_of}{more}",
            where="report",
            hint="score one of them again with drin-fs evaluate, or pass --mixed",
        )


def _named(runs: Sequence[str]) -> str:
    more = f" and {len(runs) - _NAMED} more" if len(runs) > _NAMED else ""
    return ", ".join(runs[:_NAMED]) + more
