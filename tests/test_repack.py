"""``drin-fs repack``: another form of the same store, or nothing at all."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import featurestore
from cli.file_size import FileSize
from cli.main import main
from featurestore import repack as repacking
from featurestore import shard_plan, splitting
from featurestore.diff import diff
from featurestore.errors import ConfigError, DrinFsError, StoreError, WriteError
from featurestore.holes import can_punch, punch
from featurestore.repack import RepackOptions, repack
from featurestore.shard_plan import Sharding
from featurestore.verify import content_digest, verify
from tests.flips import flip
from tests.kills_ingest import Faults
from tests.tiny_store import TinyStore, write_tiny_store

ENTITIES = 12


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> TinyStore:
    """A store in one file. Read it only."""
    return write_tiny_store(tmp_path_factory.mktemp("repack") / "one.h5", entities=ENTITIES)


def same(a: Path, b: Path) -> bool:
    """Whether two stores hold the same values under the same fingerprint."""
    with featurestore.open(a) as first, featurestore.open(b) as second:
        found = diff(first, second)
        other = [field for field in found.fields if field.what != "compression"]
        rest = [*other, *found.values, *found.splits, *found.origin]
        return not rest and first.fingerprint == second.fingerprint


def digest(path: Path) -> str:
    with featurestore.open(path) as store:
        return content_digest(store)


def left_beside(store: Path) -> set[str]:
    return {path.name for path in store.parent.iterdir()} - {store.name}


def test_there_and_back_is_the_same_file(one: TinyStore, tmp_path: Path) -> None:
    many, back = tmp_path / "many.h5", tmp_path / "back.h5"
    done = repack(one.path, many, options=RepackOptions(firsts=(0, 3, 4)))
    assert (done.shards, done.same_content, done.dtypes, done.dropped) == (3, True, {}, [])
    assert same(one.path, many)
    repack(many, back, options=RepackOptions(single_file=True))
    assert digest(back) == digest(one.path)
    with featurestore.open(back) as store:
        assert [step["dropped"] for step in store.provenance["run"]["repacked"]] == [[], []]
        assert "repacked" not in store.provenance


def test_the_form_stays_where_none_is_asked_for(one: TinyStore, tmp_path: Path) -> None:
    many, again = tmp_path / "many.h5", tmp_path / "again.h5"
    repack(one.path, many, options=RepackOptions(firsts=(0, 3, 4)))
    repack(many, again, options=RepackOptions(compression="zstd"))
    with featurestore.open(again) as store:
        assert [len(shard.entities) for shard in store.shards] == [3, 1, 8]
        assert store.entities.stored("text_tokens").compression == "zstd"
    assert same(one.path, again)


@pytest.mark.parametrize("compression", ["lz4", "gzip", "none"])
def test_another_compression_changes_no_value(
    one: TinyStore, tmp_path: Path, compression: Any
) -> None:
    made = tmp_path / "made.h5"
    done = repack(one.path, made, options=RepackOptions(compression=compression))
    assert done.same_content
    assert verify(made, "full").problems == []
    assert same(one.path, made)
    with featurestore.open(made) as store:
        assert store.mentions.stored("text_tokens").compression == compression
        thumbnail = "gzip" if compression == "none" else compression
        assert store.entities.stored("thumbnail").compression == thumbnail


def test_the_compression_stays_where_none_is_named(tmp_path: Path) -> None:
    """That of a store which was ingested when another one was the default."""
    source = write_tiny_store(tmp_path / "s.h5", compression="lz4")
    repack(source.path, tmp_path / "made.h5", options=RepackOptions(dtype="float16"))
    with featurestore.open(tmp_path / "made.h5") as store:
        for table in (store.entities, store.mentions):
            for name in ("text_tokens", "thumbnail"):
                assert table.stored(name).compression == "lz4"


def test_float16_stays_within_its_bound_and_falls_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    large = rng.standard_normal((ENTITIES, 6)).astype(np.float32) * 1e6
    source = write_tiny_store(
        tmp_path / "s.h5", entities=ENTITIES, change={"entities/text_mean": large}
    )
    done = repack(source.path, tmp_path / "half.h5", options=RepackOptions(dtype="float16"))
    assert done.float32_fields == ["entities/text_mean"]
    assert done.dtypes["entities/text_tokens"] == "float32 → float16"
    assert "entities/text_mean" not in done.dtypes
    assert not done.same_content
    with featurestore.open(done.store) as store:
        found = store.entities.gather("text_cls", range(ENTITIES)).astype(np.float32)
        exact = source.values["entities/text_cls"]
        assert np.abs(found - exact).max() / np.abs(exact).max() < 1e-3
        assert 0 < store.entities.stored("text_cls").attributes["float16_error"] < 1e-3
        np.testing.assert_array_equal(store.entities.gather("text_mean", range(ENTITIES)), large)
        (step,) = store.provenance["repacked"]
        assert step["dtypes"]["entities/text_cls"] == "float32 → float16"
        error = store.entities.stored("text_cls").attributes["float16_error"]
    again = repack(done.store, tmp_path / "again.h5", options=RepackOptions(compression="zstd"))
    with featurestore.open(again.store) as store:
        assert store.entities.stored("text_cls").attributes["float16_error"] == error
    wide = repack(done.store, tmp_path / "wide.h5", options=RepackOptions(dtype="float32"))
    with featurestore.open(wide.store) as store:
        np.testing.assert_array_equal(store.entities.gather("text_cls", range(ENTITIES)), found)


def test_fields_are_dropped_and_kept(one: TinyStore, tmp_path: Path) -> None:
    drop = ("entities/text_tokens", "entities/token_count", "entities/description")
    done = repack(one.path, tmp_path / "fewer.h5", options=RepackOptions(drop=drop))
    assert done.dropped == ["entities/description", "entities/token_count", "entities/text_tokens"]
    assert done.fingerprint != digest(one.path)
    assert verify(done.store, "full").problems == []
    with featurestore.open(done.store) as store, featurestore.open(one.path) as source:
        assert set(source.entities.fields) - set(store.entities.fields) == {
            path.partition("/")[2] for path in drop
        }
        assert store.provenance["encoders"] == source.provenance["encoders"]
        assert store.provenance["repacked"][0]["of"] == source.fingerprint
    keep = RepackOptions(keep=("entities/text_mean", "mentions/text_span"))
    kept = repack(one.path, tmp_path / "kept.h5", options=keep)
    with featurestore.open(kept.store) as store:
        features = [f.name for f in store.mentions.fields.values() if f.schema.layout == "view"]
        assert features == ["text_span"]
        assert store.entities["Q100"]["title"] == one.values["entities/title"][0]


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"drop": ("entities/id",)}, "every store must have it"),
        ({"drop": ("mentions/candidates",)}, "every store must have it"),
        ({"drop": ("entities/token_count",)}, "counts the rows of entities/text_tokens"),
        ({"drop": ("text_mean",)}, "did you mean entities/text_mean"),
        ({"drop": ("entities/objects",), "keep": ("entities/objects",)}, "both name"),
        ({"max_file_size": 1000}, "not even one"),
        ({"max_file_size": 10**6, "single_file": True}, "give one of them"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    one: TinyStore, tmp_path: Path, options: dict[str, Any], what: str
) -> None:
    with pytest.raises(ConfigError, match=what):
        repack(one.path, tmp_path / "new.h5", options=RepackOptions(**options))
    assert left_beside(tmp_path / "new.h5") == set()


def test_no_shard_is_larger_than_was_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_plan, "_ROWS", 7)
    monkeypatch.setattr(splitting, "_RECORDS", 5)
    monkeypatch.setattr(splitting, "_STEP", 64)
    many = write_tiny_store(tmp_path / "many.h5", entities=300)
    with pytest.raises(ConfigError, match="give at least") as caught:
        repack(many.path, tmp_path / "x.h5", options=RepackOptions(max_file_size=40_000))
    least = int(caught.value.hint.rpartition(" ")[2].replace(",", ""))
    for size in (least + 20_000, least + 70_000):
        done = repack(
            many.path, tmp_path / "x.h5", options=RepackOptions(max_file_size=size), overwrite=True
        )
        with featurestore.open(done.store) as store:
            assert len(store.shards) > 1
            assert all(shard.file_bytes <= size for shard in store.shards)
        assert same(many.path, tmp_path / "x.h5")
    assert len(list((tmp_path / "x.h5.shards").iterdir())) == done.shards


def test_damage_is_not_copied(one: TinyStore, tmp_path: Path) -> None:
    source = tmp_path / "s.h5"
    source.write_bytes(one.path.read_bytes())
    with featurestore.open(source) as store:
        places = store.entities.chunk_table("text_tokens")
    flip(source, int(places[5, 0]) + 20, 2)
    with pytest.raises(StoreError, match="not what was written") as caught:
        repack(source, tmp_path / "new.h5")
    assert "text_tokens[5]" in caught.value.where
    assert not (tmp_path / "new.h5").exists()


def test_a_sharded_store_is_replaced_at_once(one: TinyStore, tmp_path: Path) -> None:
    store = tmp_path / "s.h5"
    repack(one.path, store, options=RepackOptions(firsts=(0, 3)))
    with featurestore.open(store) as old:
        with pytest.raises(WriteError, match="exists"):
            repack(one.path, store)
        repack(store, store, options=RepackOptions(firsts=(0, 5), dtype="float16"), overwrite=True)
        np.testing.assert_array_equal(
            old.entities.gather("text_mean", [4]), one.values["entities/text_mean"][[4]]
        )
    with featurestore.open(store) as new:
        assert {shard.path.name for shard in new.shards} == {
            path.name for path in (tmp_path / "s.h5.shards").iterdir()
        }
    with pytest.raises(ConfigError, match="a shard of the source"):
        repack(store, new.shards[0].path, overwrite=True)
    repack(one.path, store, overwrite=True)
    assert left_beside(store) == set()


def test_an_interruption_costs_nothing(one: TinyStore, tmp_path: Path) -> None:
    """Every call that brings bytes to disk may fail, or be the last one that was made."""
    options = RepackOptions(firsts=(0, 3, 7))
    target = tmp_path / "counted.h5"
    faults = Faults(at=-1, error=0)
    with patched(faults):
        repack(one.path, target, options=options, part_seconds=0)
    wanted = digest(target)
    repack(one.path, tmp_path / "old.h5", options=RepackOptions(firsts=(0, 6)))
    some = {*range(20, faults.count, faults.count // 6), *range(faults.count - 17, faults.count, 2)}
    for at in sorted(some):
        folder = tmp_path / str(at)
        folder.mkdir()
        store = folder / "s.h5"
        if at % 4 < 2:  # in place of another one
            repack(tmp_path / "old.h5", store)
        before = digest(store) if store.exists() else None
        with patched(Faults(at=at, error=errno.EIO)), suppress(DrinFsError, OSError):
            repack(one.path, store, options=options, part_seconds=0, overwrite=True)
        if store.exists():
            assert digest(store) in (before, wanted), at
        repack(one.path, store, options=options, part_seconds=0, overwrite=True)
        assert digest(store) == wanted, at
        with featurestore.open(store) as opened:
            named = {shard.path.name for shard in opened.shards}
        assert {path.name for path in (folder / "s.h5.shards").iterdir()} == named, at
        assert left_beside(store) == {"s.h5.shards"}


@contextmanager
def patched(faults: Faults) -> Iterator[None]:
    """Faults while a block runs."""
    faults.install()
    try:
        yield
    finally:
        faults.remove()


def test_what_was_moved_to_shards_is_not_made_again(
    one: TinyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, options = tmp_path / "s.h5", RepackOptions(firsts=(0, 3, 7))

    def stop(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(splitting.Splitter, "_index", stop)
        with pytest.raises(KeyboardInterrupt):
            repack(one.path, target, options=options)
    assert splitting.moved_rows(tmp_path / ".s.h5.ingest") == ENTITIES
    with pytest.raises(ConfigError, match="cutting the store into shards"):
        repack(one.path, target, options=RepackOptions(single_file=True))
    with pytest.raises(ConfigError, match="was cut for files of at most"):
        repack(one.path, target, options=RepackOptions(max_file_size=10**9))
    with monkeypatch.context() as patch:
        patch.setattr(splitting.Splitter, "_write_shard", stop)
        patch.setattr(repacking._Repack, "_copy", stop)
        repack(one.path, target, options=options)
    assert same(one.path, target)
    assert verify(target).problems == []


def test_discarded_work_takes_its_shards_along(
    one: TinyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "s.h5"
    replace = os.replace

    def failing(source: Any, place: Any) -> None:
        if Path(place) == target:
            raise OSError(errno.EIO, "no")
        replace(source, place)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", failing)
        with pytest.raises(WriteError):
            repack(one.path, target, options=RepackOptions(firsts=(0, 3)), part_seconds=0)
    assert len(list((tmp_path / "s.h5.shards").iterdir())) == 2
    repack(one.path, target, options=RepackOptions(single_file=True), restart=True)
    assert left_beside(target) == set()


def test_space_of_what_was_moved_is_given_back(tmp_path: Path) -> None:
    if not can_punch(tmp_path):
        pytest.skip("this file system has no holes")
    file = tmp_path / "x"
    file.write_bytes(b"x" * 40_960)
    descriptor = os.open(file, os.O_RDWR)
    try:
        os.fsync(descriptor)
        before = os.fstat(descriptor).st_blocks
        assert punch(descriptor, 5_000, 20_000)
        assert os.fstat(descriptor).st_blocks < before
    finally:
        os.close(descriptor)
    data = file.read_bytes()
    assert data[:8192].count(b"x") == 8192
    assert data[8192:16384].count(b"\0") == 8192
    assert data[16384:].count(b"x") == len(data) - 16384


def test_a_file_system_without_holes_is_told_of(
    one: TinyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featurestore.holes._fallocate", lambda: None)

    class Noting(featurestore.progress.Silent):
        def __init__(self) -> None:
            self.notes: list[str] = []

        def note(self, text: str) -> None:
            self.notes.append(text)

    progress = Noting()
    options = RepackOptions(firsts=(0, 3))
    repack(one.path, tmp_path / "s.h5", options=options, progress=progress)
    assert any("there twice" in note for note in progress.notes)
    assert same(one.path, tmp_path / "s.h5")


def test_the_command_says_what_became_otherwise(
    one: TinyStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = str(tmp_path / "new.h5")
    command = ["repack", str(one.path), "-o", new]
    assert main([*command, "--max-file-size", "1GB", "--dtype", "float16"]) == 0
    told = capsys.readouterr().out
    assert "in 2 files" in told
    assert "entities/text_mean: float32 → float16" in told
    assert main([*command, "--overwrite", "--drop", "mentions/objects", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["dropped"], found["shards"]) == (["mentions/objects"], 0)
    assert main([*command, "--single-file", "--max-file-size", "1GB"]) == 2
    assert main([*command, "--max-file-size", "1 gigantic"]) == 2
    assert "write 50GB" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "size"),
    [("50GB", 50 * 10**9), ("1.5 kib", 1536), ("7", 7), ("2TB", 2 * 10**12), ("3 MiB", 3 << 20)],
)
def test_sizes_have_units(text: str, size: int) -> None:
    assert FileSize().convert(text, None, None) == size


def test_stores_without_entities_or_features_are_one_file(tmp_path: Path) -> None:
    none = write_tiny_store(tmp_path / "none.h5", entities=0, sharding=Sharding(firsts=(0,)))
    with featurestore.open(none.path) as store:
        assert store.shards == ()


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featurestore.threads.available_processors", lambda: 1)
