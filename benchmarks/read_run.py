"""Read a raw dataset, and say what that took: a process of its own, whose memory is that of reading.

python -m benchmarks.read_run FOLDER --rounds 3
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Self

from benchmarks.steps import Step, core_seconds, watched
from featurestore.sources.wikimel import RawWikimel


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Processor seconds of each round, and the most memory (bytes) of the first."""

    seconds: list[float]
    anonymous: int

    @classmethod
    def of(cls, folder: Path, *, rounds: int) -> Self:
        """What a process says of a raw WikiMEL.

        Raises:
            RuntimeError: it failed; with what it printed.
        """
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}
        command = [
            sys.executable,
            "-m",
            "benchmarks.read_run",
            str(folder),
            "--rounds",
            str(rounds),
        ]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"reading ended with {done.returncode}:\n{done.stderr[-2000:]}")
        return cls(**json.loads(done.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.read_run")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, required=True)
    asked = parser.parse_args()
    steps: dict[str, Step] = {}
    with watched(steps, "first"):
        seconds = [core_seconds(partial(RawWikimel.open, asked.folder))]
    seconds += [
        core_seconds(partial(RawWikimel.open, asked.folder)) for _ in range(asked.rounds - 1)
    ]
    print(json.dumps(asdict(Reading(seconds=seconds, anonymous=steps["first"].anonymous))))


if __name__ == "__main__":
    main()
