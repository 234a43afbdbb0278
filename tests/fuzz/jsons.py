"""JSON files of the datasets: raw WikiMEL, WikiDiverse and MIMIC, and the rows of a preprocessed one."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from featurestore.options import IngestOptions
from tests.fuzz.datasets import TEXT_ALONE, ingested, mimic, preprocessed, raw, seed_of
from tests.fuzz.generic import GENERIC
from tests.fuzz.kinds import OWNED, Case, Kind, Seed

#: Values put in place of others, as JSON text.
NASTY = (
    "null", "true", "NaN", "Infinity", "-Infinity", "-0.0", "1e999", "1e-999", "9" * 5000, "-1", "0", "1",
    str(2**31 - 1), str(2**31), str(2**63), str(2**64), "-" + str(2**63), "1.5", "[]", "{}", "[[]]", '""',
    '" "', '"\\u0000"', '"\\ud800"', '"\\udc00\\ud800"', '"\\ud83d\\ude00"', '"\\uFEFF"', '"\\u202e"',
    '"a/b"', f'"../{OWNED}"', f'"/tmp/{OWNED}"', '"%2e%2e%2f%00"', '"%ff%fe"', '"' + "A" * 100_000 + '"',
    '"' + "é\u0301ß\U0001f9d1" * 20 + '"', '"\\u2028\\n\\t"', '{"a": {"b": [1, {"c": null}]}}', "01",
    "'x'",
    '{"a": 1, "a": 2}', "[1, 2,]", "// x", '"Q0"', '"nil"', '"@@@@"', '"Q1\\tQ2"',
)  # fmt: skip


def _changed(rng: Random, data: bytes, change: Callable[[Any, Any, list[Any]], object]) -> bytes:
    """The file with one place in its value changed: ``change(container, key, all places)``."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return data
    places: list[tuple[Any, Any]] = []
    stack = [value]
    while stack:
        here = stack.pop()
        keys = list(here) if isinstance(here, dict) else range(len(here))
        places += [(here, key) for key in keys]
        stack += [here[key] for key in keys if isinstance(here[key], dict | list)]
    if not places:
        return data
    change(*rng.choice(places), places)
    return json.dumps(value, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")


def value(rng: Random, data: bytes, other: bytes) -> bytes:
    """Another value at a place."""

    def change(container: Any, key: Any, places: list[Any]) -> None:
        container[key] = "@PLACE@"

    return _changed(rng, data, change).replace(b'"@PLACE@"', rng.choice(NASTY).encode())


def key(rng: Random, data: bytes, other: bytes) -> bytes:
    """A key renamed, removed or added."""

    def change(container: Any, key: Any, places: list[Any]) -> None:
        kept = container[key]
        if rng.random() < 0.7:
            del container[key]
        if isinstance(container, dict):
            try:
                name = json.loads(rng.choice(NASTY))
            except ValueError:
                name = "x"
            container[str(name)[:1000]] = kept

    return _changed(rng, data, change)


def moved(rng: Random, data: bytes, other: bytes) -> bytes:
    """What stands at one place, at another."""

    def change(container: Any, key: Any, places: list[Any]) -> None:
        there, other_key = rng.choice(places)
        try:
            container[key] = json.loads(json.dumps(there[other_key]))
        except (KeyError, IndexError):
            return

    return _changed(rng, data, change)


def deep(rng: Random, data: bytes, other: bytes) -> bytes:
    """Nested far too deeply, at a place or as the whole."""
    levels = rng.choice((900, 3000, 100_000))
    left, right = rng.choice((("[", "]"), ('{"a":', "}")))
    nest = left * levels + "1" + right * rng.choice((levels, levels, 0))
    if rng.random() < 0.3:
        return nest.encode()

    def change(container: Any, key: Any, places: list[Any]) -> None:
        container[key] = "@PLACE@"

    return _changed(rng, data, change).replace(b'"@PLACE@"', nest.encode())


def encoding(rng: Random, data: bytes, other: bytes) -> bytes:
    """The same text in another encoding, or with a mark in front."""
    text = data.decode("utf-8", "replace")
    match rng.randrange(5):
        case 0:
            return b"\xef\xbb\xbf" + data
        case 1:
            return text.encode("utf-16")
        case 2:
            return text.encode("utf-32-be")
        case 3:
            return text.encode("latin-1", "replace")
        case _:
            return data + b"\x00" * rng.randint(1, 5000)


def twice(rng: Random, data: bytes, other: bytes) -> bytes:
    """A key that stands twice, or two values one after the other."""
    if rng.random() < 0.2:
        return data + data
    place = data.find(b'"', rng.randrange(len(data) + 1))
    end = data.find(b",", place)
    return data[:end] + b"," + data[place:end] + data[end:] if 0 <= place < end else data


JSON = (value, value, value, key, moved, deep, encoding, twice)


def _seeds(folder: Path) -> Sequence[Seed]:
    return [
        seed_of(raw(folder / "wikimel", dataset="wikimel"), ".json"),
        seed_of(raw(folder / "wikidiverse", dataset="wikidiverse"), ".json"),
        seed_of(mimic(folder / "mimic"), ".json"),
        Seed(preprocessed(folder / "preprocessed", dataset="wikimel"), ("qid2idx.json",)),
    ]


def _read(case: Case) -> None:
    recorded = case.seed == "preprocessed"
    options = IngestOptions(dtype="float32") if recorded else TEXT_ALONE
    ingested(case, options, kept=["mentions/answer" if recorded else "mentions/char_end"])


KIND = Kind(
    name="json",
    about="raw WikiMEL, WikiDiverse and MIMIC, and qid2idx.json of a preprocessed WikiMEL",
    seeds=_seeds,
    mutators=(*JSON, *GENERIC),
    read=_read,
)
