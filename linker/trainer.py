"""Lightning's trainer as we use it: no surprises on disk or on the terminal."""

from __future__ import annotations

import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.profilers import Profiler
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.seed import isolate_rng
from torch.utils import deterministic

from linker.checkpoint import CheckpointFiles
from linker.config import Precision
from linker.config_steps import ClipBy
from linker.machine import CUBLAS_WORKSPACE
from linker.processes import ALONE, Processes


def make_trainer(
    *,
    device: torch.device,
    precision: Precision,
    epochs: int = 1,
    accumulate: int = 1,
    clip: float | None = None,
    clip_by: ClipBy = "norm",
    callbacks: Sequence[pl.Callback] = (),
    profiler: Profiler | None = None,
    processes: Processes = ALONE,
) -> pl.Trainer:
    """A trainer that logs, saves and prints nothing by itself: the callbacks do."""
    return pl.Trainer(
        accelerator=device.type,
        devices=processes.devices,
        num_nodes=processes.nodes,
        strategy=_strategy(processes),
        precision=precision,
        max_epochs=epochs,
        accumulate_grad_batches=accumulate,
        gradient_clip_val=clip,
        gradient_clip_algorithm=clip_by,
        callbacks=[*callbacks, *([OwnTermination()] if processes.several else [])],
        profiler=profiler,
        plugins=[CheckpointFiles(), processes.environment or LightningEnvironment()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,  # validation of random weights would be one more pass
        use_distributed_sampler=False,
    )


class OwnTermination(pl.Callback):
    """Keeps what SIGTERM does as it was: Lightning would send the other processes a message in the
    middle of another one, which they take it for, or wait for ever.
    """

    def __init__(self) -> None:
        self._handler = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._keep()

    def on_test_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._keep()

    def _keep(self) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._handler)


def _strategy(processes: Processes) -> DDPStrategy | Literal["auto"]:
    """Gradients are averaged over the processes, and the losses are made so that the mean is theirs.

    Every weight has a gradient in every step: a network holds those alone that can learn.
    """
    if not processes.several:
        return "auto"
    return DDPStrategy(gradient_as_bucket_view=True)


@contextmanager
def reproducible(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch and choose deterministic algorithms; put back what was there before.

    The same seed, machine, number of threads and versions give the same numbers. Operations that
    torch has no deterministic form of warn instead of failing.
    """
    algorithms = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    fill = deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    if device.type == "cuda":  # read by cuBLAS when it starts; without it matrix products warn
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", CUBLAS_WORKSPACE)
    with isolate_rng(include_cuda=device.type == "cuda"):
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(True, warn_only=True)
        # no model reads memory that it did not write, so it need not be filled
        deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(algorithms, warn_only=warn_only)
            deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]


#: What Lightning warns of that is as we want it.
_EXPECTED_WARNINGS = (
    r".*does not have many workers which may be a bottleneck.*",
    r"(GPU|CUDA) available but not used.*",
    r"Found [0-9]+ module\(s\) in eval mode at the start of training.*",  # a frozen text encoder
    r".*isinstance\(treespec, LeafSpec\)` is deprecated.*",  # torch >= 2.9 says it of Lightning
    r".*`srun` command is available on your system but is not used.*",
)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Without Lightning's banners and tips, and the warnings that we know of."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for message in _EXPECTED_WARNINGS:
            warnings.filterwarnings("ignore", message)
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C stays ``KeyboardInterrupt``: Lightning turns it into exit status 1, and deaf to more."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as exit_:
        if not isinstance(exit_.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None
