"""What a kind of input is, and where a case of it comes from: the seed, the file, the mutation."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

from tests.fuzz.generic import flip_bits

#: (rng, the bytes of a file, the bytes of another file of this kind) → the bytes to read instead.
Mutator: TypeAlias = Callable[[Random, bytes, bytes], bytes]

#: Hostile inputs would make a file or folder of this name, beside the case and in ``/tmp``.
OWNED = "drin-fs-fuzz-owned"


class Wrong(Exception):
    """An input was accepted, and what came of it contradicts it or itself."""


@dataclass(frozen=True)
class Seed:
    """A valid input: a folder, and which files of it are mutated."""

    folder: Path
    files: tuple[str, ...]


@dataclass(frozen=True)
class Case:
    """One mutated input: ``source`` is its folder, ``out`` an empty one for what is written.

    ``seed``: name of the folder that it was made from. ``opened``: what ``Kind.open`` gave.
    """

    source: Path
    out: Path
    seed: str
    opened: Any


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of input.

    ``seeds``: writes valid inputs below a folder, once. ``read``: does with the folder of a case what
    the command does, and returns if it is accepted. ``open``: what many cases share, made from the
    folder of the seeds in the process that reads them.
    """

    name: str
    about: str
    seeds: Callable[[Path], Sequence[Seed]]
    mutators: Sequence[Mutator]
    read: Callable[[Case], None]
    open: Callable[[Path], Any] = lambda folder: None


@dataclass(frozen=True)
class Made:
    """What was mutated, for the report."""

    seed: str
    changes: tuple[str, ...]  # file: mutator


def make_case(kind: Kind, seeds: Sequence[Seed], seed: int, number: int, target: Path) -> Made:
    """Write the input of a case to ``target``; depends on kind, seed and number alone.

    Files that stay as they are become links to the seed's.
    """
    rng = Random(f"{kind.name}/{seed}/{number}")
    chosen = rng.choice(seeds)
    changed: dict[str, bytes] = {}
    changes = []
    for _ in range(1 if rng.random() < 0.7 else rng.randint(2, 3)):
        name = rng.choice(chosen.files)
        data = changed.get(name, (chosen.folder / name).read_bytes())
        other = rng.choice(seeds)
        mutate = rng.choice(kind.mutators)
        spliced = (other.folder / rng.choice(other.files)).read_bytes()
        try:
            changed[name] = mutate(rng, data, spliced)
        except Exception:  # what an earlier mutation left is nothing that this one can take apart
            changed[name] = flip_bits(rng, data, spliced)
        changes.append(f"{name}: {mutate.__name__}")
    for path in sorted(chosen.folder.rglob("*")):
        name = path.relative_to(chosen.folder).as_posix()
        place = target / name
        if path.is_dir():
            place.mkdir(parents=True)
        elif name not in changed:
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path, place)
            except OSError:  # another disk
                shutil.copy(path, place)
    for name, data in changed.items():
        (target / name).write_bytes(data)
    return Made(chosen.folder.name, tuple(changes))
