"""``.npy`` files: features, masks, positions and texts of preprocessed datasets, and recorded boxes."""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

import featurestore
from featurestore.encoders.recorded import recorded_boxes
from featurestore.export import release_arrays
from featurestore.options import IngestOptions
from featurestore.sources.layouts import open_raw
from featurestore.sources.rawtables import RawDataset
from featurestore.sources.repetitions import DIFFERING
from tests.fuzz.datasets import TEXT_ALONE, ingested, preprocessed, seed_of
from tests.fuzz.generic import GENERIC
from tests.fuzz.kinds import OWNED, Case, Kind, Seed, Wrong
from tests.golden_for_tests import PIPELINE, PREPROCESSED, RAW
from tests.pipeline_parity import difference, with_scores

#: What ``descr`` of a header may be changed to.
_DESCRS: tuple[Any, ...] = (
    "|O", "<f8", ">f4", "<f2", "<i8", "<i4", "<u2", "|b1", "<c8", "|S5", "<U0", "<U3", ">U4", "<U1",
    "<U500000000", "<M8[s]", "<m8", "|V8", "|V0", "", "f", "O", "<f16", "<q", "no type", "<f4,<i2",
    [("a", "<f4")], [("a", "|O")], [("a", "<f4", (2**31,))], ("<f4", (2,)), ("<f4", (2**40,)), None, 7,
    {"names": ["a"], "formats": ["O"]}, [], [["<f4"]],
)  # fmt: skip

_LENGTHS: tuple[Any, ...] = (
    0, 1, -1, 3, 2**31 - 1, 2**31, 2**62, 2**63, 2**64, 10**400, True, 1.0, "3", None, (),
)  # fmt: skip

_HEADERS = (
    "(" * 200, "[" * 5000 + "]" * 5000, f"__import__('os').mkdir('{OWNED}')", "{" * 90 + "}" * 90,
    "{'descr': '<f4', 'fortran_order': False, 'shape': (9**9**9,)}", "-" * 9000 + "1", "'" * 3, "\x00",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (3L, 4)}", "lambda: 0", "f'{1}'", "1_", "0x",
    "{**{'descr': '<f4'}}", "set()", "{[]: 1}", "{1: {}, 2: 3}", "()", "7", "'\\ud800'", "\\", "1 if",
    "{'descr': '<f4', 'fortran_order': 0, 'shape': (-1,)}", " " * 60000, "#", "('a' 'b'" * 40,
    "\t\n  x",
)  # fmt: skip

_NUMBERS = (0.0, -0.0, np.nan, np.inf, -np.inf, 1e-45, 1e38, -65520.0, 70000.0)
_WHOLE = (0, 1, -1, 2, 5, 127, 2**31 - 1, 2**31, -(2**31), 2**62, -(2**63))
_LETTERS = (0, 1, 0x7F, 0xD800, 0xDFFF, 0xFFFE, 0x10FFFF, 0x110000, 0xFFFFFFFF, 0x80000000, 0x202E)


def _parts(data: bytes) -> tuple[dict[str, Any], bytes] | None:
    """Header and values of an array; None if it is none any more."""
    file = io.BytesIO(data)
    try:
        np.lib.format.read_magic(file)
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    except Exception:
        return None
    header = {"descr": dtype.str, "fortran_order": fortran, "shape": shape}
    return header, data[file.tell() :]


def _array(data: bytes) -> np.ndarray | None:
    """The array, a copy; None if it is none any more."""
    try:
        return np.load(io.BytesIO(data), allow_pickle=False).copy()
    except Exception:
        return None


def _saved(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _with_header(text: str, values: bytes, version: bytes = b"\x01\x00") -> bytes:
    raw = text.encode("utf-8", "surrogatepass") + b"\n"
    length = struct.pack("<H" if version[0] == 1 else "<I", len(raw) & 0xFFFF)
    return b"\x93NUMPY" + version + length + raw + values


def header_field(rng: Random, data: bytes, other: bytes) -> bytes:
    """Another value in the header."""
    if (parts := _parts(data)) is None:
        return data
    header, values = parts
    match rng.randrange(5):
        case 0:
            header["descr"] = rng.choice(_DESCRS)
        case 1:
            shape = list(header["shape"])
            if shape and rng.random() < 0.7:
                shape[rng.randrange(len(shape))] = rng.choice(_LENGTHS)
            else:
                shape = [rng.choice(_LENGTHS) for _ in range(rng.choice((0, 1, 2, 5, 65)))]
            header["shape"] = rng.choice((tuple, tuple, tuple, list))(shape)
        case 2:
            header["fortran_order"] = rng.choice((True, "yes", 1, None, "True"))
        case 3:
            del header[rng.choice(sorted(header))]
        case _:
            header[rng.choice(("more", 3, "shape ", None))] = rng.choice(_DESCRS)
    version = rng.choice(
        (b"\x01\x00", b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x00", b"\x00\x00")
    )
    return _with_header(repr(header), values, version)


def header_text(rng: Random, data: bytes, other: bytes) -> bytes:
    """A header that is no header."""
    parts = _parts(data)
    version = rng.choice((b"\x01\x00", b"\x02\x00", b"\x03\x00"))
    return _with_header(rng.choice(_HEADERS), parts[1] if parts else b"", version)


def values(rng: Random, data: bytes, other: bytes) -> bytes:
    """Odd values at some places."""
    array = _array(data)
    if array is None or not array.size:
        return data
    if array.dtype.kind == "U" and array.dtype.itemsize:
        flat, odd = array.reshape(-1).view(np.uint32), np.array(_LETTERS, np.uint32)
    elif array.dtype.kind in "iub":
        with np.errstate(all="ignore"):
            flat, odd = array.reshape(-1), np.array(_WHOLE).astype(array.dtype)
    elif array.dtype.kind == "f":
        flat, odd = array.reshape(-1), np.array(_NUMBERS).astype(array.dtype)
    else:
        return data
    for _ in range(rng.choice((1, 1, 2, 10))):
        flat[rng.randrange(len(flat))] = odd[rng.randrange(len(odd))]
    return _saved(array)


def rows(rng: Random, data: bytes, other: bytes) -> bytes:
    """More or fewer rows or columns, none, or in another order."""
    array = _array(data)
    if array is None or not array.ndim:
        return data
    axis = rng.randrange(array.ndim)
    size = array.shape[axis]
    chosen = rng.choice((
        list(range(max(0, size - 1))), [*range(size), 0] if size else [], [], list(range(size))[::-1],
        rng.sample(range(size), size), [0] * size,
    ))  # fmt: skip
    return _saved(np.take(array, np.array(chosen, np.intp), axis=axis))


def dtype(rng: Random, data: bytes, other: bytes) -> bytes:
    """The same values in another type or order."""
    array = _array(data)
    if array is None:
        return data
    if rng.random() < 0.2:
        return _saved(np.asfortranarray(array))
    wanted = rng.choice(("<f8", ">f4", "<f2", "<i4", ">i8", "|u1", "|b1", "<c16", "|S20", "<U20"))
    try:
        with np.errstate(all="ignore"):
            return _saved(array.astype(wanted))
    except (ValueError, TypeError, UnicodeError):
        return data


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.mkdir, (OWNED,)


def pickled(rng: Random, data: bytes, other: bytes) -> bytes:
    """Python objects that would make a folder: in an array, alone, or in an archive of arrays."""
    evil = pickle.dumps(_Evil())
    match rng.randrange(4):
        case 0:
            return evil
        case 1:
            header = {"descr": "|O", "fortran_order": False, "shape": rng.choice(((), (1,), (20,)))}
            return _with_header(repr(header), evil)
        case 2:
            parts = _parts(data)
            return _with_header(repr({**parts[0], "descr": "|O"}), evil) if parts else evil
        case _:
            file = io.BytesIO()
            np.savez(file, a=np.array([1.0]))
            return file.getvalue()


def _seeds(folder: Path) -> Sequence[Seed]:
    seeds = [
        seed_of(preprocessed(folder / name, dataset=name), ".npy")
        for name in ("wikimel", "wikidiverse")
    ]
    boxes = with_scores(PIPELINE / "boxes" / "wikimel", PREPROCESSED / "wikimel", folder / "boxes")
    return [*seeds, *seeds, seed_of(boxes, ".npy")]


def _open(folder: Path) -> RawDataset:
    """The dataset that the boxes belong to."""
    return open_raw(RAW / "wikimel", TEXT_ALONE)


def _read(case: Case) -> None:
    if case.seed == "boxes":
        recorded_boxes(case.source, case.opened.mentions, len(case.opened.entities))
        return
    store = ingested(case, IngestOptions(dtype="float32"), kept=["mentions/answer"])
    with featurestore.open(store) as opened:
        repeated = any(DIFFERING in note for note in opened.provenance["notes"])
        for array in release_arrays(opened):
            given = np.load(case.source / f"{array.name}.npy", allow_pickle=False)[: array.rows]
            if given.dtype.kind in "ub" or (repeated and array.name.startswith("entity-")):
                continue
            if gap := difference(array, given):
                raise Wrong(f"{array.name} is not what was given: {gap}")


KIND = Kind(
    name="npy",
    about="features, masks, positions and texts of preprocessed datasets, recorded boxes",
    seeds=_seeds,
    mutators=(
        header_field,
        header_field,
        header_text,
        values,
        values,
        rows,
        dtype,
        pickled,
        *GENERIC,
    ),
    read=_read,
    open=_open,
)
