"""Ingests that are interrupted, for tests of what goes on from there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import featurestore
from featurestore import derive, ingest_shards
from featurestore.encoders import pictures
from featurestore.ingest import ingest
from featurestore.options import IngestOptions
from featurestore.progress import Silent, Stage
from featurestore.verify import content_digest, verify
from tests.golden_for_tests import PREPROCESSED, RAW, TINY

SOURCES = {
    "raw wikimel": (RAW / "wikimel", TINY),
    "raw wikidiverse": (RAW / "wikidiverse", TINY),
    "preprocessed wikimel": (PREPROCESSED / "wikimel", IngestOptions()),
    "preprocessed wikidiverse": (PREPROCESSED / "wikidiverse", IngestOptions(dtype="float32")),
}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something is finished after every few rows."""
    monkeypatch.setattr(ingest_shards, "BLOCK_ROWS", 8)
    monkeypatch.setattr(pictures, "WINDOW", 8)
    monkeypatch.setattr(derive, "BLOCK_BYTES", 1 << 14)


class Stopping(Silent):
    """Keeps the notes, and interrupts after so many steps of all stages."""

    def __init__(self, after: int = -1, error: type[BaseException] = KeyboardInterrupt) -> None:
        self.notes: list[str] = []
        self.steps = 0
        self._after, self._error = after, error

    @contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Stage]:
        yield self

    def advance(self, amount: int) -> None:
        self.steps += 1
        if self.steps == self._after:
            raise self._error

    def note(self, text: str) -> None:
        self.notes.append(text)


def interrupted(
    source: Path, target: Path, options: IngestOptions, *, share: float = 0.6
) -> list[str]:
    """Interrupt an ingest after a share of its steps; its notes."""
    counting = Stopping()
    ingest(source, target.with_name("whole.h5"), options=options, progress=counting, overwrite=True)
    stopping = Stopping(max(1, int(share * counting.steps)))
    with pytest.raises(KeyboardInterrupt):
        ingest(source, target, options=options, progress=stopping, part_seconds=0)
    assert not target.exists()
    return stopping.notes


def digest(store: Path) -> str:
    assert verify(store, "full").problems == []
    with featurestore.open(store) as opened:
        return content_digest(opened)
