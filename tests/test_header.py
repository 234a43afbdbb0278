"""The header: nothing that is no field data can change unnoticed, and nothing else is believed first."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

import featurestore
from featurestore import headerless, opening
from featurestore.errors import StoreError
from featurestore.header import read_header
from featurestore.verify import verify
from tests.flips import flip
from tests.hdf5_edits import remove_header
from tests.tiny_store import TinyStore, write_tiny_store


@pytest.fixture
def copy(tiny: TinyStore, tmp_path: Path) -> Path:
    return Path(shutil.copy(tiny.path, tmp_path / "copy.h5"))


def header_of(path: Path):  # type: ignore[no-untyped-def]
    with path.open("rb") as file:
        return read_header(file, path)


def test_the_header_says_how_long_the_file_is_and_where_field_data_end(tiny: TinyStore) -> None:
    header = header_of(tiny.path)
    assert header.file_bytes == tiny.path.stat().st_size
    with h5py.File(tiny.path) as file:
        assert file["mentions/text_span"].id.get_offset() < header.tail_start
        assert file["checksums/mentions/text_span"].id.get_offset() >= header.tail_start
    assert header.tail_start < header.catalog_start < header.file_bytes


@pytest.mark.parametrize("part", ["header", "catalog", "tail", "superblock"])
def test_a_changed_bit_outside_of_field_data_is_noticed(copy: Path, part: str) -> None:
    header = header_of(copy)
    first, last = {
        "header": (72, 144),
        "catalog": (header.catalog_start, header.file_bytes),
        "tail": (header.tail_start, header.catalog_start),
        "superblock": (0, 48),
    }[part]
    random = np.random.default_rng(0)
    for place in random.integers(first, last, 8).tolist():
        flip(copy, place, bit := int(random.integers(8)))
        if part in ("header", "catalog"):
            with pytest.raises(StoreError, match=r"the (header|catalog) is damaged") as caught:
                featurestore.open(copy)
            assert caught.value.hint
        else:
            assert "(metadata)" in [problem.path for problem in verify(copy, "full").problems]
        flip(copy, place, bit)
    assert verify(copy, "full").problems == []


@pytest.mark.parametrize("change", [-1, -4096, 1, 4096])
def test_a_file_of_another_length_is_refused(copy: Path, change: int) -> None:
    size = copy.stat().st_size
    with copy.open("r+b") as file:
        file.truncate(size + change)
    with pytest.raises(StoreError, match=f"{size + change} bytes long, where {size} were written"):
        featurestore.open(copy)


def test_a_store_with_a_header_is_never_shown_to_libhdf5(
    tiny: TinyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "catalog_by_hdf5", None)
    monkeypatch.setattr(h5py, "File", None)
    with featurestore.open(tiny.path) as store:
        for table in (store.entities, store.mentions):
            for name in table.fields:
                table.gather(name, range(len(table)))


# files without a header -------------------------------------------------------------------------


def test_a_crash_of_libhdf5_is_an_error_with_the_file_named(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove_header(copy)
    crash = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    monkeypatch.setattr(headerless, "CHILD", ["-c", crash])
    with pytest.raises(StoreError, match=r"libhdf5 failed on it \(signal 11\)") as caught:
        featurestore.open(copy)
    assert caught.value.where == str(copy)


def test_a_file_that_libhdf5_never_finishes_with_is_given_up(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove_header(copy)
    monkeypatch.setattr(headerless, "CHILD", ["-c", "import time; time.sleep(60)"])
    monkeypatch.setattr(headerless, "_PATIENCE", 0.5)
    with pytest.raises(StoreError, match="did not open the file within"):
        featurestore.open(copy)


def test_a_file_with_a_filter_of_its_own_is_refused(tmp_path: Path) -> None:
    tiny = write_tiny_store(tmp_path / "s.h5")
    remove_header(tiny.path)
    with h5py.File(tiny.path, "r+") as file:
        values = np.zeros((10, 4, 10), np.float32)
        del file["mentions/image_regions"]
        file.create_dataset(
            "mentions/image_regions", data=values, chunks=(1, 4, 10), fletcher32=True
        )
    with pytest.raises(StoreError, match="unknown compression filters"):
        featurestore.open(tiny.path)
