"""Rows that need not be made, because they stand in a damaged store or in finished shards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from featurestore.row_arrays import PartArray


class Filling(Protocol):
    """Hands rows to the arrays of a store being written.

    ``found``: what is known beside rows, by what found it out; empty if nothing is.
    """

    found: Mapping[str, Any]

    def dtype(self, path: str) -> str:
        """How it holds a feature; nothing where it does not."""

    def fill(self, array: PartArray) -> None:
        """Write the rows of an array that are there and not written yet."""

    def text(self, path: str) -> list[str] | None:
        """The texts of a field, if it has them."""

    def column(self, path: str) -> np.ndarray | None:
        """A whole column, if it has it."""

    def picture_status(self, table: str, first_files: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Rows whose first file needs no look, and the ``image_status`` of each."""
