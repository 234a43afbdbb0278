"""What a crawl costs beside the network: ``python -m tests.wiki_cost ENTITIES`` prints it for the docs.

The wiki runs in a process of its own, on loopback; every page has a lead picture. No waits are counted.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

from featurestore.construct.crawl import crawl
from featurestore.construct.crawl_options import CrawlOptions
from tests.wiki_server import File, Page, WikiServer


def serve(entities: int, pipe: Connection) -> None:
    """Tell the address, and run until told to end."""
    with WikiServer() as wiki:
        for number in range(entities):
            title = f"Thing {number}"
            wiki.add(Page(title=title, qid=f"Q{number + 1}", extract=title, lead=f"{title}.jpg"))
            wiki.add_file(File(name=f"{title}.jpg"))
        pipe.send(wiki.api)
        pipe.recv()


def main(entities: int) -> None:
    """A line for each cost."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(entities, theirs))
    process.start()
    api = ours.recv()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        titles = root / "titles.tsv"
        titles.write_text("".join(f"Q{n + 1}\tThing {n}\n" for n in range(entities)))
        options = CrawlOptions(contact="tests@example.org", api=api, items_api=api, insecure=True)
        begun = time.process_time()
        status = crawl(titles, root / "out", options=options)
        spent = time.process_time() - begun
        manifest = (root / "out" / "manifest.sqlite").stat().st_size
    ours.send("end")
    process.join()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    sys.stdout.write(
        f"entities            {status.total:,}, {status.files:,} pictures\n"
        f"API calls           {status.calls / entities:.3f} an entity\n"
        f"picture requests    {status.requests / entities:.3f} an entity\n"
        f"processor time      {1000 * spent / entities:.1f} ms an entity\n"
        f"manifest            {manifest / entities:,.0f} bytes an entity\n"
        f"memory              {peak:,.0f} MB\n"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
