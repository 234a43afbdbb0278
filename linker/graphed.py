"""Training passes of a network as CUDA graphs: hundreds of kernels started with one call.

On a GPU the passes of these networks are so short that starting their kernels one by one from Python
takes several times as long as computing them. A graph is recorded once and repeated; it is bound to
shapes, so the distinct entities of a batch are filled up with rows of zeros that no candidate points
at, to a number that few batches differ in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from linker.batch import Batch

#: Distinct entities are filled up to a multiple of this (chosen here: a twelfth more work for
#: DRIN's 6,464 pairs at most, and at most 13 graphs).
_STEP = 512

#: Batch fields of one row a distinct entity.
_OF_ENTITIES = "entity_"

#: What a network's scores do not depend on.
_NOT_READ = frozenset({"mention_rows", "answer"})

_Form: TypeAlias = tuple[Any, ...]  # what two batches must share to share a graph


class Graphed:
    """Scores batches as ``network(batch)`` does, with gradients; one graph for each form of batch.

    Whether a batch is scored by a graph depends on nothing that came before it, so that a run which
    was interrupted continues to the same figures.

    Args:
        network: on a GPU, in training mode, without hooks; starts the same kernels for all batches
            of the same shapes, and waits for no result (``Model.recordable``).
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._recorded: dict[_Form, Callable[..., Any]] = {}
        self._memory = torch.cuda.graph_pool_handle()  # of all graphs: one runs at a time

    def __call__(self, batch: Batch) -> Tensor:
        padded = _filled_up(batch)
        tensors = _tensors(padded)
        form = (
            batch.retrieved,
            torch.is_autocast_enabled("cuda"),
            *((name, value.shape, value.dtype) for name, value in tensors.items()),
        )
        if form not in self._recorded:
            self._recorded[form] = self._record(padded, tuple(tensors.values()))
        scores: Tensor = self._recorded[form](*tensors.values())
        return scores

    def _record(self, batch: Batch, tensors: tuple[Tensor, ...]) -> Callable[..., Any]:
        device = batch.candidates.device
        random = torch.cuda.get_rng_state(device)
        with torch.autocast(
            "cuda",
            torch.get_autocast_dtype("cuda"),
            enabled=torch.is_autocast_enabled("cuda"),
            cache_enabled=False,  # a cast that is remembered would not be part of the graph
        ):
            recorded = torch.cuda.make_graphed_callables(
                _Flat(self._network, batch), tensors, pool=self._memory
            )
        torch.cuda.set_rng_state(random, device)  # as if the passes that warm up had not been
        return recorded


class _Flat(nn.Module):
    """A network as a function of tensors, which is what can be recorded."""

    def __init__(self, network: nn.Module, batch: Batch) -> None:
        super().__init__()
        self.network = network
        self._names = tuple(_tensors(batch))
        self._batch = batch

    def forward(self, *tensors: Tensor) -> Tensor:
        given: dict[str, Any] = dict(zip(self._names, tensors, strict=True))
        scores: Tensor = self.network(replace(self._batch, **given))
        return scores


def _tensors(batch: Batch) -> dict[str, Tensor]:
    """What a network may read of a batch, by name."""
    values = {field.name: getattr(batch, field.name) for field in fields(batch)}
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, Tensor) and name not in _NOT_READ
    }


def _filled_up(batch: Batch) -> Batch:
    """The batch with rows of zeros behind its distinct entities."""
    padded: dict[str, Any] = {}
    for name, values in _tensors(batch).items():
        if name.startswith(_OF_ENTITIES):
            missing = -len(values) % _STEP
            padded[name] = F.pad(values, (0, 0) * (values.ndim - 1) + (0, missing))
    return replace(batch, **padded)
