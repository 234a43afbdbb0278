"""What an interrupted ingest is not gone on with: another source, encoder or option."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import featurestore
from featurestore.errors import WriteError
from featurestore.ingest import ingest
from featurestore.options import IngestOptions
from featurestore.sources.fingerprint import whole_fingerprint
from featurestore.sources.pictures import STATUS_CODE
from featurestore.verify import verify
from tests.golden_for_tests import RAW
from tests.interrupting import SOURCES, Stopping, digest, interrupted, small_parts

__all__ = ["small_parts"]  # a fixture


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"compression": "gzip"}, "options.compression was lz4, is gzip"),
        ({"compression": "lz4-fast"}, "options.compression was lz4, is lz4-fast"),
        ({"dtype": "float32"}, "options.dtype was float16, is float32"),
        ({"limit": 3}, "options.limit was not there, is 3"),
    ],
)
def test_another_option_is_refused_with_the_choice_to_restart(
    change: dict[str, Any], named: str, tmp_path: Path
) -> None:
    source, options = SOURCES["preprocessed wikimel"]
    target = tmp_path / "s.h5"
    interrupted(source, target, options)
    with pytest.raises(WriteError, match="was begun otherwise") as caught:
        ingest(source, target, options=replace(options, **change))
    assert named in caught.value.what
    assert "--restart" in caught.value.hint
    with pytest.raises(WriteError, match="was begun otherwise"):  # and nothing was given up
        ingest(source, target, options=replace(options, **change))
    progress = Stopping()
    ingest(source, target, options=replace(options, **change), restart=True, progress=progress)
    assert "begins anew; what was finished before is removed" in progress.notes
    assert verify(target, "full").problems == []


def test_another_source_or_encoder_is_refused(tmp_path: Path) -> None:
    source, options = SOURCES["raw wikimel"]
    target = tmp_path / "s.h5"
    interrupted(source, target, options)
    with pytest.raises(WriteError, match=r"dataset was wikimel, is wikidiverse"):
        ingest(RAW / "wikidiverse", target, options=options)
    with pytest.raises(WriteError, match=r"encoders\.clip was .*, is not there"):
        ingest(source, target, options=replace(options, clip="none"))


def half_done(tmp_path: Path, name: str = "raw wikimel") -> tuple[Path, Path, IngestOptions]:
    """A copy of a dataset, the target of an ingest of it that was interrupted late, and the options."""
    source, options = SOURCES[name]
    copy = tmp_path / "source"
    shutil.copytree(source, copy)
    target = tmp_path / "s.h5"
    interrupted(copy, target, options, share=0.99)
    return copy, target, options


def first_picture(target: Path, source: Path) -> Path:
    """A file that the store of the whole dataset has read."""
    with featurestore.open(target.with_name("whole.h5")) as store:
        table = store.entities
        row = np.flatnonzero(table.view("image_status") == STATUS_CODE["ok"])[0]
        path = list(table.texts("image_path"))[int(row)]
    return next(source.rglob(path))


def test_a_replaced_picture_is_refused(tmp_path: Path) -> None:
    source, target, options = half_done(tmp_path)
    picture = first_picture(target, source)
    Image.new("RGB", (60, 60), (200, 10, 10)).save(picture, "PNG")
    with pytest.raises(WriteError, match="a picture is not what the interrupted ingest") as error:
        ingest(source, target, options=options)
    assert error.value.where == str(picture)
    assert "--restart" in error.value.hint
    assert (tmp_path / ".s.h5.ingest" / "manifest").exists()
    ingest(source, target, options=options, restart=True)
    assert digest(target) != digest(tmp_path / "whole.h5")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("removed", r"files\.pictures of entities was \d+ files, digest \w+, is \d+ files"),
        ("emptied", "a picture is not what the interrupted ingest"),
    ],
)
def test_a_picture_that_is_gone_is_refused(change: str, message: str, tmp_path: Path) -> None:
    source, target, options = half_done(tmp_path)
    picture = first_picture(target, source)
    if change == "removed":
        picture.unlink()
    else:
        picture.write_bytes(b"")
    with pytest.raises(WriteError, match=message):
        ingest(source, target, options=options)


def test_a_picture_that_was_copied_again_is_the_same(tmp_path: Path) -> None:
    source, target, options = half_done(tmp_path)
    for path in source.rglob("*.jpg"):
        os.utime(path, (1, 1))
    ingest(source, target, options=options)
    assert digest(target) == digest(tmp_path / "whole.h5")


def test_arrays_that_were_written_again_are_refused(tmp_path: Path) -> None:
    source, target, options = half_done(tmp_path, "preprocessed wikimel")
    os.utime(next(iter(sorted(source.glob("*.npy")))), (1, 1))
    with pytest.raises(WriteError, match=r"files\..*\.npy was .*, is 1970-01-01 00:00:01"):
        ingest(source, target, options=options)


def test_a_letter_in_the_middle_of_a_text_file_tells_it_from_another(tmp_path: Path) -> None:
    file = tmp_path / "kb.json"
    content = bytearray(b"a" * 400_000)
    file.write_bytes(content)
    before = whole_fingerprint([file])
    content[200_000] = ord("b")
    file.write_bytes(content)
    assert whole_fingerprint([file]) != before
