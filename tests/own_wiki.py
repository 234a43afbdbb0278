"""Serves the wiki of ``drin-fs sample DIR --layout own``: ``python -m tests.own_wiki DIR/wiki``.

It listens on loopback, says where its API is, and runs until it is interrupted.
"""

from __future__ import annotations

import json
import struct
import sys
import threading
from pathlib import Path

from tests.wiki_server import File, Page, WikiServer


def own_wiki(folder: Path) -> WikiServer:
    """A wiki, not running yet, with the pages and pictures of a sample."""
    wiki = WikiServer()
    for page in json.loads((folder / "pages.json").read_text(encoding="utf-8")):
        name = page["picture"]
        wiki.add(Page(title=page["title"], qid=page["qid"], extract=page["extract"], lead=name))
        body = (folder / name).read_bytes()
        width, height = _jpeg_size(body)
        wiki.add_file(File(name=name, width=width, height=height, body=body))
    return wiki


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Width and height, from the header of the first frame."""
    place = 2
    while data[place + 1] not in (0xC0, 0xC2):
        place += 2 + struct.unpack(">H", data[place + 2 : place + 4])[0]
    height, width = struct.unpack(">HH", data[place + 5 : place + 9])
    return width, height


if __name__ == "__main__":
    with own_wiki(Path(sys.argv[1])) as running:
        print(running.api, flush=True)
        threading.Event().wait()
