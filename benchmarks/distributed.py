"""Does an ingest on Ray make the store of a local one, though a worker is killed, and what does it take?

    python -m benchmarks.distributed data/wikimel -o /tmp/d -- --text-encoder … --detector none

Ingests SOURCE locally and on Ray (what stands behind ``--`` goes to both), kills a worker of the latter
after a share of the time that the local one took, compares the content hashes, and prints JSON. Exit
status 1 if they differ or no worker was killed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click

import featurestore
from featurestore.content_hash import content_hash
from featurestore.ingest_shards import shards_folder


def ingest(source: Path, store: Path, options: list[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "cli", "ingest", str(source), "-o", str(store), "--json"]
    return subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL)


def at_work(store: Path) -> set[int]:
    """The processes that hold the lock of a shard."""
    found = set()
    for lock in shards_folder(store).glob("*.lock"):
        try:
            found.add(int(json.loads(lock.read_text())["process"]))
        except (OSError, ValueError):  # it is being written, or gone
            continue
    return found


def memory(process: int) -> int:
    """Most bytes that were resident, pages of files included; 0 where the process is gone."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    lines = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return next((int(line.split()[1]) << 10 for line in lines), 0)  # none of one that just ended


def watch(process: subprocess.Popen[bytes], store: Path, kill_after: float) -> dict[str, Any]:
    """Wait for an ingest on Ray, and kill one of its workers on the way."""
    began, killed, peak = time.monotonic(), 0, dict[int, int]()
    while process.poll() is None:
        workers = at_work(store)
        peak |= {worker: max(peak.get(worker, 0), memory(worker)) for worker in workers}
        if workers and not killed and time.monotonic() - began > kill_after:
            killed = min(workers)
            os.kill(killed, signal.SIGKILL)
        time.sleep(0.05)
    return {
        "seconds": round(time.monotonic() - began, 1),
        "status": process.returncode,
        "killed": killed,
        "peak_mb_of_workers": sorted(size // 1_000_000 for size in peak.values()),
    }


def hash_of(store: Path) -> str:
    with featurestore.open(store) as opened:
        return content_hash(opened)


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
@click.option("--workers", default=2, show_default=True)
@click.option("--kill-at", default=0.5, show_default=True, help="Share of the local time.")
@click.argument("options", nargs=-1)
def main(
    source: Path, output: Path, workers: int, kill_at: float, options: tuple[str, ...]
) -> None:
    """Compare an ingest on Ray with a local one."""
    output.mkdir(parents=True)
    local, on_ray = output / "local.h5", output / "ray.h5"
    began = time.monotonic()
    assert ingest(source, local, list(options)).wait() == 0
    seconds = time.monotonic() - began
    engine = ["--engine", "ray", "--num-workers", str(workers)]
    found = watch(ingest(source, on_ray, [*options, *engine]), on_ray, kill_at * seconds)
    hashes = [hash_of(store) for store in (local, on_ray)] if not found["status"] else []
    same = len(hashes) == 2 and hashes[0] == hashes[1]
    print(
        json.dumps(
            {
                "local_seconds": round(seconds, 1),
                "ray": found,
                "content_hashes": hashes,
                "same": same,
            },
            indent=2,
        )
    )
    sys.exit(0 if same and found["killed"] else 1)


if __name__ == "__main__":
    main()
