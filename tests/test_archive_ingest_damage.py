"""Ingest from a damaged archive: refused with the archive, the member and the row, and nothing left."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import hdf5plugin  # noqa: F401  the filters of the records
import numpy as np
import pytest

from featurestore.errors import SourceError
from featurestore.ingest import ingest
from featurestore.progress import Progress, Silent
from featurestore.sources import archive
from tests.archives_for_tests import (
    EXACT,
    disguised,
    fields_of,
    files_of,
    refused,
    write_tar,
)


@pytest.mark.parametrize("mode", ["w:gz", "w"])
@pytest.mark.parametrize("keep", [0.2, 0.7, 0.99])
def test_a_truncated_archive_is_refused(
    mode: str, keep: float, folders: dict[str, Path], tmp_path: Path
) -> None:
    path = write_tar(tmp_path / "p.tar", files_of(folders["wikimel"], 1)[:20], mode=mode)
    end = path.stat().st_size if mode == "w:gz" else 512 * 2 + 1000
    os.truncate(path, int(keep * end))
    error = refused(path, tmp_path / "s.h5")
    assert "archive is damaged" in error.what
    assert error.where.startswith(str(path))


@pytest.mark.parametrize("keep", [32, 50, 64, 0.5, 0.999])
def test_a_download_that_was_broken_off_is_said_to_be_incomplete(
    keep: float, folders: dict[str, Path], tmp_path: Path
) -> None:
    packed = disguised(write_tar(tmp_path / "p.tar.gz", files_of(folders["wikimel"])))
    path = packed.rename(tmp_path / "preprocessed.mp4")
    os.truncate(path, keep if keep > 1 else int(keep * path.stat().st_size))
    error = refused(path, tmp_path / "s.h5")
    assert "the download is incomplete or damaged" in error.what
    assert (error.where, error.hint) == (str(path), "download it again")


def test_a_flipped_byte_is_found_by_gzip(folders: dict[str, Path], tmp_path: Path) -> None:
    path = write_tar(tmp_path / "p.tar.gz", files_of(folders["wikimel"]))
    for place in (0.4, 0.9):
        data = bytearray(path.read_bytes())
        data[int(place * len(data))] ^= 8
        (tmp_path / "flipped.tar.gz").write_bytes(data)
        error = refused(tmp_path / "flipped.tar.gz", tmp_path / "s.h5")
        assert "archive is damaged" in error.what
        assert error.where.startswith(f"{tmp_path / 'flipped.tar.gz'}")


def test_an_archive_of_the_released_name_must_have_its_sum(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    path = write_tar(tmp_path / "preprocessed.tar.gz", files_of(folders["wikimel"]))
    error = refused(disguised(path), tmp_path / "s.h5")
    assert f"it should be {archive.RELEASED['preprocessed.tar.gz']}" in error.what
    assert error.where == str(tmp_path / "download" / "preprocessed.tar.gz.mp4")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("wikimel", "mention-image-feature_valid.npy"),
        ("wikimel", "entity-attr-mask.npy"),
        ("wikimel", "qid2idx.json"),
        ("wikimel", "mention-text-feature_train.npy"),
        ("wikidiverse", "entity-object-feature_test.npy"),
        ("wikidiverse", "entity-image-path_train.npy"),
    ],
)
def test_a_missing_member_is_named(
    name: str, file: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    files = [each for each in files_of(folders[name]) if each.name != file]
    path = write_tar(tmp_path / "p.tar.gz", files)
    error = refused(path, tmp_path / "s.h5")
    assert error.what == "the file is missing"
    assert error.where == f"{path}::x/{name}/{file}"


def test_a_member_that_stands_twice_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    files = files_of(folders["wikimel"])
    path = write_tar(tmp_path / "p.tar.gz", [*files, files[7]])
    error = refused(path, tmp_path / "s.h5")
    assert error.what == "the archive holds this member twice"
    assert error.where == f"{path}::x/wikimel/{files[7].name}"
    assert "tar -xf and unzip -o keep the last of them" in error.hint


def _cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def _by_column(path: Path) -> None:
    np.save(path, np.asfortranarray(np.load(path)))


def _pickled(path: Path) -> None:
    np.save(path, np.load(path).astype(object), allow_pickle=True)


def _not_finite(path: Path) -> None:
    array = np.load(path)
    array[3] = np.nan
    np.save(path, array)


@pytest.mark.parametrize(
    "file",
    ["mention-text-feature_valid.npy", "entity-image-feature_all.npy", "similarity-miet_test.npy"],
)
@pytest.mark.parametrize(
    ("damage", "what", "row"),
    [
        (_cut_off, "cut off in row", ""),
        (_pickled, "not a complete .npy array of plain values: dtype object", ""),
        (_not_finite, "NaN or infinite values", "[3]"),
    ],
)
def test_a_damaged_array_is_named_by_archive_member_and_row(
    file: str, damage: Callable[[Path], None], what: str, row: str,
    dataset: Callable[[str], Path], tmp_path: Path,
) -> None:  # fmt: skip
    source = dataset("wikimel")
    damage(source / file)
    path = write_tar(tmp_path / "p.tar.gz", files_of(source))
    error = refused(path, tmp_path / "s.h5")
    assert what in error.what
    assert error.where == f"{path}::x/wikimel/{file}{row}"
    assert error.what == refused(source, tmp_path / "folder.h5").what


def test_arrays_by_column_are_small_ones_or_refused(
    dataset: Callable[[str], Path], tmp_path: Path
) -> None:
    source = dataset("wikidiverse")
    _by_column(source / "similarity-miet_train.npy")
    ingest(write_tar(tmp_path / "a.tar.gz", files_of(source)), tmp_path / "a.h5")
    _by_column(source / "entity-attr-feature_valid.npy")
    path = write_tar(tmp_path / "p.tar.gz", files_of(source))
    error = refused(path, tmp_path / "s.h5")
    assert "Fortran order" in error.what
    assert error.where == f"{path}::x/wikidiverse/entity-attr-feature_valid.npy"
    assert f"drin-fs unpack {path} -o FOLDER" in error.hint


def test_float64_features_are_stored_as_from_a_folder(
    dataset: Callable[[str], Path], tmp_path: Path
) -> None:
    source = dataset("wikidiverse")
    for name in ("mention-text-feature_train", "entity-attr-feature_valid"):
        np.save(source / f"{name}.npy", np.load(source / f"{name}.npy").astype(np.float64) / 3)
    ingest(source, tmp_path / "folder.h5", options=EXACT)
    path = write_tar(tmp_path / "p.tar.gz", files_of(source, 5))
    ingest(path, tmp_path / "a.h5", options=EXACT)
    assert fields_of(tmp_path / "a.h5") == fields_of(tmp_path / "folder.h5")


def test_an_archive_that_changes_between_the_passes_is_noticed(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    path = write_tar(tmp_path / "p.tar.gz", files_of(folders["wikimel"]))

    class Touches(Silent):
        def note(self, text: str) -> None:
            os.utime(path, ns=(1, 1))

    progress: Progress = Touches()
    with pytest.raises(SourceError, match="changed while it was being read"):
        ingest(path, tmp_path / "s.h5", progress=progress)
