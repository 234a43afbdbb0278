"""Answers that may take longer than a page may: computed beside it, and shown when they are there."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from threading import Lock
from typing import Generic, TypeVar

Value = TypeVar("Value")

#: Seconds that a page waits for an answer (chosen here: a page then still comes within 100 ms).
_PATIENCE = 0.04

#: Answers that are kept (chosen here: the pages that somebody goes back to).
_KEPT = 64


class Later(Generic[Value]):
    """Answers by key, each computed once by a worker. May be shared among threads.

    Args:
        worker: computes one answer after the other.
    """

    def __init__(self, worker: ThreadPoolExecutor) -> None:
        self._worker = worker
        self._answers: OrderedDict[Hashable, Future[Value]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, compute: Callable[[], Value]) -> Value | None:
        """The answer; None where it is not there yet: ask again.

        Raises:
            Exception: what ``compute`` raised; it is computed anew when asked for again.
        """
        with self._lock:
            answer = self._answers.get(key)
            if answer is None:
                answer = self._answers[key] = self._worker.submit(compute)
                self._forget()
            self._answers.move_to_end(key)
        try:
            return answer.result(_PATIENCE)
        except NotYet:
            if not answer.done():
                return None
            return answer.result()
        except Exception:
            with self._lock:
                self._answers.pop(key, None)
            raise

    def _forget(self) -> None:
        """Drop the oldest; what nobody began to compute is not computed."""
        while len(self._answers) > _KEPT:
            self._answers.popitem(last=False)[1].cancel()
