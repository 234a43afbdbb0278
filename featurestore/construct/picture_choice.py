"""Which picture of a page stands for its entity: the rule, without any input or output.

The rule, with its reasons in ``docs/build-images.md``: what Wikidata (P18) and the page itself name as
their picture, in this order; where neither can be used, the best of the page's other pictures by
:func:`score`. Icons, maps, sounds, films and documents never; drawings (SVG), flags, arms, logos,
diagrams and signatures only as a page's own first picture, where they are what the page is about, and
logos drawn in SVG not even there.
"""

from __future__ import annotations

import math
import re

from featurestore.construct.wiki_facts import FileFacts
from featurestore.encoders.opening import SMALLEST

#: Pictures of a page that are looked at where the first ones fail. Chosen here: two pages of any length
#: need one more request at most, and pictures named after the page come first.
MOST_LOOKED_AT = 20

#: Pictures that are tried before an entity goes without. Chosen here: what fails four times is the page.
MOST_TRIED = 4

#: Pixels of the shorter side of an original, of those that nobody chose. Chosen here: icons have up to
#: 64. What Wikidata or the page itself names needs what ``ingest`` takes.
SHORTEST = 100

#: Longer side by shorter side. Chosen here: banners, panoramas and signatures are beyond.
MOST_OBLONG = 3.0

#: Pixels beyond which more are no better: all are fetched 330 wide.
_ENOUGH = 1 << 20

#: What a name that shares a word with the page's title is worth: as much as four times the pixels.
_NAMED_AFTER = 2.0

_SUFFIX = re.compile(r"\.([A-Za-z0-9]{2,5})$")
_PICTURES = ("jpg", "jpeg", "jpe", "png", "tif", "tiff", "webp", "gif", "bmp", "svg", "xcf")
_TYPES = ("BITMAP", "DRAWING")

#: What names of such files say: all words of one of the groups. Never used, whoever names it.
_NEVER = {
    "icon": "icon icons pictogram ambox padlock favicon emoji nuvola gnome oojs wikimedia mediawiki "
    "wiktionary wikiquote wikisource wikinews wikivoyage wikibooks wikiversity wikispecies disambig "
    "increase2 decrease2 steady2 loudspeaker semi+protection edit+clear question+book commons+logo "
    "wikipedia+logo folder+hexagonal red+pog",
    "map": "map maps locator karte mapa orthographic",
}

#: As above, for all but a page's own first picture.
_NOT_OTHERS = {
    "flag": "flag flags",
    "arms": "coat+arms coa blason escudo wappen",
    "logo": "logo logos logotype wordmark",
    "diagram": "diagram chart infobox",
    "signature": "signature autograph",
}


def _groups(table: dict[str, str]) -> list[tuple[str, frozenset[str]]]:
    return [
        (kind, frozenset(group.split("+")))
        for kind, text in table.items()
        for group in text.split()
    ]


_NEVER_GROUPS, _NOT_OTHERS_GROUPS = _groups(_NEVER), _groups(_NOT_OTHERS)


def _kind(words: set[str], groups: list[tuple[str, frozenset[str]]]) -> str:
    return next((kind for kind, group in groups if group <= words), "")


def words_of(name: str) -> list[str]:
    """The words of a file name or title, without suffix, in small letters."""
    return re.findall(r"[^\W_]+", _SUFFIX.sub("", name).casefold())


def refused_by_name(name: str, *, is_lead: bool) -> str:
    """Why a file is not worth asking about, by its name alone; "" = it is.

    Args:
        is_lead: Wikidata or the page itself names it as its picture.
    """
    suffix = found[1].casefold() if (found := _SUFFIX.search(name)) else ""
    if suffix not in _PICTURES:
        return "not a picture"
    words = set(words_of(name))
    if kind := _kind(words, _NEVER_GROUPS):
        return kind
    kind = _kind(words, _NOT_OTHERS_GROUPS)
    if is_lead:
        return kind if kind == "logo" and suffix == "svg" else ""
    return kind or ("drawing" if suffix == "svg" else "")


def refused_by_facts(facts: FileFacts, *, is_lead: bool, non_free: bool) -> str:
    """Why a file is not used, by what the wiki says of it; "" = it may be.

    Args:
        non_free: pictures that are not free are allowed.
    """
    if facts.problem:
        return facts.problem
    if facts.media_type not in _TYPES or not facts.mime.startswith("image/"):
        return "not a picture"
    if not facts.is_free and not non_free:
        return "not free"
    shorter, longer = sorted((facts.width, facts.height))
    if facts.media_type == "BITMAP" and shorter < (SMALLEST if is_lead else SHORTEST):
        return "too small"
    if not is_lead:
        if facts.media_type == "DRAWING":
            return "drawing"
        if longer > MOST_OBLONG * shorter:
            return "too oblong"
    return ""


def score(facts: FileFacts, title: str) -> float:
    """How well a picture stands for a page, among those that may: larger is better.

    log₂ of its pixels (those above a megapixel do not count), less twice the distance of its aspect from
    a square in powers of two, plus 2 where its name shares a word of the title.
    """
    pixels = min(max(1, facts.width * facts.height), _ENOUGH)
    oblong = abs(math.log2(max(1, facts.width) / max(1, facts.height)))
    return math.log2(pixels) - 2 * oblong + _NAMED_AFTER * is_named_after(facts.asked, title)


def is_named_after(name: str, title: str) -> bool:
    """Whether a file's name and a title share a word of four or more letters."""
    return any(len(word) > 3 for word in set(words_of(name)) & set(words_of(title)))


def worth_asking(names: list[str], title: str) -> list[str]:
    """Which of a page's files are asked about: those named after the page first, each in given order."""
    usable = [name for name in dict.fromkeys(names) if not refused_by_name(name, is_lead=False)]
    return sorted(usable, key=lambda name: not is_named_after(name, title))[:MOST_LOOKED_AT]
