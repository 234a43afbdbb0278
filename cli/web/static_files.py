"""Style, script and icon: a fixed list of names, read once; no path comes from a request."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from importlib.resources import files

#: Name → its media type; nothing else is served.
TYPES = {
    "style.css": "text/css; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "map.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


@cache
def static_bytes(name: str) -> bytes:
    """One of the files.

    Raises:
        KeyError: none of these.
    """
    if name not in TYPES:
        raise KeyError(name)
    return (files("cli.web") / "static" / name).read_bytes()


def static_url(name: str) -> str:
    """The address of a file; it changes with its content, so that browsers may keep it."""
    return f"/static/{name}?v={sha256(static_bytes(name)).hexdigest()[:12]}"
