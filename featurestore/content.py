"""One digest of all that a store holds, wherever in the file it lies."""

from __future__ import annotations

import json
from hashlib import blake2b

from featurestore.errors import StoreError
from featurestore.store import Store


def content_digest(store: Store) -> str:
    """32 hex digits over every array's path, dtype, shape and checksums, the splits and the fingerprint.

    Stores of equal digests hold the same bytes in every field; when and where they were made does not
    matter. It believes the checksums: ``verify --full`` compares them with the bytes.

    Raises:
        StoreError: the store has no checksums.
    """
    digest = blake2b(digest_size=16)
    catalog = store.catalog
    digest.update(json.dumps([store.fingerprint, catalog.splits], sort_keys=True).encode())
    for path, array in sorted(catalog.arrays()):
        if array.sums is None:
            raise StoreError(
                "the store has no checksums",
                where=f"{store.path}::/{path}",
                hint="ingest it again to have some",
            )
        digest.update(json.dumps([path, array.dtype.str, array.shape]).encode())
        digest.update(store.array(array.sums).tobytes())
    return digest.hexdigest()
