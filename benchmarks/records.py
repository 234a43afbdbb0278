"""Reading the token and region records of a batch of mentions, compressed, as GHMFC and MEL-HI do."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

import featurestore
from benchmarks.alternatives.arrow import ArrowFile
from benchmarks.alternatives.contract import Alternative, Arrays, check_agrees, prepared
from benchmarks.alternatives.h5 import H5Coalesced, H5Fancy, H5Rows
from benchmarks.alternatives.hidefix_ import Hidefix
from benchmarks.alternatives.lance_ import Lance
from benchmarks.alternatives.litdata_ import LitData
from benchmarks.alternatives.lmdb_ import Lmdb
from benchmarks.alternatives.npy import NpyFancy, NpyRows
from benchmarks.alternatives.pyfive_ import PyfiveGzip
from benchmarks.alternatives.tensorstore_ import TensorStoreRecords
from benchmarks.alternatives.zarr3 import ZarrRecords
from benchmarks.data import TINY, Workspace
from benchmarks.reading import COLUMNS, Asked, acts_of, check_all, slow_ones, table
from benchmarks.report import Report, Target
from benchmarks.timing import Times, in_turn, ratio
from featurestore import Store
from linker.buffers import Buffers

FIELDS = ("text_tokens", "image_regions")

OURS = "ours: Table.gather_all, bitshuffle LZ4"
FAST = "ours: the same from a store with lz4-fast"

#: Turns of each, but for the slow ones: a batch takes milliseconds.
_ROUNDS = 15

#: Mentions that are copied into the other forms: enough that no batch is like the last.
_COPIED = 512

_LEFT_OUT = {
    "Parquet": "decodes whole pages for single rows; see size",
    "WebDataset": "tar files are read from front to back: no random access",
    "hidefix and pyfive on the store": "neither decodes LZ4: they read gzip copies",
}


def measure(workspace: Workspace) -> Report:
    sizes = workspace.sizes
    left_out = dict(_LEFT_OUT)
    rounds = max(_ROUNDS, sizes.rounds) if sizes != TINY else sizes.rounds
    fast_path = workspace.store_path(compression="lz4-fast")
    with workspace.store() as store, featurestore.open(fast_path) as fast_store:
        copied = min(_COPIED, len(store.mentions))
        ours, fast = _ours(store), _ours(fast_store)
        random = np.random.default_rng(0)
        batch = min(sizes.batch, copied)
        batches = [
            _asked(store, random.choice(copied, batch, replace=False)) for _ in range(rounds + 1)
        ]
        arrays = {name: store.mentions.whole_records(name, np.arange(copied)) for name in FIELDS}
        with prepared(_contestants(workspace), arrays, left_out) as alternatives:
            check_all(alternatives, batches[0], ours)
            check_agrees(FAST, fast(batches[0].rows), ours(batches[0].rows))
            times = in_turn(
                {
                    OURS: lambda turn: ours(batches[turn].rows),
                    FAST: lambda turn: fast(batches[turn].rows),
                    **acts_of(alternatives, batches),
                },
                rounds=rounds,
                fewer=slow_ones(alternatives, sizes.rounds),
            )
        megabytes = float(np.mean([_bytes(ours(asked.rows)) for asked in batches])) / 1e6
        read = float(np.mean([_counted(store, asked.rows) for asked in batches]))
    return Report(
        question="reading whole token and region records of mentions",
        columns=COLUMNS,
        rows=table(times, ours=OURS, megabytes=megabytes),
        targets=_targets(times),
        conditions=[
            sizes.words,
            f"a batch: {batch} of {copied:,} mentions in random order, {megabytes:.1f} MB "
            f"({', '.join(FIELDS)}, float16), warm; {read:.0%} of its token positions are no "
            "padding; everyone knows how long the longest text of the batch is",
            "ours and h5py's rows go into memory used before; the others make their own",
            "h5py reads the store that ours reads; compressed as named, otherwise as in memory",
        ],
        left_out=left_out,
    )


def _contestants(workspace: Workspace) -> list[Alternative]:
    store, place = workspace.store_path(), workspace.place
    return [
        H5Fancy(store, table="mentions"),
        H5Rows(store, table="mentions"),
        H5Coalesced(store, table="mentions", gap=0),
        PyfiveGzip(place("records-pyfive.h5")),
        Hidefix(place("records-hidefix.h5"), gzip=True),
        ZarrRecords(place("records-zarr")),
        TensorStoreRecords(place("records-tensorstore")),
        NpyFancy(place("records-npy")),
        NpyRows(place("records-npy-rows")),
        Lmdb(place("records-lmdb")),
        ArrowFile(place("records.arrow")),
        Lance(place("records.lance")),
        LitData(place("records-litdata")),
    ]


def _ours(store: Store) -> Callable[[np.ndarray], Arrays]:
    """As batches are read: together, into memory used before."""
    new = Buffers().array
    return lambda rows: store.mentions.gather_all(FIELDS, rows, new=new)


def _asked(store: Store, rows: np.ndarray) -> Asked:
    longest = int(store.mentions.gather("token_count", rows).max())
    return Asked(rows=rows, first={"text_tokens": longest})


def _bytes(batch: Arrays) -> int:
    return sum(values.nbytes for values in batch.values())


def _counted(store: Store, rows: np.ndarray) -> float:
    """The share of token positions, up to the longest text, that are no padding."""
    counts = store.mentions.gather("token_count", rows)
    return float(counts.mean() / counts.max())


def _targets(times: Mapping[str, Times]) -> list[Target]:
    return [
        Target(
            what="records against h5py fancy indexing: times as fast",
            bound=30,
            measured=ratio(times[H5Fancy.name], times[OURS]),
        ),
        Target(
            what="records against h5py row by row: times as fast",
            bound=3,
            measured=ratio(times[H5Rows.name], times[OURS]),
        ),
    ]
