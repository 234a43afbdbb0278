"""Text tables of the raw datasets: candidate lists, titles, descriptions, lists of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

from tests.fuzz.datasets import TEXT_ALONE, ingested, raw, seed_of
from tests.fuzz.generic import GENERIC
from tests.fuzz.kinds import OWNED, Case, Kind, Seed

_CELLS = (
    b"", b" ", b'"', b'"Q1\tQ2"', b"\x00", b"Q0", b"\xff\xfe", b"\xc3", b"\xed\xa0\x80", b"A" * 200_000,
    b"\r", b"\x0b", b"\x1c", "\u2028".encode(), "\u0085".encode(), b"@@@@", b"[AND]", b"@@@", b"nil",
    f"../{OWNED}".encode(), f"/tmp/{OWNED}".encode(), b"http://x/%00.jpg", b"http://x/" + b"%" * 9000,
    "\u202e\U0001f9d1e\u0301".encode(), b"=1+1", b"#", b"-1", b"9" * 5000,
)  # fmt: skip


def _separator(data: bytes) -> bytes:
    return b"@@@@" if b"@@@@" in data else b"\t"


def cell(rng: Random, data: bytes, other: bytes) -> bytes:
    """Another text in a column."""
    between = _separator(data)
    lines = data.split(b"\n")
    number = rng.randrange(len(lines))
    cells = lines[number].split(between)
    cells[rng.randrange(len(cells))] = rng.choice(_CELLS)
    lines[number] = between.join(cells)
    return b"\n".join(lines)


def columns(rng: Random, data: bytes, other: bytes) -> bytes:
    """A column more, fewer, or in another place; in one line or in all."""
    between = _separator(data)
    lines = data.split(b"\n")
    whole = rng.random() < 0.3
    chosen = range(len(lines)) if whole else [rng.randrange(len(lines))]
    how = rng.randrange(4)
    for number in chosen:
        cells = lines[number].split(between)
        if how == 0:
            cells.append(cells[-1])
        elif how == 1:
            cells = cells[:-1]
        elif how == 2:
            cells.reverse()
        else:
            cells = cells[:1]
        lines[number] = between.join(cells)
    return b"\n".join(lines)


def lines(rng: Random, data: bytes, other: bytes) -> bytes:
    """Lines that are missing, twice, in another order, or of another file."""
    found = data.split(b"\n")
    place = rng.randrange(len(found))
    match rng.randrange(5):
        case 0:
            del found[place]
        case 1:
            found.insert(place, rng.choice(found))
        case 2:
            rng.shuffle(found)
        case 3:
            found.insert(place, rng.choice(other.split(b"\n")))
        case _:
            found = found[:1] * rng.choice((1, 3000))
    return b"\n".join(found)


def endings(rng: Random, data: bytes, other: bytes) -> bytes:
    """Other ends of lines, other separators, a mark in front, another encoding."""
    text = data.decode("utf-8", "replace")
    return rng.choice((
        data.replace(b"\n", b"\r\n"), data.replace(b"\n", b"\r"), data.replace(b"\t", b" "),
        data.replace(b"\t", b"\t\t"), b"\xef\xbb\xbf" + data, text.encode("utf-16"),
        text.encode("latin-1", "replace"), data.rstrip(b"\n"), data + b"\n\n\n", data.replace(b"\n",
        b""),
        data.replace(b"@@@@", b"\t"),
    ))  # fmt: skip


def _seeds(folder: Path) -> Sequence[Seed]:
    wikimel = raw(folder / "wikimel", dataset="wikimel")
    wikidiverse = raw(folder / "wikidiverse", dataset="wikidiverse")
    return [seed_of(wikimel, ".tsv"), seed_of(wikidiverse, ".tsv")]


def _read(case: Case) -> None:
    ingested(case, TEXT_ALONE)


KIND = Kind(
    name="tsv",
    about="candidate lists, titles, descriptions and lists of pictures of the raw datasets",
    seeds=_seeds,
    mutators=(cell, cell, columns, lines, endings, *GENERIC),
    read=_read,
)
