"""LZ4 chunks in one block or several, prefixes of them, and chunks that lie about themselves."""

from __future__ import annotations

from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore import lz4
from featurestore.codecs import Codec, codec_of, decode_record
from featurestore.filter_blocks import Damage
from tests.test_codecs import decode, filters_of

FAST = Codec("lz4-fast")

#: Four fifths zeros, as behind a ReLU: LZ4 makes it more than an eighth smaller.
RECORD = np.maximum(np.random.default_rng(0).standard_normal((64, 128)) - 0.8, 0).astype(np.float16)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lz4") / "f.h5"


def by_hdf5(path: Path, record: np.ndarray, block: int) -> bytes:
    """The chunk of a record as HDF5's filter makes it in blocks of so many bytes (0: its default)."""
    with h5py.File(path, "w") as file:
        options = hdf5plugin.LZ4(nbytes=block)
        made = file.create_dataset("r", data=record[None], chunks=(1, *record.shape), **options)
        return bytes(made.id.read_direct_chunk((0,) * (record.ndim + 1))[1])


def read_by_hdf5(path: Path, chunk: bytes, like: np.ndarray) -> np.ndarray:
    """What HDF5's filter makes of a chunk."""
    with h5py.File(path, "w") as file:
        options = {"chunks": (1, *like.shape), **hdf5plugin.LZ4(nbytes=0)}
        made = file.create_dataset("r", (1, *like.shape), like.dtype, **options)
        made.id.write_direct_chunk((0,) * (like.ndim + 1), chunk)
        return made[0]


def record_of(*, values: int, zeros: float, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    record = random.standard_normal(values).astype(np.float16)
    record[random.random(values) < zeros] = 0
    return record


@given(
    values=st.integers(1, 5000),
    zeros=st.sampled_from([0.0, 0.5, 0.9, 1.0]),
    block=st.sampled_from([0, 64, 100, 1001, 4096, 9999]),  # not all of them whole values
    wanted=st.floats(0, 1),
)
@settings(max_examples=40)
def test_any_prefix_of_what_hdf5_writes_is_read(
    file: Path, values: int, zeros: float, block: int, wanted: float
) -> None:
    record = record_of(values=values, zeros=zeros, seed=values)
    out = np.full((1, round(wanted * values)), 7, np.float16)
    assert decode(FAST, [by_hdf5(file, record, block)], out, values) is None
    assert np.array_equal(out[0], record[: out.size])


@given(
    values=st.integers(1, 5000),
    zeros=st.sampled_from([0.0, 0.5, 0.9, 1.0]),
    block=st.sampled_from([1, 100, 1001, 1 << 30]),
)
@settings(max_examples=30)
def test_what_is_written_is_read_by_hdf5(file: Path, values: int, zeros: float, block: int) -> None:
    record = record_of(values=values, zeros=zeros, seed=values)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lz4, "_BLOCK", block)
        chunk = FAST.encode(record).tobytes()
    assert np.array_equal(read_by_hdf5(file, chunk, record), record)
    out = np.empty_like(record)
    assert decode_record(FAST, np.frombuffer(chunk, np.uint8), out) is None
    assert np.array_equal(out, record)


def test_a_record_is_one_block() -> None:
    chunk = FAST.encode(RECORD).tobytes()
    size = RECORD.nbytes
    assert chunk[:12] == size.to_bytes(8, "big") + size.to_bytes(4, "big")
    assert int.from_bytes(chunk[12:16], "big") == len(chunk) - 16 < size


@pytest.mark.parametrize("zeros", [0, 400])  # of 5000: a tail that LZ4 makes a twelfth smaller
def test_what_does_not_become_an_eighth_smaller_is_stored_as_it_is(zeros: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, 5000).astype(np.uint8)
    noise[5000 - zeros :] = 0
    chunk = FAST.encode(noise).tobytes()
    assert chunk[12:] == len(noise).to_bytes(4, "big") + noise.tobytes()


@pytest.mark.parametrize("values", [0, 1, 2])
def test_records_of_no_value_or_few(values: int) -> None:
    record = np.arange(values).astype(np.float16)
    out = np.full(values, 7, np.float16)
    assert decode_record(FAST, FAST.encode(record), out) is None
    assert np.array_equal(out, record)


@pytest.mark.parametrize("block", [0, 1000])
def test_any_size_of_blocks_is_recognised(tmp_path: Path, block: int) -> None:
    filters = filters_of(tmp_path / "f.h5", **hdf5plugin.LZ4(nbytes=block))
    assert codec_of(filters, where="w") == FAST


def chunk_of(
    *blocks: bytes, decoded: int = RECORD.nbytes, block: int = RECORD.nbytes, stated: int = -1
) -> bytes:
    """A chunk of these blocks; ``stated``: the size of the last one that it claims."""
    sizes = [len(each) for each in blocks]
    if stated >= 0:
        sizes[-1] = stated
    parts = (n.to_bytes(4, "big") + each for n, each in zip(sizes, blocks, strict=True))
    return decoded.to_bytes(8, "big") + block.to_bytes(4, "big") + b"".join(parts)


RAW = RECORD.tobytes()
PACKED = FAST.encode(RECORD).tobytes()[16:]
SHORTER = FAST.encode(RECORD[:63]).tobytes()[16:]
LONGER = FAST.encode(np.concatenate([RECORD, RECORD[:1]])).tobytes()[16:]
HALF = len(RAW) // 2

HEADER, ENDS, BEHIND, GROWN, BROKEN = (
    "the header of the compressed record is wrong",
    "it ends before its last block",
    "it goes on behind its last block",
    "it is larger than what it holds",
    "the compressed record does not decode",
)

LIES = {
    "another size": (chunk_of(PACKED, decoded=len(RAW) + 2), HEADER),
    "a huge size": (chunk_of(PACKED, decoded=2**64 - 1), HEADER),
    "blocks of no size": (chunk_of(PACKED, block=0), HEADER),
    "blocks of a byte": (chunk_of(PACKED, block=1), ENDS),
    "a size beyond the chunk": (chunk_of(PACKED, stated=len(PACKED) + 1), ENDS),
    "a size beyond everything": (chunk_of(PACKED, stated=2**32 - 1), ENDS),
    "a block that is missing": (chunk_of(RAW[:HALF], block=HALF), ENDS),
    "only a header": (chunk_of(), ENDS),
    "a size inside the block": (chunk_of(PACKED, stated=len(PACKED) - 1), BEHIND),
    "no size": (chunk_of(PACKED, stated=0), BEHIND),
    "one block too many": (chunk_of(PACKED, PACKED), BEHIND),
    "larger than the record": (chunk_of(RAW + b"\0"), GROWN),
    "an empty block": (chunk_of(b""), BROKEN),
    "fewer values": (chunk_of(SHORTER), BROKEN),
    "more values": (chunk_of(LONGER), BROKEN),
    "a match before the beginning": (chunk_of(b"\x00\xff\xff" + PACKED), BROKEN),
    "noise": (chunk_of(bytes(range(1, 256)) * 20), BROKEN),
    "a second block of noise": (chunk_of(RAW[:HALF], b"\xf0" * 99, block=HALF), BROKEN),
}


@pytest.mark.parametrize(("chunk", "why"), LIES.values(), ids=LIES)
def test_a_chunk_that_lies_is_refused_and_named(chunk: bytes, why: str) -> None:
    out = np.empty((2, RECORD.size), np.float16)
    assert decode(FAST, [chunk_of(PACKED), chunk], out, RECORD.size) == Damage(1, why)


def test_a_small_chunk_that_states_a_trillion_blocks_is_refused_at_once() -> None:
    whole = 1 << 40
    chunk = np.frombuffer(chunk_of(PACKED, decoded=whole, block=1), np.uint8)
    place = np.zeros(1, np.int64), np.array([len(chunk)])
    assert lz4.checked_blocks(chunk, *place, whole=whole, item=1) == Damage(0, ENDS)


def test_a_block_that_ends_before_the_wanted_prefix_is_refused() -> None:
    out = np.empty((1, RECORD.size - 1), np.float16)
    assert decode(FAST, [chunk_of(SHORTER)], out, RECORD.size) == Damage(0, BROKEN)


def in_blocks(size: int) -> bytes:
    """The chunk of RECORD in blocks of so many bytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lz4, "_BLOCK", size)
        return FAST.encode(RECORD).tobytes()


CHUNKS = [in_blocks(size) for size in (1 << 30, 1001, 4096)]


@given(
    chunk=st.sampled_from(CHUNKS),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8),
    early=st.booleans(),
    values=st.integers(0, RECORD.size),
)
@settings(max_examples=150)
def test_nothing_is_written_beyond_its_place_whatever_a_chunk_holds(
    chunk: bytes, changes: list[tuple[float, int]], early: bool, values: int
) -> None:
    broken = bytearray(chunk)
    for place, value in changes:
        broken[int(place * (40 if early else len(chunk) - 1))] = value
    room = np.full((3, RECORD.size), 7, np.float16)
    out = room.reshape(-1)[RECORD.size : RECORD.size + values]
    decode(FAST, [bytes(broken)], out[None], RECORD.size)
    assert (np.delete(room.reshape(-1), np.s_[RECORD.size : RECORD.size + values]) == 7).all()
