"""Which store a run was made from: recorded with the run, and compared with the store at hand.

Importing this module imports no torch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import featurestore
from featurestore import Store
from featurestore.errors import StoreError
from featurestore.summary import sentences_digest
from linker.run_folder import RunError


def store_identity(store: Store) -> dict[str, Any]:
    """Which store: enough to find it again, and to say in what another one differs."""
    fields = {
        f"{table.name}/{field.name}": f"{field.dtype}{list(field.shape[1:])}"
        for table in (store.entities, store.mentions)
        for field in table.fields.values()
    }
    return {
        "path": str(store.path.resolve()),
        "fingerprint": store.fingerprint,
        "dataset": store.dataset,
        "entities": len(store.entities),
        "mentions": len(store.mentions),
        "splits": {name: len(rows) for name, rows in store.mentions.splits.items()},
        "sentences": {
            name: sentences_digest(store.mentions, rows)
            for name, rows in store.mentions.splits.items()
        },
        "fields": fields,
    }


def open_recorded_store(
    recorded: dict[str, Any],
    *,
    given: str | os.PathLike[str] | None,
    other_store: bool,
    verify_reads: bool = False,
) -> Store:
    """The store of a run: where it is ``given`` to be now, otherwise where it was.

    Args:
        recorded: the identity that the run recorded.
        other_store: allow a store that the run was not trained from.
        verify_reads: compare what is read with its checksums.

    Raises:
        StoreError: no readable store there.
        RunError: another store.
    """
    try:
        store = featurestore.open(given or recorded["path"], verify_reads=verify_reads)
    except StoreError as error:
        if given:
            raise
        raise StoreError(
            f"the run's store cannot be opened: {error.what}",
            where=recorded["path"],
            hint="say where it is now: --store PATH",
        ) from error
    try:
        if not other_store:
            check_same_store(recorded, store, hint="give the right --store, or --other-store")
    except RunError:
        store.close()
        raise
    return store


#: Differences that a message tells (chosen here: rows of tables and splits, and some fields).
_TOLD = 8


def check_same_store(recorded: dict[str, Any], store: Store, *, hint: str) -> None:
    """Compare a store with the identity that a run recorded.

    Raises:
        RunError: another fingerprint; says in what they differ.
    """
    if store.fingerprint != recorded["fingerprint"]:
        differences = store_differences(recorded, store_identity(store))
        more = f"; and {len(differences) - _TOLD} more" if len(differences) > _TOLD else ""
        raise RunError(
            "this is not the store the run was trained from: "
            f"{'; '.join(differences[:_TOLD])}{more}",
            where=f"{store.path} (fingerprint {store.fingerprint}, the run's is "
            f"{recorded['fingerprint']})",
            hint=hint,
        )


def store_differences(recorded: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """In words, what of two store identities is not the same; paths do not count."""
    lines = [
        f"{key} {recorded[key]} → {found[key]}"
        for key in ("dataset", "entities", "mentions")
        if recorded[key] != found[key]
    ]
    for key in ("splits", "fields"):
        old, new = recorded[key], found[key]
        lines += [
            f"{name} {old.get(name, 'absent')} → {new.get(name, 'absent')}"
            for name in sorted(old.keys() | new.keys())
            if old.get(name) != new.get(name)
        ]
    sentences = recorded.get("sentences", {})  # runs of earlier versions did not record it
    lines += [
        f"other sentences in {name}"
        for name, digest in found["sentences"].items()
        if sentences.get(name, digest) != digest
    ]
    return lines or ["same shapes, but other ids, encoders or options"]
