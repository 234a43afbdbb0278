"""The blocks of a remote store that the next batches read, fetched while the present ones are scored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from featurestore import Store
from featurestore.schema import NO_ROW

if TYPE_CHECKING:
    from linker.data import BatchReader

#: Batches whose blocks are fetched together (chosen here: of 64 mentions each they share most blocks, so
#: requests become few and large, and the first answer is not waited for long).
WINDOW = 16

#: What tells a batch which entities it holds.
_POINTERS = ("candidates", "gold", "answer")


def read_ahead(reader: BatchReader, requests: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The same requests; of a remote store, each when its blocks are here."""
    if not (isinstance(reader.store, Store) and reader.store.is_remote):
        yield from requests
        return
    store = reader.store
    with ThreadPoolExecutor(1, thread_name_prefix="fetch") as thread:
        waiting = None
        for window in _windows(requests):
            following = window, thread.submit(_fetch, reader, store, np.concatenate(window))
            if waiting is not None:
                waiting[1].result()
                yield from waiting[0]
            waiting = following
        if waiting is not None:
            waiting[1].result()
            yield from waiting[0]


def _windows(requests: Iterable[np.ndarray]) -> Iterator[list[np.ndarray]]:
    window: list[np.ndarray] = []
    for rows in requests:
        window.append(rows)
        if len(window) == WINDOW:
            yield window
            window = []
    if window:
        yield window


def _fetch(reader: BatchReader, store: Store, rows: np.ndarray) -> None:
    """Have what the batches of these mentions read here."""
    mentions, entities = reader.fields_of("mentions"), reader.fields_of("entities")
    pointers = [name for name in _POINTERS if name in store.mentions]
    store.mentions.prefetch({*mentions.values(), *pointers}, rows)
    distinct = reader.distinct_entities(rows)
    store.entities.prefetch(set(entities.values()), distinct[distinct != NO_ROW])
