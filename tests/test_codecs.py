"""Record compression: what h5py writes we read, what we write h5py reads, damage is noticed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.codecs import COMPRESSIONS, Codec, Compression, codec_of
from featurestore.errors import StoreError

COMPRESSED: tuple[Compression, ...] = ("lz4", "zstd", "gzip")
DTYPES = ("float16", "float32")


@st.composite
def records(draw: st.DrawFn) -> np.ndarray:
    """Records from tiny to several bitshuffle blocks (8 kB), with zero tails now and then."""
    rows, width = draw(st.integers(1, 90)), draw(st.integers(1, 120))
    dtype = draw(st.sampled_from(DTYPES))
    record = np.random.default_rng(draw(st.integers(0, 9))).standard_normal((rows, width))
    record[draw(st.integers(0, rows)) :] = 0
    return record.astype(dtype)


def decode(codec: Codec, chunk: bytes, out: np.ndarray, whole: int) -> np.ndarray:
    codec.decode_into(np.frombuffer(chunk, np.uint8), out, whole=whole, where="x.h5::/t/f[0]")
    return out


@pytest.mark.parametrize("compression", COMPRESSIONS)
@given(records(), st.data())
@settings(max_examples=40)
def test_any_prefix_of_a_record_decodes_to_what_was_encoded(
    compression: Compression, record: np.ndarray, data: st.DataObject
) -> None:
    codec = Codec(compression)
    count = data.draw(st.integers(0, len(record)))
    out = np.full((count, record.shape[1]), 7, record.dtype)
    decode(codec, codec.encode(record), out, record.size)
    assert np.array_equal(out, record[:count])


@pytest.mark.parametrize("compression", COMPRESSED)
@given(record=records())
@settings(max_examples=15)
def test_chunks_are_those_of_the_hdf5_filters(
    tmp_path_factory: pytest.TempPathFactory, compression: Compression, record: np.ndarray
) -> None:
    codec, path = Codec(compression), tmp_path_factory.mktemp("chunk") / "c.h5"
    options: dict[str, Any] = {"chunks": (1, *record.shape), **codec.create_options()}
    with h5py.File(path, "w") as file:
        ours = file.create_dataset("ours", (1, *record.shape), record.dtype, **options)
        ours.id.write_direct_chunk((0, 0, 0), codec.encode(record))
        theirs = file.create_dataset("theirs", data=record[None], **options)
        assert np.array_equal(ours[0], record)
        _, chunk = theirs.id.read_direct_chunk((0, 0, 0))
    assert np.array_equal(decode(codec, chunk, np.empty_like(record), record.size), record)


def filters_of(path: Path, **options: Any) -> list[tuple[int, tuple[int, ...]]]:
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("d", (4, 8), "float16", chunks=(1, 8), **options)
        plist = dataset.id.get_create_plist()
        return [plist.get_filter(i)[::2][:2] for i in range(plist.get_nfilters())]


@pytest.mark.parametrize("compression", COMPRESSED)
def test_a_codec_is_recognised_by_its_filters(tmp_path: Path, compression: Compression) -> None:
    codec = Codec(compression)
    assert codec_of(filters_of(tmp_path / "f.h5", **codec.create_options()), where="w") == codec


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
    assert "bitshuffle+LZ4" in caught.value.hint


#: Four whole bitshuffle blocks, so that only the stated size tells a longer record from it.
RECORD = np.random.default_rng(0).standard_normal((64, 128)).astype(np.float32)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_chunk_that_was_cut_off_is_an_error_not_a_crash(compression: Compression) -> None:
    codec = Codec(compression)
    chunk = codec.encode(RECORD)
    for size in (0, 5, 12, len(chunk) // 2, len(chunk) - 1):
        with pytest.raises(StoreError, match="damaged record") as caught:
            decode(codec, chunk[:size], np.empty_like(RECORD), RECORD.size)
        assert caught.value.where == "x.h5::/t/f[0]"


@pytest.mark.parametrize("compression", COMPRESSED)
def test_a_chunk_of_another_size_is_refused(compression: Compression) -> None:
    codec = Codec(compression)
    for other in (RECORD[:30], np.concatenate([RECORD, RECORD])):
        with pytest.raises(StoreError, match="damaged record"):
            decode(codec, codec.encode(other), np.empty_like(RECORD), RECORD.size)


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_bitshuffle_blocks_of_no_size_are_refused(compression: Compression) -> None:
    codec = Codec(compression)
    chunk = codec.encode(RECORD)
    for block in (0, 4, 1 << 31):
        broken = chunk[:8] + block.to_bytes(4, "big") + chunk[12:]
        with pytest.raises(StoreError, match="damaged record"):
            decode(codec, broken, np.empty_like(RECORD), RECORD.size)
