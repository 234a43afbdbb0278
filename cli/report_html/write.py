"""Where the report goes: it stands there whole, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.report_html.page import SECTIONS, page
from cli.report_html.report import Report
from cli.web.runs import open_runs
from featurestore.errors import WriteError
from featurestore.progress import Progress
from featurestore.store import Store
from featurestore.target import check_target, replace_file

#: How a report begins: what does not is not replaced, whatever was asked for.
_BEGIN = b"<!doctype html>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The file. ``sections``: the ids of its parts, in order; ``seed`` drew every sample."""

    path: str
    bytes: int
    sections: tuple[str, ...]
    runs: tuple[str, ...]
    seed: int


def write_report(
    store: Store,
    target: Path,
    *,
    runs: Sequence[Path] = (),
    overwrite: bool = False,
    progress: Progress,
) -> Written:
    """Write what a store holds, and what runs made of it, to one HTML file.

    Memory and file stay small whatever the size of the store: columns are read in blocks, features and
    records are sampled, and the report says so.

    Raises:
        WriteError: the target exists, is no report, or cannot be written.
        ConfigError: a run without ranks, or one that is given twice.
        RunError: no finished run of this store, or a damaged file.
        FieldMissing: the store lacks ids, sentences, candidates, golds or answers.
        StoreError: the store is damaged.
    """
    check_target(target, overwrite=overwrite)
    _check_replaced(target)
    report = Report(store=store, runs=open_runs(store, runs), progress=progress)
    with progress.stage("report", len(SECTIONS), "sections") as stage:
        made = page(report, stage)
    replace_file(target, made.text.encode())
    return Written(
        path=str(target),
        bytes=target.stat().st_size,
        sections=made.sections,
        runs=tuple(run.name for run in report.runs),
        seed=report.seed,
    )


def _check_replaced(target: Path) -> None:
    """Refuse to replace what is no page: a store, a dataset, a run's file."""
    if target.exists():
        with target.open("rb") as file:
            if file.read(len(_BEGIN)) != _BEGIN:
                raise WriteError(
                    "the target exists and is no HTML page, so it is not replaced",
                    where=str(target),
                    hint="name another file",
                )
