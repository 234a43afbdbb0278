"""Finished parts of a store being written: taken up after an interruption, entered as work goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import numpy as np

from featurestore.filling import Filling
from featurestore.record_arrays import RecordArray
from featurestore.row_arrays import KeptRows, PartArray, RowArray
from featurestore.splitting import moved_rows
from featurestore.work import Work
from featurestore.written import Share

Array = TypeVar("Array", bound=PartArray)

#: Seconds of work, or bytes of the store, from which on what is finished becomes a part
#: (chosen here: an interruption costs half a minute at most, syncing them a thousandth of the time).
PART_SECONDS, PART_BYTES = 30.0, 1 << 30


def restore(array: PartArray, work: Work, *, moved: bool = False) -> int:
    """Give an array the rows that finished parts hold of it; how many are damaged, and left out.

    Args:
        moved: some may stand in a finished shard of the store, no more here: they are not read.
    """
    damaged = 0
    for part in work.parts:
        told = part.plain["arrays"].get(array.name)
        if told is not None:
            share = Share(part.runs[array.name], told["digest"])
            if moved:
                array.trust(share, told["facts"])
                continue
            damaged += array.restore(share, told["facts"])
    return damaged


class Parts:
    """The arrays that a store is written to, and the parts that hold what is finished of them.

    Args:
        seconds, size: what is finished becomes a part when it took so long, or is so many bytes.
        note: is told what is not done again, and what has to be.
        salvage: hands over rows that need not be made.
    """

    def __init__(
        self,
        work: Work,
        *,
        seconds: float,
        size: int,
        note: Callable[[str], None],
        salvage: Filling | None,
    ) -> None:
        self._work = work
        self._salvage = salvage
        self._seconds, self._size = seconds, size
        self._note = note
        self._noted: set[tuple[str, int]] = set()
        self._arrays: dict[str, PartArray] = {}
        self._began, self._start = time.monotonic(), work.end
        self._marked_end = work.end

    def hold(self, name: str) -> bool:
        """Whether a part from before an interruption holds rows of this array."""
        return any(name in part.plain["arrays"] for part in self._work.parts)

    def take_up(self, array: Array) -> Array:
        """An array, with the rows that it has from before an interruption."""
        damaged = restore(array, self._work, moved=self._is_moved(array))
        self._arrays[array.name] = array
        if damaged:
            self._note(
                f"WARNING: {damaged:,} rows of {array.name} are not what was written before the "
                "interruption; they are made again"
            )
        self._tell_skipped(array)
        if self._salvage is not None:
            self._salvage.fill(array)
        return array

    def _is_moved(self, array: PartArray) -> bool:
        """Whether rows of an array may stand in a finished shard, no more in the file."""
        moved = isinstance(array, RowArray | RecordArray) and array.name.startswith("entities/")
        return moved and moved_rows(self._work.folder) > 0

    def settle(self) -> None:
        """Enter everything that was written, which is finished, as a part; and have it on disk.

        Raises:
            OSError: the disk is full, or another write error.
        """
        self.mark()
        if any(array.written.is_marked for array in self._arrays.values()):
            self._work.file.then(self._part())
        self._work.file.sync()

    def forget(self, name: str) -> None:
        """An array that another one has taken the place of."""
        self._arrays.pop(name, None)

    def _tell_skipped(self, array: PartArray) -> None:
        """Say how far a table is; fields that are equally far are not all told of."""
        if isinstance(array, KeptRows):  # no field: of no interest to whom it is told
            return
        table, _, field = array.name.partition("/")
        there, rows = int(array.written.done.sum()), len(array.written.done)
        if there and (table, there) not in self._noted:
            self._noted.add((table, there))
            name = field.removesuffix(".float16").removesuffix(".float32")
            self._note(f"skips {there:,} of {rows:,} {table}, finished before ({name} and others)")

    def mark(self) -> None:
        """Nothing is half done now; what was written since the last part may become one.

        Raises:
            OSError: the disk is full, or another write error.
        """
        for array in self._arrays.values():
            array.written.mark()
        self._marked_end = self._work.end
        self._work.file.check()
        due = time.monotonic() - self._began >= self._seconds
        if due or self._work.end - self._start >= self._size:
            self._work.file.then(self._part())

    def _part(self) -> Callable[[], None]:
        """Enters what was written up to the mark as a part, once it is written."""
        arrays: dict[str, Any] = {}
        runs: dict[str, np.ndarray] = {}
        kept: list[np.memmap] = []
        for array in self._arrays.values():
            share = array.written.take()
            if share is not None:
                arrays[array.name] = {"digest": share.digest, "facts": dict(array.facts)}
                runs[array.name] = share.runs
                kept += array.kept
        self._began, self._start = time.monotonic(), self._work.end
        part = self._work.part(arrays, runs, self._marked_end)
        return partial(self._work.enter, part, kept)

    def complete(self, found: Mapping[str, Any]) -> None:
        """Enter everything that was written, and that nothing is left to be done.

        Raises:
            OSError: the disk is full, or another write error.
        """
        self.mark()
        if any(array.written.is_marked for array in self._arrays.values()):
            self._work.file.then(self._part())
        self._work.file.wait()
        self._work.complete(found)

    def publish(self) -> None:
        """The store is where it belongs: nothing has to be kept."""
        self._arrays.clear()

    def close(self) -> None:
        """Enter what was finished as a last part, as far as the disk permits, and let go."""
        try:
            for array in self._arrays.values():
                array.written.give_up_unmarked()
            if any(array.written.is_marked for array in self._arrays.values()):
                self._work.file.then(self._part())
            self._work.file.wait()
        except OSError:
            pass  # the parts that were entered before are kept
        self._work.close()
