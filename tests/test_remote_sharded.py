"""Stores in several files over HTTP: the values of the files, few requests, and copies of all of them."""

from __future__ import annotations

import errno
import json
import re
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import featurestore
from cli.main import main
from featurestore import (
    Store,
    remote,
    remote_cache,
    remote_copy,
    remote_map,
    remote_transfer,
    threads,
)
from featurestore.errors import StoreError, WriteError
from featurestore.place import StoreUrl
from featurestore.remote_fetch import fetch
from featurestore.remote_transfer import Patience, Traffic, Transfer
from featurestore.repack import RepackOptions, repack
from featurestore.shard_plan import Sharding
from featurestore.shards import Shard, encode_shards
from featurestore.verify import verify
from tests.range_server import RangeServer, serving
from tests.tiny_store import TinyStore, expected, write_tiny_store

if TYPE_CHECKING:
    from tests.runs_for_tests import QuickRun

pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")

ENTITIES, CUTS = 60, (0, 7, 8, 40)

#: As in tests/test_remote_fetch.py.
PIECE, IMPATIENT = 16 << 10, Patience(attempts=2, first=0.001, longest=0.01)


def sharded(path: Path, *, seed: int = 0) -> TinyStore:
    return write_tiny_store(path, entities=ENTITIES, sharding=Sharding(firsts=CUTS), seed=seed)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> TinyStore:
    """A store of four shards, its name not for a URL as it is. Read it only."""
    return sharded(tmp_path_factory.mktemp("remote") / "té st.h5")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> TinyStore:
    """One of the same shape with other values."""
    return sharded(tmp_path_factory.mktemp("other") / "té st.h5", seed=3)


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of the test's own, small blocks and pieces, few attempts."""
    monkeypatch.setenv("DRIN_FS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remote_cache, "BLOCK", 1024)
    monkeypatch.setattr(remote_map, "_GAP", 2048)
    monkeypatch.setattr(remote_transfer, "MOST", PIECE)
    monkeypatch.setattr(remote, "_used", [])


@pytest.fixture
def server(many: TinyStore) -> Iterator[RangeServer]:
    with serving(many.path) as running:
        yield running


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """An empty folder for copies."""
    (tmp_path / "here").mkdir()
    return tmp_path / "here"


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def a_shard(server: RangeServer, number: int = 1) -> str:
    return sorted(server.shards)[number]


def test_every_field_has_the_values_of_the_files(server: RangeServer, many: TinyStore) -> None:
    rows = np.random.default_rng(1).permutation(ENTITIES)[:25].tolist()
    with featurestore.open(server.url, verify_reads=True) as there, Store(many.path) as store:
        assert len(there.shards) == len(CUTS)
        assert there.is_remote
        found = there.entities.gather_all(there.entities.fields, rows)
        assert set(found) == set(store.entities.fields)
        for name, values in found.items():
            np.testing.assert_array_equal(values, expected(many, f"entities/{name}", rows), name)
        for name in ("text_tokens", "thumbnail"):
            np.testing.assert_array_equal(
                there.entities.whole_records(name, rows), store.entities.whole_records(name, rows)
            )
        block = there.entities.block("text_mean", range(5, 45))
        np.testing.assert_array_equal(block, store.entities.block("text_mean", range(5, 45)))
        assert there.entities["Q141"]["title"] == store.entities["Q141"]["title"]
        assert there.mentions[2]["sentence"] == store.mentions[2]["sentence"]
        assert there.file_bytes == store.file_bytes


def test_requests_are_bounded_and_one_line_counts_them_all(
    server: RangeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds: list[str] = []
    read = Transfer.read
    monkeypatch.setattr(
        Transfer,
        "read",
        lambda self, *a, **k: (rounds.append(self.url.name), read(self, *a, **k))[1],
    )
    files = 1 + len(CUTS)
    with featurestore.open(server.url) as there:
        assert server.requests == 2 * files
        rounds.clear()
        server.reset()
        there.entities.gather_all(there.entities.fields, [50, 3, 7, 20])
        assert all(rounds.count(name) <= 2 for name in rounds)
        assert len(set(rounds)) == files
        before = server.requests
        there.entities.gather_all(there.entities.fields, [3, 50])
        assert server.requests == before  # they are here
    (used,) = remote.take_used()
    assert used.url.bare == server.url
    assert used.traffic.requests == 2 * files + before
    assert used.traffic.bytes > server.sent
    server.reset()
    with featurestore.open(server.url):
        assert server.requests == files


def test_shards_are_waited_for_at_once(server: RangeServer) -> None:
    """Each answer waits until another shard was asked for, too."""
    with featurestore.open(server.url) as there:
        server.reset()
        all_asked = threading.Event()

        class Gate(threading.Event):
            def wait(self, timeout: float | None = None) -> bool:
                if len({path for path in server.paths if ".shards/" in path}) == len(CUTS):
                    all_asked.set()
                return all_asked.wait(timeout)

        server.gate = Gate()
        there.entities.prefetch(["text_mean"], np.arange(ENTITIES))
        assert all_asked.is_set()
        assert len(server.served) >= len(CUTS)


def test_a_call_that_fails_is_raised_and_later_ones_are_not_begun() -> None:
    begun: list[int] = []

    def call(number: int) -> int:
        begun.append(number)
        if number == 1:
            raise StoreError("number 1")
        return number

    with pytest.raises(StoreError, match="number 1"):
        threads.waiting([partial(call, number) for number in (0, 1)])
    assert sorted(begun) == [0, 1]
    assert threads.waiting([partial(call, number) for number in (5, 3, 4)]) == [5, 3, 4]
    assert threads.waiting([]) == []


def test_waits_at_the_same_time_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 17.0, 20.0, 21.0])
    monkeypatch.setattr(remote_transfer.time, "perf_counter", lambda: next(clock))
    traffic = Traffic()
    with traffic.waiting(), traffic.waiting():
        pass
    with traffic.waiting():
        pass
    assert traffic.seconds == 8.0


def test_a_replaced_store_is_told_in_the_one_line(server: RangeServer, other: TinyStore) -> None:
    with featurestore.open(server.url):
        pass
    folder = other.path.parent
    server.content = other.path.read_bytes()
    server.shards = {name: data for name, data in files_below(folder).items() if "/" in name}
    with featurestore.open(server.url):
        pass
    (used,) = remote.take_used()
    assert used.dropped
    assert used.traffic.requests == 2 * 2 * (1 + len(CUTS))


def test_requests_to_one_server_are_limited(
    server: RangeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_transfer, "AT_ONCE_ALTOGETHER", 2)
    monkeypatch.setattr(remote_transfer, "_turns", {})
    running, most, lock, answer = 0, 0, threading.Lock(), server.answer

    def counted(to: object) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.01)
        with lock:
            running -= 1
        answer(to)  # type: ignore[arg-type]

    server.answer = counted  # type: ignore[method-assign, assignment]
    with featurestore.open(server.url) as there:
        there.entities.prefetch(["text_mean", "objects"], np.arange(0, ENTITIES, 9))
    assert most == 2


@pytest.mark.parametrize("command", [[], ["--mention", "3"], ["--entity", "41", "--json"]])
def test_inspect_prints_what_it_prints_of_the_files(
    command: list[str], server: RangeServer, many: TinyStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", server.url, *command, "--no-images"]) == 0
    over_http = capsys.readouterr()
    assert main(["inspect", str(many.path), *command, "--no-images"]) == 0
    of_files = capsys.readouterr()
    same = [re.sub(r"\s+", " ", text.replace(server.url, "X").replace(str(many.path), "X"))
            for text in (over_http.out, of_files.out)]  # fmt: skip
    assert same[0] == same[1]
    (line,) = over_http.err.splitlines()
    assert f"in {server.requests} requests" in line


def test_evaluate_prints_what_it_prints_of_the_files(
    quick: QuickRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "cut.h5"
    repack(quick.store, target, options=RepackOptions(max_file_size=103_000))
    printed = []
    with serving(target) as server:
        assert len(server.shards) > 1
        for store in (server.url, str(target)):
            assert main(["evaluate", str(quick.folder), "--store", store, "--json"]) == 0
            printed.append(json.loads(capsys.readouterr().out))
            del printed[-1]["store"]["path"]
    assert printed[0] == printed[1]


def test_a_missing_shard_is_named(server: RangeServer, here: Path) -> None:
    gone = a_shard(server)
    del server.shards[gone]
    for read in (featurestore.open, lambda url: fetch(url, here / "copy.h5", patience=IMPATIENT)):
        with pytest.raises(StoreError, match="rows 7 to 7 of entities") as caught:
            read(server.url)
        assert "shard of the store is missing" in caught.value.what
        assert caught.value.where == str(StoreUrl(server.url).beside(gone))
        assert "have both uploaded" in caught.value.hint
    assert not (here / "copy.h5").exists()


@pytest.mark.parametrize("number", [0, 2])
def test_a_shard_of_another_store_is_refused(
    number: int, server: RangeServer, other: TinyStore, here: Path
) -> None:
    shards = sorted(other.path.with_name(f"{other.path.name}.shards").iterdir())
    server.shards[a_shard(server, number)] = shards[number].read_bytes()
    for read in (featurestore.open, lambda url: fetch(url, here / "copy.h5", patience=IMPATIENT)):
        with pytest.raises(StoreError, match="another shard than the one that belongs"):
            read(server.url)
    server.shards[a_shard(server, number)] = shards[1].read_bytes()  # of another size
    with pytest.raises(StoreError, match="another shard than the one that belongs"):
        featurestore.open(server.url)
    assert not (here / "copy.h5").exists()


def test_a_shard_that_is_replaced_while_it_is_read_is_an_error(server: RangeServer) -> None:
    with featurestore.open(server.url) as there:
        name = a_shard(server, 3)
        server.shards[name] = bytes(len(server.shards[name]))
        server.tag = '"two"'
        with pytest.raises(StoreError, match="changed while it was in use"):
            there.entities.gather("text_mean", [41, 42])


def _one_after_another(store: Store) -> None:
    for field in store.entities.fields:
        store.entities.gather(field, np.arange(ENTITIES))


def test_open_caches_are_never_taken_away_for_room(
    server: RangeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with featurestore.open(server.url):
        opened = sum(map(remote_cache.allocated, (tmp_path / "cache").glob("*/*")))
    monkeypatch.setenv("DRIN_FS_CACHE_SIZE", str((opened + 40_000) / 1e9))
    with featurestore.open(server.url) as there:
        with pytest.raises(StoreError, match="of what is open were read"):
            _one_after_another(there)
        assert len(list((tmp_path / "cache").glob("*/*/data"))) == 1 + len(CUTS)


def test_other_protocols_find_shards_under_their_plain_names(many: TinyStore) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    folder = many.path.parent
    for name, content in files_below(folder).items():
        memory.pipe_file(f"/deep/{name}", content)
    wanted = expected(many, "entities/text_mean", [41, 2])
    for url in ("memory://deep/té st.h5", "memory:///deep/té st.h5", f"file://{many.path}"):
        with featurestore.open(url) as there:
            found = there.entities.gather("text_mean", [41, 2])
        np.testing.assert_array_equal(found, wanted)


def test_the_url_of_a_shard_keeps_the_query() -> None:
    url = StoreUrl("https://me:pw@example.org/a/x.h5?key=/b/&c#d").beside("x y.h5.shards/é.h5")
    assert url.url == "https://me:pw@example.org/a/x%20y.h5.shards/%C3%A9.h5?key=/b/&c#d"
    assert StoreUrl("s3://bucket/x.h5").beside("x y/z").url == "s3://bucket/x y/z"


def test_fetch_copies_all_files_and_leaves_nothing_else(
    server: RangeServer, many: TinyStore, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = here / "other name.h5"
    assert main(["fetch", server.url, "-o", str(target), "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    wanted = files_below(many.path.parent)
    wanted["other name.h5"] = wanted.pop("té st.h5")
    assert files_below(here) == wanted
    assert (done["files"], done["kept"], done["resumed"]) == (1 + len(CUTS), 0, 0)
    assert done["bytes"] == sum(map(len, wanted.values()))
    assert done["requests"] == server.requests
    assert done["transferred"] == server.sent
    pieces = sum(-(-len(content) // PIECE) for content in wanted.values())
    assert server.requests == pieces + 1 + len(CUTS)  # nothing twice
    found = verify(target, "full")
    assert not found.problems
    assert found.bytes_compared == done["compared"]
    assert main(["fetch", server.url, "-o", str(here / "second.h5")]) == 0
    assert " in 5 files; " in capsys.readouterr().out


def test_shards_that_are_here_are_kept(server: RangeServer, here: Path) -> None:
    fetch(server.url, here / "a.h5", patience=IMPATIENT)
    server.reset()
    done = fetch(server.url, here / "b.h5", patience=IMPATIENT)
    assert (done.files, done.kept) == (1 + len(CUTS), len(CUTS))
    assert done.resumed == sum(map(len, server.shards.values()))
    assert server.sent == len(server.content) + 4096
    with Store(here / "b.h5") as store:
        assert len(store.shards) == len(CUTS)


def test_another_file_in_the_place_of_a_shard_is_kept_unless_told(
    server: RangeServer, here: Path
) -> None:
    place = here / a_shard(server)
    place.parent.mkdir()
    place.write_bytes(b"something else")
    with pytest.raises(WriteError, match="the target exists") as caught:
        fetch(server.url, here / "copy.h5", patience=IMPATIENT)
    assert caught.value.where == str(place)
    assert server.sent < len(server.content)  # it was said before all came
    assert place.read_bytes() == b"something else"
    fetch(server.url, here / "copy.h5", patience=IMPATIENT, overwrite=True)
    assert place.read_bytes() == server.shards[a_shard(server)]


def test_a_shard_that_fails_leaves_no_index_and_goes_on(server: RangeServer, here: Path) -> None:
    target, failing = here / "copy.h5", a_shard(server, 2)
    server.faulty = failing
    server.faults.extend(["", "", "", *["500"] * 40])
    with pytest.raises(StoreError, match="no answer in 2 attempts"):
        fetch(server.url, target, patience=IMPATIENT)
    assert not target.exists()
    assert sorted(path.name for path in (here / failing).parent.glob("[!.]*")) == [
        Path(a_shard(server, number)).name for number in (0, 1)
    ]
    server.faults.clear()
    server.reset()
    done = fetch(server.url, target, patience=IMPATIENT)
    assert done.kept == 2
    missing = [len(server.shards[a_shard(server, number)]) for number in (2, 3)]
    kept = sum(len(server.shards[a_shard(server, number)]) for number in (0, 1))
    begun = done.resumed - len(server.content) - kept
    assert begun > 0
    assert server.sent == sum(missing) - begun + 3 * 4096
    assert files_below(here) == {"copy.h5": server.content, **server.shards}


@pytest.mark.parametrize("times", [1, 1000])
def test_bytes_of_a_shard_that_come_wrong(times: int, server: RangeServer, here: Path) -> None:
    name = a_shard(server, 3)
    (here / "shard.h5").write_bytes(server.shards[name])
    with Store(here / "shard.h5") as shard:
        extent = shard.entities.fields["text_mean"].extent
        assert extent is not None
        server.spoiled[extent.offset + 3] = times
    server.faulty = name
    if times == 1:
        assert fetch(server.url, here / "copy.h5", patience=IMPATIENT).repaired > 0
        assert (here / name).read_bytes() == server.shards[name]
        return
    with pytest.raises(StoreError, match="damaged where it comes from") as caught:
        fetch(server.url, here / "copy.h5", patience=IMPATIENT)
    assert caught.value.where.endswith(Path(name).name)
    assert not (here / "copy.h5").exists()
    assert not (here / name).exists()


def test_room_for_all_files_is_looked_for_first(
    server: RangeServer, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = len(server.content) + sum(map(len, server.shards.values())) // 2
    monkeypatch.setattr(remote_copy, "free_bytes", lambda folder: room)
    with pytest.raises(WriteError, match="are free"):
        fetch(server.url, here / "copy.h5", patience=IMPATIENT)
    assert not any(".shards/" in path for path in server.paths)
    assert server.sent < len(server.content)  # the catalog came first
    assert not (here / "copy.h5").exists()


def test_a_full_disk_in_a_shard_is_said_of_it(
    server: RangeServer, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, pieces = remote_copy.write_at, -(-len(server.content) // PIECE)
    written: list[int] = []

    def full(descriptor: int, place: int, data: bytes) -> None:
        if len(written) == pieces + 1:
            raise OSError(errno.ENOSPC, "no space")
        written.append(place)
        write(descriptor, place, data)

    monkeypatch.setattr(remote_copy, "write_at", full)
    with pytest.raises(WriteError, match="disk is full") as caught:
        fetch(server.url, here / "copy.h5", patience=IMPATIENT)
    assert ".shards/" in caught.value.where
    monkeypatch.setattr(remote_copy, "write_at", write)
    done = fetch(server.url, here / "copy.h5", patience=IMPATIENT)
    assert done.resumed > len(server.content)


def test_a_server_without_ranges_gives_all_files(server: RangeServer, here: Path) -> None:
    server.ranges = False
    fetch(server.url, here / "copy.h5", patience=IMPATIENT)
    assert files_below(here) == {"copy.h5": server.content, **server.shards}


def test_overwriting_says_which_shards_are_left(
    server: RangeServer, other: TinyStore, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = here / "té st.h5"
    fetch(server.url, target, patience=IMPATIENT)
    with serving(other.path) as second:
        assert main(["fetch", second.url, "-o", str(target), "--overwrite"]) == 0
        assert "4 shards of the replaced store stay in té st.h5.shards" in capsys.readouterr().err
        assert files_below(here) == {target.name: second.content} | server.shards | second.shards


def test_one_shard_is_fetched_as_any_store(server: RangeServer, here: Path) -> None:
    name = a_shard(server, 2)
    done = fetch(StoreUrl(server.url).beside(name), here / "one.h5", patience=IMPATIENT)
    assert done.files == 1
    assert (here / "one.h5").read_bytes() == server.shards[name]
    with Store(here / "one.h5") as shard:
        assert len(shard.entities) == CUTS[3] - CUTS[2]


@pytest.mark.parametrize("file", [".ssh/keys.h5", "x.shards/keys", "photos/x.h5", ".x.shards/a.h5"])
def test_a_manifest_leads_to_no_other_place(
    file: str, server: RangeServer, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lead = (Shard(file=file, first=0, stop=ENTITIES, bytes=5000, header="00" * 16),)
    assert encode_shards(lead)
    monkeypatch.setattr("featurestore.remote_fetch.decode_shards", lambda *given: lead)
    with pytest.raises(StoreError, match=r"names .* which is no NAME\.shards/NAME\.h5"):
        fetch(server.url, here / "copy.h5", patience=IMPATIENT)
    assert [name for name in files_below(here) if ".part" not in name] == []


def test_an_index_opens_alone(many: TinyStore) -> None:
    with Store(many.path, alone=True) as store:
        assert store.shards == ()
        assert "text_mean" not in store.entities
        assert "title" in store.entities
