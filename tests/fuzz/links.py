"""Files of mentions to link: JSON lines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import torch
from PIL import Image

import featurestore
from linker.link import Linker
from linker.link_lines import link_lines
from tests.fuzz.generic import GENERIC
from tests.fuzz.jsons import NASTY
from tests.fuzz.kinds import Case, Kind, Seed, Wrong
from tests.link_for_tests import golden_store, write_run

_WORDS = ("", " ", "[[]]", "[[a]]", "]]a[[", "[[a", "[[ ]]", "[[\u0000]]", "[[\ud800]]",
"x" * 20_000, "\u202e[[א]]",
          "[[" + "a" * 3000 + "]]", "a " * 3000 + "[[b]]", "[[b]] " + "a " * 3000,
          "[[\U0001f9d1\u200d]]", "[[e\u0301]]",
          "\x7f\x1b[31m[[red]]", "[[[[a]]]]", "\ufeff[[a]]", "[[__nil__]]", "[[\n]]")  # fmt: skip
_NAMES = ("a\u0000b.jpg", "../" * 60 + "etc/passwd", "/dev/zero", "/dev/stdin", "/dev/tty", ".", "",
"n" * 5000,
          "mentions.jsonl", "photo.jpg/x", "\ud800.jpg", "photo.jpg", "no.jpg", "/proc/self/mem",
          "CON", "~/x",
          "/proc/self/environ", "http://localhost/x.jpg")  # fmt: skip
_NUMBERS = (0, -1, 1, 5, 10**6, 2**63, 10**400, 1.0, True, None, "3", [])
_KEYS = ("id", "sentence", "mention", "start", "end", "image", "candidates", "Sentence", "")


def line_value(rng: Random, data: bytes, other: bytes) -> bytes:
    """Another value in a line."""
    lines = data.split(b"\n")
    place = rng.randrange(len(lines))
    try:
        value = json.loads(lines[place])
    except (ValueError, RecursionError):
        return data
    if not isinstance(value, dict):
        return data
    key = rng.choice(_KEYS)
    new: Any = {
        "start": rng.choice(_NUMBERS),
        "end": rng.choice(_NUMBERS),
        "image": rng.choice(_NAMES),
        "candidates": rng.choice(([], ["Q30"], ["Q30"] * 500, ["x\u0000"], ["\ud800"], [""], "Q30",
        [1], {}, [[]],
                                  ["Q30", "nobody"], ["A" * 9000])),
    }.get(key, rng.choice((*_WORDS, *_NUMBERS)))  # fmt: skip
    value[key] = new
    lines[place] = json.dumps(value, ensure_ascii=rng.random() < 0.7).encode(
        "utf-8", "surrogatepass"
    )
    return b"\n".join(lines)


def line_text(rng: Random, data: bytes, other: bytes) -> bytes:
    """A line that is something else."""
    lines = data.split(b"\n")
    new = rng.choice((*[text.encode() for text in NASTY], b"[" * 100_000, b'{"sentence":' * 50_000,
    b"\x00", b"\r",
                      b"\xef\xbb\xbf{}", b"\x1e{}", b"{}" * 2, "\u2028".encode(),
                      b'{"sentence": "[[a]]"}'))  # fmt: skip
    lines[rng.randrange(len(lines))] = new
    return b"\n".join(lines)


def _seeds(folder: Path) -> Sequence[Seed]:
    target = folder / "mentions"
    target.mkdir()
    store = golden_store(folder.parent, "wikimel")
    write_run(folder.parent / "run", store, {"name": "drin", "edges": ["tt", "ti", "it"]})
    with featurestore.open(store) as opened:
        title, id_ = opened.entities[0]["title"], opened.entities[1]["id"]
    Image.linear_gradient("L").save(target / "photo.jpg")
    lines = [
        {"sentence": f"Then [[{title}]] came.", "image": "photo.jpg", "id": "first"},
        {"sentence": "Then Jordan came.", "mention": "Jordan", "candidates": [id_, title]},
        {"sentence": "Éire, then Jordan.", "start": 11, "end": 17, "id": 3, "image": "absent.jpg"},
    ]
    text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    (target / "mentions.jsonl").write_text(text + "\n", encoding="utf-8")
    return [Seed(target, ("mentions.jsonl",))]


def _open(folder: Path) -> Linker:
    torch.set_num_threads(1)
    return Linker.from_run(folder.parent / "run")


def _read(case: Case) -> None:
    """``drin-fs link RUN --input``, with a network that many cases share."""
    answers: list[dict[str, Any]] = []
    link_lines(case.opened, case.source / "mentions.jsonl", answers.append, top=3)
    for answer in answers:
        json.dumps(answer, ensure_ascii=False, allow_nan=False).encode()
        if not len(answer["answers"]) == min(3, answer["candidates"]):
            raise Wrong(f"{len(answer['answers'])} answers of {answer['candidates']} candidates")


KIND = Kind(
    name="link",
    about="JSON lines given to drin-fs link",
    seeds=_seeds,
    mutators=(*[line_value] * 6, *[line_text] * 3, *GENERIC),
    read=_read,
    open=_open,
)
