"""Training passes of a network as CUDA graphs: hundreds of kernels started with one call.

On a GPU the passes of these networks are so short that starting their kernels one by one from Python
takes several times as long as computing them. A graph is recorded once and repeated; it is bound to
shapes, so the distinct entities of a batch are filled up with rows of zeros that no candidate points
at, to a number that few batches differ in.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from linker.batch import Batch

#: Distinct entities are filled up to a multiple of this (chosen here: a twelfth more work for
#: DRIN's 6,464 pairs at most, and at most 13 graphs).
_STEP = 512

#: Passes before the one that is recorded: libraries choose their kernels in these (torch's number).
_WARM_UP = 3

#: Batch fields of one row a distinct entity.
_OF_ENTITIES = "entity_"

#: What a network's scores do not depend on.
_NOT_READ = frozenset({"mention_rows", "answer"})

_Form: TypeAlias = tuple[Any, ...]  # what two batches must share to share a graph


class Graphed:
    """Scores batches as ``network(batch)`` does, with gradients; two graphs for each form of batch.

    Whether a batch is scored by a graph depends on nothing that came before it, so that a run which
    was interrupted continues to the same figures.

    Args:
        network: on a GPU, in training mode; starts the same kernels for all batches of the same
            shapes, and waits for no result (``Model.recordable``).
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._recorded: dict[_Form, _Recorded] = {}
        self._memory: Any = torch.cuda.graph_pool_handle()  # of all graphs: one runs at a time

    def __call__(self, batch: Batch) -> Tensor:
        batch = _filled_up(batch)
        tensors = _tensors(batch)
        form = (
            batch.retrieved,
            torch.is_autocast_enabled("cuda"),
            *((name, value.shape, value.dtype) for name, value in tensors.items()),
        )
        if form not in self._recorded:
            self._recorded[form] = _Recorded(self._network, batch, self._memory)
        recorded = self._recorded[form]
        scores: Tensor = _Replay.apply(recorded, tuple(tensors.values()), *recorded.weights)
        return scores


class _Recorded:
    """The graphs of both passes over batches of one form, and the memory that they read and write."""

    def __init__(self, network: nn.Module, batch: Batch, memory: Any) -> None:
        learning = {name: w for name, w in network.named_parameters() if w.requires_grad}
        self.weights = tuple(learning.values())
        tensors = _tensors(batch)
        self.inputs = tuple(value.clone() for value in tensors.values())
        given = replace(batch, **dict[str, Any](zip(tensors, self.inputs, strict=True)))
        # Leaves of their own over the same memory: what autograd remembers of a weight, and on
        # which stream, is that of the training.
        leaves = {name: weight.detach().requires_grad_() for name, weight in learning.items()}
        self.forward, self.backward = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        with _aside(given.candidates.device) as stream:
            for _ in range(_WARM_UP):
                scores = functional_call(network, leaves, (given,))
                self.gradient = torch.empty_like(scores)
                torch.autograd.grad(scores, tuple(leaves.values()), self.gradient)
                del scores
            with torch.cuda.graph(self.forward, memory, stream, "thread_local"):
                scores = functional_call(network, leaves, (given,))
            with torch.cuda.graph(self.backward, memory, stream, "thread_local"):
                gradients = torch.autograd.grad(scores, tuple(leaves.values()), self.gradient)
        self.scores, self.gradients = scores.detach(), gradients


@contextmanager
def _aside(device: torch.device) -> Iterator[torch.cuda.Stream]:
    """A block on a stream of its own, that takes no random numbers, and in which autocast remembers
    nothing: a cast that was made before would be no part of the graph.
    """
    random = torch.cuda.get_rng_state(device)
    stream, current = torch.cuda.Stream(device), torch.cuda.current_stream(device)
    stream.wait_stream(current)
    low, enabled = torch.get_autocast_dtype("cuda"), torch.is_autocast_enabled("cuda")
    with (
        torch.cuda.stream(stream),
        torch.autocast("cuda", low, enabled=enabled, cache_enabled=False),
    ):
        yield stream
    current.wait_stream(stream)
    torch.cuda.set_rng_state(random, device)


class _Replay(torch.autograd.Function):
    """Both passes, as autograd sees them: scores of weights."""

    @staticmethod
    def forward(
        ctx: Any, recorded: _Recorded, tensors: tuple[Tensor, ...], *weights: Tensor
    ) -> Tensor:
        for place, value in zip(recorded.inputs, tensors, strict=True):
            place.copy_(value)
        recorded.forward.replay()
        ctx.recorded = recorded
        return recorded.scores.clone()  # the graph will write there again

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        recorded: _Recorded = ctx.recorded
        recorded.gradient.copy_(gradient)
        recorded.backward.replay()
        return None, None, *(value.clone() for value in recorded.gradients)


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
