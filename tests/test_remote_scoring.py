"""Scoring over HTTP gives the figures of the file, in few requests; training asks to copy first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cli.main import main
from featurestore import remote_cache, remote_map
from featurestore.errors import StoreError
from featurestore.header import FIRST_PAGE
from linker import read_ahead
from linker.config_text import read_config
from linker.train import train
from tests.range_server import RangeServer, serving

if TYPE_CHECKING:
    from tests.runs_for_tests import QuickRun

pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")


@pytest.fixture
def server(
    quick: QuickRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RangeServer]:
    monkeypatch.setenv("DRIN_FS_CACHE", str(tmp_path / "cache"))
    with serving(quick.store) as running:
        yield running


def test_evaluate_prints_what_it_prints_of_the_file(
    quick: QuickRun, server: RangeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = []
    for store in (server.url, str(quick.store)):
        assert main(["evaluate", str(quick.folder), "--store", store, "--json"]) == 0
        printed.append(json.loads(capsys.readouterr().out))
    assert printed[0]["store"].pop("path") == server.url
    assert printed[1]["store"].pop("path") == str(quick.store)
    assert printed[0] == printed[1]
    assert server.requests < 12


def test_the_blocks_of_a_window_of_batches_come_together(
    quick: QuickRun, server: RangeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of small blocks there are many, and of requests still few; none is sent twice."""
    monkeypatch.setattr(remote_cache, "BLOCK", 1024)
    monkeypatch.setattr(remote_map, "_GAP", 1024)
    fetched: list[int] = []
    fetch = read_ahead._fetch
    monkeypatch.setattr(
        read_ahead, "_fetch", lambda *given: (fetched.append(len(given[2])), fetch(*given))[1]
    )
    monkeypatch.setattr(read_ahead, "WINDOW", 2)
    batches = ["--set", "batch_size=16"]
    assert main(["evaluate", server.url, "--model", "clip", "--split", "train", *batches]) == 0
    assert fetched == [32, 32, 32]
    blocks = [start // 1024 for start, stop in server.served if stop - start != FIRST_PAGE]
    assert len(blocks) == len(set(blocks))
    assert server.sent < len(server.content)


def test_training_asks_to_copy_the_store_first(
    quick: QuickRun, server: RangeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", server.url, "-o", str(tmp_path / "run")]) == 3
    assert f"copy it to this machine: drin-fs fetch {server.url}" in capsys.readouterr().err
    with pytest.raises(StoreError, match="training reads every feature"):
        train(server.url, read_config({}), run=tmp_path / "run")
    assert server.requests == 0
    assert not (tmp_path / "run").exists()
