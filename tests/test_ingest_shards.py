"""Shards that are assembled make the very store of one ingest, and nothing else passes for them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import featurestore
from cli.main import main
from featurestore import derive, ingest_shards
from featurestore.assemble import assemble
from featurestore.content_hash import content_hash
from featurestore.encoders import pictures
from featurestore.encoders.text import TextEncoder
from featurestore.errors import ConfigError, SourceError, WriteError
from featurestore.ingest import IngestSummary, ingest
from featurestore.ingest_shard import ingest_shard
from featurestore.ingest_shards import Shard, kept_shards, shards_folder
from featurestore.options import IngestOptions
from featurestore.verify import verify
from tests.golden_for_tests import PREPROCESSED, RAW, TINY
from tests.interrupting import SOURCES, Stopping

QUICK = "preprocessed wikimel"


@pytest.fixture(scope="module", autouse=True)
def small_blocks() -> Any:
    """Several blocks of the small sources."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ingest_shards, "BLOCK_ROWS", 8)
        patch.setattr(pictures, "WINDOW", 4)
        patch.setattr(derive, "BLOCK_BYTES", 1 << 14)
        yield


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory, small_blocks: None) -> Callable[[str], Any]:
    """The summary and the content hash of an ingest in one piece."""

    @cache
    def made(name: str) -> tuple[IngestSummary, str]:
        source, options = SOURCES[name]
        store = tmp_path_factory.mktemp("local") / "s.h5"
        return ingest(source, store, options=options), hash_of(store)

    return made


def hash_of(store: Path) -> str:
    assert verify(store, "full").problems == []
    with featurestore.open(store) as opened:
        return content_hash(opened)


def shard_all(name: str, target: Path, of: int, *, without: int = 0) -> None:
    source, options = SOURCES[name]
    for shard in Shard.all(of):
        if shard.number != without:
            ingest_shard(source, target, shard, options=options)


@given(total=st.integers(0, 5000), of=st.integers(1, 70), block=st.sampled_from([1, 8, 1024]))
def test_shards_cover_every_row_once_in_whole_blocks(total: int, of: int, block: int) -> None:
    ranges = [shard.rows(total, block=block) for shard in Shard.all(of)]
    assert [row for rows in ranges for row in rows] == list(range(total))
    assert all(rows.start % block == 0 for rows in ranges if len(rows))
    sizes = [-(-len(rows) // block) for rows in ranges]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    ("name", "of"),
    [
        ("raw wikimel", 3),
        ("raw wikimel", 5),
        ("raw wikidiverse", 2),
        ("preprocessed wikimel", 1),
        ("preprocessed wikimel", 5),
        ("preprocessed wikimel", 25),
        ("preprocessed wikidiverse", 3),
    ],
)
def test_assembled_shards_are_the_store_of_one_ingest(
    name: str, of: int, tmp_path: Path, local: Callable[[str], Any]
) -> None:
    whole, content = local(name)
    shard_all(name, tmp_path / "s.h5", of)
    assert not (tmp_path / "s.h5").exists()
    summary = assemble(tmp_path / "s.h5")
    assert hash_of(tmp_path / "s.h5") == content
    assert summary.fingerprint == whole.fingerprint
    assert (summary.counts, summary.notes) == (whole.counts, whole.notes)
    assert [path.name for path in tmp_path.iterdir()] == ["s.h5"]


def test_nothing_is_encoded_when_shards_are_assembled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, options = RAW / "wikimel", replace(TINY, image_encoder="none", clip="none")
    for shard in Shard.all(2):
        ingest_shard(source, tmp_path / "s.h5", shard, options=options)
    monkeypatch.delattr(TextEncoder, "encode")
    assemble(tmp_path / "s.h5")


def test_differing_repetitions_are_counted_over_all_shards(tmp_path: Path) -> None:
    source = Path(shutil.copytree(PREPROCESSED / "wikidiverse", tmp_path / "source"))
    for split, row in (("train", 30), ("test", 7)):
        path = source / f"entity-attr-feature_{split}.npy"
        path.chmod(0o644)
        array = np.load(path)
        array[row] += 0.5
        np.save(path, array)
    whole = ingest(source, tmp_path / "whole.h5")
    for shard in Shard.all(3):
        ingest_shard(source, tmp_path / "s.h5", shard)
    summary = assemble(tmp_path / "s.h5")
    assert any("repeated rows differ" in note for note in summary.notes)
    assert (summary.notes, summary.fingerprint) == (whole.notes, whole.fingerprint)


@pytest.mark.parametrize("compression", ["lz4-fast", "none"])
def test_a_field_that_one_shard_must_keep_as_float32_is_as_of_one_ingest(
    tmp_path: Path, compression: Any
) -> None:
    source = Path(shutil.copytree(PREPROCESSED / "wikimel", tmp_path / "source"))
    options = IngestOptions(compression=compression)
    for name, row in (("mention-text-feature_valid", 2), ("entity-image-feature_all", 9)):
        (source / f"{name}.npy").chmod(0o644)
        array = np.load(source / f"{name}.npy")
        array[row] *= 1e6  # float16 ends at 65504
        np.save(source / f"{name}.npy", array)
    whole = ingest(source, tmp_path / "whole.h5", options=options)
    for shard in Shard.all(4):
        ingest_shard(source, tmp_path / "s.h5", shard, options=options)
    summary = assemble(tmp_path / "s.h5")
    assert summary.float32_fields == whole.float32_fields
    assert {"entities/image_pooled", "mentions/text_tokens"} <= set(whole.float32_fields)
    assert hash_of(tmp_path / "s.h5") == hash_of(tmp_path / "whole.h5")


def test_an_interrupted_shard_goes_on(tmp_path: Path, local: Callable[[str], Any]) -> None:
    source, options = SOURCES["raw wikimel"]
    target, second = tmp_path / "s.h5", Shard(number=2, of=2)
    shard_all("raw wikimel", target, 2, without=2)
    with pytest.raises(KeyboardInterrupt):
        ingest_shard(source, target, second, options=options, progress=Stopping(9), part_seconds=0)
    assert kept_shards(target)[2][2].found is None
    with pytest.raises(WriteError, match="1 of 2 shards are not complete: 2/2"):
        assemble(target)
    progress = Stopping()
    ingest_shard(source, target, second, options=options, progress=progress)
    assert any(note.startswith("skips ") for note in progress.notes)
    assemble(target)
    assert hash_of(target) == local("raw wikimel")[1]


def test_an_assembly_that_is_interrupted_begins_again(
    tmp_path: Path, local: Callable[[str], Any]
) -> None:
    shard_all(QUICK, tmp_path / "s.h5", 3)
    with pytest.raises(KeyboardInterrupt):
        assemble(tmp_path / "s.h5", progress=Stopping(12))
    assert not (tmp_path / "s.h5").exists()
    assemble(tmp_path / "s.h5")
    assert hash_of(tmp_path / "s.h5") == local(QUICK)[1]


def test_a_missing_shard_is_named_with_the_command_that_does_it(tmp_path: Path) -> None:
    source, options = SOURCES["raw wikimel"]
    ingest_shard(source, tmp_path / "s.h5", Shard(number=1, of=3), options=options)
    with pytest.raises(WriteError, match="2 of 3 shards are not complete: 2/3, 3/3") as caught:
        assemble(tmp_path / "s.h5")
    words = caught.value.hint.removeprefix("run ").removesuffix(", and so on").split()
    assert main([*words[1:], "--json"]) == 0
    assert kept_shards(tmp_path / "s.h5")[3][2].found is not None


def test_shards_made_otherwise_are_refused(tmp_path: Path) -> None:
    source, target = PREPROCESSED / "wikimel", tmp_path / "s.h5"
    ingest_shard(source, target, Shard(number=1, of=2))
    ingest_shard(source, target, Shard(number=2, of=2), options=IngestOptions(compression="zstd"))
    with pytest.raises(WriteError, match=r"2/2 was made otherwise than 1/2: .*compression"):
        assemble(target)
    with pytest.raises(WriteError, match="was begun otherwise"):
        ingest_shard(source, target, Shard(number=2, of=2))
    ingest_shard(source, target, Shard(number=2, of=2), restart=True)
    assemble(target)


def test_a_source_that_was_changed_since_is_refused(tmp_path: Path) -> None:
    source = Path(shutil.copytree(PREPROCESSED / "wikimel", tmp_path / "source"))
    ingest_shard(source, tmp_path / "s.h5", Shard(number=1, of=1))
    os.utime(source / "answer_test.npy", (1, 1))
    with pytest.raises(WriteError, match="not what the shards were made with: files"):
        assemble(tmp_path / "s.h5")


def test_a_damaged_shard_is_named_and_its_command_makes_it_again(
    tmp_path: Path, local: Callable[[str], Any]
) -> None:
    target = tmp_path / "s.h5"
    shard_all(QUICK, target, 3)
    data = Shard(number=2, of=3).folder(target) / "data"
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    with pytest.raises(WriteError, match=r"rows of .* in shard 2/3 are not what was written"):
        assemble(target)
    source, options = SOURCES[QUICK]
    ingest_shard(source, target, Shard(number=2, of=3), options=options)
    assemble(target)
    assert hash_of(target) == local(QUICK)[1]


def test_two_shards_are_done_at_once_but_none_twice(
    tmp_path: Path, local: Callable[[str], Any]
) -> None:
    source, options = SOURCES[QUICK]
    target = tmp_path / "s.h5"

    class Meanwhile(Stopping):
        def advance(self, amount: int) -> None:
            if not self.steps:
                self.steps = 1
                with pytest.raises(WriteError, match=r"another ingest writes shard 1/2 of this"):
                    ingest_shard(source, target, Shard(number=1, of=2), options=options)
                with pytest.raises(WriteError, match=r"1 of 2 shards|2 of 2 shards"):
                    assemble(target)
                ingest_shard(source, target, Shard(number=2, of=2), options=options)

    progress = Meanwhile()
    ingest_shard(source, target, Shard(number=1, of=2), options=options, progress=progress)
    assert progress.steps
    assemble(target)
    assert hash_of(target) == local(QUICK)[1]


def test_more_than_one_complete_set_is_no_guess(tmp_path: Path) -> None:
    for of in (1, 2):
        shard_all(QUICK, tmp_path / "s.h5", of)
    with pytest.raises(WriteError, match="more than one n: 1, 2"):
        assemble(tmp_path / "s.h5")


def test_archives_are_not_sharded(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"")
    with pytest.raises(SourceError, match="read front to back"):
        ingest_shard(tmp_path / "a.tar", tmp_path / "s.h5", Shard(number=1, of=2))


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0", "-1/2"])
def test_shards_that_there_are_not(text: str) -> None:
    with pytest.raises(ConfigError, match="no shard"):
        Shard.parse(text)


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = str(tmp_path / "s.h5")
    command = ["ingest", str(PREPROCESSED / "wikimel"), "-o", target]
    assert main([*command, "--shard", "1/2"]) == 0
    out = capsys.readouterr().out
    assert "1 of 2, complete" in out
    assert "not complete yet: 2" in out
    assert main(["assemble", target]) == 1
    assert f"{target} --shard 2/2" in capsys.readouterr().err
    assert main([*command, "--shard", "2/2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["missing"] == []
    assert main(["assemble", target, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["entities"] == 24
    assert not shards_folder(Path(target)).exists()
    assert main(["assemble", target, "--overwrite"]) == 1
    assert "no shards of this store are here" in capsys.readouterr().err
    for words in (["--shard", "1/2", "--engine", "ray"], ["--num-workers", "2"], ["--shard", "x"]):
        assert main([*command, *words]) == 2
