"""The figures of every epoch as TensorBoard events, where tensorboard is installed."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from linker.atomic import run_write_errors
from linker.callbacks import RecordEpochs

#: What TensorBoard knows its files by.
_NAME = "events.out.tfevents"

#: The version of the format, which the first event of a file says.
_VERSION = "brain.Event:2"


class WriteEvents(pl.Callback):
    """Appends one event an epoch, with every figure of it, to one file.

    A resumed run begins a new file with the history that it has, and removes the old one: a killed
    process may have written events of an epoch that is trained again, or none of one that is finished.

    Args:
        folder: of the files; nothing else is touched in it.
        recorder: has the history; stands before this among the callbacks.
    """

    def __init__(self, *, folder: Path, recorder: RecordEpochs) -> None:
        self.folder = folder
        self.recorder = recorder
        self._path: Path | None = None

    def on_fit_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if find_spec("tensorboard") is None:
            return
        from tensorboard.compat.proto.event_pb2 import Event

        old = list(self.folder.glob(f"{_NAME}*"))
        self._path = self.folder / f"{_NAME}.{time.time_ns()}.{os.getpid()}"
        epochs = zip(self.recorder.history, self.recorder.finished, strict=True)
        first = Event(wall_time=time.time(), file_version=_VERSION)
        with run_write_errors(self.folder):
            self.folder.mkdir(exist_ok=True)
            _append(self._path, first, *(_event(*epoch) for epoch in epochs))
            for path in old:
                path.unlink()

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self._path is not None:
            with run_write_errors(self.folder):
                _append(self._path, _event(self.recorder.history[-1], self.recorder.finished[-1]))


def _event(epoch: Mapping[str, Any], finished: float) -> Any:
    """The event of an epoch that was finished at a Unix time."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    values = [
        Summary.Value(tag=name.replace("_", "/", 1), simple_value=float(value))
        for name, value in epoch.items()
        if name != "epoch" and value is not None
    ]
    return Event(wall_time=finished, step=epoch["epoch"], summary=Summary(value=values))


def _append(path: Path, *events: Any) -> None:
    from tensorboard.summary.writer.record_writer import RecordWriter

    with path.open("ab") as file:
        for event in events:
            RecordWriter(file).write(event.SerializeToString())
