"""Store files: what is no store is refused with its place, and a store is shared by all who read it."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401 - h5py finds the filters once this is imported
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import featurestore
from featurestore import Store
from featurestore.codecs import Compression
from featurestore.errors import StoreError
from featurestore.writer import StoreWriter
from tests.hdf5_edits import edited, remove_header
from tests.tiny_store import TinyStore, expected, write_tiny_store

# files that are no store ------------------------------------------------------------------------


def test_a_missing_store_names_its_neighbours(tiny: TinyStore) -> None:
    with pytest.raises(StoreError, match="no such store") as caught:
        featurestore.open(tiny.path.with_name("tinny.h5"))
    assert caught.value.where.endswith("tinny.h5")
    assert "tiny.h5" in caught.value.hint


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04" + bytes(4096)])
def test_a_file_that_is_not_hdf5_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s.h5").write_bytes(content)
    with pytest.raises(StoreError, match="not a readable HDF5 file") as caught:
        featurestore.open(tmp_path / "s.h5")
    assert caught.value.where == str(tmp_path / "s.h5")


def test_hdf5_that_is_no_store_says_what_it_holds(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file.create_group("weights")
    with pytest.raises(StoreError, match="an HDF5 file, but not a drin-fs store") as caught:
        featurestore.open(tmp_path / "s.h5")
    assert "it holds: weights" in caught.value.hint


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    tiny = write_tiny_store(tmp_path / "s.h5")
    with edited(tiny.path) as file:
        file.attrs["format_version"] = 2
    with pytest.raises(StoreError, match="store format 2, this program reads up to 1") as caught:
        featurestore.open(tiny.path)
    assert "upgrade" in caught.value.hint


@given(share=st.floats(0, 1, exclude_max=True))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_cut_off_anywhere_is_refused_with_its_place(
    tmp_path: Path, tiny: TinyStore, share: float
) -> None:
    whole = tiny.path.read_bytes()
    cut = tmp_path / "cut.h5"
    cut.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(StoreError) as caught:
        featurestore.open(cut)
    assert caught.value.where.startswith(str(cut))
    assert caught.value.hint


@pytest.mark.parametrize("compression", ["lz4-fast", "lz4", "zstd", "gzip"])
def test_a_damaged_record_is_refused_with_its_place(
    tmp_path: Path, compression: Compression
) -> None:
    tiny = write_tiny_store(tmp_path / "s.h5", compression=compression)
    with h5py.File(tiny.path) as file:
        chunk = file["mentions/image_regions"].id.get_chunk_info_by_coord((4, 0, 0))
    content = bytearray(tiny.path.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + 16] = b"\xff" * 16
    tiny.path.write_bytes(content)
    with featurestore.open(tiny.path) as store:
        assert store.mentions.gather("image_regions", [3]).any()
        with pytest.raises(StoreError, match="damaged record") as caught:
            store.mentions.gather("image_regions", [3, 4])
    assert caught.value.where == f"{tiny.path}::/mentions/image_regions[4]"


# sharing a store --------------------------------------------------------------------------------


def checksum(store: Store) -> float:
    """Something that depends on views, records and texts."""
    texts = "".join(store.mentions.gather("sentence", range(len(store.mentions))))
    tokens = store.mentions.gather("text_tokens", range(len(store.mentions)))
    return float(tokens.sum() + store.entities.gather("text_mean", [3, 1]).sum() + len(texts))


def test_a_store_survives_pickling(store: Store) -> None:
    before = checksum(store)  # with everything open that reading opens
    with pickle.loads(pickle.dumps(store)) as again:
        assert again.path == store.path
        assert checksum(again) == before


def test_a_pickled_store_that_was_replaced_is_noticed(tmp_path: Path) -> None:
    tiny = write_tiny_store(tmp_path / "s.h5")
    with featurestore.open(tiny.path) as store:
        pickled = pickle.dumps(store)
    tiny.path.unlink()
    write_tiny_store(tmp_path / "s.h5", entities=9)
    with pytest.raises(StoreError, match="was replaced while it was in use"):
        pickle.loads(pickled)


def replace_store(path: Path) -> None:
    with StoreWriter.create(path, overwrite=True) as writer:
        writer.table("entities", [])
        writer.table("mentions", [])
        writer.splits({})
        writer.publish(dataset="other", provenance={})


def test_an_open_store_goes_on_reading_the_file_it_opened(tmp_path: Path) -> None:
    tiny = write_tiny_store(tmp_path / "s.h5")
    with featurestore.open(tiny.path) as store:
        replace_store(tiny.path)
        for path in ("mentions/text_tokens", "mentions/image_regions", "mentions/candidates"):
            found = store.mentions.gather(path.split("/")[1], [4])
            assert np.array_equal(found, expected(tiny, path, [4]))
        assert store.entities.ids([2]) == ["Q102"]
    with featurestore.open(tiny.path) as store:
        assert store.dataset == "other"


def test_readers_see_one_store_or_the_other_while_it_is_replaced(tmp_path: Path) -> None:
    """Each reader holds one file, whatever happens to its name; opening never finds half of two."""
    path = tmp_path / "s.h5"
    write_tiny_store(path, entities=5, seed=1)
    wanted = {}
    for entities in (5, 9):
        made = write_tiny_store(tmp_path / f"{entities}.h5", entities=entities, seed=1)
        wanted[entities] = made.values["entities/text_mean"]
    stop = threading.Event()

    def read() -> int:
        opened = 0
        while not stop.is_set():
            with featurestore.open(path) as store:
                rows = range(len(store.entities))
                for _ in range(3):
                    found = store.entities.gather("text_mean", rows)
                    assert np.array_equal(found, wanted[len(rows)])
                opened += 1
        return opened

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read) for _ in range(4)]
        for number in range(20):
            shutil.copy(tmp_path / f"{(5, 9)[number % 2]}.h5", tmp_path / "next.h5")
            os.replace(tmp_path / "next.h5", path)
        stop.set()
        assert all(reader.result() > 0 for reader in readers)


def test_of_a_replaced_file_without_header_only_what_is_known_can_be_read(tmp_path: Path) -> None:
    tiny = write_tiny_store(tmp_path / "s.h5")
    remove_header(tiny.path)
    with featurestore.open(tiny.path) as store:
        store.mentions.gather("text_tokens", [0])  # its chunk table is known from here on
        replace_store(tiny.path)
        wanted = expected(tiny, "mentions/text_tokens", [4])
        assert np.array_equal(store.mentions.gather("text_tokens", [4]), wanted)
        with pytest.raises(StoreError, match="was replaced while it was in use"):
            store.mentions.gather("image_regions", [0])  # its chunk table went with the old file


def _send_checksum(store: Store, end: Connection) -> None:
    end.send(checksum(store))


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")  # since 3.12
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_processes_share_a_store(store: Store, method: str) -> None:
    before = checksum(store)
    context = multiprocessing.get_context(method)
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_send_checksum, args=(store, theirs))
    process.start()
    theirs.close()
    assert ours.poll(60)
    assert ours.recv() == before
    process.join()
    ours.close()


def test_threads_share_a_store(tiny: TinyStore) -> None:
    with featurestore.open(tiny.path) as store, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: checksum(store), range(64)))
        assert set(found) == {checksum(store)}


def test_a_store_holds_no_hdf5_handle(tiny: TinyStore) -> None:
    kinds = h5py.h5f.OBJ_FILE | h5py.h5f.OBJ_DATASET | h5py.h5f.OBJ_GROUP
    before = h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, kinds)
    with featurestore.open(tiny.path) as store:
        checksum(store)
        assert h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, kinds) == before


def test_a_closed_store_says_so_and_gathered_values_stay(tiny: TinyStore) -> None:
    store = featurestore.open(tiny.path)
    vectors = store.entities.gather("text_mean", [0])
    assert store.entities.rows(["Q101"]).tolist() == [1]
    store.close()
    assert np.array_equal(vectors[0], tiny.values["entities/text_mean"][0])
    for read in (
        lambda: store.entities.gather("text_mean", [0]),
        lambda: store.mentions.gather("text_tokens", [0]),
        lambda: store.entities.rows(["Q101"]),
    ):
        with pytest.raises(StoreError, match="the store is closed"):
            read()
    store.close()  # once more does no harm


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="needs Linux's list of maps")
def test_closing_a_store_unmaps_its_file(tiny: TinyStore) -> None:
    def mapped() -> bool:
        return str(tiny.path) in Path("/proc/self/maps").read_text()

    with featurestore.open(tiny.path) as store:
        checksum(store)
        store.entities.rows(["Q101"])
        assert mapped()
    assert not mapped()


def test_the_store_needs_no_torch(tiny: TinyStore) -> None:
    script = (
        "import sys, json, featurestore, featurestore.writer, featurestore.describe\n"
        "store = featurestore.open(sys.argv[1]); store.mentions[0]['text_tokens']\n"
        "print(json.dumps([m for m in ('torch', 'transformers', 'lightning') if m in sys.modules]))"
    )
    command = [sys.executable, "-c", script, str(tiny.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout) == []


def test_similarities_of_other_candidates_are_refused(tmp_path: Path) -> None:
    sims = np.zeros((10, 9), np.float32)
    tiny = write_tiny_store(tmp_path / "s.h5", change={"mentions/sim_text_image": sims})
    with pytest.raises(StoreError, match="9 slots for 4 candidates and the gold") as caught:
        featurestore.open(tiny.path)
    assert caught.value.where.endswith("::/mentions/sim_text_image")
