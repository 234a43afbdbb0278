"""A model, a store and a configuration that fit each other: what training and scoring start from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from featurestore import Store
from featurestore.errors import DataError
from linker.buffers import Buffers
from linker.config import TrainConfig
from linker.data import BatchLoader, BatchReader
from linker.machine import resolve_device
from linker.matching import Match, match_model
from linker.module import HandOverScores, LinkerModule
from linker.pointers import check_first
from linker.processes import ALONE, Processes
from linker.ranks import Ranks, ScoreSink
from linker.requests import Requests, sharing_candidates
from linker.schedules import factor_of, updates_of_run
from linker.trainer import interruptible, make_trainer

if TYPE_CHECKING:
    from linker.online import OnlineText


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything was checked, nothing was computed.

    ``config``: with what was left to the store (edges, text encoder) filled in. ``online``: the
    text encoder inside training; None = the features of texts are stored. ``buffers``: of the batches
    of all splits, which are never read at the same time. ``processes``: that train and score together.
    """

    store: Store
    config: TrainConfig
    match: Match
    device: torch.device
    online: OnlineText | None = None
    buffers: Buffers = field(default_factory=Buffers)
    processes: Processes = ALONE

    @property
    def candidates(self) -> int:
        """Candidates of each mention that the model sees, without a gold slot."""
        return self.config.candidates or self.store.width("mentions/candidates")

    def module(self, *, to_train: bool = False) -> LinkerModule:
        """The network with fresh weights, in its training step.

        Args:
            to_train: with the learning rates of the configured run.

        Raises:
            UnknownId, DataError: ``to_train`` a store without training mentions.
            ConfigError: the warm-up is longer than the run.
        """
        model = self.match.build()
        network: nn.Module = model
        if self.online is not None:  # second, so that the model's first weights are those without
            network = self.online.network(model, self.match.made)
        graphs = self.config.cuda_graphs and model.recordable and network is model
        if self.config.compile:
            network.compile(dynamic=True)  # batches differ in their distinct entities
        return LinkerModule(
            network=network,
            loss=self.config.loss,
            lr=self.config.lr,
            encoder_lr=self.config.text.lr,
            graphs_of=self.config.batch_size if graphs and not self.config.compile else None,
            factor=self._rate_factor() if to_train and self.config.schedule.is_on else None,
            fused=self.config.clip is None or self.config.precision != "16-mixed",
            processes=self.processes,
        )

    def shared_by(self, processes: Processes) -> Job:
        """The same job, of one of these processes, on its own device."""
        if self.device.type != "cuda" or not processes.several:
            return replace(self, processes=processes)
        return replace(self, processes=processes, device=torch.device("cuda", processes.local))

    def _rate_factor(self) -> Callable[[int], float]:
        # Lightning's estimated_stepping_batches would start to read before a checkpoint says where
        updates = updates_of_run(self.config, mentions=len(self.rows("train")))
        return factor_of(self.config.schedule, updates)

    def encoder_identity(self) -> dict[str, Any]:
        """What the environment of a run says of its text encoder; nothing without one."""
        return {} if self.online is None else {"text_encoder": self.online.info.as_json()}

    def check_same_encoder(self, environment: Mapping[str, Any]) -> None:
        """Refuse a text encoder whose files are not those that a run recorded.

        Raises:
            EncoderError: a file differs.
        """
        if self.online is not None and "text_encoder" in environment:
            self.online.check_same(environment["text_encoder"])

    def rows(self, split: str) -> range:
        """The mention rows of a split.

        Raises:
            UnknownId: the store has no such split.
            DataError: the split is empty.
        """
        rows = self.store.mentions.split(split)
        if not len(rows):
            raise DataError(f"the split {split!r} holds no mentions", where=str(self.store.path))
        return rows

    def loader(self, split: str, *, shuffled: bool = False) -> BatchLoader:
        """The batches of a split; shuffled by the seed and the number of the epoch.

        Raises:
            UnknownId, DataError: as ``rows``.
        """
        config, online = self.config, self.online
        rows, on_gpu = self.rows(split), self.device.type == "cuda"
        return BatchLoader(
            reader=BatchReader(
                store=self.store,
                paths=self.match.paths,
                protocol=config.protocol,
                first=config.candidates,
                texts=None
                if online is None
                else online.reader(
                    self.match.made, with_entities=shuffled and config.text.finetune
                ),
                # of several processes each widens its piece when it is used: what is read ahead
                # stays half as large, in every one of them
                widen=self.device.type == "cpu" and not self.processes.several,
                as_stored=self.match.takes_float16,
                buffers=self.buffers,
            ),
            requests=Requests(
                rows=rows,
                batch_size=config.batch_size,
                seed=config.seed if shuffled else None,
                neighbours=sharing_candidates(self.store, rows, block=config.order_block)
                if shuffled and config.order == "local"
                else None,
                share=self.processes.share,
            ),
            workers=config.workers,
            pin_memory=on_gpu,
        )

    def score(self, module: LinkerModule, split: str, *, sink: ScoreSink | None = None) -> Ranks:
        """The rank of every mention's gold in a split, in the order of the rows.

        Args:
            sink: is given the scores of each batch, in the first process.

        Raises:
            TrainingDiverged: the model scores NaN.
        """
        trainer = make_trainer(
            device=self.device,
            precision=self.config.precision,
            callbacks=[] if sink is None else [HandOverScores(sink)],
            processes=self.processes,
        )
        with interruptible():
            trainer.test(module, self.loader(split), verbose=False)
        return module.ranks


def prepare_job(store: Store, config: TrainConfig) -> Job:
    """Match a configuration with a store.

    Raises:
        FieldMissing: the store lacks a field that the model reads.
        ConfigError: there is no such device here, or it cannot do the precision; the store lists
            fewer candidates than are asked for; or, as DataError too, the text encoder inside
            training does not fit the store.
    """
    if config.candidates is not None:
        check_first(config.candidates, store.width("mentions/candidates"), where=str(store.path))
    online = None
    if config.text.source == "online":
        from linker.online import settle_online  # imports transformers

        online = settle_online(store, config)
    match = match_model(
        config.model,
        store,
        pooling=config.entity_pooling,
        online_width=None if online is None else online.width,
    )
    settled: dict[str, Any] = {
        "model": config.model.model_copy(
            update={"options": match.config, "edges_from_store": False, "without": ()}
        )
    }
    if online is not None:
        settled["text"] = online.section
    device = resolve_device(config.device, config.precision)
    return Job(  # a worker must not start the GPU: its buffers are not pinned
        store=store,
        config=config.model_copy(update=settled),
        online=online,
        match=match,
        device=device,
        buffers=Buffers(pinned=device.type == "cuda" and not config.workers),
    )
