"""Write a store anew in another form: one file or several, another dtype or compression, fewer fields.

What stays as it is, is copied as it is stored, compressed records undecoded; everything that is read is
compared with its checksums. The work is that of an ingest (:mod:`featurestore.writer`): in blocks, in
parts that survive an interruption, published by a rename.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from featurestore.codecs import DEFAULT_COMPRESSION, Codec, Compression
from featurestore.errors import ConfigError
from featurestore.features import FeatureWriter, Records
from featurestore.index_size import index_notes
from featurestore.ingest import Timed
from featurestore.options import FeatureDtype
from featurestore.placing import shards_of
from featurestore.progress import Progress, Silent
from featurestore.record_arrays import RecordArray, pack
from featurestore.repack_fields import dropped_fields
from featurestore.resume import check_begun, claimed, remove_remains
from featurestore.row_arrays import RowArray
from featurestore.schema import ERROR, FEATURE, FIELDS, TABLES, Field
from featurestore.shard_plan import Sharding
from featurestore.shards import header_digest
from featurestore.store import Store
from featurestore.table import Table
from featurestore.target import check_target
from featurestore.vectors import row_bytes
from featurestore.versions import program_versions
from featurestore.writer import PART_SECONDS, StoreWriter

#: Decoded bytes that are read at once (chosen here: as an ingest does).
_BLOCK = 32 << 20


@dataclass(frozen=True, kw_only=True)
class RepackOptions:
    """What becomes otherwise; by default nothing.

    ``dtype``, ``compression``: of all features and of all records; ``None`` = as they are.
    ``drop``, ``keep``: paths of fields, see :func:`featurestore.repack_fields.dropped_fields`.
    ``max_file_size``: bytes of a shard at most; ``firsts``: instead the first row of each shard;
    ``single_file``: no shards. None of them: as it is.
    """

    dtype: FeatureDtype | None = None
    compression: Compression | None = None
    drop: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    max_file_size: int | None = None
    firsts: tuple[int, ...] = ()
    single_file: bool = False


@dataclass(frozen=True, kw_only=True)
class RepackSummary:
    """What a repack did.

    ``same_content``: nothing was dropped, rounded or widened: the fingerprint is that of the source.
    ``float32_fields``: asked for float16, but out of its error bound. ``notes``: what else to know.
    """

    store: str
    source: str
    bytes_before: int
    bytes: int
    shards: int
    dropped: list[str]
    dtypes: dict[str, str] = field(default_factory=dict)  # path → "float32 → float16"
    float32_fields: list[str]
    same_content: bool
    fingerprint: str
    notes: list[str]
    seconds: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def repack(
    path: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    options: RepackOptions | None = None,
    overwrite: bool = False,
    restart: bool = False,
    part_seconds: float = PART_SECONDS,
    progress: Progress | None = None,
) -> RepackSummary:
    """Write the store at ``path`` to ``target`` in another form.

    Until the end nothing stands at ``target``. What an interrupted repack of the same store with the same
    options has finished is not done again. The source may be what is replaced.

    Raises:
        ConfigError: options that cannot be, a field that cannot be dropped, or not even one entity fits
            into a file.
        StoreError: the source is no store, or damaged where it was read.
        WriteError: the target exists, the disk is full, or something else writes it.
    """
    options = options or RepackOptions()
    path, target = Path(path), Path(target)
    timed = Timed(progress or Silent())
    if options.single_file and options.max_file_size is not None:
        raise ConfigError("one file, and files of at most some size: give one of them")
    remove_remains(target)
    check_target(target, overwrite=overwrite)
    if target.resolve() in {(path.parent / file).resolve() for file in shards_of(path)}:
        raise ConfigError("the target is a shard of the source", where=str(target))
    with _source(path, timed) as store:
        dropped = dropped_fields(store, drop=options.drop, keep=options.keep)
        with claimed(target, timed, restart=restart) as claim:
            identity = _identity(store, options)
            check_begun(claim, identity)
            writing = StoreWriter.on(
                claim,
                dtype=options.dtype or "float16",
                compression=options.compression or DEFAULT_COMPRESSION,
                overwrite=overwrite,
                identity=identity,
                part_seconds=part_seconds,
                note=timed.note,
                sharding=_sharding(store, options),
            )
            with writing as writer:
                job = _Repack(store, writer, options, dropped)
                job.write(timed)
                job.publish(timed)
            return job.summary(target, timed)


def _source(path: Path, timed: Timed) -> Store:
    """The store, whose reads are compared with its checksums if it has any."""
    store = Store(path, verify_reads=True)
    if all(array.sums is not None for part in store.files for _, array in part.catalog.arrays()):
        return store
    store.close()
    timed.note("WARNING: the store has no checksums: damage would not be noticed")
    return Store(path)


def _identity(store: Store, options: RepackOptions) -> dict[str, Any]:
    """What decides the result; parts of another one cannot be gone on with."""
    source = header_digest(Path(store.path)) or f"{store.fingerprint} {store.created}"
    form = ("max_file_size", "firsts", "single_file")  # decides nothing before the end
    made = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in asdict(options).items()
        if key not in form
    }
    return {"drin-fs": program_versions()["drin-fs"], "repack of": source, "options": made}


def _sharding(store: Store, options: RepackOptions) -> Sharding | None:
    if options.max_file_size is not None:
        return Sharding(max_bytes=options.max_file_size)
    if options.firsts:
        return Sharding(firsts=options.firsts)
    if options.single_file or not store.shards:
        return None
    lengths = [len(shard.entities) for shard in store.shards]
    return Sharding(firsts=(0, *np.cumsum(lengths[:-1]).tolist()))


class _Repack:
    """One repack: the fields that stay, written one after the other."""

    def __init__(
        self, store: Store, writer: StoreWriter, options: RepackOptions, dropped: list[str]
    ) -> None:
        self._store = store
        self._writer = writer
        self._options = options
        self._dropped = dropped
        self._features: dict[str, FeatureWriter] = {}

    def write(self, timed: Timed) -> None:
        """Write everything that stays."""
        writer, store = self._writer, self._store
        for name in TABLES:
            writer.table_like(store.table(name))
        writer.splits(store.mentions.splits)
        kept = [f for f in FIELDS if store.has(f.path) and f.path not in self._dropped]
        begun = [(schema, self._begin(schema)) for schema in kept if schema.layout != "text"]
        for schema in kept:
            if schema.layout == "text" and schema.name != "id":
                writer.text_like(store.table(schema.table), schema.name)
        writer.check_room()
        for schema, array in begun:
            table = store.table(schema.table)
            with timed.stage(schema.path, len(table), "rows") as stage:
                for rows in _blocks(table, schema.name):
                    if array is not None and not array.has(rows):
                        self._copy(table, schema, array, rows)
                        writer.finished()
                    stage.advance(len(rows))
                store.release_pages()

    def _begin(self, schema: Field) -> FeatureWriter | RowArray | RecordArray | None:
        """Start a field in the form that it is to have; None where there is nothing to write."""
        stored = self._store.table(schema.table).stored(schema.name)
        shape = stored.shape[1:]
        compression = cast(Compression, self._options.compression or stored.compression)
        if schema.layout == "column":
            return self._writer.growing_column(schema.path, shape)
        if schema.dtype != FEATURE:  # what is padded must be compressed
            codec = Codec("gzip" if compression == "none" else compression)
            return self._writer.records(schema.path, shape, codec)
        dtype = np.dtype(self._options.dtype or stored.dtype)
        feature = self._writer.feature(schema.path, shape, dtype=dtype, codec=Codec(compression))
        if feature.dtype == stored.dtype == np.float16:
            feature.array.facts.setdefault(ERROR, float(stored.attributes.get(ERROR, 0.0)))
        self._features[schema.path] = feature
        return feature

    def _copy(
        self,
        table: Table,
        schema: Field,
        array: FeatureWriter | RowArray | RecordArray,
        rows: np.ndarray,
    ) -> None:
        """Write rows that are not there yet, as they are stored where that is how they stay."""
        stored = table.stored(schema.name)
        place = array.array if isinstance(array, FeatureWriter) else array
        same = place.dtype == stored.dtype
        if isinstance(place, RecordArray) and same and place.codec == stored.codec:
            missing = rows[place.written.missing(rows)]
            place.write(missing, pack(table.stored_records(schema.name, missing)))
        elif isinstance(place, RowArray) and same:
            place.write(rows, _whole(table, schema, rows))
        elif isinstance(array, FeatureWriter):
            array.write(rows, _unpadded(table, schema, rows))
        else:
            assert isinstance(array, RecordArray)
            missing = rows[array.written.missing(rows)]
            chunks = [array.codec.encode(record) for record in _whole(table, schema, missing)]
            array.write(missing, pack(chunks))

    # the end ------------------------------------------------------------------------------------

    def _dtypes(self) -> dict[str, str]:
        """Of the fields whose dtype is another now."""
        found = {}
        for path, feature in self._features.items():
            table, _, name = path.partition("/")
            before = self._store.table(table).stored(name).dtype
            if feature.dtype != before:
                found[path] = f"{before} → {feature.dtype}"
        return found

    def publish(self, timed: Timed) -> None:
        """Publish the store, with the provenance of its source and what was done to it."""
        same = not self._dropped and not self._dtypes()
        provenance = self._store.provenance
        done = {"of": self._store.fingerprint, "dropped": self._dropped, "dtypes": self._dtypes()}
        if not same:
            provenance["repacked"] = [*provenance.get("repacked", []), done]
        run = provenance.setdefault("run", {})
        plain = {key: value for key, value in asdict(self._options).items() if value}
        how = {
            "options": plain,
            "versions": program_versions(),
            "source_path": str(self._store.path.resolve()),
        }
        run["repacked"] = [*run.get("repacked", []), {**done, **how}]
        with timed.time("publish"):
            self._writer.publish(
                dataset=self._store.dataset,
                provenance=provenance,
                fingerprint=self._store.fingerprint if same else None,
                progress=timed.inner,
            )

    def summary(self, target: Path, timed: Timed) -> RepackSummary:
        asked = self._options.dtype == "float16"
        with Store(target) as made:
            return RepackSummary(
                store=str(target),
                source=str(self._store.path),
                bytes_before=self._store.file_bytes,
                bytes=made.file_bytes,
                shards=len(made.shards),
                dropped=self._dropped,
                dtypes=self._dtypes(),
                float32_fields=[
                    path for path, f in self._features.items() if asked and f.dtype == np.float32
                ],
                same_content=made.fingerprint == self._store.fingerprint,
                fingerprint=made.fingerprint,
                notes=index_notes(target, self._options.max_file_size, timed),
                seconds={stage: round(value, 3) for stage, value in timed.seconds.items()},
            )


def _blocks(table: Table, name: str) -> Iterator[np.ndarray]:
    step = max(1, _BLOCK // row_bytes(table.stored(name)))
    for first in range(0, len(table), step):
        yield np.arange(first, min(first + step, len(table)))


def _whole(table: Table, schema: Field, rows: np.ndarray) -> np.ndarray:
    """(len(rows), *axes) rows with what is stored beyond the count of ragged records."""
    if schema.layout == "record":
        return table.whole_records(schema.name, rows)
    found: np.ndarray = table.gather(schema.name, rows)
    return found


def _unpadded(table: Table, schema: Field, rows: np.ndarray) -> Records:
    """Rows; of ragged records the real ones, unless something stands beyond them (``--padding keep``)."""
    values = _whole(table, schema, rows)
    if not schema.ragged:
        return values
    counts = table.gather(schema.ragged, rows)
    beyond = np.arange(values.shape[1]) >= counts[:, None]
    if np.asarray(values.reshape(*values.shape[:2], -1).any(axis=2))[beyond].any():
        return values
    return [record[:count] for record, count in zip(values, counts.tolist(), strict=True)]
