"""A model, a store and a configuration that fit each other: what training and scoring start from."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from featurestore import Store
from featurestore.errors import DataError
from linker.config import TrainConfig
from linker.data import BatchLoader, BatchReader, Requests
from linker.machine import resolve_device
from linker.matching import Match, match_model
from linker.metrics import Ranks
from linker.module import LinkerModule
from linker.trainer import interruptible, make_trainer


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything was checked, nothing was computed.

    ``config``: with what was left to the store (edges) filled in.
    """

    store: Store
    config: TrainConfig
    match: Match
    device: torch.device

    def module(self) -> LinkerModule:
        """The network with fresh weights, in its training step."""
        return LinkerModule(
            network=self.match.build(),
            loss=self.config.loss,
            lr=self.config.lr,
            mention_ids=self.store.mentions.ids,
        )

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
        config = self.config
        return BatchLoader(
            reader=BatchReader(store=self.store, paths=self.match.paths, protocol=config.protocol),
            requests=Requests(
                rows=self.rows(split),
                batch_size=config.batch_size,
                seed=config.seed if shuffled else None,
            ),
            workers=config.workers,
            pin_memory=self.device.type == "cuda",
        )

    def score(self, module: LinkerModule, split: str) -> Ranks:
        """The rank of every mention's gold in a split, in the order of the rows.

        Raises:
            TrainingDiverged: the model scores NaN.
        """
        trainer = make_trainer(device=self.device, precision=self.config.precision)
        with interruptible():
            trainer.test(module, self.loader(split), verbose=False)
        return module.ranks


def prepare_job(store: Store, config: TrainConfig) -> Job:
    """Match a configuration with a store.

    Raises:
        FieldMissing: the store lacks a field that the model reads.
        ConfigError: there is no such device here, or it cannot do the precision.
    """
    match = match_model(config.model, store, pooling=config.entity_pooling)
    settled = config.model.model_copy(
        update={"options": match.config, "edges_from_store": False, "without": ()}
    )
    return Job(
        store=store,
        config=config.model_copy(update={"model": settled}),
        match=match,
        device=resolve_device(config.device, config.precision),
    )
