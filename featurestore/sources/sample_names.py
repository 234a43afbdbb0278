"""How the sample names entities and pictures: QIDs, Wikipedia titles and the URLs of WikiDiverse."""

from __future__ import annotations

import hashlib
from typing import Literal
from urllib.parse import quote

import numpy as np

from featurestore.sources.sample_plan import PictureState
from featurestore.sources.sample_world import World, stream

_WIKI = "https://en.wikipedia.org/wiki/"
_UPLOADS = "https://upload.wikimedia.org/wikipedia/commons/a/ab/"

#: What may be wrong with a gold URL; "lower" and "spaces" are found by normalised titles only.
GoldState = Literal["clean", "NIL", "hhttps", "bracket", "lower", "spaces"]
ODD_GOLDS: tuple[GoldState, ...] = ("NIL", "hhttps", "bracket", "lower", "spaces")
#: Share of golds in each odd state; chosen here, at least one (a tenth of the release is NIL or
#: unmatched, which would drown the demo's figures).
_ODD_SHARE = 0.01

#: One entity in so many has a slash in its title; chosen here.
_SLASH_EVERY = 25
#: The one entity with a slash that its URLs do not encode: its title ends up as what follows it.
_BARE_SLASH = 7


def qid(entity: int) -> str:
    """The QID of an entity row; numbers have gaps, as Wikidata's have."""
    return f"Q{100 + 37 * entity}"


def wiki_title(world: World, entity: int) -> str:
    """Title as in a Wikipedia URL: "Kaloren_(river)", now and then "Kaloren_(river/2)"."""
    kind = world.kind_of(entity)
    if entity % _SLASH_EVERY == _BARE_SLASH:
        kind += "/2"
    return f"{world.name(entity)}_({kind})"


def wiki_url(world: World, entity: int) -> str:
    """URL of the entity's page; all but one encode the slash of a title."""
    return _WIKI + quote(wiki_title(world, entity), safe="/" if entity == _BARE_SLASH else "")


def gold_states(world: World) -> list[GoldState]:
    """What is wrong with each mention's gold URL."""
    states = np.full(world.mentions, "clean", dtype=object)
    places = stream(world.seed, "odd golds").permutation(world.mentions)
    each = max(1, round(_ODD_SHARE * world.mentions))
    for number, state in enumerate(ODD_GOLDS):
        states[places[number * each : (number + 1) * each]] = state
    return states.tolist()


def gold_url(world: World, gold: int, state: GoldState) -> str:
    """URL of a mention's gold with what is wrong with it."""
    title = wiki_title(world, gold)
    if state == "NIL":
        return "NIL"
    if state == "hhttps":
        return "h" + wiki_url(world, gold)
    if state == "bracket":
        return wiki_url(world, gold) + "]"
    if state == "lower":
        return _WIKI + quote(title[0].lower() + title[1:], safe="")
    if state == "spaces":
        return _WIKI + quote(title.replace("_", " "), safe="")
    return wiki_url(world, gold)


def picture_url(name: str, state: PictureState, row: int) -> str:
    """URL of a picture; half of those kept as PNG are SVG drawings."""
    suffix = "jpg" if state != "png" else "svg" if row % 2 else "png"
    return f"{_UPLOADS}{quote(name, safe='')}.{suffix}"


def picture_digest(url: str) -> str:
    """File name of a picture without its suffix: the MD5 of the URL's last part, still encoded."""
    name = url.rsplit("/", 1)[-1]
    return hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()
