"""What a crawl fetches, from where, and how fast."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from featurestore.construct.crawl_layout import LayoutName
from featurestore.construct.wiki_api import check_url, is_loopback
from featurestore.construct.wiki_manners import DEFAULT_WIDTH, THUMBNAIL_WIDTHS, user_agent
from featurestore.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class CrawlOptions:
    """What is fetched, from where, and how.

    ``api``, ``items_api``: addresses of the ``api.php`` of the wiki and of Wikidata; "" = Wikipedia's
    and Wikidata's. A wiki of one's own is not taken to have Wikidata's items, so with ``api`` alone
    only titles of QIDs are looked up there, and no pictures. ``width``: pixels,
    one of ``THUMBNAIL_WIDTHS``. ``most_bytes``: of one picture. ``threads``: pictures at a time.
    ``insecure``: allow http. ``non_free``: take pictures that are not free too.
    """

    contact: str
    layout: LayoutName = "wikimel"
    language: str = "en"
    api: str = ""
    items_api: str = ""
    width: int = DEFAULT_WIDTH
    most_bytes: int = (
        10_000_000  # chosen here: thumbnails have 20 to 60 kB, small originals up to 1 MB
    )
    threads: int = 2  # the robot policy's limit for picture files
    non_free: bool = False
    insecure: bool = False

    def check(self) -> str:
        """The User-Agent.

        Raises:
            ConfigError, WikiError: an option cannot work.
        """
        if self.width not in THUMBNAIL_WIDTHS:
            raise ConfigError(
                f"{self.width} is no width that thumbnails are made in",
                where="--width",
                hint="one of " + ", ".join(map(str, THUMBNAIL_WIDTHS)),
            )
        for url, where in ((self.wiki_api, "--api"), (self.wikidata_api, "--wikidata-api")):
            check_url(url, insecure=self.insecure, where=where)
        return user_agent(self.contact, on_loopback=is_loopback(self.wiki_api))

    @property
    def wiki_api(self) -> str:
        return self.api or f"https://{self.language}.wikipedia.org/w/api.php"

    @property
    def wikidata_api(self) -> str:
        return self.items_api or "https://www.wikidata.org/w/api.php"

    @property
    def asks_items(self) -> bool:
        """Whether the items of the wiki's pages are known to be those of ``wikidata_api``."""
        return bool(self.items_api) or not self.api

    @property
    def site(self) -> str:
        """What Wikidata calls the wiki."""
        return self.language.replace("-", "_") + "wiki"

    def lasting(self) -> dict[str, Any]:
        """What all runs of one crawl have in common."""
        names = ("layout", "language", "width", "non_free")
        return {"api": self.wiki_api} | {name: asdict(self)[name] for name in names}
