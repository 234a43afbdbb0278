"""``drin-fs inspect --web``: serve a store to a browser on this machine, and say where."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from cli.console import clean, show_json_line, stderr
from cli.web.serve import HOST, serve
from featurestore.place import Place


def browse(store: Place, runs: Sequence[Path], *, port: int, as_json: bool) -> None:
    """Serve a store until Ctrl-C; the address goes to stderr, and as JSON to stdout where asked for.

    Raises:
        ConfigError, DataError: see :func:`cli.web.serve.serve`.
    """

    def opened(number: int) -> None:
        url = f"http://{HOST}:{number}/"
        if as_json:
            show_json_line({"url": url, "port": number})
            sys.stdout.flush()
        lines = (
            f"browse {store.name} at {url}",
            f"from elsewhere: ssh -L {number}:{HOST}:{number} THIS_MACHINE, then the same address",
            "Ctrl-C ends it",
        )
        stderr().print(*map(clean, lines), sep="\n", soft_wrap=True)

    serve(store, runs, port=port, opened=opened)
