"""What a step took: seconds, processor seconds, and the memory it had at its most."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread

from featurestore.machine import anonymous_memory

#: Seconds between two looks at the memory.
_INTERVAL = 0.02


@dataclass(frozen=True, kw_only=True)
class Step:
    """Seconds of a step, and the most memory seen meanwhile that was not there before."""

    seconds: float
    anonymous: int  # bytes; 0 = this system does not say


def core_seconds(act: Callable[[], object]) -> float:
    """Processor seconds of one call, of all its threads: what other programs do hardly moves them."""
    gc.collect()
    started = time.process_time()
    act()
    return time.process_time() - started


@contextmanager
def watched(steps: dict[str, Step], name: str) -> Iterator[None]:
    """Enter what the block takes under a name."""
    before, peak, done = anonymous_memory() or 0, [0], Event()

    def look() -> None:
        while not done.wait(_INTERVAL):
            peak[0] = max(peak[0], anonymous_memory() or 0)

    watcher = Thread(target=look, daemon=True)
    watcher.start()
    started = time.perf_counter()
    try:
        yield
    finally:
        spent = time.perf_counter() - started
        done.set()
        watcher.join()
        peak[0] = max(peak[0], anonymous_memory() or 0)
        steps[name] = Step(seconds=spent, anonymous=max(0, peak[0] - before))
