"""Ingest a dataset once: recognise it, read or encode it, write the store, say what happened."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from featurestore.construct.item_files import MENTIONS
from featurestore.construct.needed import needed_files
from featurestore.errors import ConfigError, SourceError
from featurestore.index_size import index_notes
from featurestore.ingest_shards import Shard, ShardRows
from featurestore.options import IngestOptions
from featurestore.progress import Progress, Silent, Stage
from featurestore.resume import check_begun, claimed, remove_remains
from featurestore.schema import BY_PATH, FEATURE
from featurestore.shard_plan import Sharding
from featurestore.sources.array_archive import open_archive
from featurestore.sources.array_folder import FolderArrays
from featurestore.sources.feeds import RecordedArrays
from featurestore.sources.layouts import layout_of, open_raw
from featurestore.sources.preprocessed import Preprocessed
from featurestore.store import Store
from featurestore.summary import summarise
from featurestore.target import check_target
from featurestore.versions import program_versions
from featurestore.work import Claim
from featurestore.writer import PART_SECONDS, StoreWriter


@dataclass(frozen=True, kw_only=True)
class IngestSummary:
    """What an ingest did, for people (``drin-fs ingest``) and programs (``--json``)."""

    store: str
    dataset: str
    layout: str
    mentions: dict[str, int]
    entities: int
    candidates: int
    dropped: dict[str, int]
    pictures: dict[str, dict[str, int]]  # table → status → rows
    recall: dict[str, dict[str, float]]  # split → "recall@k" → share of mentions
    counts: dict[str, int]
    float32_fields: list[str]  # asked for float16, but out of its error bound
    notes: list[str]
    bytes: int
    seconds: dict[str, float]  # stage → seconds
    fingerprint: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Source(Protocol):
    """A dataset in one of its layouts, opened and checked."""

    layout: str
    dataset: str

    @property
    def reads(self) -> Collection[str]:
        """The options that it reads, beside ``dataset``."""

    @property
    def notes(self) -> list[str]: ...

    def origin(self) -> dict[str, Any]: ...

    def state(self) -> dict[str, str]:
        """What else must be as it was for an ingest to be gone on with; for people to read."""

    def dropped_counts(self) -> dict[str, int]: ...

    def encoders(self) -> dict[str, Any]: ...

    def write(self, writer: StoreWriter, progress: Progress) -> dict[str, int]:
        """Write and derive everything; counts for the summary."""

    def shard_rows(self, shard: Shard) -> ShardRows:
        """Which rows a shard does."""

    def write_shard(
        self, writer: StoreWriter, rows: ShardRows, progress: Progress
    ) -> dict[str, Any]:
        """Write the features of some rows; what was found out that is no row, as plain values."""


def recognise(source: Path, dataset: str | None = None) -> tuple[str, str]:
    """(dataset, layout) of a folder, by the files it must have.

    Raises:
        SourceError: the folder is missing, or holds neither layout.
        ConfigError: ``dataset`` was given and the folder is the other one.
    """
    if not source.is_dir():
        what = "a file, not a folder" if source.exists() else "no such folder"
        raise SourceError(
            what, where=str(source), hint="give the dataset's root folder, or an archive"
        )
    found = layout_of(source)
    if found is None:
        inside = [f"{source.name}/{p.name}" for p in sorted(source.iterdir()) if p.is_dir()]
        nested = [name for name in inside if layout_of(source.parent / name)]
        hint = (
            "expected mentions/, entities/, candidates/ (raw), *_train.npy (preprocessed) or "
            "kb_entity.json and *_train.json (MIMIC)"
        )
        if nested:
            hint = f"did you mean {', '.join(nested)}?"
        elif (source / MENTIONS).is_file():  # begun with build mentions
            hint = f"it still needs {needed_files(source)[0].command}"
        raise SourceError("neither a raw nor a preprocessed dataset", where=str(source), hint=hint)
    if dataset is not None and dataset != found[0]:
        raise ConfigError(
            f"--dataset {dataset}, but the folder holds {found[1]} {found[0]}",
            where=str(source),
            hint=f"leave --dataset out, or say --dataset {found[0]}",
        )
    return found


def ingest(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    options: IngestOptions | None = None,
    overwrite: bool = False,
    restart: bool = False,
    part_seconds: float = PART_SECONDS,
    max_file_size: int | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> IngestSummary:
    """Read or encode the dataset at ``source`` into a new store at ``target``.

    ``source`` is a dataset's folder, or a tar archive of the preprocessed form. Until the end nothing
    stands at ``target``; then the finished store does. What an interrupted ingest of the same source with
    the same encoders and options has finished is not done again.

    Args:
        restart: begin anew, whatever an interrupted ingest has finished.
        part_seconds: an interruption loses about so many seconds of work, at most.
        max_file_size: bytes; the features of entities go to files that are no larger (docs/sharded.md).
        threads: of an encoder on the CPU, by default torch's own; the last bits may depend on it.

    Raises:
        ConfigError: not even one entity fits into a file of that size.
        SourceError: the dataset is incomplete or damaged; names file and row.
        EncoderError: an encoder cannot be loaded.
        WriteError: the target exists, the disk is full, another ingest is at work, or what was begun
            there was begun with another source, encoder or option.
    """
    options = options or IngestOptions()
    source, target = Path(source), Path(target)
    timed = Timed(progress or Silent())
    remove_remains(target)
    check_target(target, overwrite=overwrite)
    with (
        claimed(target, timed, restart=restart) as claim,
        opened_source(source, claim, options, timed, threads=threads) as opened,
    ):
        identity = identity_of(opened, options)
        check_begun(claim, identity)
        writing = StoreWriter.on(
            claim,
            dtype=options.dtype,
            compression=options.compression,
            overwrite=overwrite,
            identity=identity,
            part_seconds=part_seconds,
            note=timed.note,
            sharding=Sharding.at_most(max_file_size),
        )
        with writing as writer:
            counts, notes = write_store(opened, writer, source, options, timed)
    notes += index_notes(target, max_file_size, timed)
    return summary_of(target, opened, options, counts, notes, timed.seconds)


def write_store(
    opened: Source,
    writer: StoreWriter,
    source: Path,
    options: IngestOptions,
    timed: Timed,
    *,
    must_be: str | None = None,
) -> tuple[dict[str, int], list[str]]:
    """Write and publish the store; counts and notes for the summary.

    Args:
        must_be: the fingerprint that it must have.
    """
    without_effect = _without_effect(options, opened)
    if without_effect:
        timed.note(f"WARNING: {without_effect[0]}")
    counts = opened.write(writer, timed)
    notes = [*without_effect, *opened.notes]  # a source's notes are complete once it is written
    provenance = {
        "source": {"layout": opened.layout, **opened.origin()},
        "encoders": opened.encoders(),
        "options": _content_options(options, opened),
        "dropped": opened.dropped_counts(),
        "counts": counts,
        "notes": notes,
        "run": {
            "versions": program_versions(),
            "source_path": str(source.resolve()),
            "working_folder": str(Path.cwd()),  # relative names of encoders start there
        },
    }
    with timed.time("publish"):
        writer.publish(
            dataset=opened.dataset, provenance=provenance, must_be=must_be, progress=timed.inner
        )
    return counts, notes


def identity_of(opened: Source, options: IngestOptions) -> dict[str, Any]:
    """What decides the content of the store; parts of another one cannot be gone on with."""
    plain = {
        "drin-fs": program_versions()["drin-fs"],
        "dataset": opened.dataset,
        "layout": opened.layout,
        "source": opened.origin(),
        "files": opened.state(),
        "encoders": opened.encoders(),
        "options": _content_options(options, opened),
    }
    return cast(dict[str, Any], json.loads(json.dumps(plain)))


@contextmanager
def opened_source(
    source: Path,
    claim: Claim,
    options: IngestOptions,
    timed: Timed,
    *,
    threads: int | None = None,
    encodes: bool = True,
) -> Iterator[Source]:
    """The dataset in a folder, or in an archive, which may need room beside the target.

    Args:
        threads: of an encoder on the CPU.
        encodes: False where everything was encoded before: then encoders need no GPU.
    """
    if source.is_file():
        if claim.target.exists() and source.samefile(claim.target):
            raise ConfigError("the store would replace the archive", where=str(source))
        scratch = claim.target.with_name(f".{claim.target.name}.arrays")
        dataset = options.dataset
        with open_archive(source, scratch=scratch, dataset=dataset, progress=timed) as arrays:
            timed.note(f"{source}: preprocessed {arrays.dataset}")
            with timed.time("open"):
                opened = _preprocessed(arrays, arrays.dataset, options)
            yield opened
        return
    name, layout = recognise(source, options.dataset)
    timed.note(f"{source}: {layout} {name}")
    with timed.time("open"):
        found = _open(source, name, layout, options, threads=threads, encodes=encodes)
    yield found


def _open(
    source: Path,
    dataset: str,
    layout: str,
    options: IngestOptions,
    *,
    threads: int | None,
    encodes: bool,
) -> Source:
    if layout == "preprocessed":
        return _preprocessed(FolderArrays(source), dataset, options)
    from featurestore.encoders.loading import use_threads  # imports torch
    from featurestore.encoders.raw import RawSource

    use_threads(threads)
    raw = open_raw(source, options)
    return RawSource(raw, layout=layout, options=options, encodes=encodes)


def _preprocessed(arrays: RecordedArrays, dataset: str, options: IngestOptions) -> Preprocessed:
    keep = options.keeps_padding(Preprocessed.layout)
    return Preprocessed(arrays, dataset=dataset, limit=options.limit, keep_padding=keep)


def _without_effect(options: IngestOptions, source: Source) -> list[str]:
    """One sentence on options that the source does not read; none where they have their defaults."""
    default = asdict(IngestOptions())
    changed = [
        f"--{name.replace('_', '-')}"
        for name, value in asdict(options).items()
        if value != default[name] and name not in ("dataset", *source.reads)
    ]
    if not changed:
        return []
    why = (
        "preprocessed features are stored as they are"
        if source.layout == "preprocessed"
        else f"not every option is for {source.layout} {source.dataset}"
    )
    return [f"{why}: {', '.join(changed)} had no effect"]


def _content_options(options: IngestOptions, source: Source) -> dict[str, Any]:
    """The options that decide the store's content, as plain values; of raw data, all.

    What the source does not read has decided nothing, and is recorded as its default.
    """
    values = {key: str(v) if isinstance(v, Path) else v for key, v in asdict(options).items()}
    values["padding"] = "keep" if options.keeps_padding(source.layout) else "drop"
    if source.layout == "preprocessed":
        return {key: values[key] for key in source.reads}
    read = {key: values[key] for key in ("dataset", *source.reads)}
    return asdict(IngestOptions()) | read


def summary_of(
    target: Path,
    opened: Source,
    options: IngestOptions,
    counts: dict[str, int],
    notes: list[str],
    seconds: dict[str, float],
) -> IngestSummary:
    """What stands in the store that was made."""
    with Store(target) as store:
        made = summarise(store)
    fields = {
        f"{table.name}/{field.name}": field for table in made.tables for field in table.fields
    }
    return IngestSummary(
        store=str(target),
        dataset=made.dataset,
        layout=opened.layout,
        mentions={split.name: split.mentions for split in made.splits},
        entities=next(table.rows for table in made.tables if table.name == "entities"),
        candidates=made.candidates,
        dropped=opened.dropped_counts(),
        pictures={
            table.name: {status: rows for status, rows in table.pictures.items() if rows}
            for table in made.tables
        },
        recall={
            split.name: {f"recall@{k}": share for k, share in split.recall.items()}
            for split in made.splits
        },
        counts=counts,
        float32_fields=[
            path
            for path, field in fields.items()
            if BY_PATH[path].dtype == FEATURE
            and field.dtype == "float32"
            and options.dtype == "float16"
        ],
        notes=notes,
        bytes=made.file_bytes,
        seconds={stage: round(value, 3) for stage, value in seconds.items()},
        fingerprint=made.fingerprint,
    )


class Timed:
    """Passes progress on, and keeps the seconds of every stage."""

    def __init__(self, inner: Progress) -> None:
        self.inner = inner
        self.seconds: dict[str, float] = {}

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - started
            self.seconds[name] = self.seconds.get(name, 0.0) + spent

    @contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Stage]:
        with self.time(name), self.inner.stage(name, total, unit) as stage:
            yield stage

    def note(self, text: str) -> None:
        self.inner.note(text)
