"""What a wiki says about pages, files and items, in named fields; "" and 0 where it says nothing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFacts:
    """One asked title, and the page that it leads to.

    ``problem``: why there is no page to use, "" where there is one. ``normalised`` and ``redirected``:
    what the title became on the way, "" where nothing happened. ``lead``: the file that stands for the
    page. ``brief``: the text above the first heading, in one line.
    """

    asked: str
    problem: str = ""
    normalised: str = ""
    redirected: str = ""
    title: str = ""
    page_id: int = 0
    qid: str = ""
    lead: str = ""
    brief: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """One picture file of a wiki; ``problem``: why there is nothing to fetch."""

    asked: str
    problem: str = ""
    mime: str = ""
    media_type: str = ""
    width: int = 0
    height: int = 0
    url: str = ""  # the original
    thumb_url: str = ""  # what is fetched
    page_url: str = ""  # the page that describes it
    license: str = ""
    license_url: str = ""
    author: str = ""
    credit: str = ""
    is_free: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemFacts:
    """One Wikidata item; ``title``: of its article in the wiki that is asked, "" = it has none.

    ``image``: the file on Commons that it names as its picture (P18), the first of the best rank.
    """

    asked: str
    problem: str = ""
    title: str = ""
    label: str = ""
    description: str = ""
    image: str = ""
