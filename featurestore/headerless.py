"""HDF5 files without a header of ours, opened by libhdf5 in a process of their own.

libhdf5 can end the process that opens a damaged or malicious file. So a child does it and reports what
the file holds, as the catalog that our own files bring along; from there on nothing differs. Stores were
written so before they had a header, and other programs may write such files (docs/schema_v1.md).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from featurestore.catalog import INDEX_GROUP, Catalog, Extent, StoredField
from featurestore.catalog_json import check_format, decode_catalog, encode_catalog
from featurestore.codecs import codec_of
from featurestore.errors import AGAIN, StoreError
from featurestore.schema import BY_PATH, TABLES, Field

#: Seconds the child may take for a catalog, and more of them for each chunk it has to find
#: (chosen here: it takes half a second, and about a microsecond a chunk).
_PATIENCE, _PATIENCE_A_CHUNK = 60, 1e-4

#: What the child runs.
CHILD = ["-P", "-m", "featurestore.headerless"]

#: Memory the child may ask for.
_MEMORY = 8 << 30

_REFUSED = 3
# in the parent ----------------------------------------------------------------------------------


def catalog_by_hdf5(path: Path) -> Catalog:
    """The catalog of an HDF5 file.

    Raises:
        StoreError: not HDF5, no store, or libhdf5 failed or crashed on it.
    """
    return decode_catalog(_ask(path, [], _PATIENCE), path, path.stat().st_size)


def chunks_by_hdf5(path: Path, dataset: str, rows: int) -> np.ndarray:
    """(rows, 2) int64 offset and stored size of every record; 0, 0 where none was written.

    Raises:
        StoreError: the file is damaged.
    """
    answer = _ask(path, [dataset], _PATIENCE + rows * _PATIENCE_A_CHUNK)
    if len(answer) != 16 * rows:
        raise StoreError("its chunks cannot be found", where=f"{path}::/{dataset}", hint=AGAIN)
    return np.frombuffer(answer, np.int64).reshape(rows, 2)


def _ask(path: Path, arguments: list[str], patience: float) -> bytes:
    command = [sys.executable, *CHILD, str(path), *arguments]
    home = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": home.rstrip(os.pathsep)}
    try:
        done = subprocess.run(
            command, capture_output=True, check=False, timeout=patience, env=environment
        )
    except subprocess.TimeoutExpired as error:
        raise StoreError(
            f"libhdf5 did not open the file within {patience:.0f} seconds",
            where=str(path),
            hint=AGAIN,
        ) from error
    if done.returncode == _REFUSED:
        what, where, hint = json.loads(done.stdout)
        raise StoreError(what, where=where, hint=hint)
    if done.returncode != 0:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        why = f"signal {-done.returncode}" if done.returncode < 0 else "".join(last)
        raise StoreError(
            f"the file is damaged: libhdf5 failed on it ({why})", where=str(path), hint=AGAIN
        )
    return done.stdout


# in the child -----------------------------------------------------------------------------------


def main(path: str, dataset: str | None = None) -> int:
    """Write the catalog of a file, or the chunk table of one of its datasets, to stdout."""
    _limit_memory()
    try:
        answer = _chunk_table(Path(path), dataset) if dataset else _catalog(Path(path))
    except StoreError as error:
        answer, status = json.dumps([error.what, error.where, error.hint]).encode(), _REFUSED
    else:
        status = 0
    sys.stdout.buffer.write(answer)
    return status


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # not on this system
        return
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    wanted = _MEMORY if most == resource.RLIM_INFINITY else min(_MEMORY, most)
    resource.setrlimit(resource.RLIMIT_AS, (wanted, most))


def _open(path: Path) -> Any:
    import h5py

    try:
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        raise StoreError(
            f"not a readable HDF5 file ({error})",
            where=str(path),
            hint="a store is made with: drin-fs ingest SOURCE -o STORE.h5",
        ) from error


def _chunk_table(path: Path, dataset: str) -> bytes:
    with _open(path) as file:
        array = file[dataset]
        table = np.zeros((array.shape[0], 2), np.int64)

        def note(chunk: Any) -> None:
            table[chunk.chunk_offset[0]] = chunk.byte_offset, chunk.size

        array.id.chunk_iter(note)
    return table.tobytes()


def _catalog(path: Path) -> bytes:
    with _open(path) as file:
        return encode_catalog(_Reader(file, path).catalog())


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    return value.item() if isinstance(value, np.generic) else value


class _Reader:
    """Walks one open file."""

    def __init__(self, file: Any, path: Path) -> None:
        self._file = file
        self._path = path
        self._sums = file.get("checksums")

    def catalog(self) -> Catalog:
        attributes = {key: _plain(value) for key, value in self._file.attrs.items()}
        check_format(attributes, self._path, holds=", ".join(sorted(self._file)[:8]))
        rows: dict[str, int] = {}
        fields: dict[str, dict[str, StoredField]] = {}
        index: dict[str, tuple[Extent, Extent]] = {}
        for table in TABLES:
            group = self._group(table)
            rows[table] = int(group.attrs["rows"])
            fields[table] = {
                name: self._field(BY_PATH[f"{table}/{name}"], group[name])
                for name in group
                if f"{table}/{name}" in BY_PATH and not getattr(group[name], "is_virtual", False)
            }
            pair = self._group(f"{table}/{INDEX_GROUP}")
            index[table] = (self._extent(pair["hash"]), self._extent(pair["row"]))
        splits = json.loads(self._file["mentions"].attrs["splits"])
        return Catalog(
            path=self._path,
            file_bytes=self._path.stat().st_size,
            attributes=attributes,
            rows=rows,
            splits={name: (int(a), int(b)) for name, (a, b) in splits.items()},
            fields=fields,
            index=index,
        )

    def _group(self, path: str) -> Any:
        group = self._file.get(path)
        if group is None or not hasattr(group, "keys"):
            raise StoreError("the table is missing", where=f"{self._path}::/{path}")
        return group

    def _extent(self, dataset: Any, *, summed: bool = True) -> Extent:
        offset = dataset.id.get_offset() or 0
        extent = Extent(offset, dataset.shape, dataset.dtype)
        if dataset.chunks is not None or (extent.nbytes and not offset):
            raise StoreError(
                "the array is not stored contiguously", where=f"{self._path}::{dataset.name}"
            )
        if not summed:
            return extent
        return Extent(offset, dataset.shape, dataset.dtype, self._sums_of(dataset))

    def _sums_of(self, dataset: Any) -> Extent | None:
        found = self._sums.get(dataset.name.lstrip("/")) if self._sums is not None else None
        return None if found is None else self._extent(found, summed=False)

    def _field(self, schema: Field, item: Any) -> StoredField:
        if schema.layout == "text":
            data, offsets = self._extent(item["bytes"]), self._extent(item["offsets"])
            return StoredField(schema, (0,), np.dtype("uint8"), 0, data, offsets)
        attributes = {key: _plain(value) for key, value in item.attrs.items()}
        if item.chunks is None:
            extent = self._extent(item)
            return StoredField(schema, item.shape, item.dtype, 0, extent, attributes=attributes)
        if item.chunks != (1, *item.shape[1:]):
            raise StoreError(
                f"chunks {item.chunks}: format 1 keeps one record a chunk",
                where=f"{self._path}::{item.name}",
            )
        plist = item.id.get_create_plist()
        filters = [plist.get_filter(i) for i in range(plist.get_nfilters())]
        codec = codec_of([(f[0], f[2]) for f in filters], where=f"{self._path}::{item.name}")
        return StoredField(
            schema,
            item.shape,
            item.dtype,
            item.id.get_storage_size(),
            codec=codec,
            sums=self._sums_of(item),
            attributes=attributes,
        )


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
