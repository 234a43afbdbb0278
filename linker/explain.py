"""What the edges of a trained DRIN say of a mention and each of its candidates, and of all of them.

    weights = edge_weights("runs/drin", store, row)
    weights.of("tt", layer=1)       # (C,) the text–text edge that the first layer reads
    summarise_edges("runs/drin", store, split="test")       # means over a split, by group

The run's network scores the mentions once more, and every graph layer is watched as it is given its
edges. Training is not touched: nothing in the model knows of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from featurestore import Store
from featurestore.errors import ConfigError
from featurestore.progress import Progress, Silent
from featurestore.schema import NO_ROW
from linker.batch import Batch
from linker.config import TrainConfig
from linker.config_text import read_config
from linker.data import BatchReader
from linker.edge_summary import PARTS, EdgeSummary, EdgeSums, all_groupings
from linker.edge_weights import EdgeWeights
from linker.job import Job, prepare_job
from linker.mention_groups import mention_groupings
from linker.models import model_class
from linker.models.drin import Drin
from linker.models.drin_graph import ENDS, Edge, GraphLayer
from linker.module import tabulate
from linker.online_network import OnlineNetwork
from linker.pointers import candidate_rows
from linker.ranks import rank_scores
from linker.recorded import RecordedRun
from linker.run_folder import RunFolder
from linker.trained import trained_network
from linker.trainer import reproducible

#: The edges in the order of the arrays: mention side first, t text, i image.
EDGES: tuple[Edge, ...] = tuple(ENDS)


class EdgeReader:
    """The network of a run, loaded once for the edges of any number of mentions.

    Computes on the CPU in float32: the edges of a run of lower precision differ by its rounding. May be
    shared among threads that take turns.

    Raises:
        RunError: no finished run, another store, or weights that do not fit.
        ConfigError: the run's model has no edges.
    """

    def __init__(self, run: RecordedRun | str | os.PathLike[str], store: Store) -> None:
        self._run = run if isinstance(run, RecordedRun) else RecordedRun(run)
        folder = RunFolder(self._run.path)
        config = read_config(folder.read_config())
        _check_has_edges(config, self._run)
        self._run.check_store(store)
        here = {"device": "cpu", "precision": "32", "compile": False}
        self._job = prepare_job(store, config.model_copy(update=here))
        self._job.check_same_encoder(self._run.environment)
        self._network = trained_network(self._job, folder)

    def weights(self, row: int) -> EdgeWeights:
        """The edges of the mention at ``row``, by the run's best weights.

        Raises:
            UnknownId: no such row.
        """
        job, model = self._job, _drin(self._network)
        with reproducible(job.config.seed, job.device), torch.inference_mode():
            batch = _batch_of(job, row)
            with _watching(model) as seen:
                scores = self._network(batch)[0].float().numpy()
        found = [_in_arrays(edges, (1, len(scores))) for edges in seen]
        return EdgeWeights(
            run=str(self._run.path),
            model=self._run.model,
            protocol=job.config.protocol,
            row=row,
            edges=EDGES,
            edge_kind=model.config.edge_kind,
            edge_update=model.config.edge_update,
            retrieved=batch.retrieved,
            scores=scores,
            weights=np.stack([means[0] for means, _ in found]),
            deviations=np.stack([deviations[0] for _, deviations in found]),
        )

    def summary(self, split: str, *, progress: Progress | None = None) -> EdgeSummary:
        """The edges of all mentions of a split, by group; one batch of them in memory.

        Raises:
            UnknownId: no such split.
            DataError: the split is empty.
        """
        job, model = self._job, _drin(self._network)
        rows, store = job.rows(split), job.store
        known = mention_groupings(store, split)
        sums, right = EdgeSums(all_groupings(known.groupings)), 0
        loader = job.loader(split)
        with (
            (progress or Silent()).stage("edges", len(rows), "mentions") as stage,
            reproducible(job.config.seed, job.device),
            torch.inference_mode(),
        ):
            tabulate(self._network, loader)
            for batch in loader:
                with _watching(model) as seen:
                    scores = self._network(batch.to(job.device).float()).float().numpy()
                numbers, answer = batch.mention_rows.numpy(), batch.answer.numpy()
                is_right = self._right(scores[:, : batch.retrieved], answer)
                right += int(is_right.sum())
                sums.add(
                    np.stack([_in_arrays(each, scores.shape)[0] for each in seen], axis=1),
                    answer=answer,
                    retrieved=batch.retrieved,
                    filled=self._filled(numbers),
                    codes=[
                        np.zeros(len(numbers), np.int64),
                        np.where(is_right, 0, 1),
                        *(each.codes[numbers - rows.start] for each in known.groupings),
                    ],
                )
                stage.advance(len(numbers))
        return EdgeSummary(
            run=str(self._run.path),
            name=self._run.name,
            model=self._run.model,
            protocol=job.config.protocol,
            tie_rule=self._run.tie_rule,
            split=split,
            mentions=len(rows),
            right=right,
            layers=len(model.graph),
            edges=EDGES,
            parts=PARTS,
            edge_kind=model.config.edge_kind,
            edge_update=model.config.edge_update,
            groupings=sums.groupings(),
            not_known=known.not_known,
        )

    def _right(self, scores: NDArray[np.float32], answer: NDArray[np.integer]) -> NDArray[np.bool_]:
        """(B,) whether the gold of each mention is ranked first."""
        return rank_scores(scores, answer).under(self._run.tie_rule) <= 1

    def _filled(self, rows: NDArray[np.integer]) -> NDArray[np.bool_]:
        """(B, C) whether there is an entity at each place that the forward pass sees."""
        slot = self._job.config.protocol == "paper"
        first = self._job.config.candidates
        return candidate_rows(self._job.store, rows, gold_slot=slot, first=first).entities != NO_ROW


def edge_weights(run: RecordedRun | str | os.PathLike[str], store: Store, row: int) -> EdgeWeights:
    """The edges of one mention; for many, an :class:`EdgeReader` loads the network once.

    Raises:
        RunError, ConfigError, UnknownId: as :class:`EdgeReader` and its ``weights``.
    """
    return EdgeReader(run, store).weights(row)


def summarise_edges(
    run: RecordedRun | str | os.PathLike[str],
    store: Store,
    *,
    split: str = "test",
    progress: Progress | None = None,
) -> EdgeSummary:
    """The edges of all mentions of a split, by group.

    Raises:
        RunError, ConfigError, UnknownId, DataError: as :class:`EdgeReader` and its ``summary``.
    """
    return EdgeReader(run, store).summary(split, progress=progress)


def has_edges(run: RecordedRun) -> bool:
    """Whether the run's model has edges to look at."""
    return bool(model_class(run.model)[0].edge_fields)


def _check_has_edges(config: TrainConfig, run: RecordedRun) -> None:
    if not model_class(config.model.name)[0].edge_fields:
        raise ConfigError(
            f"model {config.model.name} has no edges",
            where=str(run.path),
            hint="edges are those of a run of drin; leave out --edges",
        )


def _drin(network: nn.Module) -> Drin:
    inner = network.network if isinstance(network, OnlineNetwork) else network
    assert isinstance(inner, Drin)
    return inner


def _batch_of(job: Job, row: int) -> Batch:
    """The batch of one mention, as an evaluation would read it."""
    texts = None
    if job.online is not None:
        texts = job.online.reader(job.match.made, with_entities=True)
    reader = BatchReader(
        store=job.store,
        paths=job.match.paths,
        protocol=job.config.protocol,
        first=job.config.candidates,
        texts=texts,
    )
    return reader[np.array([row])].to(job.device).float()


@contextmanager
def _watching(model: Drin) -> Iterator[list[dict[Edge, Tensor]]]:
    """The edges that each graph layer is given while the block runs, in the order of the layers."""
    seen: list[dict[Edge, Tensor]] = []

    def see(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        assert isinstance(layer, GraphLayer)
        _, _, edges = inputs
        seen.append({edge: edges[edge] for edge in layer.plan.edges})

    handles = [layer.register_forward_pre_hook(see) for layer in model.graph]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _in_arrays(
    edges: dict[Edge, Tensor], shape: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(B, C, 4) mean and standard deviation over the channels of a layer's edges; NaN = not read."""
    means, deviations = np.full((2, *shape, len(EDGES)), np.nan, np.float32)
    for edge, values in edges.items():
        channels = values.reshape(*shape, -1)
        means[:, :, EDGES.index(edge)] = channels.mean(dim=2).numpy()
        deviations[:, :, EDGES.index(edge)] = channels.std(dim=2, correction=0).numpy()
    return means, deviations
