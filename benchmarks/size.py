"""Bytes on disk of the same feature arrays in every form."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np

from benchmarks.alternatives.arrow import ArrowFile, as_table
from benchmarks.alternatives.contract import INSTALL, Arrays, missing
from benchmarks.alternatives.lance_ import Lance
from benchmarks.alternatives.lmdb_ import Lmdb
from benchmarks.alternatives.npy import NpyFancy
from benchmarks.alternatives.zarr3 import ZarrRecords
from benchmarks.data import Workspace
from benchmarks.files import bytes_on_disk, remove
from benchmarks.report import Report, Row
from featurestore import Store
from featurestore.codecs import COMPRESSIONS
from featurestore.options import FeatureDtype

#: The arrays of the release, by the names that they have in a store.
FIELDS = {
    "mentions": ("text_tokens", "image_regions", "objects"),
    "entities": ("text_tokens", "image_pooled", "objects"),
}

#: Rows enough for a size a row; more would only take longer.
_ENTITIES, _MENTIONS = 400, 64

_COLUMNS = ("MB", "share of .npy", "MB with all else")


def measure(workspace: Workspace) -> Report:
    small = _smaller(workspace)
    released = _released_bytes(small.arrays)
    left_out = {"WebDataset": "a tar file of .npy files: their size, and 1 KB a file"}
    rows = [_row(".npy float32, padded, as released", released, released)]
    for path, name in _our_stores(small):
        with Store(path) as store:
            stored = sum(
                store.table(table).stored(field).stored_bytes
                for table, fields in FIELDS.items()
                for field in fields
            )
            rows.append(_row(name, stored, released, whole=store.file_bytes, ours=True))
    with small.store() as store:
        rows += _others(small, _arrays(store), released, left_out)
    return Report(
        question="bytes on disk of the same arrays",
        columns=_COLUMNS,
        rows=rows,
        conditions=[
            small.sizes.words,
            "records and views of the release: "
            + "; ".join(f"{table} {', '.join(fields)}" for table, fields in FIELDS.items()),
            "made-up features: what compresses is their padding and exponents, so shares hold for "
            "these arrays, not for those of every encoder",
            "all else of a store: the other views, ids, texts, candidates and their index",
        ],
        left_out=left_out,
    )


def _smaller(workspace: Workspace) -> Workspace:
    sizes = workspace.sizes
    fewer = replace(
        sizes,
        entities=min(sizes.entities, _ENTITIES),
        mentions=min(sizes.mentions, _MENTIONS),
    )
    return Workspace(workspace.folder / "size", fewer, workspace.progress)


def _released_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*-feature*.npy"))


def _our_stores(workspace: Workspace) -> Iterator[tuple[Path, str]]:
    dtypes: tuple[FeatureDtype, ...] = get_args(FeatureDtype)
    for dtype, compression in product(dtypes, COMPRESSIONS):
        path = workspace.store_path(dtype=dtype, compression=compression)
        yield path, f"ours: {dtype}, {compression}"


def _arrays(store: Store) -> dict[str, dict[str, np.ndarray]]:
    """Table → field → its values as stored by default, padded."""
    return {
        table: {field: _values(store, table, field) for field in fields}
        for table, fields in FIELDS.items()
    }


def _values(store: Store, table: str, field: str) -> np.ndarray:
    values = store.table(table)
    if values.stored(field).schema.layout == "record":
        return values.whole_records(field, np.arange(len(values)))
    return np.array(values.view(field))


def _others(
    workspace: Workspace,
    tables: dict[str, dict[str, np.ndarray]],
    released: int,
    left_out: dict[str, str],
) -> Iterator[Row]:
    place = workspace.place("size-other")
    for name, (writer, needs) in _writers().items():
        if needs:
            left_out[name] = INSTALL
            continue
        place.mkdir()
        for table, arrays in tables.items():
            writer(place / table, arrays)
        yield _row(name, bytes_on_disk(place), released)
        remove(place)


def _writers() -> dict[str, tuple[Callable[[Path, Arrays], None], bool]]:
    """Form → (what writes it, whether its package is missing)."""
    return {
        ".npy float16": (lambda p, a: NpyFancy(p).write(a), missing(NpyFancy)),
        "zarr float16, a chunk a record, Blosc LZ4": (
            lambda p, a: ZarrRecords(p).write(a),
            missing(ZarrRecords),
        ),
        "LMDB float16": (lambda p, a: Lmdb(p).write(a), missing(Lmdb)),
        "Arrow file float16": (lambda p, a: ArrowFile(p).write(a), missing(ArrowFile)),
        "Feather float16, Zstandard": (_feather, missing(ArrowFile)),
        "Parquet float16, byte streams split, Zstandard": (_parquet, missing(ArrowFile)),
        "Lance float16": (lambda p, a: Lance(p).write(a), missing(Lance)),
    }


def _feather(place: Path, arrays: Arrays) -> None:
    from pyarrow import feather

    feather.write_feather(as_table(arrays), str(place), compression="zstd")


def _parquet(place: Path, arrays: Arrays) -> None:
    from pyarrow import parquet

    parquet.write_table(
        as_table(arrays),
        str(place),
        compression="zstd",
        use_dictionary=False,
        use_byte_stream_split=True,
    )


def _row(
    name: str, stored: int, released: int, *, whole: int | None = None, ours: bool = False
) -> Row:
    figures: dict[str, Any] = {"MB": stored / 1e6, "share of .npy": stored / released}
    if whole is not None:
        figures["MB with all else"] = whole / 1e6
    return Row(name=name, ours=ours, figures=figures)
