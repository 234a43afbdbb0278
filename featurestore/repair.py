"""Make the damaged rows of a store again from its source; everything else is taken over as it is.

A repair is an ingest that goes on: what is sound counts as finished. So it costs what is damaged, a
window of texts or pictures at least, and a copy of the store, which it then replaces in one rename.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from featurestore.catalog import Extent, StoredField
from featurestore.checksums import Pieces
from featurestore.errors import SourceError, StoreError
from featurestore.header import read_header, tail_digest
from featurestore.ingest import (
    Timed,
    identity_of,
    opened_source,
    recognise,
    write_store,
)
from featurestore.options import IngestOptions
from featurestore.progress import Progress, Silent
from featurestore.resume import check_begun, claimed, differences
from featurestore.salvage import Salvage
from featurestore.store import Store
from featurestore.verify import compare
from featurestore.writer import StoreWriter


@dataclass(frozen=True, kw_only=True)
class Repaired:
    """What a repair did.

    ``rows``: path of an array → rows that were made again; of texts and the index of ids, all that stand
    in a damaged block. ``exact``: whether what was made again has the checksums of what was lost.
    """

    store: str
    rows: dict[str, int]
    exact: bool
    fingerprint: str


def repair(
    path: str | os.PathLike[str],
    source: str | os.PathLike[str],
    *,
    progress: Progress | None = None,
) -> Repaired:
    """Find what is damaged, and replace the store by one in which that was made again from ``source``.

    Raises:
        StoreError: its header or catalog is damaged, it has no checksums, it is sharded, or repack has
            changed its content: it must be made again.
        SourceError: ``source`` is not what the store was made from.
        EncoderError: an encoder that made it cannot be loaded, or is another.
        WriteError: it cannot be written, or something else writes it.
    """
    path, source = Path(path), Path(source)
    timed = Timed(progress or Silent())
    with Store(path) as store:
        _refuse_other(store)
        damaged = {
            pieces.path: _rows_of(pieces, found)
            for pieces, found in compare(store, timed)
            if len(found)
        }
        if not damaged and _metadata_sound(path):
            return Repaired(store=str(path), rows={}, exact=True, fingerprint=store.fingerprint)
        options = options_of(store.provenance)
        if source.is_dir():  # before encoders are loaded
            dataset, layout = recognise(source)
            _check_same(store, {"dataset": dataset, "layout": layout}, source)
        with (
            claimed(path, timed, restart=False) as claim,
            opened_source(source, claim, options, timed) as opened,
        ):
            identity = identity_of(opened, options)
            _check_same(store, identity, source)
            begun = {**identity, "repair": {p: rows.tolist() for p, rows in damaged.items()}}
            check_begun(claim, begun)
            writing = StoreWriter.on(
                claim,
                dtype=options.dtype,
                compression=options.compression,
                overwrite=True,
                identity=begun,
                note=timed.note,
                salvage=Salvage(store, damaged),
            )
            with writing as writer:
                write_store(opened, writer, source, options, timed, must_be=store.fingerprint)
        with Store(path) as new:
            return Repaired(
                store=str(path),
                rows={name: len(rows) for name, rows in damaged.items()},
                exact=_sums(store) == _sums(new),
                fingerprint=new.fingerprint,
            )


def _refuse_other(store: Store) -> None:
    """Refuse a store that no ingest makes as it is: one in several files, one of them, a changed one.

    Raises:
        StoreError: says what to do.
    """
    which = {
        "a store in several files": bool(store.shards),
        "a shard of another store": "shard" in store.provenance,
        "a store whose content repack has changed": "repacked" in store.provenance,
    }
    for what, it_is in which.items():
        if it_is:
            raise StoreError(
                f"{what} cannot be repaired in place",
                where=str(store.path),
                hint="drin-fs verify --full says which file is damaged: copy that file again, or make "
                "the store again",
            )


def _rows_of(pieces: Pieces, damaged: np.ndarray) -> np.ndarray:
    """(n,) rows of which damaged pieces hold something."""
    return np.unique(np.concatenate([np.arange(*pieces.rows(p)) for p in damaged.tolist()]))


def _metadata_sound(path: Path) -> bool:
    with path.open("rb") as file:
        header = read_header(file, path)
        return header is None or tail_digest(file, header.tail_start) == header.tail_digest


def options_of(provenance: Mapping[str, Any]) -> IngestOptions:
    """The options of the ingest that made a store.

    Raises:
        StoreError: it does not tell them.
    """
    told = provenance.get("options", {})
    known = {field.name for field in fields(IngestOptions)}
    values = {name: value for name, value in told.items() if name in known}
    if "image_encoder" in told:
        values.setdefault("thumbnails", "none")  # it was made before there were any
    if values.get("boxes") is not None:
        values["boxes"] = Path(values["boxes"])
    with suppress(TypeError, ValueError):
        return IngestOptions(**values)
    raise StoreError("its options are not known", hint="ingest it again")


def _check_same(store: Store, identity: Mapping[str, Any], source: Path) -> None:
    """Refuse another source, or other encoders, as far as ``identity`` tells of them.

    Raises:
        SourceError: says what differs.
    """
    made = store.provenance
    origin = dict(made.get("source", {}))
    old = {
        "dataset": store.dataset,
        "layout": origin.pop("layout", None),
        "source": origin,
        "encoders": made.get("encoders", {}),
    }
    told, new = ({key: each[key] for key in old if key in identity} for each in (old, identity))
    found = list(differences(told, new))
    if found:
        folder = made.get("run", {}).get("working_folder", "")
        raise SourceError(
            f"not what the store was made from: {'; '.join(found[:3])}",
            where=str(source),
            hint=f"it was made from {made.get('run', {}).get('source_path', 'elsewhere')}, "
            f"by a command run in {folder}"
            if folder
            else "ingest it again, to another file",
        )


def _sums(store: Store) -> dict[str, bytes]:
    """Path of an array → its checksums; nothing of arrays without."""

    def of(array: Extent | StoredField) -> bytes:
        return b"" if array.sums is None else store.array(array.sums).tobytes()

    return {path: of(array) for path, array in store.catalog.arrays()}
