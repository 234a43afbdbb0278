"""A small store with every field of the format, and the very values it was made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from featurestore.codecs import DEFAULT_COMPRESSION, Compression
from featurestore.schema import BY_PATH, FEATURE, FIELDS
from featurestore.shard_plan import Sharding
from featurestore.thumbnails import ThumbnailWriter
from featurestore.versions import program_versions
from featurestore.views import region_mean, span_mean, token_max, token_mean
from featurestore.writer import FeatureDtype, StoreWriter

#: Lengths of the axes, all different, so that a mixed-up axis shows.
SIZES = {"D": 6, "V": 10, "P": 5, "S": 7, "T": 9, "R": 4, "O": 3, "4": 4, "K": 4, "C": 5, "J": 24}

PROVENANCE: dict[str, Any] = {
    "source": {"layout": "raw", "fingerprint": "00ff"},
    "encoders": {
        "text": {
            "kind": "text",
            "name": "bert-base-cased",
            "revision": "cd5ef92a9fb2f889e972770a36d4ed042daf221e",
            "files": {},
            "options": {"dtype": "float32", "tokens": 512},
            "libraries": {"transformers": "5.0.0"},
        },
        "image": {
            "kind": "image",
            "name": "models/resnet",
            "revision": "",
            "files": {"model.safetensors": "9f86d081884c7d659a2feaa0c55ad015"},
            "options": {"dtype": "float32"},
            "libraries": {"transformers": "5.0.0"},
        },
        "detector": None,
    },
    "options": {"dtype": "float16", "compression": "lz4", "limit": None},
    "dropped": {"train": 2},
    "counts": {"empty spans": 1},
    "notes": ["2 mentions are not in their sentences"],
    "run": {"versions": program_versions(), "source_path": "data/tiny"},
}


@dataclass(frozen=True)
class TinyStore:
    """``values``: field path → what was written: list of str, array, or list of ragged arrays."""

    path: Path
    values: dict[str, Any]
    splits: dict[str, range]


def shape_of(path: str) -> tuple[int, ...]:
    """Shape of one row of a field."""
    return tuple(SIZES[axis] for axis in BY_PATH[path].axes)


def tiny_values(*, entities: int, mentions: int, seed: int = 0) -> dict[str, Any]:
    """Consistent values for every field of the format."""
    rng = np.random.default_rng(seed)
    rows = {"entities": entities, "mentions": mentions}
    values: dict[str, Any] = {
        f.path: rng.standard_normal((rows[f.table], *shape_of(f.path))).astype(np.float32)
        for f in FIELDS
        if f.dtype == FEATURE
    }
    for table, longest in (("entities", SIZES["S"]), ("mentions", SIZES["T"])):
        counts = rng.integers(2, longest + 1, rows[table]).astype(np.int32)
        texts = [v[:n] for v, n in zip(values[f"{table}/text_tokens"], counts, strict=True)]
        values[f"{table}/token_count"] = counts
        values[f"{table}/text_tokens"] = texts
        values[f"{table}/text_cls"] = _stack([t[0] for t in texts], SIZES["D"])
        jpegs = np.random.default_rng([seed, rows[table]])
        sizes = jpegs.integers(0, SIZES["J"] + 1, rows[table]).astype(np.int32)
        values[f"{table}/thumbnail_size"] = sizes
        values[f"{table}/thumbnail"] = [
            np.frombuffer(jpegs.bytes(size), np.uint8) for size in sizes.tolist()
        ]
        statuses = rng.choice(5, rows[table], p=[0.6, 0.1, 0.1, 0.1, 0.1])
        values[f"{table}/image_status"] = statuses.astype(np.uint8)
        values[f"{table}/image_path"] = [f"{table}/{i}.jpg" for i in range(rows[table])]
        for name in ("object_scores", "object_boxes"):
            path = f"{table}/{name}"
            values[path] = rng.random((rows[table], *shape_of(path))).astype(np.float32)
    values |= _entity_columns(entities, values)
    values |= _mention_columns(entities, mentions, values, rng)
    return values


def _stack(vectors: list[np.ndarray], width: int) -> np.ndarray:
    return np.stack(vectors) if vectors else np.empty((0, width), np.float32)


def _entity_columns(count: int, values: dict[str, Any]) -> dict[str, Any]:
    texts = values["entities/text_tokens"]
    return {
        "entities/id": [f"Q{100 + i}" for i in range(count)],
        "entities/title": [f"Title № {i} é" for i in range(count)],
        "entities/description": [f"description {i}" for i in range(count)],
        "entities/text": [f"Title № {i} é. description {i}" for i in range(count)],
        "entities/text_mean": _stack([token_mean(t) for t in texts], SIZES["D"]),
        "entities/text_max": _stack([token_max(t) for t in texts], SIZES["D"]),
    }


def _mention_columns(
    entities: int, count: int, values: dict[str, Any], rng: np.random.Generator
) -> dict[str, Any]:
    texts, width = values["mentions/text_tokens"], SIZES["K"]
    spans = [span_mean(t, 0, 1) for t in texts]
    gold = rng.integers(0, max(entities, 1), count).astype(np.int32)
    candidates = rng.integers(0, max(entities, 1), (count, width)).astype(np.int32)
    candidates = np.where(
        candidates == gold[:, None], (gold[:, None] + 1) % max(entities, 1), candidates
    )
    answer = rng.integers(0, width + 1, count).astype(np.int32)
    for row in np.flatnonzero(answer < width):
        candidates[row, answer[row]] = gold[row]
    sentences = [f"Here stands name{i}, and é." for i in range(count)]
    return {
        "mentions/id": [f"m{i}-0" for i in range(count)],
        "mentions/sentence": sentences,
        "mentions/mention": [f"name{i}" for i in range(count)],
        "mentions/topic": ["sports"] * count,
        "mentions/entity_type": ["person"] * count,
        "mentions/char_start": np.full(count, 12, np.int32),
        "mentions/char_end": np.array([s.index(",") for s in sentences], np.int32),
        "mentions/token_start": np.zeros(count, np.int32),
        "mentions/token_end": np.ones(count, np.int32),
        "mentions/span_empty": np.zeros(count, np.uint8),
        "mentions/text_span": _stack([vector for vector, _ in spans], SIZES["D"]),
        "mentions/image_mean": region_mean(values["mentions/image_regions"]),
        "mentions/candidates": candidates.astype(np.int32),
        "mentions/gold": gold,
        "mentions/answer": answer,
        "mentions/sim_image_text": rng.normal(20, 5, (count, width + 1)).astype(np.float32),
        "mentions/sim_text_image": rng.normal(20, 5, (count, width + 1)).astype(np.float32),
    }  # fmt: skip


def write_values(
    writer: StoreWriter, values: dict[str, Any], splits: dict[str, range], without: set[str]
) -> None:
    """Write every field but ``without``."""
    for table in ("entities", "mentions"):
        writer.table(table, values[f"{table}/id"])
    writer.splits(splits)
    for field in FIELDS:
        if field.path in without or field.name in ("id", "thumbnail_size"):
            continue
        value = values[field.path]
        if field.layout == "text":
            writer.text(field.path, value)
        elif field.layout == "column":
            writer.column(field.path, value)
        elif field.name == "thumbnail":
            thumbnails = ThumbnailWriter(writer, field.table, room=SIZES["J"])
            thumbnails.write(np.arange(len(value)), [jpeg.tobytes() for jpeg in value])
        else:
            rows = writer.rows(field.table)
            feature = writer.feature(field.path, shape_of(field.path))
            feature.write(range(rows), value)


def write_tiny_store(
    path: Path,
    *,
    entities: int = 8,
    mentions: tuple[int, int, int] = (5, 2, 3),
    dtype: FeatureDtype = "float32",
    compression: Compression = DEFAULT_COMPRESSION,
    without: set[str] = frozenset(),
    change: dict[str, Any] | None = None,
    seed: int = 0,
    sharding: Sharding | None = None,
) -> TinyStore:
    """Write a store. ``without``: field paths left out. ``change``: values to use instead."""
    bounds = np.cumsum([0, *mentions]).tolist()
    splits = {
        name: range(a, b)
        for name, a, b in zip(("train", "valid", "test"), bounds, bounds[1:], strict=False)
    }
    values = tiny_values(entities=entities, mentions=sum(mentions), seed=seed) | (change or {})
    with StoreWriter.create(
        path, dtype=dtype, compression=compression, sharding=sharding
    ) as writer:
        write_values(writer, values, splits, set(without))
        writer.publish(dataset="tiny", provenance=PROVENANCE)
    return TinyStore(path, {k: v for k, v in values.items() if k not in without}, splits)


def expected(tiny: TinyStore, path: str, rows: list[int]) -> Any:
    """What ``gather`` must return, by a naive reading of what was written."""
    value = tiny.values[path]
    if BY_PATH[path].layout == "text":
        return [value[row] for row in rows]
    if not BY_PATH[path].ragged:
        return value[rows]
    longest = max((len(value[row]) for row in rows), default=shape_of(path)[0])
    dtype = np.uint8 if BY_PATH[path].dtype == "uint8" else np.float32
    out = np.zeros((len(rows), longest, *shape_of(path)[1:]), dtype)
    for place, row in enumerate(rows):
        out[place, : len(value[row])] = value[row]
    return out
