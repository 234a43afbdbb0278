"""The processes of a training: how many, which one this is, and how they come together.

Started plainly, Lightning's launcher starts the command again for every further device of this machine.
``torchrun`` and ``srun`` start all processes themselves. The first process checks everything and makes
the run folder ready before there are others.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from lightning.fabric import Fabric
from lightning.fabric.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from lightning.fabric.strategies import DDPStrategy

from featurestore.errors import ConfigError
from linker.bulletin import Bulletin
from linker.config import TrainConfig
from linker.processes import ALONE, Processes
from linker.trainer import quiet_lightning

#: The longest that a process waits for another (chosen here: far more than the first process does
#: alone while others wait, a checkpoint to a slow disk; Lightning's 30 minutes are long for an error).
TIMEOUT = timedelta(minutes=10)

#: Seconds that the first process waits for those that it has started to end (chosen here).
_LAST_WAIT = 10.0


@dataclass(frozen=True, slots=True)
class _Joined:
    processes: Processes
    bulletin: Bulletin
    started: tuple[subprocess.Popen[bytes], ...]


_joined: _Joined | None = None  # what a process has joined, it stays in


def settle_processes(config: TrainConfig) -> TrainConfig:
    """The configuration with ``devices`` and ``nodes`` as torchrun has started them.

    Raises:
        ConfigError: torchrun or srun has started another number of processes; there is nobody to start
            them on other machines; or the configuration cannot be trained by so many.
    """
    if TorchElasticEnvironment.detect():
        config = _as_started(config)
    several = config.devices * config.nodes
    if several == 1:
        return config
    where = f"--devices {config.devices} --nodes {config.nodes}"
    tasks = int(os.environ.get("SLURM_NTASKS", "1"))
    if not TorchElasticEnvironment.detect() and tasks > 1 and tasks != several:
        raise ConfigError(
            f"Slurm has {tasks} tasks, and the training {several} processes",
            where=where,
            hint="give --ntasks-per-node as many tasks as --devices, --nodes as many nodes, and "
            "start with srun; or start one task, which starts the others",
        )
    if (
        config.nodes > 1
        and _is_plain(config)
        and not {"NODE_RANK", "MASTER_ADDR"} <= set(os.environ)
    ):
        raise ConfigError(
            f"the training wants {config.nodes} machines, and was started on this one alone",
            where=where,
            hint="start it with torchrun or srun on all of them, or give --nodes 1; the results "
            "are the same (docs/distributed-training.md)",
        )
    if several > config.batch_size:
        raise ConfigError(
            f"a batch of {config.batch_size} mentions has none for some of {several} processes",
            where=where,
            hint="give fewer processes, or a larger --batch-size, which is another training",
        )
    if config.cuda_graphs:
        raise ConfigError(
            "CUDA graphs are for one process: gradients are exchanged while they are computed, which "
            "is no part of a graph",
            where=where,
            hint="give --set cuda_graphs=false, or one device",
        )
    return config


def check_devices(config: TrainConfig, device: torch.device) -> None:
    """Refuse more GPUs than there are.

    Raises:
        ConfigError: says how many there are.
    """
    if device.type == "cuda" and config.devices > torch.cuda.device_count():
        raise ConfigError(
            f"{config.devices} processes need as many GPUs, and torch finds "
            f"{torch.cuda.device_count()}",
            where=f"--devices {config.devices}",
            hint=f"give --devices {torch.cuda.device_count()}: the results are the same; or "
            "--device cpu",
        )


def refuse_several(config: TrainConfig, *, command: str) -> None:
    """For what makes several runs: they are shared out among processes already.

    Raises:
        ConfigError: says where several processes of one run are possible.
    """
    if config.devices * config.nodes > 1:
        raise ConfigError(
            f"drin-fs {command} makes runs of one process each",
            where=f"devices={config.devices} nodes={config.nodes}",
            hint="leave them out, or train the runs one by one with drin-fs train --devices",
        )


def rank_here(config: TrainConfig) -> int:
    """The number of this process among those of a settled configuration, before they are together."""
    if config.devices * config.nodes == 1:
        return 0
    environment = _environment(config)
    if isinstance(environment, LightningEnvironment):
        return environment.node_rank() * config.devices + environment.local_rank()
    return environment.global_rank()


def join(config: TrainConfig, device: torch.device) -> Processes:
    """Come together with the other processes of a settled configuration, starting them where need be.

    A process stays in what it has joined until it ends.

    Raises:
        ConfigError: it has joined another number of processes before.
    """
    global _joined
    if _joined is not None:
        processes = _joined.processes
        if (processes.devices, processes.nodes) != (config.devices, config.nodes):
            raise ConfigError(
                f"this program already trains with {processes.size} processes",
                where=f"devices={config.devices} nodes={config.nodes}",
                hint="use the same number for all trainings of one program",
            )
        return processes
    if config.devices * config.nodes == 1:
        return ALONE
    _joined = _together(config, device)
    atexit.register(_end, _joined)
    return _joined.processes


@contextmanager
def failing_together(processes: Processes) -> Iterator[None]:
    """An error in this block, in any of the processes, ends all of them."""
    if not processes.several:
        yield
        return
    assert _joined is not None
    with _joined.bulletin.watched():
        try:
            yield
            processes.all_of(None)  # nobody leaves before all have come so far
        except BaseException as error:
            _joined.bulletin.fail(error)


def _as_started(config: TrainConfig) -> TrainConfig:
    devices = int(os.environ["LOCAL_WORLD_SIZE"])
    nodes = int(os.environ["WORLD_SIZE"]) // devices
    if config.devices * config.nodes == 1:
        return config.model_copy(update={"devices": devices, "nodes": nodes})
    if (config.devices, config.nodes) != (devices, nodes):
        raise ConfigError(
            f"torchrun has started {devices} processes on each of {nodes} machines",
            where=f"--devices {config.devices} --nodes {config.nodes}",
            hint="leave them out: those that were started are taken",
        )
    return config


def _is_plain(config: TrainConfig) -> bool:
    return isinstance(_environment(config), LightningEnvironment)


def _environment(config: TrainConfig) -> ClusterEnvironment:
    """Who has started, or will start, the processes."""
    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    tasks = int(os.environ.get("SLURM_NTASKS", "1"))
    if tasks == config.devices * config.nodes and SLURMEnvironment.detect():
        try:
            return SLURMEnvironment(auto_requeue=False)  # --resume is how a run goes on
        except RuntimeError as error:  # Lightning needs the tasks a node
            raise ConfigError(
                str(error), where="srun", hint="start with srun --ntasks-per-node"
            ) from error
    return LightningEnvironment()


def _together(config: TrainConfig, device: torch.device) -> _Joined:
    environment = _environment(config)
    plain = isinstance(environment, LightningEnvironment)
    if rank_here(config):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's reaches all; the first one acts
    with quiet_lightning():
        strategy = DDPStrategy(timeout=TIMEOUT, cluster_environment=environment)
        fabric = Fabric(
            accelerator=device.type,
            devices=config.devices,
            num_nodes=config.nodes,
            strategy=strategy,
        )
        fabric.launch()
    processes = Processes(
        rank=fabric.global_rank,
        local=fabric.local_rank,
        devices=config.devices,
        nodes=config.nodes,
        environment=environment,
        group=None if device.type == "cpu" else dist.new_group(backend="gloo", timeout=TIMEOUT),
    )
    bulletin = Bulletin(
        _store(processes),
        rank=processes.rank,
        size=processes.size,
        quiet=plain and processes.local > 0,
        leave=_leave if device.type == "cpu" else _stay,
    )
    return _Joined(processes, bulletin, tuple(getattr(strategy.launcher, "procs", ())))


def _store(processes: Processes) -> dist.Store:
    host = os.environ["MASTER_ADDR"]
    own: Any = None
    if processes.is_first:
        own = dist.TCPStore(host, 0, is_master=True, wait_for_workers=False)
    port = processes.from_first(lambda: own.port)
    return own or dist.TCPStore(host, port, is_master=False)


def _leave() -> None:
    """Close the connections, so that the other processes learn of it at once."""
    if dist.is_initialized():
        dist.destroy_process_group()


def _stay() -> None:
    """NCCL waits for the others before it closes anything: they learn of it by looking."""


def _end(joined: _Joined) -> None:
    """At the end of the program: the last one out is the first process."""
    joined.bulletin.end()
    for process in joined.started:
        try:
            process.wait(_LAST_WAIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    _leave()
