"""Build a store: a hidden file beside the target, filled field by field, published by one rename.

HDF5 has no journal, so a file being written is never the file being read: until ``publish`` has
synced everything and renamed it, there is nothing at the target path, whatever happens.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from glob import escape
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self, TypeVar

import h5py
import numpy as np

from featurestore import threads
from featurestore.catalog import INDEX_GROUP
from featurestore.checksums import write_checksums
from featurestore.codecs import Codec, Compression
from featurestore.disk import DiskFile, sync_folder, write_errors
from featurestore.errors import SourceError, WriteError
from featurestore.features import FeatureWriter
from featurestore.ids import build_index
from featurestore.options import FeatureDtype
from featurestore.schema import BY_PATH, FORMAT, FORMAT_VERSION, Field

Result = TypeVar("Result")

#: Vectors derived in one task (chosen here: handing it out takes as long as deriving one).
_TASK = 16

#: Alignment of arrays and records in the file, one cache line: rows are copied without crossing it.
ALIGNMENT = 64


class StoreWriter:
    """Writes one new store. Use :meth:`create` in a ``with`` block, then :meth:`publish`.

    Leaving the block without ``publish`` removes the unfinished file.
    """

    def __init__(
        self, target: Path, *, dtype: FeatureDtype, compression: Compression, overwrite: bool
    ) -> None:
        self.target = target
        self.dtype = np.dtype(dtype)
        self.codec = Codec(compression)
        self._overwrite = overwrite
        self._temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
        self._ids: dict[str, list[str]] = {}
        self._features: list[FeatureWriter] = []
        self._digest = blake2b(digest_size=16)
        self._pool = ThreadPoolExecutor(
            threads.available_processors(), thread_name_prefix="compress"
        )
        self._disk = DiskFile(self._temporary)
        self._file = h5py.File(
            self._disk, "w", alignment_threshold=ALIGNMENT, alignment_interval=ALIGNMENT
        )

    @classmethod
    @contextmanager
    def create(
        cls,
        target: str | os.PathLike[str],
        *,
        dtype: FeatureDtype = "float16",
        compression: Compression = "lz4",
        overwrite: bool = False,
    ) -> Iterator[Self]:
        """Start a store that will be published at ``target``.

        Raises:
            WriteError: the target exists (and ``overwrite`` is false), or cannot be written.
        """
        target = Path(target)
        check_target(target, overwrite=overwrite)
        remove_leftovers(target)
        with write_errors(target):
            writer = cls(target, dtype=dtype, compression=compression, overwrite=overwrite)
            try:
                yield writer
            finally:
                writer._discard()

    # what a table holds ------------------------------------------------------------------------

    def table(self, name: str, ids: Sequence[str]) -> None:
        """Create a table with its ids and their index.

        Raises:
            SourceError: an id occurs twice.
        """
        group = self._file.create_group(name)
        group.attrs["rows"] = len(ids)
        self._ids[name] = list(ids)
        hashes, rows = build_index(ids)
        self._refuse_duplicates(name, ids, hashes, rows)
        index = group.create_group(INDEX_GROUP)
        index["hash"] = hashes
        index["row"] = rows
        self._digest.update(f"{name}:{len(ids)}".encode())
        self._digest.update(hashes.tobytes())
        self._digest.update(rows.tobytes())
        self.text(f"{name}/id", ids)

    def _refuse_duplicates(
        self, name: str, ids: Sequence[str], hashes: np.ndarray, rows: np.ndarray
    ) -> None:
        same = np.flatnonzero(hashes[1:] == hashes[:-1])
        suspects = np.unique(rows[np.concatenate([same, same + 1])])  # equal ids, or a collision
        seen: dict[str, int] = {}
        for second in suspects.tolist():
            first = seen.setdefault(ids[second], second)
            if first != second:
                raise SourceError(
                    f"the id {ids[first]!r} occurs twice",
                    where=f"{name}[{first}] and {name}[{second}]",
                    hint="ids must be unique; rename or drop one of them",
                )

    def rows(self, table: str) -> int:
        return len(self._ids[table])

    def splits(self, splits: Mapping[str, range]) -> None:
        """Record which rows of the mention table form each split."""
        plain = {name: [r.start, r.stop] for name, r in splits.items()}
        self._file["mentions"].attrs["splits"] = json.dumps(plain)
        self._digest.update(json.dumps(plain).encode())

    def text(self, path: str, values: Sequence[str]) -> None:
        """Write a whole text field."""
        field = self._schema(path, len(values))
        encoded = [value.encode() for value in values]
        offsets = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum([len(part) for part in encoded], out=offsets[1:])
        group = self._file.create_group(path)
        group["offsets"] = offsets
        group["bytes"] = np.frombuffer(b"".join(encoded), np.uint8)
        group.attrs["unit"] = field.unit
        group.attrs["doc"] = field.doc
        self._disk.check()

    def column(self, path: str, values: np.ndarray) -> None:
        """Write a whole column: (rows, *axes)."""
        field = self._schema(path, len(values))
        dataset = self._file.create_dataset(path, data=np.asarray(values, field.dtype))
        dataset.attrs["unit"] = field.unit
        dataset.attrs["doc"] = field.doc
        self._disk.check()

    def feature(self, path: str, shape: tuple[int, ...]) -> FeatureWriter:
        """Start a view or record field whose rows have ``shape``; rows are written in any order."""
        field = self._schema(path, None)
        writer = FeatureWriter(
            self._file,
            field,
            (self.rows(field.table), *shape),
            dtype=self.dtype,
            codec=self.codec,
            pool=self._pool,
            check=self._disk.check,
        )
        self._features.append(writer)
        return writer

    def every(self, derive: Callable[..., Result], *items: Iterable[Any]) -> Iterator[Result]:
        """``derive`` of each of the items, in their order; every core begins with it at once."""
        together = list(zip(*items, strict=True))
        begun = [
            self._pool.submit(_each, derive, together[first : first + _TASK])
            for first in range(0, len(together), _TASK)
        ]
        return (result for part in begun for result in part.result())

    @contextmanager
    def scratch(self, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
        """A float32 array on disk beside the target that vanishes with the process or the block.

        Its space is reserved first: a map of a full disk would end the process instead of raising.

        Raises:
            OSError: no space for it.
        """
        size = max(1, 4 * int(np.prod(shape)))
        with tempfile.TemporaryFile(dir=self.target.parent) as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
            yield np.memmap(file, np.float32, "r+", shape=shape)

    def _schema(self, path: str, rows: int | None) -> Field:
        field = BY_PATH[path]
        if rows is not None and rows != self.rows(field.table):
            raise SourceError(
                f"{rows} values for a table of {self.rows(field.table)} rows", where=path
            )
        return field

    # the end -----------------------------------------------------------------------------------

    def publish(self, *, dataset: str, provenance: Mapping[str, Any]) -> None:
        """Finish, sync, and rename the file to its target.

        Raises:
            SourceError: a feature field was started and not every row was written.
            WriteError: disk full, or the target appeared meanwhile.
        """
        for feature in self._features:
            feature.finish()
        made = {key: provenance[key] for key in sorted(provenance) if key != "run"}
        self._digest.update(json.dumps(made, sort_keys=True).encode())
        fields = sorted((f.path, str(f.dtype), list(f.shape)) for f in self._features)
        self._digest.update(json.dumps(fields).encode())
        attributes = self._file.attrs
        attributes["format"] = FORMAT
        attributes["format_version"] = FORMAT_VERSION
        attributes["dataset"] = dataset
        attributes["created"] = datetime.now(UTC).isoformat(timespec="seconds")
        attributes["fingerprint"] = self._digest.hexdigest()
        attributes["provenance"] = json.dumps(provenance)
        self._disk.check()
        write_checksums(self._file, self._disk.read_at)
        self._file.close()
        self._disk.sync()
        check_target(self.target, overwrite=self._overwrite)
        os.replace(self._temporary, self.target)
        sync_folder(self.target.parent)

    def _discard(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._file.close()
        self._disk.close()
        self._temporary.unlink(missing_ok=True)


def _each(derive: Callable[..., Result], items: Sequence[tuple[Any, ...]]) -> list[Result]:
    return [derive(*item) for item in items]


def program_versions() -> dict[str, str]:
    """Versions of what writes a store, for its provenance."""
    from featurestore import __version__

    return {
        "drin-fs": __version__,
        "python": platform.python_version(),
        "h5py": h5py.__version__,
        "hdf5": h5py.version.hdf5_version,
        "numpy": np.__version__,
    }


def check_target(target: Path, *, overwrite: bool) -> None:
    """Refuse a target that exists or whose folder does not, before any work is done.

    Raises:
        WriteError: says which, and what to do.
    """
    if not target.parent.is_dir():
        raise WriteError(
            "the target folder does not exist", where=str(target.parent), hint="create it"
        )
    if target.is_dir():
        raise WriteError(
            "the target is a folder", where=str(target), hint="name a file that is to stand in it"
        )
    if target.exists() and not target.is_file():  # a rename would put a file in place of /dev/null
        raise WriteError(
            "the target is a device or a pipe, which a file cannot replace", where=str(target)
        )
    if target.exists() and not overwrite:
        raise WriteError(
            "the target exists", where=str(target), hint="pass --overwrite to replace it"
        )


def remove_leftovers(target: Path) -> list[Path]:
    """Delete unfinished files and folders that programs no longer running left beside ``target``."""
    removed = []
    for part in target.parent.glob(f".{escape(target.name)}.*.part"):
        owner = part.name.removesuffix(".part").rpartition(".")[2]
        if owner.isdigit() and not _alive(int(owner)):
            if part.is_dir() and not part.is_symlink():
                shutil.rmtree(part)
            else:
                part.unlink(missing_ok=True)
            removed.append(part)
    return removed


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
