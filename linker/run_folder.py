"""The folder of a training run: what is in it, and how each file is written whole or not at all.

That of a model that has nothing to learn holds config, environment, summary, ranks and scores alone.

RUN/
  config.yaml            every option, with what the store decided (edges) filled in
  environment.json       versions, device, threads, and which store
  metrics.csv            one line an epoch
  summary.json           the figures, and what one has to know to read them
  profile.json           where the time of the run went, with --profile
  trace.json.gz          a few training steps in detail, with --profile
  loggers.json           what --logger has sent where, for --resume
  ranks/{split}.csv      the rank of every mention's gold, by the best weights
  scores/{split}.npy     (n, K) float32 the scores that these are ranks of: retrieved candidates, in
                         the rows' order; none under protocol full-kb
  checkpoints/best.ckpt  the best epoch, as Lightning can continue it
  checkpoints/last.ckpt  the newest state, of a finished epoch or within one, for --resume
  checkpoints/best.safetensors   the best weights alone
  README.md              the model card: all of this for people, unless they wrote one themselves
  tensorboard/           the figures of metrics.csv as events, where tensorboard is installed
  wandb/, mlflow/        what --logger keeps here
  .lock                  who writes to it, while somebody does
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ValidationError

from featurestore.arrayfile import ArrayFile
from featurestore.errors import ConfigError, DataError
from featurestore.progress import Progress
from linker.atomic import replacing, run_write_errors, unfinished, write_text
from linker.folder_lock import alone_in
from linker.ranks import Ranks, ScoreSink
from linker.run_files import Environment, Summary, levels
from linker.yaml_text import read_mapping


class RunError(DataError):
    """A run folder that is incomplete, or does not belong to what it is used with."""


#: Levels of a JSON file that is read (chosen here: a run writes four).
_MOST_LEVELS = 20

#: All that a run writes; ``--overwrite`` removes these and nothing else, in this order: what can be
#: continued goes first, and what says that there is a run goes last.
_WRITTEN = (
    *("checkpoints", "ranks", "scores", "tensorboard", "wandb", "mlflow"),
    *("README.md", "metrics.csv", "summary.json", "profile.json", "trace.json.gz", "loggers.json"),
    "environment.json",
    "config.yaml",
)

#: A line of every model card that drin-fs writes; one without it is the user's.
CARD_MARK = (
    "<!-- Written by drin-fs. Take this line out, and the file is yours: it stays as it is. -->"
)


class RunFolder:
    """Paths, and reading and writing of the small files, of one run."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self.environment = self.path / "environment.json"
        self.metrics = self.path / "metrics.csv"
        self.summary = self.path / "summary.json"
        self.card = self.path / "README.md"
        self.profile = self.path / "profile.json"
        self.trace = self.path / "trace.json.gz"
        self.loggers = self.path / "loggers.json"
        self.best = self.path / "checkpoints" / "best.ckpt"
        self.best_weights = self.path / "checkpoints" / "best.safetensors"
        self.last = self.path / "checkpoints" / "last.ckpt"
        self.tensorboard = self.path / "tensorboard"
        self._lock = self.path / ".lock"

    def ranks(self, split: str) -> Path:
        return self.path / "ranks" / f"{split}.csv"

    def scores(self, split: str) -> Path:
        return self.path / "scores" / f"{split}.npy"

    # the life of a run -------------------------------------------------------------------------

    @contextmanager
    def locked(self, *, progress: Progress) -> Iterator[None]:
        """Make the folder, and be the only process that writes to it.

        Raises:
            RunLocked: another one does; names it.
            WriteError: the folder cannot be made.
        """
        with alone_in(self.path, lock=self._lock, work="run", progress=progress):
            yield

    def start(self, *, overwrite: bool = False, checkpoints: bool = True) -> None:
        """Make the folder ready for a new run.

        Args:
            overwrite: remove the run that is there.
            checkpoints: the run will have some, so that it can be resumed.

        Raises:
            ConfigError: the folder is not empty, or holds other files than those of a run.
            WriteError: the folder cannot be written.
        """
        if self._holds_files():
            if not overwrite:
                raise ConfigError(
                    "the run folder is not empty",
                    where=str(self.path),
                    hint=("continue it with --resume, " if checkpoints else "")
                    + "replace it with --overwrite, or name another with -o",
                )
            self._remove_old_run()
        with run_write_errors(self.path):
            for folder in (self.ranks("test").parent, *([self.best.parent] if checkpoints else [])):
                folder.mkdir(parents=True, exist_ok=True)

    def _holds_files(self) -> bool:
        """Whether there is more than a run leaves that is stopped before its first file is whole."""
        ours = (self._lock, unfinished(self.config))
        return any(not path.is_dir() and path not in ours for path in self.path.rglob("*"))

    def remove_unfinished(self) -> None:
        """Remove what a killed process was writing to this run."""
        written = [self.path / name for name in _WRITTEN]
        files = [file for path in written if path.is_dir() for file in path.glob(".*.part")]
        for path in (*files, *map(unfinished, written)):
            path.unlink(missing_ok=True)

    def _remove_old_run(self) -> None:
        """Only what a run writes, and only where there was a run: the folder may hold more."""
        if not self.config.is_file():
            raise ConfigError(
                "the folder is not empty and holds no run",
                where=str(self.path),
                hint="--overwrite replaces runs only; name another folder with -o",
            )
        self.discard()

    def discard(self) -> None:
        """Remove all that a run writes, and nothing else.

        Raises:
            WriteError: it cannot be removed.
        """
        with run_write_errors(self.path):
            self.last.unlink(missing_ok=True)
            for name in _WRITTEN:
                path = self.path / name
                if path == self.card and not self.card_is_ours():
                    continue
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)

    def remove_checkpoints(self) -> int:
        """Remove the checkpoints and the best weights; how many bytes they took.

        Raises:
            WriteError: they cannot be removed.
        """
        folder = self.best.parent
        with run_write_errors(folder):
            size = sum(path.lstat().st_size for path in folder.iterdir())
            shutil.rmtree(folder)
        return size

    # writing -----------------------------------------------------------------------------------

    def write_environment(self, environment: Mapping[str, Any]) -> None:
        write_text(self.environment, json.dumps(environment, indent=2) + "\n")

    def write_config(self, text: str) -> None:
        write_text(self.config, text)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        write_text(self.summary, json.dumps(summary, indent=2, allow_nan=False) + "\n")

    def card_is_ours(self) -> bool:
        """Whether the model card may be replaced: there is none, or drin-fs wrote it."""
        try:
            text = self.card.read_text(encoding="utf-8")
        except FileNotFoundError:
            return True
        except (OSError, UnicodeDecodeError):
            return False
        return CARD_MARK in text.splitlines()

    def write_card(self, text: str) -> None:
        write_text(self.card, text)

    def write_profile(self, profile: Mapping[str, Any]) -> None:
        write_text(self.profile, json.dumps(profile, indent=2) + "\n")

    def write_loggers(self, states: Mapping[str, Any]) -> None:
        write_text(self.loggers, json.dumps(states, indent=2) + "\n")

    def write_metrics(self, history: Sequence[Mapping[str, Any]]) -> None:
        """One line an epoch; written anew each time, so that it never disagrees with ``last``."""
        write_text(self.metrics, _csv(history[0].keys(), (row.values() for row in history)))

    def write_ranks(self, split: str, *, ids: Sequence[str], ranks: Ranks) -> None:
        """One line a mention; ranks are empty where the gold was not retrieved."""
        header = ("mention", "retrieved", "rank_optimistic", "rank_expected", "rank_pessimistic")
        columns = (ranks.optimistic, ranks.expected, ranks.pessimistic)
        rows = (
            (mention, int(found), *(f"{r:g}" if np.isfinite(r) else "" for r in place))
            for mention, found, *place in zip(ids, ranks.retrieved, *columns, strict=True)
        )
        write_text(self.ranks(split), _csv(header, rows))

    @contextmanager
    def writing_scores(self, split: str, *, mentions: int, candidates: int) -> Iterator[ScoreSink]:
        """Takes the scores of a split, some mentions after the other; whole or not at all.

        What is taken is written at once: a file of 4·K bytes a mention, and none of it in memory.

        Raises:
            WriteError: the disk is full or fails; what was there is kept.
        """
        path = self.scores(split)
        with run_write_errors(path):
            path.parent.mkdir(exist_ok=True)
        with (
            replacing(path) as temporary,
            ArrayFile(temporary, (mentions, candidates), np.float32) as file,
        ):
            yield file.append

    # reading -----------------------------------------------------------------------------------

    def read_config(self) -> dict[str, Any]:
        """The options of the run, as nested plain values."""
        try:
            values = read_mapping(self._read(self.config), where=str(self.config))
        except ConfigError as error:
            raise self._damaged(self.config, error.what, where=error.where) from error
        if not values:
            raise self._damaged(self.config, "it holds no keys with values")
        return values

    def read_environment(self) -> dict[str, Any]:
        """Versions, device and store; what is read of it is there, and of its kind."""
        return self._read_json(self.environment, Environment)

    def read_summary(self) -> dict[str, Any]:
        """The figures; what is read of them is there, and of its kind."""
        return self._read_json(self.summary, Summary)

    def _read_json(self, path: Path, form: type[BaseModel]) -> dict[str, Any]:
        try:
            values = json.loads(self._read(path))
            if levels(values) > _MOST_LEVELS:
                raise ValueError(f"nested more than {_MOST_LEVELS} levels")
            form.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise self._damaged(path, f"{place or path.name}: {first['msg']}") from error
        except (ValueError, RecursionError) as error:
            raise self._damaged(path, f"no JSON ({error})") from error
        return dict(values)

    def _damaged(self, path: Path, reason: str, *, where: str = "") -> RunError:
        return RunError(
            f"{path.name} of the run is damaged ({reason})",
            where=where or str(path),
            hint="put the file back from a copy, or start the run again with --overwrite",
        )

    def _read(self, path: Path) -> str:
        try:
            return path.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            raise RunError(
                self._what_is_missing(path), where=str(path), hint=self._next()
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise self._damaged(path, str(error)) from error

    def _what_is_missing(self, path: Path) -> str:
        if self.path.is_file():
            return "this is a file, and a run is a folder"
        if not self.path.is_dir():
            return "no such run folder"
        if not self.config.is_file():
            return "the folder holds no run"
        return f"the run has no {path.name}: it was not finished"

    def _next(self) -> str:
        if self.last.is_file():
            return f"finish it with: drin-fs train STORE -o {self.path} --resume"
        return "a run is made with: drin-fs train STORE -o RUN"


def _csv(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
