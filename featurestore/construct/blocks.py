"""Long work in blocks, each kept when it is finished, so that an interrupted run goes on.

.NAME.lock              who is at work
.NAME.part/plan.json    what decides the result; blocks of another plan are thrown away
.NAME.part/00000.npy    a finished block
.NAME.part/…            the blocks as one array, and the result before it takes its name
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featurestore.disk import sync_path, write_errors
from featurestore.errors import WriteError
from featurestore.lock import Held, Lock
from featurestore.target import make_folder

_WHEN_FULL = "make room; the same command then goes on where it stopped"


class BlockFolder:
    """The finished blocks of one result, beside its target.

    ``left_over``: blocks of another plan were there, and are gone.
    """

    def __init__(self, target: Path, plan: Mapping[str, object], *, restart: bool) -> None:
        self._target = target
        self._folder = target.with_name(f".{target.name}.part")
        text = json.dumps(plan, indent=1, sort_keys=True)
        planned = self._folder / "plan.json"
        old = planned.read_text(encoding="utf-8") if planned.is_file() else None
        self.left_over = old is not None and old != text and not restart
        if restart or old != text:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(exist_ok=True)
        planned.write_text(text, encoding="utf-8")

    def has(self, number: int) -> bool:
        return self._path(number).is_file()

    def put(self, number: int, rows: NDArray[np.int32]) -> None:
        """Keep a finished block: it is there whole, or not at all."""
        unfinished = self._folder / "block.unfinished"
        with unfinished.open("wb") as file:
            np.save(file, rows)
        sync_path(unfinished)
        os.replace(unfinished, self._path(number))

    def joined(self, blocks: int, shape: tuple[int, int]) -> NDArray[np.int32]:
        """All blocks as one array, in a file that is mapped."""
        rows = np.lib.format.open_memmap(
            self._folder / "rows.npy", mode="w+", dtype=np.int32, shape=shape
        )
        first = 0
        for number in range(blocks):
            block = np.load(self._path(number))
            rows[first : first + len(block)] = block
            first += len(block)
        found: NDArray[np.int32] = rows
        return found

    def finish(self, lines: Iterator[str]) -> None:
        """Write the result, give it its name, and remove the blocks."""
        unfinished = self._folder / "result"
        with unfinished.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(lines)
        sync_path(unfinished)
        os.replace(unfinished, self._target)
        sync_path(self._target.parent)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:05}.npy"


@contextmanager
def block_folder(
    target: Path, plan: Mapping[str, object], *, restart: bool = False
) -> Iterator[BlockFolder]:
    """The blocks of a target, for one process at a time.

    Raises:
        WriteError: another process is at work on the target, or the disk does not take what is written.
    """
    make_folder(target.parent)
    with write_errors(target, when_full=_WHEN_FULL):
        try:
            lock = Lock(target.with_name(f".{target.name}.lock"))
        except Held as error:
            raise WriteError(
                f"another run writes this file: {error.holder}",
                where=str(target),
                hint=error.stale_hint,
            ) from error
        try:
            yield BlockFolder(target, plan, restart=restart)
        finally:
            lock.release()


def each_done(
    numbers: list[int], work: Callable[[int], NDArray[np.int32]], *, jobs: int
) -> Iterator[tuple[int, NDArray[np.int32]]]:
    """Number and result of each block, as they get done by so many threads."""
    if jobs == 1:
        yield from ((number, work(number)) for number in numbers)
        return
    left = iter(numbers)
    running: dict[Future[NDArray[np.int32]], int] = {}
    with ThreadPoolExecutor(jobs, thread_name_prefix="drin-fs-build") as pool:
        try:
            for number in left:
                running[pool.submit(work, number)] = number
                if len(running) < 2 * jobs:
                    continue
                yield from _finished(running)
            while running:
                yield from _finished(running)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _finished(
    running: dict[Future[NDArray[np.int32]], int],
) -> Iterator[tuple[int, NDArray[np.int32]]]:
    done, _ = wait(running, return_when=FIRST_COMPLETED)
    for future in done:
        yield running.pop(future), future.result()
