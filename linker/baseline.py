"""Score a model that has nothing to learn on a store, and file the figures as a run's."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import featurestore
from featurestore.errors import ConfigError, StoreError
from featurestore.progress import Progress, Silent
from linker.config import TrainConfig
from linker.config_text import to_yaml
from linker.data import ScoringProtocol
from linker.job import Job, prepare_job
from linker.machine import environment
from linker.model_card import write_card
from linker.models import MODELS, model_class
from linker.run_folder import RunFolder
from linker.scoring import FullKb, check_not_full_kb, score_split
from linker.store_identity import store_identity
from linker.summary import conditions, store_line
from linker.trainer import quiet_lightning, reproducible


def evaluate_untrained(
    store: str | os.PathLike[str],
    config: TrainConfig,
    *,
    splits: Sequence[str] = ("test",),
    run: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    protocol: ScoringProtocol | None = None,
    full_kb: FullKb | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The figures of some splits, as :func:`linker.train.train` gives them.

    Args:
        store: path of the store.
        config: names a model that does not learn; what only training reads has no effect.
        run: a folder for configuration, environment, ranks, scores and summary, so that
            ``drin-fs report`` shows them beside those of trained models; None = none.
        overwrite: replace a run that is there.
        protocol: ``full-kb`` ranks all entities of the store; otherwise the config's counts.
        full_kb: of that protocol, as for :func:`linker.evaluate.evaluate`.

    Returns:
        Plain values: the conditions, the figures under each split's name, and the store.

    Raises:
        ConfigError: the model learns, or the folder is not empty; or ``candidates`` that the store
            has not, or that ``full-kb`` does not know.
        RunLocked: another process writes to the folder.
        StoreError: ``store`` is not a store.
        FieldMissing: the store lacks a field that the model reads.
        UnknownId: the store has no such split.
    """
    _check_untrained(config.model.name, store)
    check_not_full_kb(config.candidates, protocol)
    if full_kb is not None:
        full_kb.check(protocol)
    if Path(store).is_dir():
        raise StoreError(
            "this is a folder, and an untrained model is scored on a store",
            where=str(store),
            hint=f"drin-fs evaluate STORE --model {config.model.name}; "
            "a RUN is evaluated without --model",
        )
    progress = progress or Silent()
    folder = None if run is None else RunFolder(run)
    with featurestore.open(store) as opened:
        job = prepare_job(opened, config)
        for split in splits:
            job.rows(split)
        filing: AbstractContextManager[None] = nullcontext()
        if folder is not None:
            filing = _filing(folder, job, overwrite=overwrite, progress=progress)
        with filing:
            with reproducible(config.seed, job.device), quiet_lightning():
                module = job.module()
                scored = {
                    split: score_split(
                        job,
                        module,
                        split,
                        protocol=protocol,
                        progress=progress,
                        folder=folder,
                        full_kb=full_kb,
                    )
                    for split in splits
                }
            summary = {
                **conditions(job.config, job.match),
                **scored[splits[0]].conditions,
                **{split: each.figures for split, each in scored.items()},
                "parameters": 0,
                "store": store_line(store_identity(opened)),
            }
            if folder:
                folder.write_summary(summary)  # last: it says that the run is whole
                write_card(folder, opened, progress=progress)
    return summary


@contextmanager
def _filing(folder: RunFolder, job: Job, *, overwrite: bool, progress: Progress) -> Iterator[None]:
    """The folder of a run while it is scored; of one that fails nothing is left there."""
    with folder.locked(progress=progress):
        folder.start(overwrite=overwrite, checkpoints=False)
        try:
            folder.write_config(to_yaml(job.config))  # first: it says that there is a run
            folder.write_environment(environment(job.device, job.store))
            yield
        except BaseException:
            folder.discard()
            raise


def check_learns(name: str, store: str | os.PathLike[str]) -> None:
    """Refuse to train what has no weights.

    Raises:
        ConfigError: says how the model is scored instead.
    """
    if not model_class(name)[0].learns:
        raise ConfigError(
            f"model {name} has no weights: there is nothing to train",
            where=f"--model {name}",
            hint=f"score it as it is: drin-fs evaluate {os.fspath(store)} --model {name}",
        )


def _check_untrained(name: str, store: str | os.PathLike[str]) -> None:
    if model_class(name)[0].learns:
        untrained = ", ".join(n for n, (network, _) in MODELS.items() if not network.learns)
        raise ConfigError(
            f"model {name} learns, so it needs a run (scored as they are: {untrained})",
            where=f"--model {name}",
            hint=f"drin-fs train {os.fspath(store)} --model {name} -o RUN, "
            "then drin-fs evaluate RUN",
        )
