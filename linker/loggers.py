"""``--logger wandb`` and ``--logger mlflow``: a run's options and figures sent where the user wants.

Nothing is sent without being asked for. Where it goes is up to the environment, as those packages have
it: ``WANDB_MODE=offline`` keeps all in ``RUN/wandb``, and without ``MLFLOW_TRACKING_URI`` all is kept in
``RUN/mlflow``. What fails while a run trains is said once, and does not stop the run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, Literal, TypeAlias, get_args
from uuid import uuid4

import lightning.pytorch as pl
from lightning.pytorch.loggers import Logger

from featurestore.errors import ConfigError, DrinFsError
from featurestore.progress import Progress
from linker.callbacks import RecordEpochs
from linker.run_folder import RunFolder
from linker.run_groups import SEED_FOLDER

LoggerName: TypeAlias = Literal["wandb", "mlflow"]
LOGGERS: tuple[LoggerName, ...] = get_args(LoggerName)

#: First parts of the names of figures that are shown together.
_GROUPS = ("train", "valid", "best", "test")

#: Project, or experiment, where the environment names none.
PROJECT = "drin-fs"


class LoggerFailed(DrinFsError):
    """A logger that was asked for does not start. Exit code 1."""


def check_loggers(names: Sequence[str]) -> None:
    """Refuse a logger that there is not, or whose package is not installed.

    Raises:
        ConfigError: names it, and the extra that brings it.
    """
    for name in names:
        if name not in LOGGERS:
            raise ConfigError(
                f"no logger {name!r}", where="--logger", hint=f"loggers: {', '.join(LOGGERS)}"
            )
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"--logger {name} needs {error.name}, which is not installed",
                where="--logger",
                hint=f'pip install "drin-fs[{name}]"',
            ) from error


class SendEpochs(pl.Callback):
    """Sends the options at the start, the figures of every epoch, and those of the best weights.

    ``RUN/loggers.json`` says under which id, and up to which epoch. A run that is continued goes on
    under the same one with the epochs that were not sent.

    Args:
        recorder: has the history; stands before this among the callbacks.
        options: of the run, nested.
    """

    def __init__(
        self,
        names: Sequence[LoggerName],
        *,
        folder: RunFolder,
        recorder: RecordEpochs,
        options: Mapping[str, Any],
        progress: Progress,
    ) -> None:
        self.names = tuple(dict.fromkeys(names))
        self.folder = folder
        self.recorder = recorder
        self.options = dict(options)
        self.progress = progress
        self._loggers: dict[str, Logger] = {}
        self._states: dict[str, dict[str, Any]] = {}

    def on_fit_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Start the loggers.

        Raises:
            LoggerFailed: one does not; names it and what it said.
        """
        old = self._read_states()
        for name in self.names:
            state = old.get(name, {"id": None, "epochs": 0})
            try:
                self._loggers[name] = _MAKERS[name](self.folder, state)
                if name == "wandb" or not state["epochs"]:  # MLflow's are written once
                    self._loggers[name].log_hyperparams(self.options)
            except Exception as error:  # each package has its own errors
                raise LoggerFailed(
                    f"{name} does not start: {_first_line(error)}",
                    where=f"--logger {name}",
                    hint=_HINTS[name],
                ) from error
            self._states[name] = state
        self._send_epochs()

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._send_epochs()

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Send the figures of the best weights, and close."""
        figures = {
            _name(f"{of}_{name}"): value
            for of, split in (("best", "valid"), ("test", "test"))
            for name, value in summary.get(split, {}).items()
            if value is not None
        }
        for name in tuple(self._loggers):
            self._try(name, lambda logger: logger.log_metrics(figures, step=summary["epochs"]))
        self.close("success")

    def close(self, status: Literal["success", "failed"]) -> None:
        """End the loggers; one that was ended is left alone."""
        for name in tuple(self._loggers):
            self._try(name, lambda logger: _end(logger, status))
        self._loggers.clear()

    def _send_epochs(self) -> None:
        """Send what was not sent yet."""
        for name in tuple(self._loggers):
            for epoch in self.recorder.history[self._states[name]["epochs"] :]:
                figures = {
                    _name(key): float(value)
                    for key, value in epoch.items()
                    if key != "epoch" and value is not None
                }
                number = epoch["epoch"]
                self._try(name, lambda logger: logger.log_metrics(figures, step=number))  # noqa: B023
                self._states[name]["epochs"] = number
        if self._loggers:
            self.folder.write_loggers(self._states)

    def _try(self, name: str, action: Callable[[Logger], None]) -> None:
        if name not in self._loggers:
            return
        try:
            action(self._loggers[name])
        except Exception as error:  # each package has its own errors, and none is worth the run
            del self._loggers[name]
            self.progress.note(f"WARNING: {name} takes no more figures: {_first_line(error)}")

    def _read_states(self) -> dict[str, dict[str, Any]]:
        """What a run that is continued has sent; nothing where the file is damaged."""
        try:
            values = json.loads(self.folder.loggers.read_text(encoding="utf-8"))
            return {
                name: {"id": str(values[name]["id"]), "epochs": int(values[name]["epochs"])}
                for name in self.names
                if name in values
            }
        except (OSError, ValueError, KeyError, TypeError):
            return {}


def _name(figure: str) -> str:
    """``valid/hits_at_1`` of ``valid_hits@1``: MLflow takes no @."""
    of, _, name = figure.partition("_")
    return (f"{of}/{name}" if of in _GROUPS else figure).replace("@", "_at_")


def _wandb(folder: RunFolder, state: dict[str, Any]) -> Logger:
    import wandb
    from lightning.pytorch.loggers import WandbLogger

    state["id"] = state["id"] or uuid4().hex[:8]
    name, group = _run_name(folder)
    logger = WandbLogger(
        name=name,
        group=group,
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        save_dir=folder.path,
        id=state["id"],
        settings=wandb.Settings(console="off"),  # data on stdout stays ours
    )
    _ = logger.experiment  # starts it
    return logger


def _mlflow(folder: RunFolder, state: dict[str, Any]) -> Logger:
    from lightning.pytorch.loggers import MLFlowLogger

    own = (folder.path / "mlflow").resolve()
    own.mkdir(exist_ok=True)
    logger = MLFlowLogger(
        experiment_name=os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT),
        run_name=_run_name(folder)[0],
        tracking_uri=os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{own / 'mlflow.db'}",
        run_id=state["id"],
    )
    _ = logger.experiment  # starts it
    state["id"] = logger.run_id
    return logger


_MAKERS: Mapping[LoggerName, Callable[[RunFolder, dict[str, Any]], Logger]] = {
    "wandb": _wandb,
    "mlflow": _mlflow,
}
_HINTS: Mapping[LoggerName, str] = {
    "wandb": "wandb login, or keep all on this machine with WANDB_MODE=offline",
    "mlflow": "look after MLFLOW_TRACKING_URI; without it all is kept in RUN/mlflow",
}


def _run_name(folder: RunFolder) -> tuple[str, str | None]:
    """The name of a run, and of the group that it is in as one seed of several."""
    path = folder.path.resolve()
    if SEED_FOLDER.fullmatch(path.name):
        return f"{path.parent.name}/{path.name}", path.parent.name
    return path.name, None


def _end(logger: Logger, status: Literal["success", "failed"]) -> None:
    logger.finalize(status)
    finish = getattr(getattr(logger, "experiment", None), "finish", None)
    if finish is not None:  # wandb: the next run of this process is another
        finish(exit_code=0 if status == "success" else 1)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
