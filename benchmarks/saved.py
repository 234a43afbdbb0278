"""Figures in a JSON file: written by whoever measures, read by whoever draws."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.report import Report


@dataclass(frozen=True, kw_only=True)
class Saved:
    """The report of one benchmark, and what it was measured on."""

    question: str
    conditions: list[str]
    rows: list[dict[str, Any]]  # ``name``, ``ours``, and the figures by column
    machine: dict[str, Any]


def save(
    target: Path, reports: Mapping[str, Report], *, sizes: str, machine: Mapping[str, Any]
) -> None:
    """Write the reports, by the names of their benchmarks.

    Args:
        sizes: what was measured: ``full``, ``quick``, or a dataset.
        machine: as ``benchmarks.machine.describe`` gives it.
    """
    values = {
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "sizes": sizes,
        "torch_threads": torch.get_num_threads(),
        "machine": dict(machine),
        "benchmarks": {name: report.as_json() for name, report in reports.items()},
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load(files: Iterable[Path]) -> dict[str, Saved]:
    """Benchmark → its report. Where several files have one, the last of them counts."""
    found: dict[str, Saved] = {}
    for file in files:
        values = json.loads(file.read_text(encoding="utf-8"))
        for name, report in values["benchmarks"].items():
            found[name] = Saved(
                question=report["question"],
                conditions=report["conditions"],
                rows=report["rows"],
                machine=values["machine"],
            )
    return found
