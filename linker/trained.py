"""The network of a finished run, ready to score."""

from __future__ import annotations

import torch
from torch import nn

from linker.checkpoint import load_weights
from linker.job import Job
from linker.online_network import OnlineNetwork
from linker.run_folder import RunFolder


def trained_network(job: Job, folder: RunFolder) -> nn.Module:
    """The network with a run's best weights, on the job's device; it learns no more.

    Raises:
        RunError: the run has no weights, damaged ones, or those of another network.
    """
    with torch.random.fork_rng(devices=[]):  # the first weights are replaced at once
        network = job.module().network
    if job.match.learns:
        load_weights(network, folder.best_weights)
    network.eval().to(job.device)
    if isinstance(network, OnlineNetwork):
        network.text.freeze()
    return network
