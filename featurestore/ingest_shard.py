"""Do one shard of an ingest: the features of its rows, kept beside the target until the end."""

from __future__ import annotations

import os
import shlex
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featurestore.errors import SourceError
from featurestore.ingest import Source, Timed, identity_of, opened_source
from featurestore.ingest_shards import Shard, ShardRows, kept_shards
from featurestore.options import IngestOptions
from featurestore.progress import Progress, Silent
from featurestore.resume import check_begun, claimed
from featurestore.target import check_target
from featurestore.versions import program_versions
from featurestore.work import Claim
from featurestore.writer import PART_SECONDS, StoreWriter


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardSummary:
    """What one shard did, and which are not complete yet."""

    store: str
    shard: int
    of: int
    folder: str
    entities: tuple[int, int]  # rows: first, and the one behind the last
    mentions: tuple[int, int]
    seconds: dict[str, float]  # stage → seconds
    missing: list[int]  # shards of the same n


def ingest_shard(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    shard: Shard,
    *,
    options: IngestOptions | None = None,
    overwrite: bool = False,
    restart: bool = False,
    part_seconds: float = PART_SECONDS,
    threads: int | None = None,
    progress: Progress | None = None,
) -> ShardSummary:
    """Read or encode the rows of one shard of the dataset at ``source``.

    When all shards are done nothing stands at ``target`` yet: :func:`featurestore.assemble.assemble`
    makes the store of them. Shards may be done in any order, at the same time, and on any machines that
    share the folder of the target. A shard that was interrupted goes on; one that is complete is
    compared with its checksums, and what is damaged of it is made again.

    Args:
        overwrite: the target may exist.
        restart, part_seconds, threads: as of :func:`featurestore.ingest.ingest`.

    Raises:
        SourceError, EncoderError, WriteError: as of :func:`featurestore.ingest.ingest`; or the source is
            an archive.
    """
    options = options or IngestOptions()
    source, target = Path(source), Path(target)
    timed = Timed(progress or Silent())
    check_target(target, overwrite=overwrite)
    check_folder(source)
    with (
        claimed(target, timed, restart=restart, shard=shard) as claim,
        opened_source(source, claim, options, timed, threads=threads) as opened,
    ):
        rows = write_shard(opened, claim, source, shard, options, timed, part_seconds=part_seconds)
    return ShardSummary(
        store=str(target),
        shard=shard.number,
        of=shard.of,
        folder=str(claim.folder),
        entities=(rows.entities.start, rows.entities.stop),
        mentions=(rows.mentions.start, rows.mentions.stop),
        seconds={stage: round(value, 3) for stage, value in timed.seconds.items()},
        missing=missing_shards(target, shard.of),
    )


def check_folder(source: Path) -> None:
    """Refuse an archive before it is read through.

    Raises:
        SourceError: it is a file.
    """
    if source.is_file():
        raise SourceError(
            "an archive is read front to back: each shard would read all of it",
            where=str(source),
            hint=f"run drin-fs unpack {shlex.quote(str(source))} -o FOLDER, then ingest the folder",
        )


def write_shard(
    opened: Source,
    claim: Claim,
    source: Path,
    shard: Shard,
    options: IngestOptions,
    timed: Timed,
    *,
    part_seconds: float,
) -> ShardRows:
    """Do a shard of an open source, and enter that it is complete; its rows."""
    rows = opened.shard_rows(shard)
    identity = identity_of(opened, options)
    check_begun(claim, identity)
    writing = StoreWriter.on(
        claim,
        dtype=options.dtype,
        compression=options.compression,
        overwrite=True,
        identity=identity,
        part_seconds=part_seconds,
        note=timed.note,
        run=_run(opened, source, options, rows),
    )
    with writing as writer:
        writer.keep(opened.write_shard(writer, rows, timed))
    return rows


def _run(opened: Source, source: Path, options: IngestOptions, rows: ShardRows) -> dict[str, Any]:
    """What is told of a shard, for who assembles it."""
    return {
        "source": str(source.resolve()),
        "working_folder": str(Path.cwd()),  # relative names of encoders start there
        "options": options.plain(),
        "rows": {table: [rows.of(table).start, rows.of(table).stop] for table in rows._fields},
        "threads": _threads() if opened.layout != "preprocessed" else 0,
        "host": socket.gethostname(),
        "versions": program_versions(),
    }


def _threads() -> int:
    from featurestore.encoders.loading import threads_used  # imports torch

    return threads_used()


def missing_shards(target: Path, of: int) -> list[int]:
    """Numbers of the shards that are not complete."""
    kept = kept_shards(target).get(of, {})
    return [n for n in range(1, of + 1) if n not in kept or kept[n].found is None]
