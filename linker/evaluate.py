"""Score the best weights of a run again: the same figures for the same settings, or under others."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from featurestore.progress import Progress, Silent
from linker.checkpoint import load_weights
from linker.config import Device, Precision, TrainConfig
from linker.config_text import read_config
from linker.data import Protocol, ScoringProtocol
from linker.job import prepare_job
from linker.ranks import Denominator, TieRule
from linker.run_folder import RunError, RunFolder
from linker.scoring import score_split
from linker.store_identity import open_recorded_store, store_identity
from linker.summary import conditions, store_line
from linker.trainer import quiet_lightning, reproducible


def evaluate(
    run: str | os.PathLike[str],
    *,
    split: str = "test",
    protocol: ScoringProtocol | None = None,
    tie_rule: TieRule | None = None,
    denominator: Denominator | None = None,
    store: str | os.PathLike[str] | None = None,
    other_store: bool = False,
    device: Device | None = None,
    precision: Precision | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The figures of one split; None stands for what the run was trained with.

    Args:
        protocol: ``full-kb`` ranks all entities of the store, and reports hits@1/3/5/10/20.
        store: where the store is now; by default where it was.
        other_store: allow a store that the run was not trained from.

    Returns:
        Plain values: the conditions, the figures under the split's name, and the store.

    Raises:
        RunError: no finished run, a file instead of a folder, or another store.
        StoreError: the store is not where it was.
        UnknownId: the store has no such split.
        FieldMissing: the store cannot serve the model under ``full-kb``.
    """
    if Path(run).is_file():
        raise RunError(
            "this is a file, and a trained model is scored by the folder of its run",
            where=os.fspath(run),
            hint="drin-fs evaluate RUN, or for an untrained model: "
            "drin-fs evaluate STORE --model NAME",
        )
    folder = RunFolder(run)
    config = _settings(
        read_config(folder.read_config()),
        protocol=None if protocol == "full-kb" else protocol,
        tie_rule=tie_rule,
        denominator=denominator,
        device=device,
        precision=precision,
    )
    environment = folder.read_environment()
    with open_recorded_store(
        environment["store"],
        given=store,
        other_store=other_store,
        verify_reads=config.verify_reads,
    ) as opened:
        job = prepare_job(opened, config)
        job.check_same_encoder(environment)
        job.rows(split)
        with reproducible(config.seed, job.device), quiet_lightning():
            module = job.module()
            if job.match.learns:
                load_weights(module.network, folder.best_weights)
            scored = score_split(
                job, module, split, protocol=protocol, progress=progress or Silent()
            )
        return {
            **conditions(job.config, job.match),
            **scored.conditions,
            split: scored.figures,
            "run": str(folder.path),
            "store": store_line(store_identity(opened)),
        }


def _settings(
    config: TrainConfig,
    *,
    protocol: Protocol | None,
    tie_rule: TieRule | None,
    denominator: Denominator | None,
    device: Device | None,
    precision: Precision | None,
) -> TrainConfig:
    metrics = config.metrics.model_copy(
        update={
            "tie_rule": tie_rule or config.metrics.tie_rule,
            "denominator": denominator or config.metrics.denominator,
        }
    )
    return config.model_copy(
        update={
            "protocol": protocol or config.protocol,
            "device": device or config.device,
            "precision": precision or config.precision,
            "metrics": metrics,
        }
    )
