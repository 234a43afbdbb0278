"""What batches are read from: a store, or its entities with mentions of another origin."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np

from featurestore import Table
from featurestore.chunks import New


class MentionTable(Protocol):
    """Answers as a store's table of mentions does."""

    def gather(self, field: str, rows: np.ndarray) -> Any:
        """Values of one field for rows, as :meth:`featurestore.Table.gather` gives them."""

    def gather_all(
        self, fields: Iterable[str], rows: np.ndarray, *, new: New = np.empty
    ) -> dict[str, Any]:
        """Field → its values, as :meth:`featurestore.Table.gather_all` gives them."""

    def whole_records(self, field: str, rows: np.ndarray, *, new: New = np.empty) -> np.ndarray:
        """Records with their padding, as :meth:`featurestore.Table.whole_records` gives them."""


class Tables(Protocol):
    """Both tables. A :class:`featurestore.Store` is one."""

    @property
    def entities(self) -> Table: ...

    @property
    def mentions(self) -> MentionTable: ...
