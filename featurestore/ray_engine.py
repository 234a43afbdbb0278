"""Ingest on Ray: actors that keep their encoders do the shards of a store, then the shards are assembled.

Each shard is an ingest of its own rows (:mod:`featurestore.ingest_shard`), kept beside the target, so all
machines of a cluster must see the source, the encoders and the folder of the target under the same
paths. A worker that is lost is started again by Ray; its shard goes on from its last finished part.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

from featurestore.assemble import assemble
from featurestore.errors import ConfigError, DrinFsError, InUse
from featurestore.ingest import IngestSummary, Source, Timed, opened_source, recognise
from featurestore.ingest_shard import check_folder, missing_shards, write_shard
from featurestore.ingest_shards import Shard, kept_shards, shards_folder
from featurestore.options import IngestOptions
from featurestore.progress import Progress, Silent, Stage
from featurestore.resume import claimed, remove_remains
from featurestore.target import check_target
from featurestore.work import Claim
from featurestore.writer import PART_SECONDS

#: Shards for each worker (chosen here, because shards take unlike times, those with many pictures the
#: longest: with four a worker waits for the last one a quarter of its time at worst, and each costs a
#: manifest and a fraction of a second).
SHARDS_A_WORKER = 4

#: Seconds until a shard whose worker was lost is believed to be held by somebody else.
_PATIENCE = 60.0


#: Times that Ray is started (chosen here: its parts give each other 15 s, which a busy machine can miss).
_ATTEMPTS = 3


class Job(NamedTuple):
    """What every worker is told."""

    source: str
    target: str
    options: IngestOptions
    folder: str  # where relative names start
    restart: bool
    part_seconds: float
    threads: int | None


class ShardWorker:
    """An actor: opens the source and its encoders once, and does shards until there are no more."""

    def __init__(self, job: Job) -> None:
        os.chdir(job.folder)
        self._job = job
        self._opened: Source | None = None

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Do the shard that a row names; what is worth telling of it."""
        shard = Shard(number=int(row["number"]), of=int(row["of"]))
        began, notes = time.monotonic(), Notes()
        with self._claimed(shard, notes) as claim:
            write_shard(
                self._source(claim, notes),
                claim,
                Path(self._job.source),
                shard,
                self._job.options,
                Timed(notes),
                part_seconds=self._job.part_seconds,
            )
        seconds = time.monotonic() - began
        return {"number": shard.number, "seconds": seconds, "notes": "\n".join(notes.lines)}

    def _source(self, claim: Claim, notes: Notes) -> Source:
        if self._opened is None:
            job = self._job
            opening = opened_source(
                Path(job.source), claim, job.options, Timed(notes), threads=job.threads
            )
            with opening as opened:  # a folder: nothing ends with the block
                self._opened = opened
        return self._opened

    @contextmanager
    def _claimed(self, shard: Shard, notes: Notes) -> Iterator[Claim]:
        """The right to a shard; a worker that was lost may hold it for a moment yet."""
        until = time.monotonic() + _PATIENCE
        target = Path(self._job.target)
        while True:
            try:
                claiming = claimed(target, notes, restart=self._job.restart, shard=shard)
                claim = claiming.__enter__()
                break
            except InUse:
                if time.monotonic() > until:
                    raise
                time.sleep(1)
        try:
            yield claim
        except BaseException:
            if not claiming.__exit__(*sys.exc_info()):
                raise
        else:
            claiming.__exit__(None, None, None)


class Notes(Silent):
    """Keeps what is worth telling: what was skipped or is wrong."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        if text.startswith(("WARNING", "skips")):
            self.lines.append(text)


class Overheard(io.TextIOBase):
    """Takes what Ray prints among our data; only that a worker was lost is passed on."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def write(self, text: str) -> int:
        if "failed" in text and ShardWorker.__name__ in text:
            self._progress.note("a worker was lost; another one goes on with its shard")
        return len(text)


def ingest_on_ray(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    options: IngestOptions | None = None,
    overwrite: bool = False,
    restart: bool = False,
    part_seconds: float = PART_SECONDS,
    max_file_size: int | None = None,
    threads: int | None = None,
    workers: int | None = None,
    gpus_per_worker: float | None = None,
    address: str | None = None,
    progress: Progress | None = None,
) -> IngestSummary:
    """Ingest as :func:`featurestore.ingest.ingest` does, to the same store, in several processes.

    Args:
        max_file_size: bytes; the features of entities go to files that are no larger (docs/sharded.md).
        threads: of an encoder on the CPU; by default as many as it has in this process, whatever the
            number of workers, because the last bits of values depend on it.
        workers: by default one for each GPU, or 2 where there is none.
        gpus_per_worker: by default 1 where there are GPUs, 0 elsewhere.
        address: of a cluster; by default that of ``RAY_ADDRESS``, or Ray is started on this machine.

    Raises:
        ConfigError: the cluster has fewer processors or GPUs than the workers need.
        SourceError, EncoderError, WriteError: as of the ingest of a shard, and of ``assemble``.
    """
    options, target = options or IngestOptions(), Path(target).absolute()
    source, told = Path(source).absolute(), progress or Silent()
    remove_remains(target)
    check_target(target, overwrite=overwrite)
    check_folder(source)
    _, layout = recognise(source, options.dataset)
    threads = threads if threads is not None or layout == "preprocessed" else _own_threads()
    job = Job(str(source), str(target), options, str(Path.cwd()), restart, part_seconds, threads)
    with redirect_stdout(Overheard(told)), _ray(address):
        chosen = _workers(options, workers, gpus_per_worker)
        of = _shards(target, chosen.number, told, restart=restart)
        kept = 0 if restart else of - len(missing_shards(target, of))
        told.note(f"{of} shards on {chosen.number} workers{f', {kept} complete' if kept else ''}")
        with told.stage("shards", of, "shards") as stage:
            stage.advance(kept)
            numbers = missing_shards(target, of) if kept else range(1, of + 1)
            _do([Shard(number=number, of=of) for number in numbers], job, chosen, told, stage)
    return assemble(
        target, source=source, overwrite=overwrite, max_file_size=max_file_size, progress=told
    )


def _own_threads() -> int:
    from featurestore.encoders.loading import threads_used  # imports torch

    return threads_used()


def _shards(target: Path, workers: int, progress: Progress, *, restart: bool) -> int:
    """How many shards there are: as many as were begun before, if there are any."""
    begun = [] if restart else list(kept_shards(target))
    if len(begun) > 1:
        raise ConfigError(
            f"shards of {' and of '.join(map(str, sorted(begun)))} were begun",
            where=str(shards_folder(target)),
            hint="remove the folders of one of them, or pass --restart",
        )
    if begun:
        progress.note(f"goes on with the {begun[0]} shards that were begun")
        return begun[0]
    return SHARDS_A_WORKER * workers


class _Workers(NamedTuple):
    number: int
    gpus: float  # of each


def _workers(
    options: IngestOptions, workers: int | None, gpus_per_worker: float | None
) -> _Workers:
    """How many workers, with how many GPUs each.

    Raises:
        ConfigError: the cluster does not have so much.
    """
    import ray

    has = ray.cluster_resources()
    gpus, cores = has.get("GPU", 0.0), int(has.get("CPU", 1))
    each = gpus_per_worker
    if each is None:
        each = 1.0 if gpus and options.device != "cpu" else 0.0
    count = workers or (max(1, int(gpus / each)) if each else min(2, cores))
    if count > cores or count * each > gpus:
        raise ConfigError(
            f"{count} workers with {each:g} GPUs each do not fit on {cores} processors and {gpus:g} GPUs",
            where="--num-workers, --gpus-per-worker",
            hint="ask for fewer workers or smaller shares of a GPU",
        )
    return _Workers(count, each)


def _do(shards: list[Shard], job: Job, workers: _Workers, progress: Progress, stage: Stage) -> None:
    """Have the workers do the shards."""
    import ray.data
    from ray.exceptions import RayError

    rows = [{"number": shard.number, "of": shard.of} for shard in shards]
    if not rows:
        return
    done = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
        ShardWorker,  # Ray takes classes
        fn_constructor_args=[job],
        concurrency=workers.number,
        num_cpus=1,
        num_gpus=workers.gpus or None,
    )
    try:
        for row in done.iter_rows():
            for line in row["notes"].splitlines():
                progress.note(f"shard {row['number']}: {line}")
            stage.advance(1)
    except RayError as error:
        raise _own_error(error) or error from error


def _own_error(error: BaseException | None) -> DrinFsError | None:
    """The error of ours that a worker raised."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, DrinFsError):
            return error
        error = getattr(error, "cause", None) or error.__cause__
    return None


@contextmanager
def _ray(address: str | None) -> Iterator[None]:
    """Ray without its own words on the terminal: started here, or that of a cluster."""
    # Ray would hide all GPUs from workers that ask for none, and warns of it
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray
    from ray.data import DataContext

    joined = address or os.environ.get("RAY_ADDRESS")
    _start(joined or "local")
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _no_stderr() -> Iterator[None]:
    """Also what is no Python writes nothing to stderr."""
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def _start(address: str) -> None:
    """Start or join Ray; a machine that is busy is given more than one chance.

    Raises:
        ConfigError: it does not start, or there is no cluster at that address.
    """
    import ray

    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with _no_stderr():  # where Ray says that it was told to say nothing
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
            return
        except (Exception, SystemExit) as error:  # it raises plain Exception where a part is late
            ray.shutdown()
            if attempt == _ATTEMPTS or address != "local":
                raise ConfigError(
                    f"Ray does not start: {str(error).splitlines()[0] if str(error) else error!r}",
                    where=address,
                    hint="look into /tmp/ray/session_latest/logs; all need the same Python and Ray",
                ) from error
