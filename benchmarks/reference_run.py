"""The reference's way of training: its loader, then a direct step of DRIN.

python -m benchmarks.reference_run ARRAYS --batches 2 --batch-size 64 [--in-memory]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import click
import torch
from torch import Tensor

from benchmarks.direct_drin import DirectDrin
from benchmarks.reference_loader import ReferenceDataset, reference_loader
from benchmarks.timing import finish
from linker.losses import triplet_loss

#: Adam's learning rate in the reference's training runs.
LR = 1e-3


@dataclass(frozen=True, slots=True)
class BatchTimes:
    """Seconds that one batch took."""

    loading: float
    step: float
    mentions: int


def direct_step(
    network: DirectDrin, optimizer: torch.optim.Optimizer, batch: Mapping[str, Tensor]
) -> None:
    """Forward, loss, backward, optimiser: as ``LinkerModule`` and its trainer do."""
    scores = network(batch)
    loss = triplet_loss(scores, batch["answer"], retrieved=scores.shape[1] - 1)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    float(loss.detach())


def train_reference(
    folder: Path, *, batches: int, batch_size: int, in_memory: bool, device: torch.device
) -> Iterator[BatchTimes]:
    """Train on a few shuffled batches, and time each; the next one starts when it is asked for."""
    dataset = ReferenceDataset(folder, "train", in_memory=in_memory)
    network = network_of(dataset).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=LR)
    started = time.perf_counter()
    for batch in islice(reference_loader(dataset, batch_size=batch_size), batches):
        loaded = time.perf_counter()
        direct_step(network, optimizer, {key: value.to(device) for key, value in batch.items()})
        finish(device)
        done = time.perf_counter()
        times = BatchTimes(loaded - started, done - loaded, len(batch["answer"]))
        del batch  # the next one takes its place
        yield times
        started = time.perf_counter()


def network_of(dataset: ReferenceDataset) -> DirectDrin:
    """DRIN with fresh weights, as wide as the features."""
    return DirectDrin(
        text_width=dataset.entities["entity_text"].shape[-1],
        image_width=dataset.entities["entity_image"].shape[-1],
    )


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--batches", type=int, required=True)
@click.option("--batch-size", type=int, required=True)
@click.option("--in-memory", is_flag=True)
def main(folder: Path, batches: int, batch_size: int, in_memory: bool) -> None:
    """Train on a few batches, for its memory to be watched from outside."""
    device = torch.device("cpu")
    for _ in train_reference(
        folder, batches=batches, batch_size=batch_size, in_memory=in_memory, device=device
    ):
        pass


if __name__ == "__main__":
    sys.exit(main())
