"""Score a split under any protocol, the ones that training knows and ``full-kb``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from featurestore.errors import ConfigError
from featurestore.progress import Progress
from linker.data import ScoringProtocol
from linker.first_stage import FirstStage
from linker.full_kb import KS, rank_all_entities
from linker.job import Job
from linker.models.base import Model
from linker.module import LinkerModule
from linker.ranks import Ranks, recall
from linker.run_folder import RunFolder
from linker.summary import figures, split_metrics


def check_not_full_kb(candidates: int | None, protocol: ScoringProtocol | None) -> None:
    """Refuse lists of candidates where all entities are ranked.

    Raises:
        ConfigError: says which option to leave out.
    """
    if candidates is not None and protocol == "full-kb":
        raise ConfigError(
            "protocol full-kb ranks all entities of the store, and no list of candidates",
            where=f"--candidates {candidates}",
            hint="leave out --candidates, or --protocol full-kb",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FullKb:
    """How protocol ``full-kb`` is carried out; see :func:`linker.full_kb.rank_all_entities`."""

    devices: int = 1
    first_stage: FirstStage | None = None

    def check(self, protocol: ScoringProtocol | None) -> None:
        """Refuse options that the protocol does not know.

        Raises:
            ConfigError: names the option.
        """
        if self.devices < 1:
            raise ConfigError(
                "there must be a process", where=f"--devices {self.devices}", hint="1 or more"
            )
        if self.first_stage is not None:
            self.first_stage.check(least=max(KS))
        given = {f"--devices {self.devices}": self.devices > 1, "--first-stage": self.first_stage}
        option = next((name for name, value in given.items() if value), None)
        if protocol != "full-kb" and option is not None:
            raise ConfigError(
                "only protocol full-kb is scored so: candidates of a list are few",
                where=option,
                hint=f"add --protocol full-kb, or leave out {option.partition(' ')[0]}",
            )


class Scored(NamedTuple):
    """The ranks of a split, its figures, and the conditions they stand under beside the job's."""

    ranks: Ranks
    figures: dict[str, float | int | None]
    conditions: dict[str, Any]


def score_into(folder: RunFolder, job: Job, module: LinkerModule, split: str) -> Ranks:
    """Score a split under the job's own protocol; its scores and ranks become files of the run.

    Of several processes the first one writes them.

    Raises:
        TrainingDiverged: the model scores NaN.
        WriteError: the disk is full or fails.
    """
    if not job.processes.is_first:
        return job.score(module, split, sink=_nowhere)
    rows = job.rows(split)
    with folder.writing_scores(split, mentions=len(rows), candidates=job.candidates) as sink:
        ranks = job.score(module, split, sink=sink)
    folder.write_ranks(split, ids=job.store.mentions.ids(rows), ranks=ranks)
    return ranks


def _nowhere(scores: NDArray[np.float32]) -> None:
    """Of another process than the first, which writes the scores of all."""


def score_split(
    job: Job,
    module: LinkerModule,
    split: str,
    *,
    protocol: ScoringProtocol | None,
    progress: Progress,
    folder: RunFolder | None = None,
    full_kb: FullKb | None = None,
) -> Scored:
    """Rank the golds of a split.

    Args:
        protocol: ``full-kb`` ranks all entities, and reports hits@1/3/5/10/20; otherwise the job's
            own protocol counts.
        folder: of a run in which ranks, and the scores of retrieved candidates, are filed.
        full_kb: of that protocol.

    Raises:
        ConfigError: ``full-kb`` with a text encoder inside training.
        FieldMissing: the store cannot serve the model under ``full-kb``.
        TrainingDiverged: the model scores NaN.
        ProcessLost: one of several processes was killed.
    """
    if protocol != "full-kb":
        ranks = score_into(folder, job, module, split) if folder else job.score(module, split)
        return Scored(ranks, figures(split_metrics(ranks, job.config.metrics)), {})
    if not isinstance(module.network, Model):
        raise ConfigError(
            "protocol full-kb reads stored features, and this run makes those of texts itself",
            where="--protocol full-kb",
            hint="score it under strict or paper, or train one with --text stored",
        )
    if job.config.candidates is not None:
        progress.note(
            "protocol full-kb ranks all entities: that the run saw the first "
            f"{job.config.candidates} candidates of each list has no part in it"
        )
    full_kb = full_kb or FullKb()
    ranks, entities, retrieval = rank_all_entities(
        job,
        module.network,
        split,
        progress=progress,
        devices=full_kb.devices,
        first_stage=full_kb.first_stage,
    )
    if folder is not None:
        folder.write_ranks(split, ids=job.store.mentions.ids(job.rows(split)), ranks=ranks)
    metrics = job.config.metrics.model_copy(update={"ks": KS})
    found = figures(split_metrics(ranks, metrics))
    conditions = {"protocol": "full-kb", "entities": entities, "candidates": None}
    if retrieval is not None:
        conditions |= {"protocol": "two-stage", "first_stage": retrieval.conditions}
        found |= {f"recall@{retrieval.retrieve}": recall(ranks, job.config.metrics.denominator)}
    return Scored(ranks, found, conditions)
