"""One configuration under several seeds: ``RUN/seed-0``, ``RUN/seed-1``, … one after the other."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import featurestore
from featurestore.errors import ConfigError
from featurestore.progress import Progress, Silent
from linker.baseline import check_learns
from linker.config import TrainConfig
from linker.job import prepare_job
from linker.launch import failing_together, join, settle_processes
from linker.loggers import LoggerName
from linker.machine import resolve_device
from linker.run_condition import condition_of
from linker.run_folder import RunFolder
from linker.train import train

#: Seeds of one list, chosen here: more are a slip of the keyboard.
_MOST_SEEDS = 1000

_PART = re.compile(r"(\d{1,10})(?:-(\d{1,10}))?")


def parse_seeds(text: str, *, where: str = "--seeds") -> tuple[int, ...]:
    """``0,1,2`` or ``0-2``, or both: ``0-2,10``.

    Raises:
        ConfigError: no such list, a seed twice, or one that is too large.
    """
    seeds: list[int] = []
    for part in text.split(","):
        found = _PART.fullmatch(part.strip())
        if not found:
            raise _refused(f"{part.strip()!r} is no seed", where)
        first, last = int(found[1]), int(found[2] or found[1])
        if last < first or last - first >= _MOST_SEEDS:
            raise _refused(f"{part.strip()} is no range of at most {_MOST_SEEDS} seeds", where)
        seeds += range(first, last + 1)
    return checked_seeds(seeds, where=where)


def checked_seeds(seeds: Sequence[int], *, where: str) -> tuple[int, ...]:
    """The seeds, each once.

    Raises:
        ConfigError: none, too many, one twice, or one that is no seed.
    """
    if not 0 < len(seeds) <= _MOST_SEEDS:
        raise _refused(f"{len(seeds)} seeds", where)
    for place, seed in enumerate(seeds):
        if not 0 <= seed < 2**32:
            raise _refused(f"{seed} is no seed: 0 … {2**32 - 1}", where)
        if seed in seeds[:place]:
            raise _refused(f"seed {seed} stands there twice", where)
    return tuple(seeds)


def _refused(what: str, where: str) -> ConfigError:
    return ConfigError(what, where=where, hint="write them as 0,1,2 or 0-2")


def seed_folder(run: str | os.PathLike[str], seed: int) -> Path:
    """The folder of one seed; ``linker.run_groups`` puts them together again."""
    return Path(run) / f"seed-{seed}"


def train_seeds(
    store: str | os.PathLike[str],
    configs: Mapping[int, TrainConfig],
    *,
    run: str | os.PathLike[str],
    resume: bool = False,
    overwrite: bool = False,
    profile: bool = False,
    loggers: Sequence[LoggerName] = (),
    progress: Progress | None = None,
) -> dict[Path, dict[str, Any]]:
    """Train one seed after the other in this process; folder → what :func:`linker.train.train` returns.

    A seed whose run is finished, with the same options and of the same store, is not trained again.

    Args:
        configs: seed → the configuration with it.
        run: the folder that the folders of the seeds lie in.
        resume: continue what was begun; as ``train`` does, for each seed.
        overwrite: replace every run that is there, finished or not.
        profile, loggers: as ``train``, for each seed that is trained.

    Raises:
        ConfigError: the folder is a run itself; or as ``train``, whose errors end the list: what was
            finished before stays, and is not trained again.
    """
    progress = progress or Silent()
    configs = {seed: settle_processes(config) for seed, config in configs.items()}
    for config in configs.values():
        check_learns(config.model.name, store)
    if RunFolder(run).config.is_file():
        raise ConfigError(
            "the folder is a run itself, and those of several seeds lie in a folder of their own",
            where=str(run),
            hint="name another folder with -o",
        )
    first = next(iter(configs.values()))
    processes = join(first, resolve_device(first.device, first.precision))
    if not processes.is_first:
        progress = Silent()
    summaries: dict[Path, dict[str, Any]] = {}
    for seed, config in configs.items():
        folder = seed_folder(run, seed)
        with failing_together(processes):
            there = partial(_finished, store, config, folder)
            finished = None if overwrite else processes.from_first(there)
        if finished is not None:
            progress.note(f"seed {seed}: finished before, in {folder}")
            summaries[folder] = finished
            continue
        progress.note(f"seed {seed}: {folder}")
        summaries[folder] = train(
            store,
            config,
            run=folder,
            resume=resume,
            overwrite=overwrite,
            profile=profile,
            loggers=loggers,
            progress=progress,
        )
    return summaries


def _finished(
    store: str | os.PathLike[str], config: TrainConfig, path: Path
) -> dict[str, Any] | None:
    """The summary of the run, where it is finished and the same; None otherwise."""
    folder = RunFolder(path)
    if not folder.summary.is_file():
        return None
    with featurestore.open(store) as opened:
        settled = prepare_job(opened, config).config
        condition = condition_of(folder, settled, fingerprint=opened.fingerprint)
    return folder.read_summary() if condition.kind == "finished" else None
