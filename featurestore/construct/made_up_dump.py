"""Made-up Wikidata dumps: entities with the structure of true ones, and what is broken in some.

An entity has labels, descriptions and aliases in many languages, claims with qualifiers and
references, and sitelinks, in the order and with the escapes (``\\u00e9``) that the JSON dump has. Equal
arguments write equal bytes.
"""

from __future__ import annotations

import bz2
import gzip
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any, BinaryIO

from featurestore.errors import ConfigError

#: Most labelled languages of an entity; the first one is that of its title.
LANGUAGES = (
    "en", "de", "fr", "es", "it", "nl", "ru", "sv", "pl", "pt", "ja", "zh", "ar", "uk", "cs", "fi",
    "da", "nb", "hu", "ro", "ko", "tr", "ca", "he", "fa", "sr", "el", "bg", "vi", "id", "eo", "eu",
    "hr", "sk", "lt", "sl", "et", "lv", "ga", "cy", "gl", "th", "hi", "ta", "bn", "az", "hy", "ka",
)  # fmt: skip

#: Entities without a title stand between those with one: (languages, claims, sitelinks) at most. Chosen
#: here so that an entity with a title has about 18 kB and one without about 5 kB.
_TITLED, _UNTITLED = (30, 40, 20), (6, 14, 2)

_SYLLABLES = (
    "ba",
    "ko",
    "ri",
    "ta",
    "men",
    "dul",
    "vas",
    "ner",
    "ola",
    "shi",
    "pa",
    "tor",
    "em",
    "né",
    "да",
)

#: What is done to a line so that nothing can be read from it, in the order in which they come.
_BREAKS = ("cut", "no id", "bad UTF-8", "not JSON")


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownEntity:
    """An item that a dump must hold."""

    title: str
    label: str = ""  # the title where it is empty
    description: str = ""
    aliases: tuple[str, ...] = ()
    image: str = ""  # a file name on Commons, for P18
    instance_of: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeUpDump:
    """What :func:`write_made_up_dump` wrote."""

    path: str
    entities: int  # lines, those without a title and broken ones included
    size: int  # bytes before compression
    titles: int  # readable items with an English title
    broken: dict[str, int] = field(default_factory=dict)  # what is wrong → lines


def write_made_up_dump(
    path: Path,
    *,
    entities: int = 1000,
    seed: int = 0,
    titles: Mapping[str, KnownEntity | str] | None = None,
    titled: float = 0.2,
    broken_every: int = 0,
    size: int = 0,
    array: bool = True,
) -> MadeUpDump:
    """Write a dump; compressed where the name ends in ``.gz``, ``.bz2`` or ``.zst``.

    Args:
        entities: items in the dump; not fewer than ``titles``.
        titles: {QID: title or entity} that come first, as they are given.
        titled: the share of the other items that have an English title (chosen here).
        broken_every: every so manieth line is broken, in one way after the other; 0 = none.
        size: end after so many bytes before compression, whatever ``entities`` says; 0 = no limit.
        array: as Wikidata's dump, one JSON array; otherwise an entity a line and nothing else.

    Raises:
        ConfigError: zstd without a library that writes it.
    """
    known = dict(titles or {})
    breaking: dict[str, int] = {}
    lines = written = with_title = 0
    with _open(path) as file:
        if array:
            written += file.write(b"[\n")
        start = b""
        for line, has_title in _lines(Random(seed), max(entities, len(known)), known, titled):
            lines += 1
            if broken_every and lines % broken_every == 0:
                how = _BREAKS[sum(breaking.values()) % len(_BREAKS)]
                breaking[how] = breaking.get(how, 0) + 1
                line, has_title = _broken(line, how), False
            with_title += has_title
            written += file.write(start + line)
            start = b",\n" if array else b"\n"
            if size and written >= size:
                break
        written += file.write(b"\n]\n" if array else b"\n")
    return MadeUpDump(
        path=str(path), entities=lines, size=written, titles=with_title, broken=breaking
    )


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    """A binary file to write, compressed as its suffix says; neither name nor time stands in it."""
    with path.open("wb") as raw:
        if path.suffix == ".gz":
            with gzip.GzipFile("", "wb", 6, raw, mtime=0) as file:
                yield file
        elif path.suffix == ".bz2":
            with bz2.open(raw, "wb") as packed:
                yield packed
        elif path.suffix == ".zst":
            with _zstd(raw, path) as frame:
                yield frame
        else:
            yield raw


def _zstd(raw: BinaryIO, path: Path) -> Any:
    try:
        zstandard = import_module("zstandard")
    except ModuleNotFoundError as error:
        raise ConfigError(
            "writing .zst needs zstandard, which is not installed",
            where=str(path),
            hint='pip install "drin-fs[construct]"',
        ) from error
    return zstandard.ZstdCompressor().stream_writer(raw, closefd=False)


def _lines(
    random: Random, entities: int, known: Mapping[str, KnownEntity | str], titled: float
) -> Iterator[tuple[bytes, bool]]:
    """Each entity's JSON, and whether it has an English title."""
    words = _words(random)
    for qid, entity in known.items():
        entity = KnownEntity(title=entity) if isinstance(entity, str) else entity
        yield _item(random, words, qid, entity), True
    taken = set(known)
    number = 0
    for _ in range(entities - len(known)):
        number += 1 + random.getrandbits(1)
        while f"Q{number}" in taken:
            number += 1
        made = None
        if random.random() < titled:
            title = f"{_phrase(random, words)} ({number})"
            made = KnownEntity(title=title[:1].upper() + title[1:])
        yield _item(random, words, f"Q{number}", made), made is not None


def _words(random: Random) -> list[str]:
    return ["".join(random.choices(_SYLLABLES, k=random.randint(1, 4))) for _ in range(2000)]


def _phrase(random: Random, words: list[str], most: int = 3) -> str:
    return " ".join(random.choices(words, k=random.randint(1, most)))


def _item(random: Random, words: list[str], qid: str, known: KnownEntity | None) -> bytes:
    languages, claims, links = (
        random.randint(1 + most // 4, most) for most in (_TITLED if known else _UNTITLED)
    )
    spoken = LANGUAGES[:languages] if known else random.sample(LANGUAGES[1:], languages)
    label = (known.label or known.title) if known else _phrase(random, words)
    item: dict[str, Any] = {
        "type": "item",
        "id": qid,
        "labels": {each: _text(each, label) for each in spoken},
        "descriptions": {each: _text(each, _phrase(random, words, 8)) for each in spoken},
        "aliases": {each: [_text(each, _phrase(random, words))] for each in spoken[1::2]},
        "claims": _claims(random, words, qid, claims),
        "sitelinks": {
            f"{each}wiki": {"site": f"{each}wiki", "title": label, "badges": []}
            for each in random.sample(LANGUAGES[1:], links)
        },
    }
    if known:
        _tell(item, known, random, qid)
    item |= {"lastrevid": random.getrandbits(31), "modified": "2024-05-01T12:00:00Z"}
    return json.dumps(item, separators=(",", ":")).encode()


def _text(language: str, value: str) -> dict[str, str]:
    return {"language": language, "value": value}


def _tell(item: dict[str, Any], known: KnownEntity, random: Random, qid: str) -> None:
    """Put in what is known of an item."""
    item["sitelinks"]["enwiki"] = {"site": "enwiki", "title": known.title, "badges": []}
    if known.description:
        item["descriptions"]["en"] = _text("en", known.description)
    if known.aliases:
        item["aliases"]["en"] = [_text("en", alias) for alias in known.aliases]
    if known.image:
        image = {"value": known.image, "type": "string"}
        item["claims"]["P18"] = [_statement(random, qid, "P18", "commonsMedia", image, ())]
    if known.instance_of:
        kinds: list[dict[str, Any]] = [
            {"value": {"id": kind}, "type": "wikibase-entityid"} for kind in known.instance_of
        ]
        item["claims"]["P31"] = [
            _statement(random, qid, "P31", "wikibase-item", kind, ()) for kind in kinds
        ]


def _claims(random: Random, words: list[str], qid: str, number: int) -> dict[str, Any]:
    """Statements of properties that :func:`_tell` does not set."""
    claims: dict[str, Any] = {}
    for _ in range(number):
        name = f"P{random.randint(100, 9000)}"
        target = random.randint(1, 2_000_000)
        value = {"entity-type": "item", "numeric-id": target, "id": f"Q{target}"}
        data = {"value": value, "type": "wikibase-entityid"}
        sources = [_phrase(random, words, 5) for _ in range(random.getrandbits(1))]
        made = _statement(random, qid, name, "wikibase-item", data, sources)
        claims.setdefault(name, []).append(made)
    return claims


def _statement(
    random: Random, qid: str, name: str, datatype: str, data: dict[str, Any], sources: Any
) -> dict[str, Any]:
    statement: dict[str, Any] = {
        "mainsnak": _snak(name, datatype, data),
        "type": "statement",
        "id": f"{qid}${random.getrandbits(128):032x}",
        "rank": "normal",
    }
    if sources:
        source = _snak("P1476", "monolingualtext", {"value": sources[0], "type": "string"})
        source |= {"hash": f"{random.getrandbits(160):040x}"}
        reference: dict[str, Any] = {
            "hash": source["hash"],
            "snaks": {"P1476": [source]},
            "snaks-order": ["P1476"],
        }
        statement["references"] = [reference]
    return statement


def _snak(name: str, datatype: str, data: dict[str, Any]) -> dict[str, Any]:
    return {"snaktype": "value", "property": name, "datavalue": data, "datatype": datatype}


def _broken(line: bytes, how: str) -> bytes:
    if how == "cut":
        return line[: len(line) // 2]
    if how == "no id":
        return b'{"labels":{},"sitelinks":{"enwiki":{"title":"Nobody"}}}'
    if how == "bad UTF-8":
        return b'{"id":"Q9","sitelinks":{"enwiki":{"title":"\xff"}}}'
    return b'{"id":"Q9","sitelinks":{"enwiki":{"title":Nothing}}}'
