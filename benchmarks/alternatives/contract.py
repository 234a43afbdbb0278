"""What every alternative does, and the proof that it read the right values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, TypeAlias

import numpy as np

from benchmarks.files import remove

#: Field → its array, one row a row of the table.
Arrays: TypeAlias = Mapping[str, np.ndarray]

#: Field → how many entries of a row's first axis are wanted; a field not named is read whole.
First: TypeAlias = Mapping[str, int]

#: Why an alternative is left out when its package is missing.
INSTALL = "pip install 'drin-fs[bench]'"


class Disagreement(Exception):
    """An alternative read other values than the store holds: its time means nothing."""


class Alternative(ABC):
    """Arrays kept in one way.

    Args:
        place: a file or folder of its own, not there yet; or the store, for those that read it.
    """

    name: str
    needs: ClassVar[tuple[str, ...]] = ()  # modules it imports
    owns_place: ClassVar[bool] = True  # False: reads the store itself
    rounds: int | None = None  # too slow for all rounds: this many

    def __init__(self, place: Path) -> None:
        self.place = place

    def write(self, arrays: Arrays) -> None:  # noqa: B027  (some read the store)
        """Keep a copy of the arrays at ``place``."""

    @abstractmethod
    def open(self, arrays: Arrays) -> None:
        """Get ready to read; of ``arrays`` only names, shapes and dtypes may be kept."""

    @abstractmethod
    def read(self, rows: np.ndarray, first: First) -> dict[str, np.ndarray]:
        """Field → (len(rows), …) values of rows, in their order."""

    def close(self) -> None:  # noqa: B027  (some hold nothing)
        """Let go of files."""


def part(name: str, first: First) -> slice:
    """The part of a row's first axis that is wanted."""
    return slice(0, first.get(name))


def missing(alternative: type[Alternative] | Alternative) -> bool:
    """Whether a package that it imports is not installed."""
    return any(find_spec(module) is None for module in alternative.needs)


@contextmanager
def prepared(
    contestants: Sequence[Alternative], arrays: Arrays, left_out: dict[str, str]
) -> Iterator[list[Alternative]]:
    """The contestants whose packages are installed, written and open; their copies go afterwards.

    Args:
        left_out: receives those that are not, with the way to install them.
    """
    with ExitStack() as closing:
        ready: list[Alternative] = []
        for one in contestants:
            if missing(one):
                left_out[one.name] = INSTALL
                continue
            if one.owns_place:
                closing.callback(remove, one.place)
            one.write(arrays)
            one.open(arrays)
            closing.callback(one.close)
            ready.append(one)
        yield ready


def check_agrees(name: str, found: Arrays, expected: Arrays) -> None:
    """Raise unless both hold the same values.

    Raises:
        Disagreement: names the contestant and the field.
    """
    for field, values in expected.items():
        if field not in found:
            raise Disagreement(f"{name} did not read {field}")
        if not np.array_equal(found[field], values):
            shapes = f"{found[field].shape} and {values.shape}"
            raise Disagreement(f"{name} read another {field} than the store holds: {shapes}")
