"""Ingest straight from an archive: the same store as from the folder, clear errors, nothing left."""

from __future__ import annotations

import hashlib
import io
import random
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import hdf5plugin  # noqa: F401  the filters of the records
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import featurestore
from cli.main import main
from featurestore.errors import ConfigError
from featurestore.ingest import ingest
from featurestore.options import IngestOptions
from featurestore.sources import archive, members, survey
from featurestore.sources.repetitions import Repetitions
from tests.archives_for_tests import (
    EXACT,
    Watched,
    disguised,
    fields_of,
    files_of,
    refused,
    write_tar,
)
from tests.split_zips import write_split_zip

# the same store ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["wikimel", "wikidiverse"])
@pytest.mark.parametrize(
    "options", [IngestOptions(), EXACT, replace(EXACT, limit=5)], ids=["half", "exact", "limit"]
)
def test_the_store_is_that_of_the_unpacked_folder_whatever_the_order(
    name: str, options: IngestOptions, folders: dict[str, Path], tmp_path: Path
) -> None:
    ingest(folders[name], tmp_path / "folder.h5", options=options)
    expected = fields_of(tmp_path / "folder.h5")
    assert len(expected) > 40
    for seed in (None, 1, 2, 3):
        path = write_tar(tmp_path / f"{seed}.tar.gz", files_of(folders[name], seed))
        ingest(path, tmp_path / "archive.h5", options=options, overwrite=True)
        assert fields_of(tmp_path / "archive.h5") == expected


def _as_mp4(path: Path) -> Path:
    """A download that was called ``preprocessed.mp4``."""
    return disguised(path).rename(path.parent / "preprocessed.mp4")


@pytest.mark.parametrize("hide", [lambda path: path, disguised, _as_mp4])
@pytest.mark.parametrize(
    ("name", "mode"), [("p.tar.gz", "w:gz"), ("p.tgz", "w:gz"), ("p.tar", "w"), ("p.tar.gz", "w")]
)
def test_an_archive_is_known_by_its_content(
    name: str, mode: str, hide: Callable[[Path], Path], folders: dict[str, Path],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.delitem(archive.RELEASED, "preprocessed.tar.gz")
    files = files_of(folders["wikimel"])
    source = hide(write_tar(tmp_path / name, files, mode=mode, below="preprocessed/deep"))
    summary = ingest(source, tmp_path / "s.h5")
    assert (summary.dataset, summary.layout) == ("wikimel", "preprocessed")


def test_a_dataset_may_lie_at_the_top_of_an_archive(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    with tarfile.open(tmp_path / "p.tar.gz", "w:gz") as tar:
        tar.add(folders["wikidiverse"], ".")
    assert ingest(tmp_path / "p.tar.gz", tmp_path / "s.h5").dataset == "wikidiverse"


@pytest.mark.parametrize("last", ["train", "test"])
def test_repetitions_that_differ_are_counted_in_any_order(
    last: str, dataset: Callable[[str], Path], tmp_path: Path
) -> None:
    source = dataset("wikidiverse")
    rng = np.random.default_rng(0)
    for path in source.glob("entity-attr-feature_*.npy"):
        array = np.load(path)
        array[::3] += rng.random(array[::3].shape, np.float32)
        np.save(path, array)
    ingest(source, tmp_path / "folder.h5", options=EXACT)
    files = sorted(files_of(source), key=lambda file: last in file.name)
    ingest(write_tar(tmp_path / "p.tar", files, mode="w"), tmp_path / "a.h5", options=EXACT)
    assert fields_of(tmp_path / "a.h5") == fields_of(tmp_path / "folder.h5")
    notes = fields_of(tmp_path / "a.h5")["provenance"]["notes"]
    assert any("repeated rows differ" in note for note in notes)


@given(
    files=st.lists(st.lists(st.integers(0, 3), max_size=6), min_size=1, max_size=4),
    order=st.randoms(use_true_random=False),
    step=st.integers(1, 6),
)
def test_any_order_of_files_finds_the_same_repetitions(
    files: list[list[int]],
    order: random.Random,
    step: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    rng = np.random.default_rng(1)
    values = [rng.integers(0, 3, (len(file), 2)).astype(np.float32) for file in files]
    rows_of = np.bincount([entity for file in files for entity in file], minlength=4)
    home: dict[int, tuple[int, int]] = {}
    gaps = []
    for number, file in enumerate(files):
        for row, entity in enumerate(file):
            first = home.setdefault(entity, (number, row))
            gaps.append(float(np.abs(values[number][row] - values[first[0]][first[1]]).max()))
    with ExitStack() as scratch:
        repetitions = Repetitions(
            rows_of > 1, shape=(2,), dtype=np.dtype("f4"),
            folder=tmp_path_factory.getbasetemp(), scratch=scratch,
        )  # fmt: skip
        for number in order.sample(range(len(files)), len(files)):
            for start in range(0, len(files[number]), step):
                rows = range(start, min(start + step, len(files[number])))
                entities = np.array([files[number][row] for row in rows], np.int32)
                new = np.array([home[files[number][row]] == (number, row) for row in rows], bool)
                block = values[number][rows.start : rows.stop]
                repetitions.first(entities[new], block[new])
                repetitions.again(entities[~new], block[~new])
        repetitions.note("x")
    assert repetitions.differences.rows == sum(gap > 0 for gap in gaps)
    assert repetitions.differences.largest == max(gaps, default=0.0)


def test_the_provenance_names_the_archive_by_its_sum(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tar(tmp_path / "preprocessed.tar.gz", files_of(folders["wikimel"]))
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    monkeypatch.setitem(archive.RELEASED, "preprocessed.tar.gz", md5)
    ingest(disguised(path), tmp_path / "s.h5")
    with featurestore.open(tmp_path / "s.h5") as store:
        assert store.provenance["source"] == {
            "layout": "preprocessed", "fingerprint": md5, "archive": "preprocessed.tar.gz",
            "folder": "x/wikimel", "verified": True,
        }  # fmt: skip


# what is on disk meanwhile ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["wikimel", "wikidiverse"])
def test_only_what_is_small_is_copied_and_it_is_gone_at_the_end(
    name: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    path = write_tar(tmp_path / "p.tar.gz", files_of(folders[name]))
    copied: list[int] = []

    def look() -> None:
        (scratch,) = tmp_path.glob(".s.h5.arrays")
        copied.extend(sorted(each.stat().st_size for each in scratch.iterdir()))

    progress = Watched("features of p.tar.gz", look)
    ingest(path, tmp_path / "s.h5", progress=progress)
    small = [each for each in files_of(folders[name]) if "-feature" not in each.name]
    assert copied == sorted(each.stat().st_size for each in small)
    assert progress.units == {"check p.tar.gz": "MB", "features of p.tar.gz": "MB"}
    assert sorted(each.name for each in tmp_path.iterdir()) == ["p.tar.gz", "s.h5"]


@pytest.mark.parametrize("stage", ["check", "features of"])
def test_an_interruption_leaves_nothing(
    stage: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    path = write_tar(tmp_path / "p.tar.gz", files_of(folders["wikidiverse"]))

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(path, tmp_path / "s.h5", progress=Watched(stage, interrupt))
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_ingest_left_is_removed_by_the_next(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    left = tmp_path / ".s.h5.arrays"
    left.mkdir()
    (left / "0").write_bytes(b"x")
    ingest(write_tar(tmp_path / "p.tar.gz", files_of(folders["wikimel"])), tmp_path / "s.h5")
    assert not left.exists()


def test_no_room_for_what_is_small_is_said(folders: dict[str, Path], tmp_path: Path) -> None:
    path = write_tar(tmp_path / "p.tar.gz", files_of(folders["wikimel"]))
    limited = (
        "import resource, signal, sys;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500));"
        "from cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", limited, "ingest", str(path), "-o", str(tmp_path / "s.h5")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 1, result.stderr
    assert "the disk is full or a size limit was reached" in result.stderr
    assert "write the store to another disk" in result.stderr
    assert list(tmp_path.iterdir()) == [path]


def test_arrays_that_should_be_small_are_bounded(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(survey, "MAX_SMALL", 10_000)
    path = write_tar(tmp_path / "p.tar.gz", files_of(folders["wikimel"]))
    assert "arrays that should be small" in str(refused(path, tmp_path / "s.h5"))


# which dataset ----------------------------------------------------------------------------------


@pytest.fixture
def both(folders: dict[str, Path], tmp_path: Path) -> Path:
    files = [file for folder in folders.values() for file in files_of(folder)]
    return write_tar(tmp_path / "both.tar.gz", files, below="preprocessed")


@pytest.mark.parametrize("name", ["wikimel", "wikidiverse"])
def test_one_of_two_datasets_is_chosen(
    name: str, both: Path, folders: dict[str, Path], tmp_path: Path
) -> None:
    ingest(folders[name], tmp_path / "folder.h5", options=EXACT)
    ingest(both, tmp_path / "a.h5", options=replace(EXACT, dataset=name))
    assert fields_of(tmp_path / "a.h5") == fields_of(tmp_path / "folder.h5")


def test_two_datasets_and_no_choice_names_both(both: Path, tmp_path: Path) -> None:
    error = refused(both, tmp_path / "s.h5")
    assert isinstance(error, ConfigError)
    assert "wikimel in preprocessed/wikimel/" in error.what
    assert "wikidiverse in preprocessed/wikidiverse/" in error.what
    assert error.hint == "say --dataset wikidiverse or --dataset wikimel"


def test_another_dataset_than_the_one_asked_for_is_refused(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    path = write_tar(tmp_path / "p.tar.gz", files_of(folders["wikimel"]))
    error = refused(path, tmp_path / "s.h5", replace(EXACT, dataset="wikidiverse"))
    assert isinstance(error, ConfigError)
    assert "--dataset wikidiverse, but the archive holds wikimel in x/wikimel/" in error.what


def test_one_dataset_in_two_folders_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    copy = shutil.copytree(folders["wikimel"], tmp_path / "copy")
    files = [*files_of(folders["wikimel"]), *files_of(copy)]
    error = refused(write_tar(tmp_path / "p.tar.gz", files), tmp_path / "s.h5")
    assert "holds one dataset twice" in error.what
    assert "x/copy/" in error.what


# what is no such archive ------------------------------------------------------------------------


def test_a_zip_is_refused_with_the_command_that_unpacks_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my data").mkdir()
    paths = write_split_zip(
        tmp_path / "my data" / "raw-data", {"a": bytes(999)}, part_size=300, stored=True
    )
    status = main(["ingest", str(disguised(paths[1])), "-o", str(tmp_path / "s.h5")])
    message = capsys.readouterr().err
    folder = tmp_path / "my data" / "download"
    assert status == 3
    assert "a zip archive cannot be read front to back" in message
    assert f"drin-fs unpack '{folder / 'raw-data'}'.z*.mp4 -o FOLDER" in " ".join(message.split())


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no archive")
    error = refused(tmp_path / "notes.txt", tmp_path / "s.h5")
    assert "neither a folder nor a tar archive" in error.what


def test_a_tar_without_a_preprocessed_dataset_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "p.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("mentions/train.json"), io.BytesIO(b""))
    error = refused(tmp_path / "p.tar", tmp_path / "s.h5")
    assert "no preprocessed dataset in the archive" in error.what


def test_absurd_expansion_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "_FREE_EXPANSION", 10_000)
    np.save(tmp_path / "mention-text-feature_train.npy", np.zeros((3_000_000,), np.float32))
    path = write_tar(tmp_path / "p.tar.gz", [tmp_path / "mention-text-feature_train.npy"])
    assert "absurd expansion" in refused(path, tmp_path / "s.h5").what


def test_the_store_does_not_replace_its_archive(folders: dict[str, Path], tmp_path: Path) -> None:
    path = write_tar(tmp_path / "p.tar.gz", files_of(folders["wikimel"]))
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="would replace the archive"):
        ingest(path, path, overwrite=True)
    assert path.read_bytes() == before


def test_the_command_takes_an_archive(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = disguised(write_tar(tmp_path / "mine.tar.gz", files_of(folders["wikimel"])))
    assert main(["ingest", str(path), "-o", str(tmp_path / "s.h5"), "--limit", "4"]) == 0
    captured = capsys.readouterr()
    assert "preprocessed wikimel" in captured.out
    assert "no sum to compare it with" in captured.err
    assert main(["inspect", str(tmp_path / "s.h5")]) == 0
    assert "mine.tar.gz" in capsys.readouterr().out
