"""What the edges of a trained DRIN say of one mention and each of its candidates.

    weights = edge_weights("runs/drin", store, row)
    weights.of("tt", layer=1)       # (C,) the text–text edge that the first layer reads

The run's network scores the mention once more, and every graph layer is watched as it is given its
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
from linker.batch import Batch
from linker.config import TrainConfig
from linker.config_text import read_config
from linker.data import BatchReader
from linker.edge_weights import EdgeWeights
from linker.job import Job, prepare_job
from linker.models import model_class
from linker.models.drin import Drin
from linker.models.drin_graph import ENDS, Edge, GraphLayer
from linker.online_network import OnlineNetwork
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
        means, deviations = zip(*(_in_arrays(edges, len(scores)) for edges in seen), strict=True)
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
            weights=np.stack(means),
            deviations=np.stack(deviations),
        )


def edge_weights(run: RecordedRun | str | os.PathLike[str], store: Store, row: int) -> EdgeWeights:
    """The edges of one mention; for many, an :class:`EdgeReader` loads the network once.

    Raises:
        RunError, ConfigError, UnknownId: as :class:`EdgeReader` and its ``weights``.
    """
    return EdgeReader(run, store).weights(row)


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
    edges: dict[Edge, Tensor], candidates: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(C, 4) mean and standard deviation over the channels of one layer's edges; NaN = not read."""
    means, deviations = np.full((2, candidates, len(EDGES)), np.nan, np.float32)
    for edge, values in edges.items():
        channels = values[0].reshape(candidates, -1)
        means[:, EDGES.index(edge)] = channels.mean(dim=1).numpy()
        deviations[:, EDGES.index(edge)] = channels.std(dim=1, correction=0).numpy()
    return means, deviations
