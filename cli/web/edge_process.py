"""The edges of runs, computed by a process of their own.

Importing torch and loading a network take seconds in which a thread would hold up every page.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import lru_cache
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from cli.web.runs import Run
from featurestore.errors import DrinFsError
from featurestore.place import Place
from linker.edge_weights import EdgeWeights

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

    from linker.explain import EdgeReader


class Edges:
    """Asks for edges, one mention after the other. To be used by one thread; any may close it.

    Args:
        store: path of the store.
    """

    def __init__(self, store: Place) -> None:
        self._store = store
        self._process: SpawnProcess | None = None
        self._line: Connection | None = None
        self._closed = False

    def of(self, run: Run, row: int) -> EdgeWeights:
        """The edges of one mention.

        Raises:
            ModuleNotFoundError: torch is not installed.
            RunError: the run has no weights, or they do not fit.
            DrinFsError: the process that computes them ended.
        """
        try:
            line = self._open_line()
            line.send((run.recorded.path, row))
            answer = line.recv()
        except (EOFError, OSError) as error:
            self._end()
            raise DrinFsError(
                "the process that computes edges ended",
                where=str(run.recorded.path),
                hint="load the page again; drin-fs inspect --mention ID --run RUN --edges says more",
            ) from error
        if isinstance(answer, EdgeWeights):
            return answer
        raise answer

    def _open_line(self) -> Connection:
        if self._line is None:
            if self._closed:
                raise EOFError
            context = get_context("spawn")
            self._line, theirs = context.Pipe()
            self._process = context.Process(
                target=_answer, args=(theirs, self._store), name="edges", daemon=True
            )
            self._process.start()
            theirs.close()
        return self._line

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
        if self._line is not None:
            self._line.close()
        self._process = self._line = None

    def close(self) -> None:
        """End the process; who waits for its answer gets an error."""
        self._closed = True
        if self._process is not None:
            self._process.kill()


def _answer(line: Connection, store: Place) -> None:
    """Answer until nobody asks any more."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C is for the server, which ends this process
    reader = lru_cache(4)(_opener(store))
    while True:
        try:
            run, row = line.recv()
        except EOFError:
            return
        try:
            line.send(reader(run).weights(row))
        except (DrinFsError, ModuleNotFoundError) as error:
            line.send(error)


def _opener(path: Place) -> Callable[[Path], EdgeReader]:
    def opened(run: Path) -> EdgeReader:
        import torch

        import featurestore
        from linker.explain import EdgeReader

        torch.set_num_threads(1)  # the pages come first
        return EdgeReader(run, featurestore.open(path))

    return opened
