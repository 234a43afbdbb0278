"""Loading a DRIN batch: the entity views of its distinct candidates, warm and cold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from benchmarks.alternatives.arrow import ArrowFile
from benchmarks.alternatives.contract import Alternative, Arrays, prepared
from benchmarks.alternatives.h5 import H5Coalesced, H5Fancy, H5Rows
from benchmarks.alternatives.hidefix_ import Hidefix
from benchmarks.alternatives.lance_ import Lance
from benchmarks.alternatives.lmdb_ import Lmdb
from benchmarks.alternatives.npy import NpyFancy, NpyRows
from benchmarks.alternatives.pyfive_ import PyfiveStore
from benchmarks.alternatives.tensorstore_ import TensorStoreBlocks, TensorStoreRows
from benchmarks.alternatives.zarr3 import ZarrBlocks
from benchmarks.cold import measure_cold
from benchmarks.data import Workspace
from benchmarks.gather_run import FIELDS
from benchmarks.reading import COLUMNS, Asked, acts_of, check_all, slow_ones, table
from benchmarks.reference_loader import ReferenceDataset, collated
from benchmarks.report import Report, Target
from benchmarks.timing import Act, Times, in_turn, ratio
from featurestore import Store
from featurestore.chunks import New
from featurestore.schema import NO_ROW
from linker.buffers import Buffers
from linker.data import BatchReader
from linker.fields import stored_paths
from linker.models.drin import Drin, DrinConfig

BATCH = "ours: torch batch, ready for the step"
WIDENED = "ours: torch batch, all of it in float32"
VIEWS = "ours: Table.gather"
FRESH = "ours: Table.gather, fresh memory"
TAKE = "numpy.take from RAM"
TAKE_FRESH = "numpy.take from RAM, fresh memory"
COPY = "memory copy of as many bytes"
COPY_FRESH = "memory copy, fresh memory"
#: It reads all tokens of every candidate: ``benchmarks.reference_loader``.
REFERENCE = "reference: loop over memory-mapped .npy"

#: Rounds that the reference takes part in, seconds each.
_REFERENCE_ROUNDS = 3

_LEFT_OUT = {
    "Parquet": "decodes whole pages for single rows; see size",
    "LitData": "random access is one item a call, thousands a batch; see records",
    "WebDataset": "tar files are read from front to back: no random access",
    "zarr, a chunk a row": "zarr-python spends milliseconds a chunk; TensorStore reads that layout",
}


def measure(workspace: Workspace) -> Report:
    sizes = workspace.sizes
    left_out = dict(_LEFT_OUT)
    with workspace.store() as store:
        mentions = batch_mentions(store, batch=sizes.batch, batches=sizes.rounds + 1)
        batches = [Asked(rows=distinct_entities(store, rows), first={}) for rows in mentions]
        arrays = {name: np.array(store.entities.view(name)) for name in FIELDS}
        with prepared(_contestants(workspace), arrays, left_out) as alternatives:
            check_all(alternatives, batches[0], _ours(store))
            acts = {
                **_our_acts(store, mentions, batches),
                REFERENCE: _reference_act(workspace, sizes.batch),
                **_memory_acts(arrays, batches),
                **acts_of(alternatives, batches),
            }
            fewer = {**slow_ones(alternatives, sizes.rounds), REFERENCE: _REFERENCE_ROUNDS}
            times = in_turn(acts, rounds=sizes.rounds, fewer=fewer)
        extents = {name: store.entities.stored(name).extent for name in FIELDS}
    distinct = float(np.mean([len(asked.rows) for asked in batches]))
    megabytes = distinct * sum(values[0].nbytes for values in arrays.values()) / 1e6
    cold = measure_cold(
        workspace.store_path(),
        extents=extents,
        batches=[asked.rows for asked in batches],
        megabytes=megabytes,
    )
    return Report(
        question="loading a DRIN batch of entity views",
        columns=(*COLUMNS, "MB from disk"),
        rows=[*table(times, ours=VIEWS, megabytes=megabytes), *cold.rows],
        targets=[*_targets(times), *cold.targets],
        conditions=[
            sizes.words,
            f"a batch: {sizes.batch} mentions, protocol paper, {distinct:,.0f} distinct entities, "
            f"{megabytes:.1f} MB of views ({', '.join(FIELDS)})",
            f"warm: in the page cache; median of {sizes.rounds} rounds, each another batch; views "
            "are kept as they are by every contestant, none is compressed; the memory of the last "
            "batch is used again by ours, the copy, numpy.take and h5py's rows, where not said otherwise",
            "ready for the step: as DRIN takes it on a processor, in float16; other models take float32",
            *cold.conditions,
        ],
        left_out=left_out | cold.left_out,
    )


def _contestants(workspace: Workspace) -> list[Alternative]:
    store, place = workspace.store_path(), workspace.place
    return [
        NpyFancy(place("gather-npy")),
        NpyRows(place("gather-npy-rows")),
        H5Fancy(store, table="entities"),
        H5Rows(store, table="entities"),
        H5Coalesced(store, table="entities", gap=8),
        PyfiveStore(store, table="entities"),
        Hidefix(place("gather-hidefix.h5"), gzip=False),
        ZarrBlocks(place("gather-zarr")),
        TensorStoreBlocks(place("gather-tensorstore")),
        TensorStoreRows(place("gather-tensorstore-rows")),
        Lmdb(place("gather-lmdb")),
        ArrowFile(place("gather.arrow")),
        Lance(place("gather.lance")),
    ]


def batch_mentions(store: Store, *, batch: int, batches: int) -> list[np.ndarray]:
    """For every batch (B,) rows of mentions drawn at random."""
    random = np.random.default_rng(0)
    batch = min(batch, len(store.mentions))
    return [random.choice(len(store.mentions), batch, replace=False) for _ in range(batches)]


def distinct_entities(store: Store, mentions: np.ndarray) -> np.ndarray:
    """(U,) the entity rows that the batch of these mentions holds, each once, ascending."""
    candidates = store.mentions.gather("candidates", mentions)
    seen = np.unique(np.append(candidates, store.mentions.gather("gold", mentions)))
    return seen[seen != NO_ROW].astype(np.int64)


def _ours(store: Store, new: New = np.empty) -> Callable[[np.ndarray], Arrays]:
    return lambda rows: {name: store.entities.gather(name, rows, new=new) for name in FIELDS}


def _our_acts(
    store: Store, mentions: Sequence[np.ndarray], batches: Sequence[Asked]
) -> dict[str, Act]:
    paths = stored_paths(store, Drin.requires(DrinConfig()), pooling="auto", reader="model drin")
    reader = BatchReader(
        store=store, paths=paths, protocol="paper", widen=True, as_stored=Drin.takes_float16
    )
    widening = BatchReader(store=store, paths=paths, protocol="paper", widen=True)
    views, fresh = _ours(store, Buffers().array), _ours(store)
    return {
        BATCH: lambda turn: reader[mentions[turn]],
        WIDENED: lambda turn: widening[mentions[turn]],
        VIEWS: lambda turn: views(batches[turn].rows),
        FRESH: lambda turn: fresh(batches[turn].rows),
    }


def _reference_act(workspace: Workspace, batch: int) -> Act:
    """The reference's loader: other mentions each round, its first ones read once before."""
    dataset = ReferenceDataset(workspace.arrays, "train", in_memory=False)
    random = np.random.default_rng(1)
    collated(dataset, random.integers(len(dataset), size=2).tolist())
    return lambda turn: collated(dataset, random.integers(len(dataset), size=batch).tolist())


def _memory_acts(arrays: Arrays, batches: Sequence[Asked]) -> dict[str, Act]:
    """The same bytes from arrays that are in memory already."""
    longest = max(len(asked.rows) for asked in batches)
    used = {name: np.zeros_like(values[:longest]) for name, values in arrays.items()}

    def take(turn: int) -> object:
        rows = batches[turn].rows
        for name, values in arrays.items():  # "clip": "raise" would fill a copy of the output
            np.take(values, rows, axis=0, out=used[name][: len(rows)], mode="clip")
        return None

    def take_fresh(turn: int) -> object:
        return [np.take(values, batches[turn].rows, axis=0) for values in arrays.values()]

    def copy(turn: int) -> object:
        count = len(batches[turn].rows)
        for name, values in arrays.items():
            np.copyto(used[name][:count], values[:count])
        return None

    def copy_fresh(turn: int) -> object:
        count = len(batches[turn].rows)
        return [values[:count].copy() for values in arrays.values()]

    return {TAKE: take, TAKE_FRESH: take_fresh, COPY: copy, COPY_FRESH: copy_fresh}


def _targets(times: Mapping[str, Times]) -> list[Target]:
    fresh = ratio(times[TAKE_FRESH], times[FRESH])
    return [
        Target(
            what="batch for the step against the reference's loop: times as fast",
            bound=100,
            measured=ratio(times[REFERENCE], times[BATCH]),
            why=f"{ratio(times[REFERENCE], times[WIDENED]):.0f} × with all of it in float32",
        ),
        Target(
            what="views against numpy.take from RAM: share of its speed",
            bound=0.8,
            measured=ratio(times[TAKE], times[VIEWS]),
            why=f"{fresh:.2f} × where both ask for fresh memory",
        ),
        Target(
            what="torch batch against a memory copy: times as long",
            bound=2,
            at_least=False,
            measured=ratio(times[BATCH], times[COPY]),
        ),
    ]
