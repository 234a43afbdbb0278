"""Stores over HTTP and fsspec: the answers of the file, in few requests, and no byte unfetched."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import featurestore
from cli.main import main
from featurestore import Store, remote, remote_array, remote_cache, remote_map
from featurestore.describe import describe_entity, describe_mention
from featurestore.errors import ConfigError, StoreError, WriteError
from featurestore.header import FIRST_PAGE
from featurestore.place import StoreUrl, place_of, url_behind
from featurestore.remote_transfer import Patience, Transfer
from featurestore.search import search
from featurestore.summary import summarise
from tests.range_server import RangeServer, serving
from tests.tiny_store import TinyStore, write_tiny_store

pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")

SMALL = 1024  # bytes of a block here: the tiny store has many


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyStore:
    """A store of some hundred small blocks."""
    return write_tiny_store(
        tmp_path_factory.mktemp("remote") / "tiny.h5", entities=150, mentions=(20, 10, 10)
    )


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, of small blocks; requests that fail are tried again at once."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("DRIN_FS_CACHE", str(folder))
    monkeypatch.setattr(remote_cache, "BLOCK", SMALL)
    monkeypatch.setattr(remote_map, "_GAP", 2 * SMALL)
    monkeypatch.setattr(remote_array, "AHEAD", 4 * SMALL)
    monkeypatch.setattr(Patience, "__init__", _impatient)
    monkeypatch.setattr(remote, "_used", [])
    return folder


def _impatient(self: Patience) -> None:
    for name, value in (("attempts", 3), ("first", 0.001), ("longest", 0.01)):
        object.__setattr__(self, name, value)


@pytest.fixture
def server(tiny: TinyStore) -> Iterator[RangeServer]:
    with serving(tiny.path) as running:
        yield running


@pytest.fixture
def there(server: RangeServer) -> Iterator[Store]:
    """The tiny store, over HTTP."""
    with featurestore.open(server.url) as opened:
        yield opened


def _every_value(store: Store, rows: list[int]) -> dict[str, Any]:
    return {
        f"{table.name}/{field}": table.gather(field, rows)
        for table in (store.entities, store.mentions)
        for field in table.fields
    }


def test_opening_takes_two_requests_and_again_only_one(server: RangeServer) -> None:
    with featurestore.open(server.url):
        assert server.requests == 2
    server.reset()
    with featurestore.open(server.url):
        assert (server.requests, server.sent) == (1, FIRST_PAGE)


def test_every_field_has_the_values_of_the_file(there: Store, store: Store) -> None:
    rows = [5, 0, 5, 11]
    found = _every_value(there, rows)
    for path, wanted in _every_value(store, rows).items():
        np.testing.assert_array_equal(found[path], wanted, err_msg=path)


def test_a_row_is_fetched_in_two_rounds_whatever_its_fields(
    there: Store, server: RangeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = []
    read = Transfer.read
    monkeypatch.setattr(
        Transfer, "read", lambda self, *a, **k: (rounds.append(a), read(self, *a, **k))[1]
    )
    server.reset()
    there.mentions.gather_all(there.mentions.fields, [3])
    assert len(rounds) == 2
    assert server.sent < len(server.content) / 2
    before = server.requests
    there.mentions.gather_all(there.mentions.fields, [3])
    assert server.requests == before  # it is here


@pytest.mark.parametrize("command", [[], ["--mention", "3"], ["--entity", "2", "--json"]])
def test_inspect_prints_what_it_prints_of_the_file(
    command: list[str], server: RangeServer, tiny: TinyStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", server.url, *command, "--no-images"]) == 0
    over_http = capsys.readouterr()
    assert main(["inspect", str(tiny.path), *command, "--no-images"]) == 0
    of_file = capsys.readouterr()
    assert over_http.out.replace(server.url, str(tiny.path)) == of_file.out
    assert f"in {server.requests} requests" in over_http.err
    assert of_file.err == ""


def test_descriptions_summary_and_search_are_those_of_the_file(there: Store, store: Store) -> None:
    def plain(value: Any) -> str:
        return repr(value)

    assert plain(describe_mention(there, 4)) == plain(describe_mention(store, 4))
    assert plain(describe_entity(there, 1)) == plain(describe_entity(store, 1))
    assert plain(search(there, "a")) == plain(search(store, "a"))
    summary = replace(summarise(there), path=str(store.path))
    assert plain(summary) == plain(summarise(store))


def test_ids_are_found_without_the_whole_index(tmp_path: Path, server: RangeServer) -> None:
    large = write_tiny_store(tmp_path / "large.h5", entities=3000)
    server.content = large.path.read_bytes()
    wanted = [*large.values["entities/id"][::500], "no such id"]
    with featurestore.open(server.url) as there, featurestore.open(large.path) as store:
        server.reset()
        assert there.entities.find(wanted).tolist() == store.entities.find(wanted).tolist()
        assert server.sent < 3000 * (8 + 4 + 8)  # hashes, rows, offsets
        assert there.entities.find(["no such id"]).tolist() == [-1]


def test_lazy_arrays_answer_as_arrays_do(there: Store, store: Store) -> None:
    lazy, array = (s.mentions.view("candidates") for s in (there, store))
    assert not isinstance(lazy, np.ndarray)
    assert (lazy.shape, lazy.dtype, lazy.ndim, len(lazy)) == (
        array.shape, array.dtype, array.ndim, len(array),
    )  # fmt: skip
    every_other = np.arange(len(array)) % 2 == 0
    for key in (0, -1, slice(2, 5), slice(None, None, -2), [3, 1], every_other, (2, 1),
                (slice(1, 3), 0), np.array([[0, 1], [2, 3]]), ..., None):  # fmt: skip
        np.testing.assert_array_equal(lazy[key], array[key], err_msg=repr(key))
    with pytest.raises(IndexError):
        lazy[len(array)]
    for call in (np.diff, np.asarray, np.sort, lambda a: a + 1, lambda a: a <= 2, lambda a: a.T,
                 lambda a: np.take(a, [1, 0], axis=1), lambda a: np.isin(a, [1, 2]),
                 lambda a: list(a)[2], lambda a: a.sum(axis=0), lambda a: np.array(a)):  # fmt: skip
        np.testing.assert_array_equal(call(lazy), call(array))


def test_nothing_hands_out_the_unfetched_file(there: Store) -> None:
    with pytest.raises(StoreError, match="needs the whole store") as caught:
        _ = there.bytes
    assert "drin-fs fetch http://" in caught.value.hint


def test_blocks_are_kept_and_checked_when_they_are_used_again(
    server: RangeServer, store: Store, cache: Path
) -> None:
    with featurestore.open(server.url) as there:
        there.entities.gather("text_mean", [1, 2])
    (data,) = cache.rglob("data")
    extent = store.entities.fields["text_mean"].extent
    assert extent is not None
    with data.open("r+b") as file:  # a bit flips on the disk
        file.seek(extent.offset + extent.nbytes // len(store.entities))
        old = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([old[0] ^ 1]))
    server.reset()
    with featurestore.open(server.url) as there:
        found = there.entities.gather("text_mean", [1, 2])
    np.testing.assert_array_equal(found, store.entities.gather("text_mean", [1, 2]))
    assert server.requests == 2  # the first page, and the block again


def test_a_replaced_store_drops_its_cache_and_says_so(
    server: RangeServer, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", server.url, "--mention", "1"]) == 0
    other = write_tiny_store(tmp_path / "other.h5", seed=7)
    server.content, server.tag = other.path.read_bytes(), '"two"'
    capsys.readouterr()
    assert main(["inspect", server.url, "--mention", "1", "--json"]) == 0
    printed = capsys.readouterr()
    assert "the file is another one than last time" in printed.err
    assert len(list(cache.rglob("data"))) == 1
    with featurestore.open(other.path) as store:
        assert json.loads(printed.out)["sentence"] == store.mentions[1]["sentence"]


@pytest.mark.parametrize("tags", [('"one"', '"two"'), ("", "")])
def test_a_store_that_changes_while_it_is_read_is_an_error(
    tags: tuple[str, str], server: RangeServer, tmp_path: Path
) -> None:
    server.tag = tags[0]
    other = write_tiny_store(tmp_path / "other.h5", seed=7).path.read_bytes()
    with featurestore.open(server.url) as there:
        server.content, server.tag = (
            other[: len(server.content)].ljust(len(server.content)),
            tags[1],
        )
        with pytest.raises(StoreError, match="changed while it was in use"):
            there.entities.gather("text_mean", [0, 1])


def test_the_same_bytes_under_another_etag_are_no_change(there: Store, server: RangeServer) -> None:
    server.tag = '"another server of the same cluster"'
    assert len(there.entities.gather("text_mean", [0, 1])) == 2


@pytest.mark.parametrize("fault", ["500", "503", "429", "cut"])
def test_requests_that_fail_are_sent_again(fault: str, server: RangeServer, store: Store) -> None:
    server.faults.extend([fault, "", fault])
    with featurestore.open(server.url) as there:
        found = there.entities.gather("text_mean", [0, 1])
    np.testing.assert_array_equal(found, store.entities.gather("text_mean", [0, 1]))
    assert remote.take_used()[0].traffic.retries == 2


def test_a_server_that_goes_on_failing_is_an_error(there: Store, server: RangeServer) -> None:
    server.faults.extend(["500"] * 50)
    with pytest.raises(StoreError, match=r"no answer in 3 attempts \(HTTP 500\)"):
        there.entities.gather("text_mean", [0, 1])
    server.faults.clear()
    assert len(there.entities.gather("text_mean", [0, 1])) == 2


def test_wrong_bytes_are_found_by_verified_reads_and_fetched_again(
    server: RangeServer, store: Store
) -> None:
    extent = store.entities.fields["text_mean"].extent
    assert extent is not None
    server.spoiled[extent.offset] = 1
    with featurestore.open(server.url, verify_reads=True) as there:
        found = there.entities.gather("text_mean", [0])
    np.testing.assert_array_equal(found, store.entities.gather("text_mean", [0]))
    server.spoiled[extent.offset] = 100
    shutil.rmtree(remote_cache.cache_folder())
    with (
        featurestore.open(server.url, verify_reads=True) as there,
        pytest.raises(StoreError, match="not what was written"),
    ):
        there.entities.gather("text_mean", [0])


def test_a_catalog_that_comes_damaged_is_fetched_again(server: RangeServer) -> None:
    server.spoiled[len(server.content) - 2] = 1
    with featurestore.open(server.url) as there:
        assert len(there.mentions)


def test_servers_without_ranges_are_refused_with_a_way_out(server: RangeServer) -> None:
    server.ranges = False
    with pytest.raises(StoreError, match="only whole files") as caught:
        featurestore.open(server.url)
    assert f"drin-fs fetch {server.url}" in caught.value.hint


@pytest.mark.parametrize(
    ("status", "what"), [("404", "no such store"), ("403", "does not let us"), ("418", "418")]
)
def test_refusals_of_the_server(status: str, what: str, server: RangeServer) -> None:
    server.faults.append(status)
    with pytest.raises(StoreError, match=what):
        featurestore.open(server.url)


def test_what_is_no_store_is_said(server: RangeServer) -> None:
    server.content = b"<html>" * 1000
    with pytest.raises(StoreError, match="not a drin-fs store"):
        featurestore.open(server.url)
    server.content = b"\x89HDF\r\n\x1a\n" + bytes(8000)
    with pytest.raises(StoreError, match="without a header"):
        featurestore.open(server.url)


def test_threads_share_what_is_under_way(server: RangeServer, store: Store) -> None:
    server.delay = 0.02
    rows = np.arange(len(store.entities))
    with featurestore.open(server.url) as there, ThreadPoolExecutor(6) as threads:
        found = list(threads.map(lambda _: there.entities.gather("text_tokens", rows), range(6)))
    wanted = store.entities.gather("text_tokens", rows)
    for values in found:
        np.testing.assert_array_equal(values, wanted)
    sent = sorted(server.served)
    assert all(stop <= start for (_, stop), (start, _) in pairwise(sent))


def test_a_remote_store_pickles(there: Store) -> None:
    with pickle.loads(pickle.dumps(there)) as again:
        assert again.mentions[0]["sentence"] == there.mentions[0]["sentence"]


def _sentences(store: Store) -> list[str]:
    return store.mentions.gather("sentence", np.arange(len(store.mentions)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_reads_on(there: Store, store: Store) -> None:
    there.mentions.gather("sentence", [0])  # the loop of this process runs
    ours, theirs = get_context("fork").Pipe()
    child = get_context("fork").Process(target=lambda: theirs.send(_sentences(there)))
    child.start()
    assert ours.poll(20)
    assert ours.recv() == _sentences(store)
    child.join()


def test_keys_of_the_environment_are_sent(
    server: RangeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fsspec.config import conf

    monkeypatch.setitem(conf, "http", {"client_kwargs": {"headers": {"Authorization": "Bearer x"}}})
    with featurestore.open(server.url):
        assert server.headers["Authorization"] == "Bearer x"


def test_the_cache_makes_room_and_refuses_what_is_too_large(
    server: RangeServer, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    with featurestore.open(server.url) as there:
        there.mentions.gather_all(there.mentions.fields, [0])
    old = server.url
    used = remote_cache.allocated(next(cache.rglob("data")).parent)
    monkeypatch.setenv("DRIN_FS_CACHE_SIZE", str(used / 1e9))
    with featurestore.open(old.replace("data", "elsewhere")) as there:
        there.mentions.gather_all(there.mentions.fields, [0])
    assert len(list(cache.rglob("data"))) == 1  # the first one's went
    monkeypatch.setenv("DRIN_FS_CACHE_SIZE", "1e-6")
    with pytest.raises(StoreError, match=r"caches may have 0\.00") as caught:
        featurestore.open(old.replace("data", "third"))
    assert "drin-fs fetch" in caught.value.hint
    monkeypatch.setenv("DRIN_FS_CACHE_SIZE", "much")
    with pytest.raises(ConfigError, match="number of gigabytes"):
        featurestore.open(old)


def test_a_cache_that_cannot_be_written_is_said(
    server: RangeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DRIN_FS_CACHE", str(tmp_path / "file"))
    with pytest.raises(WriteError, match="cannot keep what is read") as caught:
        featurestore.open(server.url)
    assert "DRIN_FS_CACHE" in caught.value.hint


def test_every_protocol_of_fsspec_serves(tiny: TinyStore, store: Store) -> None:
    import fsspec

    fsspec.filesystem("memory").pipe_file("/stores/tiny.h5", tiny.path.read_bytes())
    for url in ("memory://stores/tiny.h5", f"file://{tiny.path}"):
        with featurestore.open(url) as there:
            wanted = store.mentions.gather("sentence", [2, 0])
            assert there.mentions.gather("sentence", [2, 0]) == wanted
    fsspec.filesystem("memory").pipe_file("/stores/tiny.h5", b"\x89HDF" + bytes(9000))
    with pytest.raises(StoreError, match="no such store"):
        featurestore.open("memory://stores/none.h5")
    with pytest.raises(ConfigError, match="cannot be read here"):
        featurestore.open("nothing://stores/none.h5")


def test_a_memory_file_that_changes_is_noticed_by_its_header(tiny: TinyStore) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe_file("/stores/changing.h5", tiny.path.read_bytes())
    with featurestore.open("memory://stores/changing.h5") as there:
        memory.pipe_file("/stores/changing.h5", bytes(tiny.path.stat().st_size))
        with pytest.raises(StoreError, match="changed while it was in use"):
            there.entities.gather("text_mean", [0])


def test_urls_and_paths_are_told_apart() -> None:
    assert place_of("C:/data/x.h5") == Path("C:/data/x.h5")
    url = place_of("https://me:secret@example.org/a/x.h5?signature=secret")
    assert isinstance(url, StoreUrl)
    assert (str(url), url.name) == ("https://example.org/a/x.h5?…", "x.h5")
    assert url_behind(Path("s3://bucket/x.h5")) == "s3://bucket/x.h5"
    assert url_behind(Path("a/x.h5")) == ""


@pytest.mark.parametrize("command", ["verify", "audit"])
def test_commands_that_read_everything_name_fetch(
    command: str, server: RangeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, server.url]) == 3
    assert f"copy it to this machine: drin-fs fetch {server.url}" in capsys.readouterr().err
    assert server.requests == 0


@settings(max_examples=40)
@given(
    blocks=st.sets(st.integers(0, 60), min_size=1).map(sorted).map(np.array),
    most=st.integers(0, 4),
)
def test_small_gaps_between_blocks_are_closed_and_no_others(blocks: np.ndarray, most: int) -> None:
    wanted = set(blocks.tolist())
    for one, following in pairwise(blocks.tolist()):
        if following - one - 1 <= most:
            wanted.update(range(one, following))
    assert remote_map._bridged(blocks, most).tolist() == sorted(wanted)
