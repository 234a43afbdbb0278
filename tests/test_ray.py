"""Ingest on Ray makes the store of a local ingest, and a worker that is killed changes nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import featurestore
from featurestore.content_hash import content_hash
from featurestore.ingest import ingest
from featurestore.ingest_shards import shards_folder
from featurestore.sources.sample import write_sample

pytest.importorskip("ray")


def hash_of(store: Path) -> str:
    with featurestore.open(store) as opened:
        return content_hash(opened)


def kill_a_worker(target: Path, process: subprocess.Popen[str]) -> int:
    """Kill the first process that is at work on a shard; its number, or 0 if none was seen."""
    while process.poll() is None:
        for lock in sorted(shards_folder(target).glob("*.lock")):
            try:
                worker = json.loads(lock.read_text())["process"]
            except (OSError, ValueError):  # it is being written, or gone
                continue
            os.kill(worker, signal.SIGKILL)
            return int(worker)
        time.sleep(0.002)
    return 0


def test_two_workers_of_which_one_is_killed_make_the_store_of_one_ingest(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "s.h5"
    write_sample(
        source, dataset="wikidiverse", layout="preprocessed", mentions=900, entities=300,
        candidates=6, text_width=16, image_width=16, mention_tokens=32, entity_tokens=40,
        regions=4,
    )  # fmt: skip
    command = ["ingest", str(source), "-o", str(target), "--engine", "ray", "--num-workers", "2"]
    with subprocess.Popen(
        [sys.executable, "-m", "cli", *command, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        worker = kill_a_worker(target, process)
        out, said = process.communicate()
    assert process.returncode == 0, said
    assert worker not in (0, process.pid)
    whole = ingest(source, tmp_path / "whole.h5")
    assert json.loads(out)["fingerprint"] == whole.fingerprint
    assert hash_of(target) == hash_of(tmp_path / "whole.h5")
    assert not shards_folder(target).exists()
    assert "8 shards on 2 workers" in said
    assert "a worker was lost" in said
    assert "raylet" not in said
    assert "Warning" not in said
