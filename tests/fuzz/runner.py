"""Runs cases in a forked process, and counts how each ended.

A process handles cases until it is stopped or has done ``CHUNK`` of them; it says through a pipe
which case it begins and how that ended. So a case that ends the process, or is still not done after
``SECONDS``, is known, and the next process goes on after it.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.fuzz.kinds import Case, Kind, Seed, Wrong, make_case
from tests.fuzz.report import FAILURES, OK, REFUSED, Report
from tests.fuzz.watch import Watch

#: Seconds for one case, and bytes of memory beyond what the process had before the first.
SECONDS = 10
MEMORY = 2 << 30

#: Cases of one process.
CHUNK = 500


def run(
    kind: Kind,
    *,
    cases: Sequence[int],
    seed: int = 0,
    most_seconds: float = float("inf"),
    keep: Path | None = None,
    heard: Callable[[dict[str, Any]], object] | None = None,
) -> Report:
    """Run cases of a kind, in a folder that is gone afterwards.

    Args:
        cases: their numbers.
        most_seconds: no case is begun after them.
        keep: copy the input of each failed case to below this folder.
        heard: is told how each case ended.
    """
    report = Report(kind.name, seed, heard=heard)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="drin-fs-fuzz-") as folder:
        root = Path(folder).resolve()
        (root / "seeds").mkdir()
        seeds = kind.seeds(root / "seeds")
        left = list(cases)
        while left and time.monotonic() - started < most_seconds:
            until = started + most_seconds
            done = _run_process(kind, seeds, left[:CHUNK], seed, root, until, report, keep)
            left = left[done:]
    report.seconds = time.monotonic() - started
    return report


def _run_process(
    kind: Kind,
    seeds: Sequence[Seed],
    cases: Sequence[int],
    seed: int,
    root: Path,
    until: float,
    report: Report,
    keep: Path | None,
) -> int:
    """Fork, follow what the process says, end it where it must be; returns how many cases it did."""
    shutil.rmtree(root / "case", ignore_errors=True)  # of a process that was ended
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if process == 0:
        os.close(reading)
        _Worker(kind, seeds, seed, root, writing).work(cases, until)
    os.close(writing)
    follower = _Follower(reading)
    done = 0
    try:
        for end in follower.ends():
            report.add(end)
            done += 1
            if keep and end["end"] in FAILURES:
                _keep(kind, seeds, seed, end["case"], keep)
    finally:
        os.close(reading)
        if follower.hangs:
            os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
    log = (root / "log").read_text(errors="replace")[-3000:]
    if status and not os.WIFSIGNALED(status):
        raise RuntimeError(f"{kind.name}: the process that reads cases failed itself\n{log}")
    if (number := follower.current) is not None:  # it did not come back from this one
        end = "hang" if follower.hangs else "crash"
        what = f"{log}\nended by signal {os.WTERMSIG(status)}"
        report.add(
            {"case": number, "end": end, "what": what, "seconds": follower.waited, "peak": 0,
             "made": "see --case"}
        )  # fmt: skip
        if keep:
            _keep(kind, seeds, seed, number, keep)
        done += 1
    return done or len(cases)


def _keep(kind: Kind, seeds: Sequence[Seed], seed: int, number: int, keep: Path) -> None:
    target = keep / f"{kind.name}-{seed}-{number}"
    if not target.exists():
        target.mkdir(parents=True)
        make_case(kind, seeds, seed, number, target)


class _Follower:
    """Reads what a process says. ``current``: the case that it is at; ``hangs``: for too long."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.current: int | None = None
        self.hangs = False
        self.waited = 0.0

    def ends(self) -> Iterator[dict[str, Any]]:
        """How each case ended, as soon as it is said."""
        rest = b""
        began = time.monotonic()
        while True:
            limit = SECONDS if self.current is not None else 120  # it may have to load something
            self.waited = time.monotonic() - began
            left = limit - self.waited
            if left <= 0 or not select.select([self._descriptor], [], [], left)[0]:
                self.hangs = True
                return
            data = os.read(self._descriptor, 65536)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                said = json.loads(line)
                began = time.monotonic()
                if "begin" in said:
                    self.current = said["begin"]
                else:
                    self.current = None
                    yield said


class _Worker:
    """The forked process."""

    def __init__(
        self, kind: Kind, seeds: Sequence[Seed], seed: int, root: Path, descriptor: int
    ) -> None:
        self._kind, self._seeds, self._seed = kind, seeds, seed
        self._root, self._descriptor = root, descriptor

    def work(self, cases: Sequence[int], until: float) -> None:
        """Does not return."""
        status = 1
        try:
            self._prepare()
            opened = self._kind.open(self._root / "seeds")
            self._read_seeds(opened)
            gc.collect()
            gc.freeze()
            baseline = _memory("VmRSS")
            limit = _memory("VmSize") + MEMORY
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            watch = Watch(self._root)
            for number in cases:
                if time.monotonic() > until:
                    break
                self._say({"begin": number})
                self._say(self._case(number, opened, watch, baseline))
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def _prepare(self) -> None:
        """All that is printed goes to a log; a crash leaves a trace there."""
        log = os.open(self._root / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.stdout = open(1, "w", errors="backslashreplace", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", errors="backslashreplace", closefd=False)  # noqa: SIM115
        faulthandler.enable(2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        warnings.simplefilter("ignore")
        sys.dont_write_bytecode = True
        os.chdir(self._root)

    def _read_seeds(self, opened: Any) -> None:
        """Each seed as it is must be accepted; whatever reading one loads is loaded after that."""
        for folder in sorted({seed.folder for seed in self._seeds}):
            with self._folders() as (source, out):
                shutil.copytree(folder, source, dirs_exist_ok=True)
                end, what = _ending(self._kind, Case(source, out, folder.name, opened))
                if end != OK:
                    raise RuntimeError(f"the seed {folder.name} is {end}: {what}")

    @contextmanager
    def _folders(self) -> Iterator[tuple[Path, Path]]:
        """For the input of a case, and for what is made of it; gone afterwards."""
        source, out = self._root / "case" / "in", self._root / "case" / "out"
        source.mkdir(parents=True)
        out.mkdir()
        yield source, out
        shutil.rmtree(self._root / "case")

    def _say(self, words: dict[str, Any]) -> None:
        os.write(self._descriptor, json.dumps(words).encode() + b"\n")

    def _case(self, number: int, opened: Any, watch: Watch, baseline: int) -> dict[str, Any]:
        with self._folders() as (source, out):
            made = make_case(self._kind, self._seeds, self._seed, number, source)
            _forget_peak()
            watch.begin()
            began = time.monotonic()
            end, what = _ending(self._kind, Case(source, out, made.seed, opened))
            seconds = time.monotonic() - began
            peak = max(0, _memory("VmHWM") - baseline)
            if seen := watch.end():
                end, what = "foreign", "; ".join(seen[:5]) + f"\n{end}: {what}"
            elif seconds > SECONDS:
                end, what = "hang", f"{seconds:.1f} s"
            elif peak > MEMORY:
                end, what = "memory", f"{peak} bytes"
        gc.collect(0)
        return {"case": number, "end": end, "what": what, "seconds": seconds, "peak": peak,
                "made": f"{made.seed} · {', '.join(made.changes)}"}  # fmt: skip


def _ending(kind: Kind, case: Case) -> tuple[str, str]:
    """How reading ends: one of the words above, and what there is to say."""
    import rich_click as click

    from cli.main import _failure
    from featurestore.errors import DrinFsError

    try:
        kind.read(case)
    except DrinFsError as error:
        try:
            _failure(error, [])  # the message can be printed
        except Exception:
            return "untyped", traceback.format_exc()
        clear = error.what.strip() and error.where.strip()
        text = f"{type(error).__name__}: {error}"
        return (REFUSED, text) if clear else ("vague", text)
    except click.ClickException as error:
        return REFUSED, error.format_message()
    except MemoryError:
        return "memory", traceback.format_exc()
    except Wrong:
        return "wrong", traceback.format_exc()
    except BaseException:
        return "untyped", traceback.format_exc()
    return OK, ""


def _memory(name: str) -> int:
    """``VmRSS``, ``VmHWM`` (its peak) or ``VmSize`` of this process in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) << 10
    raise AssertionError(name)


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")
