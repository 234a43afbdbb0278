"""The training step around a network, for Lightning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from linker.batch import Batch
from linker.bulletin import FailedElsewhere
from linker.config import LossConfig
from linker.data import BatchLoader
from linker.diagnosis import TrainingDiverged, diagnosed
from linker.graphed import Graphed
from linker.losses import triplet_loss
from linker.metrics import rank_gold
from linker.models.base import Model
from linker.online_network import OnlineNetwork
from linker.pieces import Piece
from linker.processes import ALONE, Processes
from linker.ranks import Ranks, ScoreSink

#: Key under which a checkpoint holds the running sums of the epoch that it was taken in.
RUNNING = "running"

#: What a profiler knows the ranking of scores by, and the figures of ranks.
METRICS = "metrics"


class _Unread:
    """The loss of a batch, on its way to the processor; nothing waits for it until it is read.

    ``scores``: of the whole batch; ``piece``: of it that ``batch``, of this process, holds.
    """

    def __init__(
        self, loss: Tensor, batch: Batch, index: int, *, scores: Tensor, piece: Piece
    ) -> None:
        self.batch = batch
        self.index = index
        self.scores = scores
        self.piece = piece
        self._loss = loss.to("cpu", non_blocking=True)
        self._there: torch.cuda.Event | None = None
        if loss.is_cuda:
            self._there = torch.cuda.Event()
            self._there.record()

    def value(self) -> float:
        if self._there is not None:
            self._there.synchronize()
        return float(self._loss)

    def is_elsewhere(self) -> bool:
        """Whether the scores that are not finite are those of other processes alone."""
        finite = self.scores.isfinite().all(dim=1)
        own = finite[self.piece.first : self.piece.end]
        return bool(own.all() and not finite.all())


class LinkerModule(pl.LightningModule):
    """Trains a network with the triplet loss and Adam; ranks the golds of what it is given to score.

    Args:
        network: a model, or one behind a text encoder.
        encoder_lr: learning rate of that encoder, where it is fine-tuned.
        graphs_of: mentions of the training batches that are scored by CUDA graphs; None = of none.
        factor: of both rates at an update, counted from 0; None = always 1.
        fused: let Adam update all weights in one operation; Lightning cannot clip gradients of
            float16 before it.
        processes: that train together; batches are pieces of those that the loss is over.
    """

    def __init__(
        self,
        *,
        network: nn.Module,
        loss: LossConfig,
        lr: float,
        encoder_lr: float | None = None,
        graphs_of: int | None = None,
        factor: Callable[[int], float] | None = None,
        fused: bool = True,
        processes: Processes = ALONE,
    ) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self.lr = lr
        self.encoder_lr = encoder_lr
        self.graphs_of = graphs_of
        self.factor = factor
        self.fused = fused
        self.processes = processes
        self.rate = lr  # learning rate of the last update
        self.loss_sum = 0.0  # of the mentions of this epoch
        self.trained = 0  # mentions, this epoch
        self._ranks: list[Ranks] = []
        self._unread: _Unread | None = None
        self._graphed: Graphed | None = None

    @property
    def ranks(self) -> Ranks:
        """The ranks of the mentions scored in the last pass, in their order."""
        return Ranks.concatenate(self._ranks)

    def configure_optimizers(self) -> Any:
        """One Adam for the whole fit (the reference's optimiser; it restarts it, we do not)."""
        adam = self._adam()
        if self.factor is None:
            return adam
        scheduler = LambdaLR(adam, self.factor)
        return {"optimizer": adam, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _adam(self) -> torch.optim.Adam:
        if not isinstance(self.network, OnlineNetwork):
            return torch.optim.Adam(self.network.parameters(), lr=self.lr, fused=self.fused)
        groups: list[dict[str, Any]] = [{"params": list(self.network.network.parameters())}]
        learning = [weight for weight in self.network.text.parameters() if weight.requires_grad]
        if learning:
            groups.append({"params": learning, "lr": self.encoder_lr or self.lr})
        return torch.optim.Adam(groups, lr=self.lr, fused=self.fused)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        self.rate = float(optimizer.param_groups[0]["lr"])

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        """The batch on the device; float16 features travel as float16 and widen there.

        On a processor the model does that with some of them.
        """
        besides = _taken_as_float16(self.network) if device.type == "cpu" else ()
        return batch.to(device, non_blocking=True).float(besides=besides)

    def on_train_start(self) -> None:
        """A frozen text encoder reads every entity once, before the first batch."""
        if isinstance(self.network, OnlineNetwork) and not self.network.text.finetune:
            tabulate(self.network, self.trainer.train_dataloader)

    def on_train_epoch_start(self) -> None:
        self.loss_sum, self.trained = 0.0, 0

    def on_train_end(self) -> None:
        """Let go of the graphs: they hold memory, and weights may move after this."""
        self._graphed = None

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        piece = self._piece(batch, batch_idx)
        scores = self._scores(batch)
        whole, answer = self._of_whole_batch(scores, batch, piece)
        loss = triplet_loss(
            whole,
            answer,
            retrieved=batch.retrieved,
            negatives=self.loss.negatives,
            margin=self.loss.margin,
        )
        self._unread = _Unread(loss.detach(), batch, batch_idx, scores=whole.detach(), piece=piece)
        if not piece.count:
            return 0 * scores.sum()  # of a stand-in: no gradient, but one for every weight
        return loss * self.processes.size if piece.shared else loss

    def _piece(self, batch: Batch, batch_idx: int) -> Piece:
        """The part that a training batch is of that of all processes."""
        if self.processes.several:
            return piece_of(self.trainer.train_dataloader, batch_idx)
        return self.processes.share.piece(len(batch))

    def _of_whole_batch(self, scores: Tensor, batch: Batch, piece: Piece) -> tuple[Tensor, Tensor]:
        """Scores (B, K) and answers (B,) of the batch of all processes.

        Gradients flow into this process's scores. Every process computes the loss of the whole batch,
        and the mean of their gradients, times their number, is that of one process.
        """
        if not piece.shared:
            return scores, batch.answer
        own = scores[: piece.count, : batch.retrieved]
        answer = batch.answer[: piece.count, None].to(own.dtype)  # K at most: exact
        rows = self.processes.whole(torch.cat([own.detach(), answer], dim=1), piece)
        others = rows[:, :-1]
        whole = torch.cat([others[: piece.first], own, others[piece.end :]])
        return whole, rows[:, -1].long()

    def on_after_backward(self) -> None:
        """Read the loss, before a step is made of it.

        Here, because a GPU computes the backward pass meanwhile: in the step, it would wait.
        """
        assert self._unread is not None
        unread, self._unread = self._unread, None
        value = unread.value()
        if not np.isfinite(value):
            if unread.is_elsewhere():
                raise FailedElsewhere(f"the loss is {value}")
            raise self._diverged(
                f"the loss is {value}", unread.batch, unread.index, self.trainer.train_dataloader
            )
        self.loss_sum += value * unread.piece.total
        self.trained += unread.piece.total

    def on_validation_epoch_start(self) -> None:
        self._ranks = []
        tabulate(self.network, self.trainer.val_dataloaders)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._rank(batch, batch_idx, self.trainer.val_dataloaders)

    def on_validation_epoch_end(self) -> None:
        self._gather_ranks(self.trainer.val_dataloaders)

    def on_test_epoch_start(self) -> None:
        self._ranks = []
        tabulate(self.network, self.trainer.test_dataloaders)

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The scores (B, K) of the retrieved candidates, for a callback that records them.

        They are those of the whole batch, of all processes.
        """
        loader = self.trainer.test_dataloaders
        scores = self._rank(batch, batch_idx, loader)
        return self.processes.whole(scores, piece_of(loader, batch_idx))

    def on_test_epoch_end(self) -> None:
        self._gather_ranks(self.trainer.test_dataloaders)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The running sums of the epoch, for a checkpoint within it."""
        checkpoint[RUNNING] = {"loss_sum": self.loss_sum, "trained": self.trained}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.loss_sum = float(checkpoint[RUNNING]["loss_sum"])
        self.trained = int(checkpoint[RUNNING]["trained"])

    def _scores(self, batch: Batch) -> Tensor:
        """The scores (B, C) of a training batch."""
        if not batch.candidates.is_cuda or len(batch) != self.graphs_of:
            scores: Tensor = self.network(batch)
            return scores
        if self._graphed is None:
            self._graphed = Graphed(self.network)
        return self._graphed(batch)

    def _rank(self, batch: Batch, batch_idx: int, loader: Any) -> Tensor:
        count = piece_of(loader, batch_idx).count
        scores: Tensor = self.network(batch)[:count]
        with self.trainer.profiler.profile(METRICS):  # type: ignore[attr-defined]
            ranks = rank_gold(scores, batch.answer[:count], retrieved=batch.retrieved)
        if ranks.nan_golds:
            raise self._diverged("the model scores NaN", batch, batch_idx, loader)
        self._ranks.append(ranks)
        return scores[:, : batch.retrieved]

    def _gather_ranks(self, loader: Any) -> None:
        assert isinstance(loader, BatchLoader)
        self._ranks = [self.processes.whole_ranks(self._ranks, loader.requests)]

    def _diverged(self, what: str, batch: Batch, batch_idx: int, loader: Any) -> TrainingDiverged:
        assert isinstance(loader, BatchLoader)
        return diagnosed(
            f"{what} in epoch {self.current_epoch + 1}, batch {batch_idx + 1}",
            batch,
            reader=loader.reader,
            network=self.network,
        )


def _taken_as_float16(network: nn.Module) -> frozenset[str]:
    model = network.network if isinstance(network, OnlineNetwork) else network
    return model.takes_float16 if isinstance(model, Model) else frozenset()


def piece_of(loader: Any, step: int) -> Piece:
    """This process's piece of the batch of a step."""
    assert isinstance(loader, BatchLoader)
    return loader.requests.piece(step)


def tabulate(network: nn.Module, loader: Any) -> None:
    """Let a text encoder inside a network read the entities of a pass that leaves it as it is."""
    assert isinstance(loader, BatchLoader)
    reader = loader.reader
    if isinstance(network, OnlineNetwork) and reader.texts is not None:
        network.text.tabulate(reader.texts, reader.entities_of(loader.requests.rows))


class HandOverScores(pl.Callback):
    """Gives the scores of each batch of a test pass to a sink, as float32, in the first process."""

    def __init__(self, sink: ScoreSink) -> None:
        self.sink = sink

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        index: int,
        loader: int = 0,
    ) -> None:
        if trainer.is_global_zero:
            self.sink(outputs.float().cpu().numpy())
