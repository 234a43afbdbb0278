"""``python -m tests.fuzz``: see the package."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests.fuzz.registry import KINDS, kind_of
from tests.fuzz.report import FAILURES, OK, REFUSED, Report
from tests.fuzz.runner import run


def main(arguments: list[str] | None = None) -> int:
    """Returns 1 if a case failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help="by default all")
    parser.add_argument("--list", action="store_true", help="name the kinds")
    parser.add_argument("--cases", type=int, default=500, metavar="N", help="of each kind")
    parser.add_argument("--first", type=int, default=0, metavar="K", help="number of the first")
    parser.add_argument("--case", type=int, metavar="K", help="this one alone")
    parser.add_argument("--seed", type=int, default=0, metavar="S")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="a kind, at most")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="copy failing inputs to it")
    parser.add_argument("--show", action="store_true", help="say how every case ended")
    given = parser.parse_args(arguments)
    if given.list:
        for name in KINDS:
            print(f"{name:<10} {kind_of(name).about}")
        return 0
    reports = [_run(name, given) for name in given.kinds or KINDS]
    if given.json:
        given.json.write_text(json.dumps([each.as_dict() for each in reports], indent=1) + "\n")
    return 1 if any(report.failed for report in reports) else 0


def _run(name: str, given: argparse.Namespace) -> Report:
    kind = kind_of(name)
    one = given.case is not None
    cases = [given.case] if one else range(given.first, given.first + given.cases)
    report = run(
        kind,
        cases=cases,
        seed=given.seed,
        most_seconds=given.seconds,
        keep=given.keep,
        heard=_show if given.show or one else None,
    )
    for failure in report.failures[:20]:
        if not one:
            print(f"FAILED {name} --seed {given.seed} --case {failure['case']}: {failure['end']}, "
                  f"{failure['made']}\n    {_last_line(failure['what'])}")  # fmt: skip
    print(_line(report), flush=True)
    return report


def _show(end: dict[str, Any]) -> None:
    print(f"case {end['case']}: {end['end']}, {end['seconds']:.2f} s, {end['made']}\n{end['what']}")


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1] if text.strip() else ""


def _line(report: Report) -> str:
    ends = report.ends
    failures = ", ".join(f"{ends[name]} {name}" for name in FAILURES if ends[name]) or "none"
    return (
        f"{report.kind}: {report.cases} cases, {ends[OK]} ok, {ends[REFUSED]} refused, "
        f"failures: {failures}; longest {report.longest[0]:.2f} s (case {report.longest[1]}), "
        f"peak {report.peak[0] / 1e6:.0f} MB (case {report.peak[1]}), {report.seconds:.0f} s"
    )


if __name__ == "__main__":
    sys.exit(main())
