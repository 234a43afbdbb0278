"""``drin-fs verify``: a sound store passes, every kind of damage is found and named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import featurestore
from cli.main import main
from featurestore.checksums import GROUP
from featurestore.codecs import COMPRESSIONS, Compression
from featurestore.errors import StoreError
from featurestore.verify import pieces_of, verify
from tests.flips import flip, named, pieces
from tests.hdf5_edits import edited
from tests.tiny_store import TinyStore, write_tiny_store


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> TinyStore:
    return write_tiny_store(tmp_path_factory.mktemp("verify") / "s.h5")


@pytest.fixture
def copy(sound: TinyStore, tmp_path: Path) -> Path:
    return Path(shutil.copy(sound.path, tmp_path / "copy.h5"))


@pytest.mark.parametrize("level", ["quick", "normal", "full"])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_store_as_it_was_written_is_sound(
    tmp_path: Path, compression: Compression, level: Any
) -> None:
    tiny = write_tiny_store(tmp_path / "s.h5", compression=compression)
    found = verify(tiny.path, level)
    assert found.problems == []
    assert (found.bytes_compared > 0) == (level == "full")


@pytest.mark.parametrize("rows", [0, 1])
def test_tables_of_no_row_and_of_one_row_are_sound(tmp_path: Path, rows: int) -> None:
    tiny = write_tiny_store(tmp_path / "s.h5", entities=rows, mentions=(rows, 0, 0))
    assert verify(tiny.path, "full").problems == []


@pytest.mark.parametrize("compression", ["lz4-fast", "lz4", "gzip"])
def test_every_flipped_bit_is_found_in_its_field(tmp_path: Path, compression: Compression) -> None:
    tiny = write_tiny_store(tmp_path / "s.h5", compression=compression)
    arrays, random = pieces(tiny.path), np.random.default_rng(0)
    for _ in range(6):
        path, right = named(tiny.path, arrays, random)
        assert right, path
    assert verify(tiny.path, "full").problems == []


BROKEN = {
    "mentions/candidates": (3, 10**6, "outside -1 … 7"),
    "mentions/gold": (2, -2, "outside -1 … 7"),
    "mentions/answer": (1, 99, "outside 0 … 4"),
    "mentions/token_count": (4, 10, "outside 1 … 9"),
    "mentions/char_end": (0, 10**6, "not inside its sentence"),
    "mentions/token_end": (5, -7, "ends before it begins"),
    "entities/image_status": (6, 9, "outside 0 … 4"),
    "entities/text_mean": (7, np.nan, "NaN"),
    "mentions/sim_image_text": (8, np.inf, "NaN or infinite"),
    "entities/id_index/hash": (3, 0, "not in order"),
    "entities/id_index/row": (3, 0, "does not lead to every row"),
    "entities/title/offsets": (4, 10**9, "offsets do not rise"),
}


@pytest.mark.parametrize("path", BROKEN)
def test_what_contradicts_the_schema_is_named(
    copy: Path, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    row, value, message = BROKEN[path]
    with h5py.File(copy, "r+") as file:
        file[path][row] = value
    field = path.removesuffix("/hash").removesuffix("/row").removesuffix("/offsets")
    assert main(["verify", str(copy), "--json"]) == 3
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert any(p["path"] == field and message in p["what"] for p in problems), problems
    assert main(["verify", str(copy)]) == 3
    assert field in capsys.readouterr().out


def test_an_answer_that_points_elsewhere_is_found(copy: Path) -> None:
    with h5py.File(copy, "r+") as file:
        mentions = file["mentions"]
        row = int(np.flatnonzero(mentions["answer"][:] < 4)[0])
        mentions["answer"][row] = (mentions["answer"][row] + 1) % 4
    problems = verify(copy, "quick").problems
    assert [(p.path, p.row) for p in problems] == [("mentions/answer", row)]


def test_a_field_that_is_missing_is_named(copy: Path) -> None:
    with edited(copy) as file:
        del file["mentions/gold"]
    found = {problem.path: problem.what for problem in verify(copy, "quick").problems}
    assert "is missing" in found["mentions/gold"]


def test_a_field_of_another_type_is_refused_with_its_place(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with edited(copy) as file:
        values = file["mentions/char_start"][:].astype(np.int64)
        del file["mentions/char_start"]
        file["mentions/char_start"] = values
    assert main(["verify", str(copy)]) == 3
    message = capsys.readouterr().err
    assert "int64 where int32 belongs" in message
    assert f"{copy}::/mentions/char_start" in message


def test_bytes_that_are_no_text_are_named(copy: Path) -> None:
    with h5py.File(copy, "r+") as file:
        start = file["entities/title/offsets"][5]
        file["entities/title/bytes"][start] = 0xFF
    problems = verify(copy, "quick").problems
    assert [(p.path, p.row) for p in problems] == [("entities/title", 5)]


def test_a_store_without_checksums_says_so_when_they_are_needed(copy: Path) -> None:
    with edited(copy) as file:
        del file[GROUP]
    assert verify(copy).problems == []
    with pytest.raises(StoreError, match="no checksums"):
        verify(copy, "full")


def test_the_command_says_what_it_looked_at(
    sound: TinyStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(sound.path), "--full"]) == 0
    printed = capsys.readouterr().out
    assert "sound" in printed
    assert "every byte" in printed
    assert main(["verify", str(sound.path), "--quick", "--full"]) == 2
    assert main(["verify", str(sound.path) + "x"]) == 3


@pytest.mark.parametrize("path", ["mentions/token_count", "mentions/text_tokens"])
def test_reads_that_are_verified_notice_a_flipped_bit(copy: Path, path: str) -> None:
    with featurestore.open(copy) as store:
        arrays = dict(store.catalog.arrays())
        place = int(pieces_of(store, path, arrays[path])[0].starts[0])
    flip(copy, place + (13 if path.endswith("tokens") else 0), 0)
    with featurestore.open(copy, verify_reads=True) as store:
        with pytest.raises(StoreError, match="bytes are not what was written") as caught:
            store.mentions.gather("text_tokens", [0])
        assert caught.value.where.startswith(f"{copy}::/{path}[0")
        assert store.entities.gather("text_tokens", [0]).any()  # what is sound is read
