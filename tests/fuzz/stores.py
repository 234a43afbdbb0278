"""Stores: damaged at random, forged with fitting digests, and without a header of ours.

``stores``: random damage. Whatever can be read then, with ``verify_reads``, must be what was written.
``forged``: what a malicious author changes, every digest made to fit. No crash, no absurd memory, no
error that is not ours; what is read may be anything.
``headerless``: random damage to files of other programs, which libhdf5 opens in a process of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from xxhash import xxh3_128

import featurestore
from featurestore import Store
from featurestore.codecs import COMPRESSIONS
from featurestore.describe import describe_entity, describe_mention
from featurestore.errors import DrinFsError
from featurestore.hdf5 import SUPERBLOCK_BYTES
from featurestore.header import FIRST_PAGE, MAGIC, Header, read_header, write_header
from featurestore.summary import summarise
from featurestore.verify import verify
from tests.fuzz.generic import GENERIC
from tests.fuzz.kinds import Case, Kind, Seed, Wrong
from tests.hdf5_edits import remove_header
from tests.tiny_store import write_tiny_store

NAME = "store.h5"


def store_seeds(folder: Path) -> Sequence[Seed]:
    made = []
    for compression in COMPRESSIONS:
        place = folder / compression
        place.mkdir()
        write_tiny_store(place / NAME, compression=compression, dtype="float16")
        made.append(Seed(place, (NAME,)))
    return made


def _headerless_seeds(folder: Path) -> Sequence[Seed]:
    seeds = store_seeds(folder)
    for seed in seeds:
        remove_header(seed.folder / NAME)
    return seeds


# reading ----------------------------------------------------------------------------------------


def _everything(store: Store) -> dict[str, Any]:
    """Every value of every field, by its path; fields that are refused are left out."""
    found: dict[str, Any] = {}
    for table in (store.entities, store.mentions):
        rows = np.arange(min(len(table), 64))
        for name in table.fields:
            try:
                found[f"{table.name}/{name}"] = table.gather(name, rows)
                if table.stored(name).codec is not None:
                    table.whole_records(name, rows)
            except DrinFsError as error:
                check_error(error)
    return found


def check_error(error: DrinFsError) -> None:
    if not error.what or not error.where:
        raise Wrong(f"an error that does not say what or where: {error!r}")


def _browse(path: Path) -> None:
    """What inspect and verify do, and looking ids up."""
    attempts: list[Callable[[Store], object]] = [
        summarise,
        lambda store: describe_mention(store, 0),
        lambda store: describe_entity(store, 0),
        lambda store: store.entities.find(["Q101", "nobody"]),
        lambda store: store.mentions.rows(["m3-0"]),
        lambda store: store.entities["Q100"].get("title"),
        lambda store: [store.mentions.split(name) for name in store.mentions.splits],
        lambda store: store.provenance,
    ]
    with featurestore.open(path) as store:
        _everything(store)
        for attempt in attempts:
            try:
                attempt(store)
            except DrinFsError as error:
                check_error(error)
    verify(path)


@cache
def _originals(folder: Path) -> dict[str, dict[str, Any]]:
    """Name of a seed → what it holds."""
    made = {}
    for place in sorted(folder.iterdir()):
        with featurestore.open(place / NAME) as store:
            made[place.name] = _everything(store)
    return made


def _read_damaged(case: Case) -> None:
    path = case.source / NAME
    if (
        path.read_bytes()[64:72] == MAGIC
    ):  # otherwise libhdf5 is asked, and each time takes a second
        _browse(path)
    wanted = case.opened[case.seed]
    with featurestore.open(path, verify_reads=True) as store:
        for name, values in _everything(store).items():
            if not _equal(values, wanted[name]):
                raise Wrong(f"{name} is not what was written, and nothing said so")


def _equal(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, list):
        return bool(found == wanted)
    return found.dtype == wanted.dtype and np.array_equal(found, wanted)


# forging ----------------------------------------------------------------------------------------

_NUMBERS: tuple[Any, ...] = (
    0, 1, -1, 2, 3, 7, 63, 4095, 4096, 2**31 - 1, 2**31, 2**32, 2**47, 2**63 - 1, 2**63, 2**64, 10**30,
    1.5, float("nan"), "3", None, True, [], {}, [[]], "x" * 5000,
)  # fmt: skip
_WORDS: tuple[Any, ...] = (
    "<f2", "<f4", "<f8", "|O", "<i4", "<i8", "|u1", "V100", "", "lz4-fast", "lz4", "zstd", "gzip", "none",
    "szip", "é\0", 3, None, ["<f4"], "{" * 50,
)  # fmt: skip
_WHOLE = (0, 1, -1, 5, 99, 2**15, 2**31 - 1, -(2**31), 2**40, 2**62, -(2**63), 2**63 - 1)


class _Forged:
    """A store taken apart: bytes, header and catalog; put together again with fitting digests."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)
        self.header = _header_of(data)
        self.catalog: Any = json.loads(data[self.header.catalog_start :])

    def encode(self, catalog: bytes | None = None) -> bytes:
        if catalog is None:
            catalog = json.dumps(self.catalog).encode("utf-8", "surrogatepass")
        start, tail = self.header.catalog_start, self.header.tail_start
        whole = self.data[:start] + catalog
        digest = xxh3_128(bytes(whole[tail:]))
        digest.update(bytes(whole[:SUPERBLOCK_BYTES]))
        header = Header(len(whole), start, tail, xxh3_128(catalog).digest(), digest.digest())
        place, encoded = write_header(header)
        whole[place : place + len(encoded)] = encoded
        return bytes(whole)

    def arrays(self) -> list[dict[str, Any]]:
        """Every array that the catalog names."""
        return [node for node in _nodes(self.catalog) if "offset" in node and "shape" in node]


def _header_of(data: bytes) -> Header:
    import io

    header = read_header(io.BytesIO(data), Path(NAME))
    assert header is not None
    return header


def _nodes(node: Any) -> list[dict[str, Any]]:
    """Every mapping in a tree."""
    if isinstance(node, dict):
        return [node, *(found for value in node.values() for found in _nodes(value))]
    if isinstance(node, list):
        return [found for value in node for found in _nodes(value)]
    return []


def catalog_value(rng: Random, data: bytes, other: bytes) -> bytes:
    """Another number or word in the catalog."""
    forged = _Forged(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        node = rng.choice(_nodes(forged.catalog))
        if node:
            key = rng.choice(list(node))
            if isinstance(node[key], list) and node[key] and rng.random() < 0.6:
                node[key][rng.randrange(len(node[key]))] = rng.choice(_NUMBERS)
            else:
                node[key] = rng.choice(_NUMBERS if isinstance(node[key], int) else _WORDS)
    return forged.encode()


def catalog_key(rng: Random, data: bytes, other: bytes) -> bytes:
    """A key is gone, doubled, or stands for something else."""
    forged = _Forged(data)
    node = rng.choice([each for each in _nodes(forged.catalog) if each])
    key = rng.choice(list(node))
    match rng.randrange(3):
        case 0:
            del node[key]
        case 1:
            node[rng.choice(("x", "é", "", key.upper(), "table", "data", "sums"))] = node[key]
        case _:
            node[key] = rng.choice(_nodes(forged.catalog))
            try:
                json.dumps(forged.catalog)
            except (ValueError, RecursionError):
                node[key] = {}
    return forged.encode()


def catalog_place(rng: Random, data: bytes, other: bytes) -> bytes:
    """Arrays that lie over each other, or over the header."""
    forged = _Forged(data)
    arrays = forged.arrays()
    for _ in range(rng.choice((1, 3, 20))):
        array = rng.choice(arrays)
        array["offset"] = rng.choice(
            (0, 1, 64, rng.choice(arrays)["offset"], rng.randrange(len(data)), len(data))
        )
    return forged.encode()


def catalog_text(rng: Random, data: bytes, other: bytes) -> bytes:
    """No JSON, or JSON that is meant to hurt."""
    forged = _Forged(data)
    return forged.encode(
        rng.choice(
            (b"", b"[" * 100_000, b"null", b"[]", b"{}", b"1" * 5000, b"\xff\xfe", b'{"tables": []}',
             b'{"a":' * 50_000, b'"' + b"\xc3" * 9, b"{" + b'"a": 1,' * 1000 + b'"a": 2}')
        )
    )  # fmt: skip


def array_value(rng: Random, data: bytes, other: bytes) -> bytes:
    """Other values in an array of whole numbers: chunk tables, offsets, counts, candidates, ids."""
    forged = _Forged(data)
    whole = [
        a for a in forged.arrays() if a["dtype"] in ("<i4", "<i8", "<u8") and np.prod(a["shape"])
    ]
    for _ in range(rng.choice((1, 1, 4))):
        array = rng.choice(whole)
        dtype, count = np.dtype(array["dtype"]), int(np.prod(array["shape"]))
        values = np.frombuffer(bytes(forged.data), dtype, count, array["offset"]).copy()
        for _ in range(rng.choice((1, 1, 2, count))):
            place = rng.randrange(count)
            new = rng.choice((*_WHOLE, int(values[rng.randrange(count)]), len(data)))
            values[place] = np.array(new).astype(dtype)
        first = array["offset"]
        forged.data[first : first + values.nbytes] = values.tobytes()
    return forged.encode()


def chunk_head(rng: Random, data: bytes, other: bytes) -> bytes:
    """Sizes that a compressed record states of itself and of its blocks."""
    forged = _Forged(data)
    tables = [a for a in forged.arrays() if a["dtype"] == "<i8" and a["shape"][1:] == [2]]
    if not tables:
        return array_value(rng, data, other)
    table = rng.choice(tables)
    count = int(np.prod(table["shape"]))
    places = np.frombuffer(bytes(forged.data), "<i8", count, table["offset"]).reshape(-1, 2)
    start, size = places[rng.randrange(len(places))].tolist()
    at = start + rng.choice((0, 4, 7, 8, 11, 12, 15, rng.randrange(size)))
    new = rng.choice((b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\0\0\0\x10", rng.randbytes(2)))
    forged.data[at : at + len(new)] = new
    return forged.encode()


FORGING = (catalog_value, catalog_value, catalog_key, catalog_place, catalog_text, array_value,
           array_value, chunk_head, chunk_head)  # fmt: skip


def field_data(rng: Random, data: bytes, other: bytes) -> bytes:
    """Flipped bits in what the header has no digest of."""
    end = _header_of(data).tail_start
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 3, 100))):
        changed[rng.randrange(FIRST_PAGE, end)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def metadata(rng: Random, data: bytes, other: bytes) -> bytes:
    """Flipped bits in the first page, or in the tail."""
    start = _header_of(data).tail_start
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 3, 20))):
        first = rng.random() < 0.5
        place = rng.randrange(160) if first else rng.randrange(start, len(data))
        changed[place] ^= 1 << rng.randrange(8)
    return bytes(changed)


KIND = Kind(
    name="stores",
    about="stores with random damage: an error, or what was written",
    seeds=store_seeds,
    mutators=(*GENERIC, *[field_data, metadata] * 5),
    read=_read_damaged,
    open=_originals,
)

FORGED = Kind(
    name="forged",
    about="stores changed on purpose, with digests that fit",
    seeds=store_seeds,
    mutators=FORGING,
    read=lambda case: _browse(case.source / NAME),
)


def _read_headerless(case: Case) -> None:
    with featurestore.open(case.source / NAME) as store:
        _everything(store)
        summarise(store)


HEADERLESS = Kind(
    name="headerless",
    about="HDF5 files without a header, with random damage",
    seeds=_headerless_seeds,
    mutators=GENERIC,
    read=_read_headerless,
)
