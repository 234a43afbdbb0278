"""Ingest straight from an archive: the same store as from the folder, clear errors, nothing left."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401  the filters of the records
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import featurestore
from cli.main import main
from featurestore.errors import ConfigError, DrinFsError, SourceError
from featurestore.ingest import ingest
from featurestore.options import IngestOptions
from featurestore.progress import Progress, Silent, Stage
from featurestore.sources import archive, members, survey
from featurestore.sources.repetitions import Repetitions
from featurestore.sources.sample import write_sample
from tests.split_zips import write_split_zip

EXACT = IngestOptions(dtype="float32", padding="keep")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small preprocessed dataset of each name. Read it only."""
    root = tmp_path_factory.mktemp("datasets")
    for name in ("wikimel", "wikidiverse"):
        write_sample(
            root / name, dataset=name, layout="preprocessed", mentions=60, entities=40,
            candidates=6, text_width=16, image_width=16, mention_tokens=32, entity_tokens=40,
            regions=4,
        )  # fmt: skip
    return {name: root / name for name in ("wikimel", "wikidiverse")}


@pytest.fixture
def dataset(folders: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """Copies a dataset to where a test may change it."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(folders[name], tmp_path / "changed" / name))

    return copy


def files_of(folder: Path, seed: int | None = None) -> list[Path]:
    """The arrays of a dataset by name, or shuffled."""
    files = sorted(p for p in folder.iterdir() if p.suffix == ".npy" or p.name == "qid2idx.json")
    if seed is not None:
        random.Random(seed).shuffle(files)
    return files


def write_tar(path: Path, files: Sequence[Path], *, mode: str = "w:gz", below: str = "x") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for file in files:
            tar.add(file, f"{below}/{file.parent.name}/{file.name}")
    return path


def disguised(path: Path) -> Path:
    archive.pack([path], path.parent / "download")
    return path.parent / "download" / f"{path.name}.mp4"


def fields_of(store: Path) -> dict[str, Any]:
    """Every byte and attribute of a store, and of its provenance what the source does not decide."""
    found: dict[str, Any] = {}

    def visit(name: str, item: h5py.Dataset | h5py.Group) -> None:
        found[f"{name} attributes"] = {key: str(value) for key, value in item.attrs.items()}
        if isinstance(item, h5py.Dataset):
            found[name] = (item.dtype.str, item.shape, item[()].tobytes())

    with h5py.File(store) as file:
        file.visititems(visit)
        provenance = json.loads(file.attrs["provenance"])
    del provenance["run"], provenance["source"]
    return {**found, "provenance": provenance}


def refused(source: Path, target: Path, options: IngestOptions = EXACT) -> DrinFsError:
    """The error of an ingest that must fail and leave nothing."""
    before = sorted(target.parent.iterdir())
    with pytest.raises(DrinFsError) as caught:
        ingest(source, target, options=options)
    assert sorted(target.parent.iterdir()) == before
    return caught.value


class Watched(Silent):
    """Calls back at every step of the stages whose name begins so."""

    def __init__(self, stage: str, call: Callable[[], None]) -> None:
        self._stage, self._call = stage, call
        self.units: dict[str, str] = {}

    @contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Stage]:
        self.units[name] = unit
        if name.startswith(self._stage):
            self._call()
        yield self


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
    assert repetitions.differing == sum(gap > 0 for gap in gaps)
    assert repetitions.largest == max(gaps, default=0.0)


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
        (scratch,) = tmp_path.glob(".s.h5.arrays.*.part")
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
    left = tmp_path / ".s.h5.arrays.999999999.part"
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


# damage -----------------------------------------------------------------------------------------


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
    assert "stands twice" in error.what
    assert error.where.endswith(f"::x/wikimel/{files[7].name}")


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
    assert error.what == refused(source, tmp_path / "s.h5").what


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
