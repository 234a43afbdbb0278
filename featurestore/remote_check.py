"""Which bytes of a copied store are not what was written: all that ``drin-fs verify --full`` compares."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from featurestore.header import Header, read_catalog_bytes, read_header, tail_digest
from featurestore.progress import Progress
from featurestore.store import Store
from featurestore.verify import compare

Span = tuple[int, int]


def damage(path: Path, page: bytes, progress: Progress) -> tuple[list[Span], int]:
    """The ranges of a copied file that must be fetched again, and how many bytes were compared.

    The first page is compared first, then the tail, which holds the checksums, then what they are of;
    each is only looked at when what stands before it is sound.

    Args:
        page: the first page as the server gave it.

    Raises:
        StoreError: it is no store, whatever is fetched again.
    """
    with path.open("rb") as file:
        if file.read(len(page)) != page:
            return [(0, len(page))], 0
        header = read_header(file, path)
        if header is not None and not _sound_tail(header, path):
            return [(0, len(page)), (header.tail_start, header.file_bytes)], 0
    with Store(path, alone=True) as store:
        if any(array.sums is None for _, array in store.catalog.arrays()):
            return [], 0
        spans: list[Span] = []
        compared = 0
        for pieces, damaged in compare(store, progress):
            compared += int(pieces.sizes.sum())
            ends = pieces.starts + pieces.sizes
            spans += zip(pieces.starts[damaged].tolist(), ends[damaged].tolist(), strict=True)
    return merged(spans), compared


def _sound_tail(header: Header, path: Path) -> bool:
    """Whether chunk tables, checksums and the catalog are what the header says."""
    with path.open("rb") as file:
        if tail_digest(file, header.tail_start) != header.tail_digest:
            return False
        read_catalog_bytes(file, header, path)  # is of the tail
    return True


def merged(spans: list[Span]) -> list[Span]:
    """Ranges in order, those that touch as one."""
    if not spans:
        return []
    starts, ends = np.array(sorted(spans)).T
    ends = np.maximum.accumulate(ends)
    heads = np.concatenate([[True], starts[1:] > ends[:-1]])
    last = np.append(np.flatnonzero(heads)[1:] - 1, len(ends) - 1)
    return list(zip(starts[heads].tolist(), ends[last].tolist(), strict=True))
