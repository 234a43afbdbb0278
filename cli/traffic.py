"""What a command read of remote stores, in one line on stderr when it ends."""

from __future__ import annotations

import sys

from cli.console import clean, count, size, stderr


def show_traffic() -> None:
    """A line a remote store; nothing where none was opened."""
    remote = sys.modules.get("featurestore.remote")
    if remote is None:
        return
    for used in remote.take_used():
        traffic = used.traffic
        again = f" ({count(traffic.retries)} sent again)" if traffic.retries else ""
        changed = (
            "; the file is another one than last time: "
            f"{size(used.dropped)} kept of the old one were dropped"
            if used.dropped is not None
            else ""
        )
        stderr().print(
            clean(
                f"{used.url}: {size(traffic.bytes)} in {count(traffic.requests)} requests{again}, "
                f"{traffic.seconds:.1f} s; kept in {remote.cache_folder()}{changed}"
            ),
            style="dim",
            soft_wrap=True,
        )
