"""Writing a store from ``.npy`` arrays, against what reading, casting and compressing them costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TypeAlias

import h5py
import hdf5plugin
import numpy as np

from benchmarks.alternatives.contract import Disagreement, check_agrees
from benchmarks.data import Workspace
from benchmarks.files import bytes_on_disk, remove
from benchmarks.report import Report, Row, Target
from benchmarks.timing import Act, Times, ratio, timed
from featurestore import Store, native, threads
from featurestore.codecs import DEFAULT_COMPRESSION, Codec
from featurestore.halves import to_float16
from featurestore.ingest import ingest
from featurestore.schema import SPLITS

COLUMNS = ("seconds", "MB/s of input", "share of the plain speed", "to disk")

OURS = "ours: ingest"
#: Its last step: what is written goes to disk, and the file gets its name.
PUBLISH = "ours: of which publishing"
PLAIN = "read, cast, compress: nothing else"
PLAIN_BITS = "the same, cast as ours does"
PADDED = "the same, padding and all"
SCRIPT = "h5py script, LZ4 filter"
COPY = "read and write: a copy of the arrays"

#: Share of the speed of reading, casting and compressing alone that an ingest must keep.
_BOUND = 0.7

#: Records of a task, and bytes that a copy reads at once: enough that handing them out costs nothing.
_TASK, _COPIED = 16, 8 << 20

#: Rows of a field that the script's file is compared on.
_CHECKED = 5

#: Float32 vectors (n, W) → the same as float16.
Cast: TypeAlias = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True)
class _Array:
    """A file of features; ``mask`` names the file that tells which tokens are real."""

    field: str
    file: str
    record: bool = False
    mask: str = ""


def _arrays() -> list[_Array]:
    """The features of preprocessed WikiMEL."""
    found = [
        _Array("entities/text_tokens", "entity-attr-feature", True, "entity-attr-mask"),
        _Array("entities/image_pooled", "entity-image-feature_all"),
        _Array("entities/objects", "entity-object-feature_all"),
    ]
    for split in SPLITS:
        text, mask = f"mention-text-feature_{split}", f"mention-text-mask_{split}"
        found.append(_Array("mentions/text_tokens", text, True, mask))
        found.append(_Array("mentions/image_regions", f"mention-image-feature_{split}", True))
        found.append(_Array("mentions/objects", f"mention-object-feature_{split}"))
    return found


def measure(workspace: Workspace) -> Report:
    if native.bits() is None:
        import_module("torch")  # a matter of seconds, once; ours casts with it
    folder = workspace.arrays
    megabytes = bytes_on_disk(folder) / 1e6
    rounds = 3
    with ThreadPoolExecutor(threads.available_processors()) as pool:
        times = _rounds(workspace, pool, rounds)
    on_disk = {OURS: "synced", PUBLISH: "synced", SCRIPT: "not synced", COPY: "not synced"}
    rows = [
        Row(
            name=name,
            ours=name in (OURS, PUBLISH),
            figures={
                "seconds": taken.median,
                "MB/s of input": None if name == PUBLISH else megabytes / taken.median,
                "share of the plain speed": None if name == PUBLISH else ratio(times[PLAIN], taken),
                "to disk": on_disk.get(name, "nothing written"),
            },
        )
        for name, taken in times.items()
    ]
    return Report(
        question="writing a store from .npy arrays",
        columns=COLUMNS,
        rows=rows,
        targets=[
            Target(
                what="ingest: share of the speed of reading, casting and compressing",
                bound=_BOUND,
                measured=ratio(times[PLAIN], times[OURS]),
            )
        ],
        conditions=[
            workspace.sizes.words,
            f"{megabytes:,.0f} MB of arrays, in the page cache; float32 to float16, records "
            f"{DEFAULT_COMPRESSION}; {threads.available_processors()} cores; median of {rounds} rounds, "
            "each file removed after it",
            f"{_casting()}; nothing else: with NumPy",
            "ours: also derives the views, checks every value, checksums, and ends with fsync",
            "nothing else: no padding is read, as ours does; views are cast; on all cores",
            f"all compress as an ingest does unless told otherwise ({DEFAULT_COMPRESSION})",
            "h5py script: padding and all, a chunk a row, blocks of rows through HDF5's filter",
        ],
    )


def _casting() -> str:
    """Who casts."""
    kernels = native.bits()
    return f"ours casts with {'torch, loaded before' if kernels is None else kernels.name}"


class _Places:
    """Where the contestants write, and what is noted while they do."""

    def __init__(self, workspace: Workspace) -> None:
        self.store, self.script = workspace.place("ingest.h5"), workspace.place("ingest-script.h5")
        self.copied = workspace.place("ingest-copy")
        self.compressed: dict[str, int] = {}  # contestant → bytes of its records
        self.publishing: list[float] = []  # seconds, of every ingest

    def remove(self) -> None:
        for place in (self.store, self.script, self.copied):
            remove(place)


def _rounds(workspace: Workspace, pool: Executor, rounds: int) -> dict[str, Times]:
    """All contestants in turn; what one wrote is removed before the next starts.

    Ours and the plain one take a turn before that does not count: memory that a process touches for the
    first time costs more than what is done in it.
    """
    places = _Places(workspace)
    acts = _acts(workspace.arrays, places, pool)
    taken: dict[str, list[float]] = {name: [] for name in acts}
    _read_files(workspace.arrays)
    for name in (OURS, PLAIN):
        acts[name](0)
    places.remove()
    places.publishing.clear()
    for _ in range(rounds):
        for name, act in acts.items():
            taken[name].append(timed(act))
            if name == OURS:
                stored, expected = _stored_records(places.store), _first_rows(places.store)
            elif name == SCRIPT:
                check_agrees(name, _script_rows(places.script), expected)
            places.remove()
        _check_bytes(places.compressed, stored)
    times = {name: Times(tuple(seconds)) for name, seconds in taken.items()}
    return {OURS: times.pop(OURS), PUBLISH: Times(tuple(places.publishing)), **times}


def _acts(folder: Path, places: _Places, pool: Executor) -> dict[str, Act]:
    def ours(_: int) -> None:
        places.publishing.append(ingest(folder, places.store).seconds["publish"])

    def plain(name: str, cast: Cast) -> None:
        places.compressed[name] = _compress_all(folder, pool, cast)

    return {
        OURS: ours,
        PLAIN: lambda _: plain(PLAIN, _numpy_cast),
        PLAIN_BITS: lambda _: plain(PLAIN_BITS, _our_cast),
        PADDED: lambda _: _compress_all(folder, pool, _numpy_cast, padding=True),
        SCRIPT: lambda _: _write_script(folder, places.script),
        COPY: lambda _: _copy_files(folder, places.copied),
    }


# reading, casting, compressing ----------------------------------------------------------------------


def _compress_all(folder: Path, pool: Executor, cast: Cast, *, padding: bool = False) -> int:
    """Bytes that the records of all arrays take; views are cast and forgotten."""
    total = 0
    for array in _arrays():
        values = np.load(folder / f"{array.file}.npy", mmap_mode="r", allow_pickle=False)
        counts = np.full(len(values), values.shape[1])
        if array.mask and not padding:
            counts = np.load(folder / f"{array.mask}.npy", allow_pickle=False).sum(axis=1)
        task = _compressed if array.record else _only_cast
        total += sum(
            pool.map(
                lambda first, task=task, values=values, counts=counts: task(
                    values[first : first + _TASK], counts[first : first + _TASK], cast
                ),
                range(0, len(values), _TASK),
            )
        )
    return total


def _compressed(records: np.ndarray, counts: np.ndarray, cast: Cast) -> int:
    """Bytes of records, each cast as far as it is real, filled with zeros, and compressed."""
    codec, total = Codec(DEFAULT_COMPRESSION), 0
    for record, count in zip(records, counts.tolist(), strict=True):
        whole = np.zeros(record.shape, np.float16)
        whole[:count] = cast(np.asarray(record[:count]))
        total += len(codec.encode(whole))
    return total


def _only_cast(views: np.ndarray, counts: np.ndarray, cast: Cast) -> int:
    cast(np.asarray(views).reshape(-1, views.shape[-1]))
    return 0


def _numpy_cast(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float16)


def _our_cast(values: np.ndarray) -> np.ndarray:
    return to_float16(values)[0]


# other ways of writing ------------------------------------------------------------------------------


def _write_script(folder: Path, target: Path) -> None:
    """What one writes who has h5py and an hour: a dataset a file."""
    with h5py.File(target, "w") as file:
        for array in _arrays():
            values = np.load(folder / f"{array.file}.npy", mmap_mode="r", allow_pickle=False)
            options = {}
            if array.record:
                filters = hdf5plugin.LZ4(nbytes=0)
                options = {"chunks": (1, *values.shape[1:]), **filters}
            dataset = file.create_dataset(array.file, values.shape, np.float16, **options)
            step = max(1, _COPIED // values[0].nbytes)
            for first in range(0, len(values), step):
                dataset[first : first + step] = values[first : first + step].astype(np.float16)


def _copy_files(folder: Path, target: Path) -> None:
    """Read all and write it again, without the short ways that some file systems have."""
    target.mkdir()
    for path in sorted(folder.iterdir()):
        with path.open("rb") as source, (target / path.name).open("wb") as sink:
            while block := source.read(_COPIED):
                sink.write(block)


def _read_files(folder: Path) -> None:
    """Bring the arrays into the page cache."""
    for path in folder.iterdir():
        with path.open("rb") as source:
            while source.read(_COPIED):
                pass


# the same was done ----------------------------------------------------------------------------------


def _stored_records(path: Path) -> int:
    with Store(path) as store:
        fields = {array.field for array in _arrays() if array.record}
        return sum(
            store.table(table).stored(name).stored_bytes
            for table, name in (field.split("/") for field in fields)
        )


def _check_bytes(compressed: Mapping[str, int], stored: int) -> None:
    """All compressed the same records: so many bytes are in the store."""
    for name, size in compressed.items():
        if size != stored:
            raise Disagreement(f"{name}: {size} bytes of records, the store has {stored}")


def _first_rows(path: Path) -> dict[str, np.ndarray]:
    """The first rows of the fields without padding; among mentions, the train split comes first."""
    with Store(path) as store:
        found = {}
        for array in _first_files():
            table, name = array.field.split("/")
            values = store.table(table).gather(name, np.arange(_CHECKED))
            found[array.field] = values.reshape(_CHECKED, -1)
        return found


def _script_rows(path: Path) -> dict[str, np.ndarray]:
    """The same rows of the script's file."""
    with h5py.File(path, "r") as file:
        return {
            array.field: file[array.file][:_CHECKED].reshape(_CHECKED, -1)
            for array in _first_files()
        }


def _first_files() -> list[_Array]:
    """The first file of every field that has no padding."""
    found: dict[str, _Array] = {}
    for array in _arrays():
        if not array.mask:
            found.setdefault(array.field, array)
    return list(found.values())
