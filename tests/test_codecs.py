"""Record compression: what h5py writes we read, what we write h5py reads, damage is noticed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.codecs import COMPRESSIONS, Chunks, Codec, Compression, codec_of
from featurestore.errors import StoreError
from featurestore.filter_blocks import Damage

COMPRESSED: tuple[Compression, ...] = ("lz4-fast", "lz4", "zstd", "gzip")
DTYPES = ("float16", "float32")


@st.composite
def records(draw: st.DrawFn) -> np.ndarray:
    """Records from tiny to several bitshuffle blocks (8 kB), with zero tails now and then."""
    rows, width = draw(st.integers(1, 90)), draw(st.integers(1, 120))
    dtype = draw(st.sampled_from(DTYPES))
    record = np.random.default_rng(draw(st.integers(0, 9))).standard_normal((rows, width))
    record[draw(st.integers(0, rows)) :] = 0
    return record.astype(dtype)


def decode(codec: Codec, chunks: Sequence[bytes], out: np.ndarray, whole: int) -> Damage | None:
    """Decode as many values of each record as ``out`` (n, …) has room for; the first damage."""
    return decode_some(codec, chunks, np.full(len(chunks), out[0].size), out, whole)


def decode_some(
    codec: Codec, chunks: Sequence[bytes], values: np.ndarray, out: np.ndarray, whole: int
) -> Damage | None:
    sizes = np.array([len(chunk) for chunk in chunks])
    joined = Chunks(np.frombuffer(b"".join(chunks), np.uint8), np.cumsum(sizes) - sizes, sizes)
    blocks = codec.checked_blocks(joined, whole=whole, item=out.itemsize)
    if isinstance(blocks, Damage):
        return blocks
    return codec.decoder(joined, blocks, values, whole=whole, out=out).decode(range(len(chunks)))


@pytest.mark.parametrize("compression", COMPRESSIONS)
@given(records(), st.data())
@settings(max_examples=40)
def test_any_prefix_of_a_record_decodes_to_what_was_encoded(
    compression: Compression, record: np.ndarray, data: st.DataObject
) -> None:
    codec = Codec(compression)
    count = data.draw(st.integers(0, len(record)))
    out = np.full((count, record.shape[1]), 7, record.dtype)
    assert decode(codec, [codec.encode(record).tobytes()], out[None], record.size) is None
    assert np.array_equal(out, record[:count])


@pytest.mark.parametrize("compression", COMPRESSIONS)
@given(records(), st.data())
@settings(max_examples=40)
def test_each_record_is_decoded_as_far_as_is_wanted_and_zero_behind(
    compression: Compression, record: np.ndarray, data: st.DataObject
) -> None:
    codec, rows = Codec(compression), len(record)
    counts = np.array(data.draw(st.lists(st.integers(0, rows), min_size=1, max_size=5)))
    room = data.draw(st.integers(counts.max(), rows))
    out = np.full((len(counts), room, record.shape[1]), 7, record.dtype)
    chunks, values = [codec.encode(record).tobytes()] * len(counts), counts * record.shape[1]
    assert decode_some(codec, chunks, values, out, record.size) is None
    for found, count in zip(out, counts.tolist(), strict=True):
        assert np.array_equal(found[:count], record[:count])
        assert not found[count:].any()


@pytest.mark.parametrize("compression", COMPRESSED)
@given(record=records())
@settings(max_examples=15)
def test_chunks_are_those_of_the_hdf5_filters(
    tmp_path_factory: pytest.TempPathFactory, compression: Compression, record: np.ndarray
) -> None:
    codec, path = Codec(compression), tmp_path_factory.mktemp("chunk") / "c.h5"
    options: dict[str, Any] = {"chunks": (1, *record.shape), **hdf5_options(codec)}
    with h5py.File(path, "w") as file:
        ours = file.create_dataset("ours", (1, *record.shape), record.dtype, **options)
        ours.id.write_direct_chunk((0, 0, 0), codec.encode(record).tobytes())
        theirs = file.create_dataset("theirs", data=record[None], **options)
        assert np.array_equal(ours[0], record)
        _, chunk = theirs.id.read_direct_chunk((0, 0, 0))
    found = np.empty_like(record)
    assert decode(codec, [chunk], found[None], record.size) is None
    assert np.array_equal(found, record)


def hdf5_options(codec: Codec) -> dict[str, Any]:
    """What h5py is to be told so that HDF5 compresses as a codec does."""
    match codec.compression:
        case "lz4-fast":
            return dict(hdf5plugin.LZ4(nbytes=0))
        case "gzip":
            return {"compression": "gzip", "compression_opts": 4, "shuffle": True}
        case "zstd":
            return dict(hdf5plugin.Bitshuffle(nelems=0, cname="zstd", clevel=3))
        case _:
            return dict(hdf5plugin.Bitshuffle(nelems=0, cname="lz4"))


def filters_of(path: Path, **options: Any) -> list[tuple[int, tuple[int, ...]]]:
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("d", (4, 8), "float16", chunks=(1, 8), **options)
        plist = dataset.id.get_create_plist()
        return [plist.get_filter(i)[::2][:2] for i in range(plist.get_nfilters())]


@pytest.mark.parametrize("compression", COMPRESSED)
def test_the_filters_that_a_store_names_are_those_that_hdf5_writes(
    tmp_path: Path, compression: Compression
) -> None:
    codec = Codec(compression)
    assert codec.filters(2) == filters_of(tmp_path / "f.h5", **hdf5_options(codec))


@pytest.mark.parametrize("compression", COMPRESSED)
def test_a_codec_is_recognised_by_its_filters(tmp_path: Path, compression: Compression) -> None:
    codec = Codec(compression)
    assert codec_of(filters_of(tmp_path / "f.h5", **hdf5_options(codec)), where="w") == codec


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "gzip"},  # without shuffle
        {"compression": "lzf"},
        {"fletcher32": True},
        dict(hdf5plugin.Blosc()),
        dict(hdf5plugin.Bitshuffle(cname="none")),
    ],
    ids=["gzip alone", "lzf", "fletcher32", "blosc", "bitshuffle alone"],
)
def test_other_filters_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(StoreError, match="unknown compression filters") as caught:
        codec_of(filters_of(tmp_path / "f.h5", **options), where="x.h5::/entities/text_tokens")
    assert caught.value.where == "x.h5::/entities/text_tokens"
    assert "LZ4, bitshuffle+LZ4" in caught.value.hint


#: Four whole bitshuffle blocks, so that only the stated size tells a longer record from it.
RECORD = np.random.default_rng(0).standard_normal((64, 128)).astype(np.float32)


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_chunk_that_was_cut_off_is_found_among_others(
    compression: Compression, place: int
) -> None:
    codec = Codec(compression)
    chunk = codec.encode(RECORD).tobytes()
    for size in (0, 5, 12, len(chunk) // 2, len(chunk) - 1):
        chunks = [chunk] * 3
        chunks[place] = chunk[:size]
        damage = decode(codec, chunks, np.empty((3, *RECORD.shape), np.float32), RECORD.size)
        assert damage is not None
        assert damage.record == place


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_file_of_a_few_bytes_is_damaged(compression: Compression) -> None:
    for size in (0, 1, 11):
        out = np.empty((1, RECORD.size), np.float32)
        assert decode(Codec(compression), [bytes(size)], out, RECORD.size) is not None


@pytest.mark.parametrize("compression", COMPRESSED)
def test_a_chunk_of_another_size_is_refused(compression: Compression) -> None:
    codec = Codec(compression)
    for other in (RECORD[:30], np.concatenate([RECORD, RECORD])):
        out = np.empty((1, RECORD.size), np.float32)
        assert decode(codec, [codec.encode(other).tobytes()], out, RECORD.size) is not None


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_bitshuffle_blocks_of_no_size_are_refused(compression: Compression) -> None:
    codec = Codec(compression)
    chunk = codec.encode(RECORD).tobytes()
    for block in (0, 4, 1 << 31):
        broken = chunk[:8] + block.to_bytes(4, "big") + chunk[12:]
        damage = decode(codec, [broken], np.empty((1, RECORD.size), np.float32), RECORD.size)
        assert damage is not None


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
@pytest.mark.parametrize("stated", [1 << 20, (1 << 32) - 1])
def test_a_block_that_states_to_go_on_beyond_the_chunk_is_not_read(
    compression: Compression, stated: int
) -> None:
    codec = Codec(compression)
    chunk = codec.encode(RECORD).tobytes()
    second = 16 + int.from_bytes(chunk[12:16], "big")
    broken = chunk[:second] + stated.to_bytes(4, "big") + chunk[second + 4 :]
    damage = decode(codec, [chunk, broken], np.empty((2, RECORD.size), np.float32), RECORD.size)
    assert damage == Damage(1, "it ends before its last block")
