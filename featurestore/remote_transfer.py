"""Ranges of a remote file, several at a time, each tried again where the line or the server fails."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

from featurestore.errors import StoreError
from featurestore.place import StoreUrl
from featurestore.remote_source import Changed, Head, Source, Transient, source_of

T = TypeVar("T")

_turns: dict[tuple[int, str], asyncio.Semaphore] = {}

#: Requests under way at once (chosen here: object stores give some 50 MB/s a connection, so eight fill a
#: fast line; more of them make small servers refuse).
AT_ONCE = 8

#: Requests under way at once to one server, of all files (chosen here: a batch that is waited for and
#: those read ahead, each with its eight).
AT_ONCE_ALTOGETHER = 2 * AT_ONCE

#: Bytes of a request at most (chosen here: eight of them stand in memory, and a cut line loses one).
MOST = 8 << 20

#: Attempts to reach a file at all (chosen here: a wrong address is said after some two seconds).
_FIRST_ATTEMPTS = 4

#: Seconds that a server may ask us to wait (chosen here: what somebody at a terminal sits through).
_LONGEST_ASKED = 120


@dataclass(frozen=True, slots=True)
class Patience:
    """Attempts of a request, and the seconds between them: doubled each time, up to ``longest``."""

    attempts: int = 6
    first: float = 0.25
    longest: float = 20.0


class Traffic:
    """What was asked of servers: attempts are requests too. ``seconds``: in which somebody waited.

    May be of several files. The counts change in fsspec's one loop only.
    """

    def __init__(self) -> None:
        self.requests = self.bytes = self.retries = 0
        self.seconds = 0.0
        self._waiting, self._since, self._lock = 0, 0.0, threading.Lock()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around a wait; of several at the same time the seconds count once."""
        with self._lock:
            self._waiting += 1
            if self._waiting == 1:
                self._since = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1
                if not self._waiting:
                    self.seconds += time.perf_counter() - self._since

    def add(self, other: Traffic) -> None:
        """Count what was counted of another file, too; nobody waits for that one just now."""
        with self._lock:
            self.seconds += other.seconds

        async def count() -> None:
            self.requests += other.requests
            self.bytes += other.bytes
            self.retries += other.retries

        asyncio.run_coroutine_threadsafe(count(), _loop()).result()


class Transfer:
    """Reads one remote file. May be used by several threads, and on in a forked child.

    Args:
        source: how to reach the file; by default what its URL says.
    """

    def __init__(
        self, url: StoreUrl, *, source: Source | None = None, patience: Patience | None = None
    ) -> None:
        self.url = url
        self.traffic = Traffic()
        self.patience = patience or Patience()
        self._source = source or source_of(url)
        self._process = os.getpid()

    def head(self, size: int) -> Head:
        """What the file is, and its first bytes.

        Raises:
            StoreError: it is not there, not for us, or cannot be reached.
        """
        source = self._of_process()

        async def first_bytes() -> Head:
            head = await self._again(source.head, size, most=_FIRST_ATTEMPTS)
            self.traffic.bytes += len(head.data)
            return head

        return self._run(first_bytes())

    def read(
        self,
        ranges: Sequence[tuple[int, int]],
        done: Callable[[int, bytes], None],
        *,
        version: str = "",
    ) -> set[str]:
        """Fetch ranges ``[start, stop)`` of at most :data:`MOST` bytes each, in any order.

        Args:
            done: is told of each where it begins and what it holds; one call at a time.
            version: stop at the first answer that names another; empty = any will do.

        Returns:
            the versions of the file that the answers named; ``""`` for one that named none.

        Raises:
            StoreError: one cannot be had.
            Changed: another version, or a file that ends earlier.
        """
        return self._run(self._read_all(self._of_process(), deque(ranges), done, version))

    def stream(self, done: Callable[[bytes], None]) -> None:
        """The whole file in order, for servers that send no parts; one attempt.

        Raises:
            Transient: it broke off.
            StoreError: as :meth:`read`.
        """

        async def all_of_it() -> None:
            self.traffic.requests += 1
            async for piece in self._of_process().stream():
                self.traffic.bytes += len(piece)
                done(piece)

        self._run(all_of_it())

    def close(self) -> None:
        """End the connections."""
        if self._process == os.getpid():
            self._run(self._source.close())

    def _turns(self) -> asyncio.Semaphore:
        """What the requests to one server wait for."""
        key = os.getpid(), urlsplit(self.url.url).netloc  # a child has another loop
        return _turns.setdefault(key, asyncio.Semaphore(AT_ONCE_ALTOGETHER))

    def _of_process(self) -> Source:
        """The source; a new one in a forked child, where the other's connections and loop are not."""
        if self._process != os.getpid():
            self._source, self._process = source_of(self.url), os.getpid()
            self.traffic = Traffic()  # a thread may have held the other's lock
        return self._source

    async def _read_all(
        self,
        source: Source,
        left: deque[tuple[int, int]],
        done: Callable[[int, bytes], None],
        wanted: str,
    ) -> set[str]:
        versions: set[str] = set()

        async def one_after_another() -> None:
            while left:
                start, stop = left.popleft()
                data, version = await self._again(partial(source.read, start), stop)
                self.traffic.bytes += len(data)
                if wanted and version not in ("", wanted):
                    raise Changed
                versions.add(version)
                done(start, data)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(AT_ONCE, len(left))):
                    group.create_task(one_after_another())
        except BaseExceptionGroup as several:
            raise _first(several) from None
        return versions

    async def _again(
        self, ask: Callable[[int], Awaitable[T]], argument: int, *, most: int | None = None
    ) -> T:
        """The answer to a request, of the first attempt that gives one; ``most`` of them.

        Raises:
            StoreError: none does.
        """
        import stamina

        stamina.instrumentation.set_on_retry_hooks(())  # we say it ourselves
        tries = 0
        try:
            async for attempt in stamina.retry_context(
                on=_whether_again,
                attempts=min(self.patience.attempts, most or self.patience.attempts),
                timeout=None,
                wait_initial=self.patience.first,
                wait_max=self.patience.longest,
                wait_jitter=self.patience.first,
            ):
                with attempt:
                    tries += 1
                    self.traffic.requests += 1
                    self.traffic.retries += tries > 1
                    async with self._turns():
                        return await ask(argument)
        except Transient as error:
            raise StoreError(
                f"the server gave no answer in {tries} attempts ({error.reason})",
                where=str(self.url),
                hint="run the command again when it can be reached; what was read is kept",
            ) from error
        raise AssertionError("stamina returns or raises")

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine in fsspec's loop; when this returns or raises, it has ended."""
        ended = threading.Event()

        async def watched() -> T:
            try:
                return await work
            finally:
                ended.set()

        with self.traffic.waiting():
            running = asyncio.run_coroutine_threadsafe(watched(), _loop())
            try:
                return running.result()
            except BaseException:
                if running.cancel():  # Ctrl-C: nothing is handed on behind our back
                    ended.wait(1)
                raise


def _loop() -> asyncio.AbstractEventLoop:
    from fsspec.asyn import get_loop

    loop: asyncio.AbstractEventLoop = get_loop()
    return loop


def _whether_again(error: Exception) -> bool | float:
    """For stamina: whether to try again, and after how many seconds where the server said so."""
    if not isinstance(error, Transient):
        return False
    if error.after is None:
        return True
    return error.after if error.after <= _LONGEST_ASKED else False


def _first(several: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = several
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def cut(start: int, stop: int) -> list[tuple[int, int]]:
    """A range as requests of at most :data:`MOST` bytes."""
    return [(first, min(first + MOST, stop)) for first in range(start, stop, MOST)]
