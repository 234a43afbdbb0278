"""What is asked of a wiki about pages, files and items.

Answers are data of strangers: whatever is not of the expected type counts as absent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

from featurestore.construct.entity_details import best_values
from featurestore.construct.html_text import text_of_html
from featurestore.construct.wiki_api import WikiApi
from featurestore.construct.wiki_facts import FileFacts, ItemFacts, PageFacts
from featurestore.construct.wiki_manners import BATCH

#: Bytes of the encoded titles of one request. Chosen here: servers take addresses of 8 kB.
MOST_TITLES = 6000

#: What no title of a page holds; "|" would also be taken for two titles.
_ILLEGAL = re.compile("[|#<>\\[\\]{}\x00-\x1f\x7f]")

#: Facts about a file that stand in its description.
_EXTMETADATA = "LicenseShortName|LicenseUrl|Artist|Credit|NonFree"


def is_legal(title: str) -> bool:
    """Whether a page may have this title; others are not asked for."""
    return bool(title.strip(" _")) and not _ILLEGAL.search(title) and len(title.encode()) <= 255


def batches(titles: Iterable[str], *, size: int = BATCH) -> Iterator[list[str]]:
    """Titles in groups that fit in one request."""
    batch: list[str] = []
    room = MOST_TITLES
    for title in titles:
        needed = len(quote(title, safe="")) + 3
        if batch and (len(batch) == size or needed > room):
            yield batch
            batch, room = [], MOST_TITLES
        batch.append(title)
        room -= needed
    if batch:
        yield batch


def ask_pages(api: WikiApi, titles: Sequence[str], *, non_free: bool) -> list[PageFacts]:
    """The pages of at most ``BATCH`` titles, redirects followed; in the order of the titles.

    Args:
        non_free: take lead pictures that are not free too.

    Raises:
        ApiError, WikiError: as :meth:`WikiApi.query`.
    """
    parameters = {
        "prop": "extracts|pageimages|pageprops",
        "titles": "|".join(titles),
        "redirects": "1",
        "exintro": "1",
        "explaintext": "1",
        "exlimit": "max",
        "piprop": "name",
        "pilimit": str(BATCH),
        "pilicense": "any" if non_free else "free",
        "ppprop": "wikibase_item|disambiguation",
    }
    found = _Merged.of(api, parameters)
    return [_page(title, found) for title in titles]


def ask_files_of(api: WikiApi, titles: Sequence[str]) -> dict[str, list[str]]:
    """The names of all files on pages, without ``File:``, in the order of the API (by name).

    Raises:
        ApiError, WikiError: as :meth:`WikiApi.query`.
    """
    found = _Merged.of(api, {"prop": "images", "titles": "|".join(titles), "imlimit": "max"})
    return {title: found.files.get(found.place(title)[-1], []) for title in titles}


def ask_files(api: WikiApi, names: Sequence[str], *, width: int) -> list[FileFacts]:
    """What is known of at most ``BATCH`` files, redirects followed; in the order of the names.

    Args:
        width: of the thumbnails, one of ``THUMBNAIL_WIDTHS``.

    Raises:
        ApiError, WikiError: as :meth:`WikiApi.query`.
    """
    parameters = {
        "prop": "imageinfo",
        "titles": "|".join(f"File:{name}" for name in names),
        "redirects": "1",
        "iiprop": "url|size|mime|mediatype|extmetadata",
        "iiurlwidth": str(width),
        "iiextmetadatafilter": _EXTMETADATA,
        "iiextmetadatalanguage": "en",
    }
    found = _Merged.of(api, parameters)
    return [_file(name, found) for name in names]


def ask_items(api: WikiApi, qids: Sequence[str], *, site: str, language: str) -> list[ItemFacts]:
    """The articles and pictures (P18) of at most ``BATCH`` Wikidata items; in the order of the ids.

    The API gives all claims of an item or none, so that an answer has some MB.

    Args:
        site: the wiki whose titles are wanted: enwiki.
        language: of labels and descriptions.

    Raises:
        ApiError, WikiError: as :meth:`WikiApi.call`.
    """
    answer = api.call(
        {
            "action": "wbgetentities",
            "ids": "|".join(qids),
            "props": "sitelinks|labels|descriptions|claims",
            "sitefilter": site,
            "languages": language,
            "languagefallback": "1",
        }
    )
    items = {}
    for key, item in _mapping(answer.get("entities")).items():
        for name in (key, _text(_mapping(item.get("redirects")).get("from"))):
            items[name] = item
    return [_item(qid, items.get(qid), site, language) for qid in qids]


# answers -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Merged:
    """The answers to one query, put together."""

    renamed: dict[str, tuple[str, str]] = field(default_factory=dict)  # from → kind, to
    pages: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, list[str]] = field(default_factory=dict)
    foreign: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, api: WikiApi, parameters: Mapping[str, str]) -> _Merged:
        merged = cls()
        for answer in api.query(parameters):
            merged._add(answer)
        return merged

    def _add(self, answer: Mapping[str, Any]) -> None:
        for kind in ("normalized", "redirects"):
            for step in _list(answer.get(kind)):
                start, end = _text(step.get("from")), _text(step.get("to"))
                if step.get("fromencoded"):
                    start = unquote(start)
                if start and end and start != end:
                    self.renamed[start] = (kind, end)
        for step in _list(answer.get("interwiki")):
            self.foreign.add(_text(step.get("title")))
        for page in _list(answer.get("pages")):
            title = _text(page.get("title"))
            known = self.pages.setdefault(title, {})
            for name in _list(page.pop("images", None)):
                file = _text(name.get("title")).partition(":")[2]
                if file:
                    self.files.setdefault(title, []).append(file)
            known.update({key: value for key, value in page.items() if value not in ("", None)})

    def place(self, title: str) -> tuple[str, str, str]:
        """Where a title leads: normalised to, redirected to (or ""), and the page's own title."""
        seen = {title}
        steps = {"normalized": "", "redirects": ""}
        while title in self.renamed:
            kind, title = self.renamed[title]
            steps[kind] = title
            if title in seen:
                return steps["normalized"], steps["redirects"], ""
            seen.add(title)
        return steps["normalized"], steps["redirects"], title


def _page(asked: str, found: _Merged) -> PageFacts:
    normalised, redirected, title = found.place(asked)
    page = found.pages.get(title)

    def without(problem: str) -> PageFacts:
        return PageFacts(
            asked=asked, problem=problem, normalised=normalised, redirected=redirected, title=title
        )

    if not title:
        return without("redirect loop")
    if title in found.foreign:
        return without("title of another wiki")
    if page is None or "missing" in page:
        return without("no such page")
    if "invalid" in page:
        return without("invalid title")
    properties = _mapping(page.get("pageprops"))
    if "disambiguation" in properties:
        return without("disambiguation page")
    page_id = page.get("pageid")
    return PageFacts(
        asked=asked,
        normalised=normalised,
        redirected=redirected,
        title=title,
        page_id=page_id if isinstance(page_id, int) else 0,
        qid=_text(properties.get("wikibase_item")),
        lead=_text(page.get("pageimage")).replace("_", " "),
        brief=" ".join(_text(page.get("extract")).split()),
    )


def _file(asked: str, found: _Merged) -> FileFacts:
    title = found.place(f"File:{asked}")[-1]
    page = found.pages.get(title, {})
    versions = _list(page.get("imageinfo"))
    if not versions:
        return FileFacts(asked=asked, problem="no such file")
    info = versions[0]
    more = _mapping(info.get("extmetadata"))
    said = {name: text_of_html(_text(_mapping(more.get(name)).get("value"))) for name in more}
    width, height = info.get("width"), info.get("height")
    return FileFacts(
        asked=asked,
        problem="" if _text(info.get("thumburl")) else "no thumbnail",
        mime=_text(info.get("mime")),
        media_type=_text(info.get("mediatype")),
        width=width if isinstance(width, int) else 0,
        height=height if isinstance(height, int) else 0,
        url=_text(info.get("url")),
        thumb_url=_text(info.get("thumburl")),
        page_url=_text(info.get("descriptionurl")),
        license=said.get("LicenseShortName", ""),
        license_url=said.get("LicenseUrl", ""),
        author=said.get("Artist", ""),
        credit=said.get("Credit", ""),
        is_free=said.get("NonFree", "").casefold() not in ("true", "yes", "1"),
    )


def _item(asked: str, item: Mapping[str, Any] | None, site: str, language: str) -> ItemFacts:
    if item is None or "missing" in item:
        return ItemFacts(asked=asked, problem="no such item")

    def said(kind: str) -> str:
        return _text(_mapping(_mapping(item.get(kind)).get(language)).get("value"))

    title = _text(_mapping(_mapping(item.get("sitelinks")).get(site)).get("title"))
    return ItemFacts(
        asked=asked,
        problem="" if title else "no article",
        title=title,
        label=said("labels"),
        description=said("descriptions"),
        image=_text(next((name for name in best_values(item, "P18") if isinstance(name, str)), "")),
    )


def _text(value: object) -> str:
    """A string as it can be stored: lone halves of characters become U+FFFD."""
    if not isinstance(value, str):
        return ""
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
