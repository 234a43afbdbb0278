"""A crawl to be killed: ``python -m tests.wiki_crawl_child LIST FOLDER API``."""

from __future__ import annotations

import sys
from pathlib import Path

from featurestore.construct.crawl import crawl
from featurestore.construct.crawl_options import CrawlOptions
from tests.wiki_faults import HURRIED


def main(entities: str, folder: str, api: str) -> None:
    options = CrawlOptions(contact="tests@example.org", api=api, items_api=api, insecure=True)
    crawl(Path(entities), Path(folder), options=options, patience=HURRIED)


if __name__ == "__main__":
    main(*sys.argv[1:])
