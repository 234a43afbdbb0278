"""Score the best weights of a run again: the same figures for the same settings, or under others."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from featurestore.errors import ConfigError
from featurestore.progress import Progress, Silent
from linker.checkpoint import load_weights
from linker.config import Device, Precision, TrainConfig
from linker.config_text import read_config
from linker.data import Protocol, ScoringProtocol
from linker.environment_diff import environment_notes
from linker.job import prepare_job
from linker.machine import environment
from linker.ranks import Denominator, TieRule
from linker.report_words import ALL_ENTITIES
from linker.run_folder import RunError, RunFolder
from linker.scoring import FullKb, check_not_full_kb, score_split
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
    candidates: int | None = None,
    store: str | os.PathLike[str] | None = None,
    other_store: bool = False,
    device: Device | None = None,
    precision: Precision | None = None,
    record: bool = False,
    full_kb: FullKb | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The figures of one split; None stands for what the run was trained with.

    What of the environment is not as it was in training is said, and is no error.

    Args:
        protocol: ``full-kb`` ranks all entities of the store, and reports hits@1/3/5/10/20.
        candidates: so many of each list, the first ones; not with ``full-kb``.
        store: where the store is now; by default where it was.
        other_store: allow a store that the run was not trained from.
        record: write the split's ranks and the scores of its candidates into the run folder, as
            training does for valid and test; for runs of earlier versions, and for other splits.
        full_kb: of that protocol: how many processes, and a first stage. Figures behind a first stage
            stand under protocol ``two-stage``.

    Returns:
        Plain values: the conditions, the figures under the split's name, and the store.

    Raises:
        RunError: no finished run, a file instead of a folder, or another store.
        StoreError: the store is not where it was.
        UnknownId: the store has no such split.
        FieldMissing: the store cannot serve the model under ``full-kb``.
        ConfigError: ``record`` with settings that are not the run's own, or ``candidates`` that the
            store has not, or that ``full-kb`` does not know; or a first stage that cannot be.
        RunLocked, WriteError: the run folder, or an index, cannot be written.
        ProcessLost: one of several processes was killed.
    """
    if Path(run).is_file():
        raise RunError(
            "this is a file, and a trained model is scored by the folder of its run",
            where=os.fspath(run),
            hint="drin-fs evaluate RUN, or for an untrained model: "
            "drin-fs evaluate STORE --model NAME",
        )
    folder, progress = RunFolder(run), progress or Silent()
    check_not_full_kb(candidates, protocol)
    if full_kb is not None:
        full_kb.check(protocol)
    if record:
        _check_own_settings(
            folder,
            protocol=protocol,
            candidates=candidates,
            precision=precision,
            other_store=other_store,
        )
    config = _settings(
        read_config(folder.read_config()),
        protocol=None if protocol == "full-kb" else protocol,
        tie_rule=tie_rule,
        denominator=denominator,
        candidates=candidates,
        device=device,
        precision=precision,
    )
    recorded = folder.read_environment()
    with open_recorded_store(
        recorded["store"],
        given=store,
        other_store=other_store,
        verify_reads=config.verify_reads,
    ) as opened:
        job = prepare_job(opened, config)
        job.check_same_encoder(recorded)
        job.rows(split)
        for note in environment_notes(recorded, environment(job.device, opened)):
            progress.note(note)
        with (
            folder.locked(progress=progress) if record else nullcontext(),
            reproducible(config.seed, job.device),
            quiet_lightning(),
        ):
            module = job.module()
            if job.match.learns:
                load_weights(module.network, folder.best_weights)
            scored = score_split(
                job,
                module,
                split,
                protocol=protocol,
                progress=progress,
                folder=folder if record else None,
                full_kb=full_kb,
            )
        return {
            **conditions(job.config, job.match),
            **scored.conditions,
            split: scored.figures,
            "run": str(folder.path),
            "store": store_line(store_identity(opened)),
        }


def _check_own_settings(
    folder: RunFolder,
    *,
    protocol: ScoringProtocol | None,
    candidates: int | None,
    precision: Precision | None,
    other_store: bool,
) -> None:
    """Refuse to record what the run itself would not have.

    Raises:
        ConfigError: names the option.
        RunError: the run was not finished.
    """
    given = {
        f"--protocol {protocol}": protocol,
        f"--candidates {candidates}": candidates,
        f"--precision {precision}": precision,
        "--other-store": other_store,
    }
    option = next((name for name, value in given.items() if value), None)
    if option is not None:
        raise ConfigError(
            "what is recorded in a run was scored with the run's own settings and store",
            where=option,
            hint=f"leave out {option}, or --record",
        )
    own = folder.read_summary()["protocol"]
    if own in ALL_ENTITIES:
        raise ConfigError(
            f"the run was scored under protocol {own}, whose scores are not recorded: "
            "there is one for each entity of the store",
            where=str(folder.path),
            hint="file another run of the model under protocol strict",
        )


def _settings(
    config: TrainConfig,
    *,
    protocol: Protocol | None,
    tie_rule: TieRule | None,
    denominator: Denominator | None,
    candidates: int | None,
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
            "candidates": candidates or config.candidates,
            "device": device or config.device,
            "precision": precision or config.precision,
            "metrics": metrics,
        }
    )
