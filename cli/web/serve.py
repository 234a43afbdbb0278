"""The socket, the server, and its end."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import uvicorn

import featurestore
from cli.web.app import make_app
from cli.web.runs import open_runs
from cli.web.site import Site
from featurestore.errors import ConfigError
from featurestore.place import Place

#: The only address we listen at: this machine's own, which no other can reach.
HOST = "127.0.0.1"

#: Seconds that answers under way get at the end.
_LAST_SECONDS = 3


def serve(path: Place, runs: Sequence[Path], *, port: int, opened: Callable[[int], None]) -> None:
    """Show a store until Ctrl-C, which is a ``KeyboardInterrupt`` here as everywhere.

    Args:
        port: 0 takes a free one.
        opened: is told the port when a browser can connect.

    Raises:
        ConfigError: the port is taken, or a folder is no run.
        DataError: no store there, or a run of another one.
    """
    with featurestore.open(path) as store, listening(port) as listener:
        site = Site(store, open_runs(store, runs))
        try:
            number = listener.getsockname()[1]
            server = uvicorn.Server(configuration(site, number))
            opened(number)
            server.run(sockets=[listener])
        finally:
            site.close()


def configuration(site: Site, port: int) -> uvicorn.Config:
    """How the server runs: quiet, and nothing but HTTP."""
    return uvicorn.Config(
        make_app(site, port=port),
        lifespan="off",
        ws="none",
        http="h11",
        loop="asyncio",
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_LAST_SECONDS,
    )


def listening(port: int) -> socket.socket:
    """A socket at a port of this machine.

    Raises:
        ConfigError: another program listens there, or this one may not.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        why = "is taken" if error.errno == errno.EADDRINUSE else "may not be used"
        raise ConfigError(
            f"port {port} {why}", where="--port", hint="--port 0 takes a free one"
        ) from error
    return listener
