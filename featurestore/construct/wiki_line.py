"""A client whose every exchange comes to an end, whatever a server sends.

The time limits of a client are of one read each. A server that sends a byte now and then, of its headers,
of the page that comes with a redirect, or of an answer, is never late for them, and whoever reads it
waits without end. So each exchange has a limit of its own, after which the connection is shut down.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import httpx2

from featurestore.construct.wiki_errors import Transient

#: What the system says where a name has no address.
_UNKNOWN = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))


class UnknownHost(Transient):
    """No server has the name: it is misspelt, or names cannot be looked up just now."""


class LineCut(Exception):
    """Our side gave up what was going on; there is nothing to try again."""


class Line:
    """One client with one connection, for one thread at a time.

    Args:
        client: with one connection at most; the limits of its reads stay as they are.
    """

    def __init__(self, client: httpx2.Client) -> None:
        self._client = client
        self._connected: Any = None  # the stream of the connection that was made last
        self._exchange: _Limit | None = None
        self._is_cut = False

    @contextmanager
    def get(
        self,
        url: str,
        *,
        seconds: float,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        follow_redirects: bool = False,
    ) -> Iterator[httpx2.Response]:
        """The answer to a request, its body still to be read.

        Args:
            seconds: for all of it, redirects and body too.

        Raises:
            UnknownHost: there is no server of that name.
            Transient: it did not answer, or not in time.
            LineCut: the line was cut, now or before.
            httpx2.TooManyRedirects, httpx2.UnsupportedProtocol, httpx2.InvalidURL: the address cannot be
                asked.
        """
        self._exchange = limit = _Limit(self)
        if self._is_cut:
            raise LineCut
        timer = threading.Timer(seconds, limit.reached)
        timer.daemon = True
        timer.start()
        try:
            with self._client.stream(
                "GET", url, params=params, headers=headers, follow_redirects=follow_redirects,
                extensions={"trace": limit.traced},
            ) as response:  # fmt: skip
                yield response
        except (httpx2.TooManyRedirects, httpx2.UnsupportedProtocol):
            raise
        except httpx2.HTTPError as error:
            raise (LineCut() if self._is_cut else limit.meaning(error)) from error
        finally:
            timer.cancel()
            limit.end()
        if limit.is_reached:  # where nobody says how long the body is, its end looks as any
            raise Transient("too slow")

    def cut(self) -> None:
        """End the exchange that is going on in another thread, and begin no other."""
        self._is_cut = True
        if self._exchange is not None:
            self._exchange.reached()

    def _shut(self) -> None:
        """Whoever reads from the connection, or writes to it, is told that it ended."""
        if self._connected is not None and (found := self._connected.get_extra_info("socket")):
            with suppress(OSError):  # not TLS's own, which takes the socket from under who reads
                socket.socket.shutdown(found, socket.SHUT_RDWR)


class _Limit:
    """The time limit of one exchange; reached in another thread than that of the exchange."""

    def __init__(self, line: Line) -> None:
        self.is_reached = False
        self._line = line
        self._lock = threading.Lock()
        self._ended = False

    def reached(self) -> None:
        with self._lock:
            if not self._ended:
                self.is_reached = True
                self._line._shut()

    def end(self) -> None:
        with self._lock:
            self._ended = True

    def traced(self, event: str, info: Mapping[str, Any]) -> None:
        """Is told of what the client does; a connection that is made too late is shut down, too."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            with self._lock:
                self._line._connected = info["return_value"]
                if self.is_reached:
                    self._line._shut()

    def meaning(self, error: httpx2.HTTPError) -> Transient:
        if self.is_reached:
            return Transient("too slow")
        if isinstance(error, httpx2.TimeoutException):
            return Transient("timeout")
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, socket.gaierror) and cause.errno in _UNKNOWN:
                return UnknownHost("no such server")
            cause = cause.__cause__ or cause.__context__
        return Transient("connection")
