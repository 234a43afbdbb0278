"""Kills training runs at random moments, resumes them, and compares all figures with an unbroken run.

    python -m tests.kills_training --kills 50 [--seed 0] [--everything]

Exit status: 0 = every resumed run has the very figures of the unbroken one, 1 = one has not.

Torch is imported once, and each run is a fork of this process, which itself computes nothing. A kill is
uniform over the duration of a run: before its folder is there, within epochs, while a checkpoint is
written, between epochs, while the best weights are scored. Every third run is killed a second time
while it resumes, and every fifth one reads its batches in another process. ``--everything``: with a
schedule, accumulation, clipping, a moving average and early stopping.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is imported

from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

import linker.train  # noqa: F401 # so that the forks find it imported
from cli.main import main as drin_fs
from linker.checkpoint import read_place
from linker.run_folder import RunFolder
from tests.runs_for_tests import CLOCK_OF_EPOCHS, figures_of, without_clock

EPOCHS = 3

_SAMPLE = (
    "--layout preprocessed --mentions 220 --entities 60 --candidates 6 --text-width 16 "
    "--image-width 16 --mention-tokens 24 --entity-tokens 40 --regions 4"
)

#: DRIN with dropout, so that a wrong random number anywhere shows.
_TRAIN = (
    f"--model drin --epochs {EPOCHS} --batch-size 14 --lr 0.003 --device cpu --seed 3 --set "
    "model.mention_text=transformer --set model.transformer_layers=1 "
    "--set model.transformer_heads=2 --set model.transformer_feedforward=16"
)

_EVERYTHING = (
    "--schedule cosine --warmup 5 --accumulate 3 --clip 0.1 --ema 0.9 --patience 2 "
    "--set stopping.min_delta=0.01"
)

#: Training steps between checkpoints within an epoch.
STEPS = (1, 3, 7)


def fork(command: Sequence[str], log: Path) -> int:
    """Run a command of drin-fs in a process of its own; its id."""
    process = os.fork()
    if process:
        return process
    status = 70
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        status = drin_fs(command)
        sys.stderr.flush()
    finally:
        os._exit(status)


def killed_after(process: int, seconds: float) -> bool:
    """Kill a process then; whether it was still at work."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if os.waitpid(process, os.WNOHANG)[0]:
            return False
        time.sleep(0.002)
    os.kill(process, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(process, 0)[1])


def completed(command: Sequence[str], log: Path) -> float:
    """Run a command to its end; the seconds that it took.

    Raises:
        SystemExit: it failed; shows what it said.
    """
    started = time.monotonic()
    _, status = os.waitpid(fork(command, log), 0)
    if status:
        sys.exit(
            f"{' '.join(command)}\nended with {os.waitstatus_to_exitcode(status)}:\n{log.read_text()}"
        )
    return time.monotonic() - started


def outcome(run: Path) -> dict[str, Any]:
    """All that a finished run says of its model, clocks left out, by file."""
    summary = RunFolder(run).read_summary()
    left = [path.name for path in run.rglob(".*")]
    weights = load_file(run / "checkpoints/best.safetensors")
    return {
        "summary.json": without_clock(summary),
        "metrics.csv": figures_of(run / "metrics.csv"),
        **{path.name: path.read_text() for path in sorted((run / "ranks").iterdir())},
        **{path.name: path.read_bytes() for path in sorted((run / "scores").iterdir())},
        "tensorboard": events_of(run),
        "best.safetensors": {name: value.tolist() for name, value in weights.items()},
        "files left behind": left,
    }


def events_of(run: Path) -> list[tuple[str, int, float]]:
    """(tag, epoch, value) of all TensorBoard events of a run, clocks left out, as they are read."""
    clocks = {name.replace("_", "/", 1) for name in CLOCK_OF_EPOCHS}
    return [
        (value.tag, event.step, value.tensor.float_val[0])
        for path in sorted((run / "tensorboard").iterdir())
        for event in EventFileLoader(str(path)).Load()
        for value in event.summary.value
        if value.tag not in clocks
    ]


def where_killed(run: Path) -> str:
    """In words, how far a killed run had come, by what it left."""
    folder = RunFolder(run)
    if not folder.config.is_file():
        return "before the run began"
    if any(run.rglob(".*.part")):
        return "while writing a file"
    if not folder.last.is_file():
        return "before the first checkpoint"
    place = read_place(folder.last)
    if place.batches:
        return "within an epoch"
    return "scoring the best weights" if place.epochs == EPOCHS else "between two epochs"


class Kills:
    """Runs on one store, compared with an unbroken run that saved after epochs alone."""

    def __init__(self, folder: Path, *, seed: int, everything: bool) -> None:
        self.folder = folder
        self.options = [*_TRAIN.split(), *(_EVERYTHING.split() if everything else [])]
        self.random = random.Random(seed)
        self.log = folder / "log"
        arrays, self.store = folder / "arrays", folder / "store.h5"
        completed(["sample", str(arrays), *_SAMPLE.split()], self.log)
        completed(["ingest", str(arrays), "-o", str(self.store)], self.log)
        completed(self.train(folder / "whole"), self.log)
        self.wanted = outcome(folder / "whole")
        self.seconds = (
            self._together()
        )  # of a run; one that takes less may be over when it is killed

    def _together(self) -> float:
        """Two processes train from one store at once; a third one in the folder of the first.

        Returns:
            The seconds until both were done.

        Raises:
            SystemExit: one is not the unbroken run, or the third is not refused.
        """
        started = time.monotonic()
        runs = [self.folder / name for name in ("first", "second")]
        processes = [fork(self.train(run, *saving(1)), self.log) for run in runs]
        while not (runs[0] / "config.yaml").exists():
            time.sleep(0.002)
        os.kill(processes[0], signal.SIGSTOP)  # so that it is there for as long as it takes
        log = self.folder / "log of the third"
        third = fork(self.train(runs[0], "--overwrite"), log)
        status = os.waitstatus_to_exitcode(os.waitpid(third, 0)[1])
        os.kill(processes[0], signal.SIGCONT)
        if status != 1 or f"writing to this run: process {processes[0]} on" not in log.read_text():
            sys.exit(f"a second process in {runs[0]} ended with {status}:\n{log.read_text()}")
        for process in processes:
            os.waitpid(process, 0)
        seconds = time.monotonic() - started
        for run in runs:
            self.compare(run)
        return seconds

    def train(self, run: Path, *options: str) -> list[str]:
        return ["train", str(self.store), "-o", str(run), "--json", *self.options, *options]

    def compare(self, run: Path) -> None:
        """Compare a finished run with the unbroken one.

        Raises:
            SystemExit: they differ; names the file.
        """
        found = outcome(run)
        for name in self.wanted.keys() | found.keys():
            if found.get(name) != self.wanted.get(name):
                sys.exit(
                    f"{run.name}: {name} is not that of the unbroken run\n{found.get(name)}\n"
                    f"is to be\n{self.wanted.get(name)}\n{self.log.read_text()[-2000:]}"
                )

    def kill(self, number: int) -> list[str]:
        """Kill a run, resume it to its end and compare it; where it was killed, each time."""
        run, steps = self.folder / f"run-{number}", STEPS[number % len(STEPS)]
        options = [*saving(steps), *(["--workers", "1"] if number % 5 == 4 else [])]
        places: list[str] = []
        if not self._killed(self.train(run, *options)):
            return []
        places.append(where_killed(run))
        resume = self.train(run, *options, "--resume")
        if number % 3 == 2 and self._killed(resume):
            places.append(where_killed(run))
        completed(resume, self.log)
        self.compare(run)
        return places

    def _killed(self, command: Sequence[str]) -> bool:
        moment = self.random.uniform(0, self.seconds)
        return killed_after(fork(command, self.log), moment)


def saving(steps: int) -> list[str]:
    return ["--set", f"checkpoint_steps={steps}"]


def run_kills(
    kills: int, *, seed: int, everything: bool = False, say: Callable[[str], None] = print
) -> None:
    """Kill so many runs, a second kill of a run not counted.

    Raises:
        SystemExit: a resumed run is not the unbroken one.
    """
    started = time.monotonic()
    with TemporaryDirectory() as folder:
        runs = Kills(Path(folder), seed=seed, everything=everything)
        places: Counter[str] = Counter()
        done = attempt = again = 0
        while done < kills:
            found = runs.kill(attempt)
            attempt += 1
            done += bool(found)
            again += max(0, len(found) - 1)
            places.update(found)
    for place, times in places.most_common():
        say(f"{times:5}  killed {place}")
    say(
        f"{done:5}  runs killed, {again} of them twice, all resumed to the figures of the unbroken run"
    )
    say(f"{time.monotonic() - started:5.0f}  seconds; a run takes {runs.seconds:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.kills_training")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--everything", action="store_true")
    options = parser.parse_args()
    run_kills(options.kills, seed=options.seed, everything=options.everything)


if __name__ == "__main__":
    main()
