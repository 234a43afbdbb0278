"""``.npy`` files and archives that a stranger made: refused with what, where, and what to do next."""

from __future__ import annotations

import io
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import featurestore
from featurestore.errors import SourceError
from featurestore.ingest import ingest
from featurestore.sources import archive
from featurestore.sources.arrays import load
from tests.archives_for_tests import refused
from tests.split_zips import write_split_zip


def with_header(path: Path, text: str, version: bytes = b"\x01\x00") -> Path:
    form = "<H" if version == b"\x01\x00" else "<I"
    path.write_bytes(b"\x93NUMPY" + version + struct.pack(form, len(text)) + text.encode())
    return path


def error_of(path: Path, **expected: object) -> SourceError:
    with pytest.raises(SourceError) as caught:
        load(path, **expected)  # type: ignore[arg-type]
    return caught.value


@pytest.mark.parametrize(
    ("header", "what"),
    [
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), None: 1}\n", "'<' not supported"),
        ("{[]: 1}\n", "unhashable type"),
        ("(" * 3000, ""),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 3)}\n", "shape (-1, 3)"),
        (f"{{'descr': '<f4', 'fortran_order': False, 'shape': (0, {2**62})}}\n", "shape (0, 46"),
        (f"{{'descr': '<f4', 'fortran_order': False, 'shape': {(1,) * 40}}}\n", "shape (1, 1"),
        (f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({2**62},)}}\n", f"shape ({2**62},)"),
        ("{'descr': '|V0', 'fortran_order': False, 'shape': (3,)}\n", "dtype |V0"),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}\n", "dtype object"),
    ],
)
def test_a_header_that_is_none_is_refused(tmp_path: Path, header: str, what: str) -> None:
    path = with_header(tmp_path / "a.npy", header)
    error = error_of(path)
    assert f"not a complete .npy array of plain values: {what}" in error.what
    assert error.where == str(path)
    assert error.hint == "copy or unpack it again; Python objects are never read"


def test_a_header_that_claims_gigabytes_costs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1) + b"{}")
    asked: list[int] = []

    class Asked(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            asked.append(size or 0)
            return super().read(size)

    from featurestore.sources.arrays import read_header

    with pytest.raises(SourceError, match="reading array header, expected"):
        read_header(Asked(path.read_bytes()), path.stat().st_size, str(path))
    assert max(asked) <= 10_000


def test_a_version_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    text = "{'descr': '<f4', 'fortran_order': False, 'shape': (0,)}\n"
    path = with_header(tmp_path / "a.npy", text, b"\x00\x00")
    assert "format version 0.0" in error_of(path).what


def test_rows_without_values_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((3, 0, 4), np.float32))
    error = error_of(tmp_path / "a.npy")
    assert error.what == "shape (3, 0, 4): rows without values"


@pytest.mark.parametrize("code", [0xD800, 0xDFFF, 0x110000, 0xFFFFFFFF])
@pytest.mark.parametrize("order", ["<", ">"])
def test_what_is_no_character_is_refused_with_its_row(
    tmp_path: Path, code: int, order: str
) -> None:
    texts = np.array(["ab", "cd", "é\U0010ffff"], f"{order}U2")
    np.save(tmp_path / "good.npy", texts)
    assert load(tmp_path / "good.npy", holds="text").tolist() == texts.tolist()
    texts.view(f"{order}u4")[3] = code
    np.save(tmp_path / "a.npy", texts)
    error = error_of(tmp_path / "a.npy", holds="text")
    assert error.what == f"the text holds {code:#x}, which is no character"
    assert error.where == f"{tmp_path / 'a.npy'}[1]"
    assert error.hint == "copy or unpack it again, or write the array anew"


def test_arrays_by_column_and_of_one_byte_are_mapped_as_numpy_does(tmp_path: Path) -> None:
    for array in (np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.zeros((0, 4), np.float32)):
        np.save(tmp_path / "a.npy", array)
        np.testing.assert_array_equal(load(tmp_path / "a.npy"), array)


@pytest.mark.parametrize("name", ["wikimel", "wikidiverse"])
def test_positions_beyond_int32_are_refused(
    name: str, dataset: Callable[[str], Path], tmp_path: Path
) -> None:
    source = dataset(name)
    ends = np.load(source / "end-pos_valid.npy")
    ends[2] = 2**32 + 3  # would be 3
    np.save(source / "end-pos_valid.npy", ends)
    error = refused(source, tmp_path / "s.h5")
    assert error.what.endswith(f"to {2**32 + 3}")
    assert error.where == f"{source / 'end-pos_valid.npy'}[2]"


def test_scores_of_a_repeated_entity_that_differ_are_said(
    dataset: Callable[[str], Path], tmp_path: Path
) -> None:
    source = dataset("wikidiverse")
    ingest(source, tmp_path / "same.h5")
    scores = np.load(source / "entity-object-score_test.npy")
    scores[-1] += 0.5  # its entity stands in the train split, too
    np.save(source / "entity-object-score_test.npy", scores)
    ingest(source, tmp_path / "s.h5")
    notes = []
    for name in ("same.h5", "s.h5"):
        with featurestore.open(tmp_path / name) as store:
            notes.append([n for n in store.provenance["notes"] if "entity-object-score" in n])
    assert notes == [
        [],
        [
            "entity-object-score: 1 repeated rows differ from their entity's first row "
            "(at most 0.5); the first is stored"
        ],
    ]


def test_scores_of_another_width_are_refused(
    dataset: Callable[[str], Path], tmp_path: Path
) -> None:
    source = dataset("wikidiverse")
    path = source / "entity-object-score_valid.npy"
    np.save(path, np.repeat(np.load(path), 2, axis=1))
    error = refused(source, tmp_path / "s.h5")
    assert (error.what, error.where) == ("rows of 2 where the train split has 1", str(path))


# archives -------------------------------------------------------------------------------------------


def test_a_number_of_a_tar_that_is_none_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    info = tarfile.TarInfo("a")
    info.pax_headers = {"GNU.sparse.map": "é"}
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info)
    with pytest.raises(SourceError, match="the tar archive is damaged: invalid literal") as caught:
        archive.unpack([path], tmp_path / "out")
    assert caught.value.where == str(path)
    assert caught.value.hint.startswith("download it again")


def test_an_offset_of_a_zip_beyond_its_part_is_damage(tmp_path: Path) -> None:
    (path,) = write_split_zip(tmp_path / "x", {"a": b"text"}, part_size=10**6, zip64=True)
    data = bytearray(path.read_bytes())
    record = data.rfind(b"PK\x06\x06")
    data[record + 48 : record + 56] = struct.pack("<Q", 2**64 - 1)
    path.write_bytes(data)
    with pytest.raises(SourceError) as caught:
        archive.unpack([path], tmp_path / "out")
    assert caught.value.what == (
        "the zip archive is damaged: its directory points to byte 18446744073709551615 of part 1"
    )
    assert (caught.value.where, caught.value.hint) == (str(path), "download it again")
