"""Records in C: the bytes and values of hdf5plugin and NumPy, on every kernel that this processor has."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore import bitshuffle, native
from featurestore.codecs import Chunks, Codec, decode_record
from featurestore.filter_blocks import Damage
from featurestore.halves import close_bound
from featurestore.record_arrays import LINE, round_and_pack

LEVELS = (1, 2)


@pytest.fixture(params=LEVELS)
def kernels(request: pytest.FixtureRequest) -> native.Bits:
    return of_level(request.param)


def of_level(level: int) -> native.Bits:
    best = native.bits()
    if best is None or best.level < level:
        pytest.skip("not compiled, or this processor lacks it")
    return replace(best, level=level)


def plain(record: np.ndarray) -> np.ndarray:
    """The chunk that hdf5plugin makes."""
    return bitshuffle.encode_by(None, record, "lz4")


def made(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    """Features behind a ReLU, with a zero tail."""
    values = np.random.default_rng(seed).standard_normal(shape)
    values[len(values) * 2 // 3 :] = 0
    return np.maximum(values, 0).astype(dtype)


#: Values: none, less than 8, parts of vectors and of blocks, several blocks, an odd rest.
SIZES = (0, 1, 7, 8, 9, 31, 64, 65, 128 + 40, 2048, 4096, 4096 + 8, 5 * 4096 + 123)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("size", SIZES)
def test_chunks_are_those_of_hdf5plugin(kernels: native.Bits, dtype: str, size: int) -> None:
    record = made((size,), dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "bits", lambda: kernels)
        chunk = bitshuffle.encode(record, "lz4")
        assert np.array_equal(chunk, plain(record))
        back = np.full(size, 7, dtype)
        assert decode_record(Codec("lz4"), chunk, back) is None
    assert np.array_equal(back, record)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("block", [8, 24, 4096, 1 << 20])
@given(st.data())
@settings(max_examples=15)
def test_any_blocks_of_other_programs_are_decoded_to_any_value(
    level: int, block: int, data: st.DataObject
) -> None:
    kernels = of_level(level)
    dtype = data.draw(st.sampled_from(["float16", "float32"]))
    whole = data.draw(st.integers(1, 3000))
    wanted = np.array(data.draw(st.lists(st.integers(0, whole), min_size=1, max_size=4)))
    room = data.draw(st.integers(wanted.max(), whole))
    record = made((whole,), dtype, seed=whole)
    lib = bitshuffle._library()
    bound = lib.bshuf_compress_lz4_bound(whole, record.itemsize, block)
    chunk = np.empty(12 + bound, np.uint8)
    chunk[:12] = bitshuffle.header(record.nbytes, block * record.itemsize)
    used = lib.bshuf_compress_lz4(
        record.ctypes.data, chunk[12:].ctypes.data, whole, record.itemsize, block
    )
    out = np.full((len(wanted), room), 7, dtype)
    assert decode(kernels, [chunk[: 12 + used]] * len(wanted), wanted, out, whole) is None
    for found, count in zip(out, wanted.tolist(), strict=True):
        assert np.array_equal(found[:count], record[:count])
        assert not found[count:].any()


def decode(
    kernels: native.Bits,
    pieces: Sequence[np.ndarray],
    wanted: np.ndarray,
    out: np.ndarray,
    whole: int,
) -> Damage | None:
    sizes = np.array([len(piece) for piece in pieces])
    chunks = Chunks(np.concatenate(pieces), np.cumsum(sizes) - sizes, sizes)
    decoder = native.Decoder(kernels, *chunks, wanted, whole=whole, out=out)
    return decoder.decode(range(len(pieces)))


def test_damaged_bytes_are_refused_or_decode_to_something(kernels: native.Bits) -> None:
    record = made((3, 2048), "float16")
    chunk, random, refused = plain(record), np.random.default_rng(0), 0
    for _ in range(3000):
        broken = chunk.copy()
        broken[random.integers(0, len(chunk), random.integers(1, 4))] = random.integers(0, 256)
        out = np.empty((2, record.size), np.float16)
        damage = decode(kernels, [chunk, broken], np.full(2, record.size), out, record.size)
        assert damage is None or damage.record == 1
        assert np.array_equal(out[0], record.reshape(-1)) or damage is not None
        refused += damage is not None
    assert 0 < refused < 3000


CUT, HEADLESS = "it ends before its last block", "it ends before its header does"
WRONG = "the header of the compressed record is wrong"
OTHER = "the compressed record does not decode"


@pytest.mark.parametrize(
    ("size", "why"),
    [(0, HEADLESS), (11, HEADLESS), (12, CUT), (15, CUT), (16, CUT), (200, CUT), (-1, CUT)],
)
def test_a_chunk_that_was_cut_off_is_not_read_beyond(
    kernels: native.Bits, size: int, why: str
) -> None:
    record = made((9003,), "float16")
    chunk = plain(record)
    out = np.empty((2, record.size), np.float16)
    pieces, wanted = [chunk, chunk[:size]], np.full(2, record.size)
    assert decode(kernels, pieces, wanted, out, record.size) == Damage(1, why)


@pytest.mark.parametrize(
    ("place", "new", "why"),
    [
        *((0, 1, WRONG), (3, 200, WRONG), (7, 0, WRONG)),  # bytes of the record
        *(
            (10, 0, WRONG),
            (11, 2, WRONG),
            (11, 8, WRONG),
            (11, 15, WRONG),
        ),  # bytes of a block: no 8 values
        *((8, 255, OTHER), (11, 16, OTHER)),  # of other blocks, which these are not
    ],
)
def test_a_header_of_another_record_is_refused(
    kernels: native.Bits, place: int, new: int, why: str
) -> None:
    record = made((9000,), "float16")
    chunk = plain(record)
    chunk[place] = new
    out = np.empty((1, record.size), np.float16)
    damage = decode(kernels, [chunk], np.array([record.size]), out, record.size)
    assert damage == Damage(0, why)


@pytest.mark.parametrize("shape", [(5, 64), (7, 33), (1, 8), (4, 5), (6, 2048), (0, 64)])
def test_records_are_rounded_and_compressed_as_one_after_the_other(
    kernels: native.Bits, shape: tuple[int, int]
) -> None:
    rows, width = shape
    records = [
        np.random.default_rng(n).standard_normal((max(0, rows - n), width)).astype(np.float32)
        for n in range(3)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "bits", lambda: kernels)
        found = round_and_pack(records, (9, width), Codec("lz4"))
    assert found is not None
    packed, error = found
    for record, start, size in zip(records, packed.starts, packed.sizes, strict=True):
        whole = np.zeros((9, width), np.float16)
        whole[: len(record)] = record
        assert start % LINE == 0
        assert np.array_equal(packed.data[start : start + size], plain(whole))
    lengths = np.linalg.norm(np.concatenate(records), axis=1)
    if len(lengths):
        expected = close_bound(native.Norms(float(lengths.min()), float(lengths.max())), width)
        assert error == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, 70000.0])
@pytest.mark.parametrize("place", [0, 5, 8, 19])
def test_what_float16_cannot_hold_is_left_to_the_exact_way(
    kernels: native.Bits, value: float, place: int
) -> None:
    record = np.ones((1, 20), np.float32)
    record[0, place] = value
    records = [np.ones((2, 20), np.float32), record, np.ones((2, 20), np.float32)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "bits", lambda: kernels)
        assert round_and_pack(records, (2, 20), Codec("lz4")) is None
        assert round_and_pack(records[::2], (2, 20), Codec("lz4")) is not None
        tiny = [np.full((2, 20), 1e-7, np.float32)]
        assert round_and_pack(tiny, (2, 20), Codec("lz4")) is None
        zeros = [np.zeros((2, 20), np.float32)]
        assert round_and_pack(zeros, (2, 20), Codec("lz4")) is None


@pytest.mark.parametrize(
    "record",
    [
        np.ones((2, 19), np.float32),
        np.ones((4, 20), np.float32),
        np.ones((2, 20), np.float64),
        np.ones((20, 2), np.float32).T,
        np.ones((2, 5, 4), np.float32),
    ],
    ids=["width", "rows", "dtype", "order", "axes"],
)
def test_records_that_the_kernel_cannot_take_are_left_alone(
    kernels: native.Bits, record: np.ndarray
) -> None:
    records = [np.ones((3, 20), np.float32), record]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "bits", lambda: kernels)
        assert round_and_pack(records, (3, 20), Codec("lz4")) is None
        assert round_and_pack(records[:1], (3, 20), Codec("lz4")) is not None
        assert round_and_pack(records[:1], (3, 5, 4), Codec("lz4")) is None
        assert round_and_pack(records[:1], (3, 20), Codec("zstd")) is None


def test_all_halves_are_rounded_as_numpy_does(kernels: native.Bits) -> None:
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    finite = halves[np.isfinite(halves)].astype(np.float32)
    between = finite * np.float32(1 + 2**-12)  # and what lies between two of them
    values = np.concatenate([finite, between, np.ones(64, np.float32)])
    values = values[: len(values) // 32 * 32].reshape(-1, 32)
    values[np.abs(values) > 65504] = 0
    rounded = kernels.round_and_encode(
        [values], whole=values.size, block=4096, header=np.zeros(12, np.uint8), most=10**7, align=64
    )
    expected = plain(values.astype(np.float16))
    assert np.array_equal(rounded.data[12:], expected[12:])


@pytest.mark.parametrize("width", [1, 5, 8, 16, 17, 33, 700])
def test_vectors_are_rounded_as_numpy_does_and_measured(kernels: native.Bits, width: int) -> None:
    random = np.random.default_rng(width)
    values = random.standard_normal((9, width)).astype(np.float32) * np.float32(1e3)
    values[3] *= 1e-9  # some of them vanish
    stored, norms = kernels.rounded(values)
    assert stored.tobytes() == values.astype(np.float16).tobytes()
    lengths = np.linalg.norm(values.astype(np.float64), axis=1)
    assert norms == pytest.approx((lengths.min(), lengths.max()), rel=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 1, 2])
def test_what_is_not_finite_is_the_longest(kernels: native.Bits, value: float, row: int) -> None:
    values = np.ones((3, 20), np.float32)
    values[row, 11] = value
    assert not np.isfinite(kernels.rounded(values)[1].largest)


def test_without_a_compiler_hdf5plugin_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    record = made((90, 100), "float16")
    chunk = bitshuffle.encode(record, "lz4")
    monkeypatch.setattr(native, "EXTENSION_SUFFIXES", [])
    native.bits.cache_clear()
    try:
        assert native.bits() is None
        back = np.empty_like(record)
        assert np.array_equal(bitshuffle.encode(record, "lz4"), chunk)
        assert decode_record(Codec("lz4"), chunk, back) is None
        assert np.array_equal(back, record)
        assert round_and_pack([record.astype(np.float32)], record.shape, Codec("lz4")) is None
    finally:
        native.bits.cache_clear()


def test_a_library_of_other_sources_is_not_used() -> None:
    folder = Path(native.__file__).parent
    if native.bits() is None:
        pytest.skip("not compiled")
    assert native.compiled(folder, "bits", interface=native._INTERFACE) is not None
    assert native.compiled(folder, "bits", interface=native._INTERFACE + 1) is None
    assert native.compiled(folder / "sources", "bits", interface=native._INTERFACE) is None


def test_the_library_is_there_where_there_is_a_compiler() -> None:
    """Its build is optional, so nothing else would say that it failed."""
    if shutil.which("cc") is None or platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("no compiler, or no kernels for this processor")
    assert list(Path(native.__file__).parent.glob("_bits.*")), "pip install -e . did not build it"
    assert native.bits() is not None
