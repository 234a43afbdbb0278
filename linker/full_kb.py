"""Protocol ``full-kb``: rank the gold of each mention among all entities of the store.

Mentions are taken some at a time, and the knowledge base passes by them in blocks, so that memory
does not grow with either. These groups of mentions are also what several processes share out among
them. What the protocol means for each model: ``docs/decisions/protocols.md``; what it costs, and the
first stage: ``docs/full-kb.md``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from featurestore import Store
from featurestore.errors import ConfigError
from featurestore.progress import Progress
from linker.config import TrainConfig
from linker.diagnosis import scored_nan
from linker.first_stage import FirstStage, Retrieval, prepare
from linker.job import Job, prepare_job
from linker.knowledge_base import KnowledgeBase
from linker.machine import autocast
from linker.metrics import rank_gold_in_blocks
from linker.models.base import Model
from linker.process_pool import map_in_processes, threads_of_each
from linker.ranks import Ranks
from linker.requests import Requests
from linker.trainer import reproducible
from linker.two_stage import TwoStages

#: hits@k that are reported: the columns of MIMIC's tables.
KS = (1, 3, 5, 10, 20)

#: Mentions that the knowledge base passes by at a time (chosen here: the work a pass does once an
#: entity is then small beside that of the pairs).
MENTIONS = 256

#: Mention–entity pairs of a block, by device (chosen here: DRIN holds about eight vectors a pair,
#: which at its 768 channels are 0.4 GB; a GPU has more room, and needs more work at a time).
PAIRS: Mapping[str, int] = {"cpu": 1 << 14, "cuda": 1 << 19}

#: What ranks the golds of some mentions by their rows.
Ranker: TypeAlias = Callable[[np.ndarray], Ranks]


class Ranked(NamedTuple):
    """Ranks in the order of the rows, among how many entities, and what the first stage was."""

    ranks: Ranks
    entities: int
    retrieval: Retrieval | None


_SCRATCH = "drin-fs-full-kb-"


def rank_all_entities(
    job: Job,
    network: Model[Any],
    split: str,
    *,
    progress: Progress,
    devices: int = 1,
    first_stage: FirstStage | None = None,
) -> Ranked:
    """The rank of every mention's gold in a split.

    Args:
        devices: processes that share the mentions, each on a GPU of its own, or on its part of the
            processors. The ranks are those of one process that computes with as many threads.
        first_stage: let the model rank what this retrieves, in place of all entities.

    Raises:
        UnknownId, DataError: no such split, or an empty one.
        FieldMissing, DataError: as ``KnowledgeBase``.
        ConfigError: fewer GPUs than ``devices``; or as ``first_stage.prepare``.
        TrainingDiverged: the model scores NaN.
        ProcessLost: a process was killed.
    """
    _check_devices(devices, job.device)
    groups = list(Requests(rows=job.rows(split), batch_size=MENTIONS))
    processes = min(devices, len(groups))
    network = network.to(job.device).eval()
    base = _base_of(job)
    alone = processes == 1 and first_stage is None  # needs no files
    with nullcontext("") if alone else tempfile.TemporaryDirectory(prefix=_SCRATCH) as scratch:
        order = _Order(
            store=job.store,
            config=job.config,
            pairs=PAIRS[job.device.type],
            threads=threads_of_each(processes),
            retrieval=None,
            weights=Path(scratch) / "weights",
        )
        if first_stage is not None:
            first_stage.check(least=max(KS))
            with _scoring(job):
                retrieval = prepare(
                    first_stage, network, base, folder=Path(scratch), progress=progress
                )
            order = replace(order, retrieval=retrieval)
        with (
            _results(order, job, network, base, groups, processes=processes) as results,
            progress.stage(
                "ranking all entities" if first_stage is None else "ranking the retrieved",
                len(job.rows(split)),
                "mentions",
            ) as stage,
        ):
            found: dict[int, Ranks] = {}
            for number, ranks in results:
                found[number] = ranks
                stage.advance(len(ranks))
    ranks = Ranks.concatenate(found[number] for number in range(len(groups)))
    return Ranked(ranks, len(base), order.retrieval)


@contextmanager
def _results(
    order: _Order,
    job: Job,
    network: Model[Any],
    base: KnowledgeBase,
    groups: Sequence[np.ndarray],
    *,
    processes: int,
) -> Iterator[Iterator[tuple[int, Ranks]]]:
    """Number and ranks of each group of mentions, as they come."""
    if processes == 1:
        with _scoring(job):
            yield enumerate(map(order.ranker(network, base), groups))
        return
    save_file(network.state_dict(), order.weights)
    with closing(map_in_processes(order.open, groups, processes=processes)) as results:
        yield results


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What ranks mentions needs, as a process can be told it: a store and weights by their paths.

    ``pairs``: mention–entity pairs to score at a time. ``threads``: of a process.
    """

    store: Store
    config: TrainConfig
    pairs: int
    threads: int
    retrieval: Retrieval | None
    weights: Path

    def open(self, number: int) -> Ranker:
        """In a process of its own: read everything, on the GPU with this number if there are GPUs."""
        torch.set_num_threads(self.threads)
        if torch.cuda.is_available() and self.config.device != "cpu":
            torch.cuda.set_device(number)
        job = prepare_job(self.store, self.config)
        network = job.match.build()
        network.load_state_dict(load_file(self.weights))
        network = network.to(job.device).eval()
        rank = self.ranker(network, _base_of(job))

        def scored(rows: np.ndarray) -> Ranks:
            with _scoring(job), reproducible(self.config.seed, job.device):
                return rank(rows)

        return scored

    def ranker(self, network: Model[Any], base: KnowledgeBase) -> Ranker:
        """What ranks, to be called inside ``_scoring``."""
        if self.retrieval is None:
            return partial(_rank, network, base, pairs=self.pairs)
        search = self.retrieval.search(network, base)
        return TwoStages(network, base, search, pairs=self.pairs)


@contextmanager
def _scoring(job: Job) -> Iterator[None]:
    with torch.inference_mode(), autocast(job.device, job.config.precision):
        yield


def _base_of(job: Job) -> KnowledgeBase:
    return KnowledgeBase(
        store=job.store, paths=job.match.paths, device=job.device, reader=f"model {job.match.name}"
    )


def _check_devices(devices: int, device: torch.device) -> None:
    """Refuse more processes than there are GPUs."""
    if device.type == "cuda" and devices > torch.cuda.device_count():
        raise ConfigError(
            f"there are {torch.cuda.device_count()} GPUs for {devices} processes",
            where=f"--devices {devices}",
            hint="give as many --devices as there are GPUs, or --device cpu",
        )


def _rank(network: Model[Any], base: KnowledgeBase, rows: np.ndarray, *, pairs: int) -> Ranks:
    """The ranks of some mentions' golds among all entities."""
    mentions = base.read_mentions(rows)
    size = max(1, pairs // len(rows))
    firsts = np.arange(0, len(base), size)
    holds_gold = np.isin(firsts // size, mentions.batch.answer.cpu().numpy() // size)
    order = [*firsts[holds_gold].tolist(), *firsts[~holds_gold].tolist()]
    scores = network.score_in_blocks(lambda: (base.block(mentions, n, size) for n in order))
    ranks = rank_gold_in_blocks(
        zip(order, scores, strict=True),
        mentions.batch.answer,
        candidates=len(base),
        waiting=size * int(holds_gold.sum()),
    )
    if ranks.nan_golds:
        ids = base.store.mentions.ids(rows[ranks.retrieved & np.isinf(ranks.optimistic)])
        raise scored_nan(ids)
    return ranks
