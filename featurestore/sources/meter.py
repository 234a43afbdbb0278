"""A stage that counts the megabytes of an archive."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from featurestore.progress import Progress, Stage

_MEGABYTE = 10**6


class Meter:
    """Tells a stage that counts megabytes which byte was reached."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._told = 0

    def to(self, place: int) -> None:
        """Byte ``place`` was reached."""
        megabytes = place // _MEGABYTE - self._told
        if megabytes > 0:
            self._told += megabytes
            self._stage.advance(megabytes)


@contextmanager
def megabytes(progress: Progress, name: str, size: int) -> Iterator[Meter]:
    """A stage of ``size`` bytes."""
    with progress.stage(name, size // _MEGABYTE, "MB") as stage:
        yield Meter(stage)
