"""What the processor and the GPU did in a few training steps, for Perfetto: ``RUN/trace.json.gz``."""

from __future__ import annotations

import gzip
import os
import shutil
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightning.pytorch as pl
import torch
from torch.profiler import ProfilerActivity, profile, record_function, schedule

from linker.atomic import replacing
from linker.batch import Batch

#: Steps that are not looked at, as the first ones are slower; that are recorded and thrown away, for
#: the recording to warm up; that are kept (chosen here: enough to see what repeats, in some MB).
WAIT, WARM_UP, KEPT = 2, 2, 4


class Trace(pl.Callback):
    """Records the operations of the steps ``WAIT + WARM_UP + 1`` … of this process, once.

    Recording is slow: :attr:`seconds` and :attr:`steps` say what it took, for others to leave out. A
    run of fewer steps has a trace of fewer, or none.

    Args:
        path: of the file; compressed, in Chrome's format.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        self.path = path
        self.recording = False
        self.seconds = 0.0
        self.steps = 0
        self._device = device
        self._profiler: profile | None = None
        self._done = 0  # steps of this process
        self._since = 0.0
        self._kept = 0

    def mark(self, name: str) -> Any:
        """A named stretch of the trace that begins now, to be left; None while nothing is recorded."""
        if not self.recording:
            return None
        mark = record_function(name)
        mark.__enter__()
        return mark

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # nothing on stderr, as of a GPU not found
        activities = [ProfilerActivity.CPU]
        if self._device.type == "cuda":
            activities.append(ProfilerActivity.CUDA)
        self._profiler = profile(
            activities=activities,
            schedule=schedule(wait=WAIT, warmup=WARM_UP, active=KEPT, repeat=1),
            acc_events=True,
        )
        self._profiler.start()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        index: int,
    ) -> None:
        if self._profiler is None:
            return
        self._done += 1
        if self._done == WAIT:
            self._since = time.perf_counter()
        self._profiler.step()
        self.recording = self._done >= WAIT
        if self._done == WAIT + WARM_UP + KEPT:
            self._end(keep=True)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._end(keep=True)

    def on_exception(
        self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException
    ) -> None:
        self._end(keep=False)

    def as_json(self) -> dict[str, Any] | None:
        """The file, and the first and last step in it, counted from 1; None where there is none."""
        if not self._kept:
            return None
        first = WAIT + WARM_UP + 1
        return {
            "path": str(self.path),
            "bytes": self.path.stat().st_size,
            "steps": [first, first + self._kept - 1],
        }

    def _end(self, *, keep: bool) -> None:
        """Stop recording, and write what was recorded."""
        if self._profiler is None:
            return
        recorder, self._profiler = self._profiler, None
        recorder.stop()
        kept = self._done - WAIT - WARM_UP
        if keep and kept > 0:
            self._write(recorder)
            self._kept = kept
        if self.recording:
            self.recording = False
            self.steps = self._done - WAIT
            self.seconds = time.perf_counter() - self._since

    def _write(self, recorder: profile) -> None:
        with TemporaryDirectory() as folder, replacing(self.path) as temporary:
            plain = Path(folder) / "trace.json"
            recorder.export_chrome_trace(str(plain))
            with plain.open("rb") as source, gzip.open(temporary, "wb", 6) as target:
                shutil.copyfileobj(source, target)
