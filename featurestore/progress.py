"""How long work tells that it goes on: the library reports, the command line shows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Stage(Protocol):
    """One running stage of known size."""

    def advance(self, amount: int) -> None:
        """``amount`` more units are done."""

    def say(self, text: str) -> None:
        """A few words that stand behind the figures until others are told."""


class Progress(Protocol):
    """Receives the stages of a long job."""

    def stage(self, name: str, total: int, unit: str) -> AbstractContextManager[Stage]:
        """Start a stage; it ends with the ``with`` block.

        A total of 0 of which more is done was not known.
        """

    def note(self, text: str) -> None:
        """A line worth keeping: what was recognised, skipped or replaced."""


class Silent:
    """Shows nothing."""

    @contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Stage]:
        yield self

    def advance(self, amount: int) -> None:
        pass

    def say(self, text: str) -> None:
        pass

    def note(self, text: str) -> None:
        pass
