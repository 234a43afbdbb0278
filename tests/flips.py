"""Single bits of field data that are flipped at random: each must be found, and its field and row named.

python -m tests.flips --flips 1000
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path

import click
import numpy as np

import featurestore
from featurestore.checksums import Pieces
from featurestore.codecs import COMPRESSIONS
from featurestore.verify import pieces_of, verify
from tests.tiny_store import write_tiny_store


def pieces(store: Path) -> list[Pieces]:
    """Where the bytes of every array lie."""
    with featurestore.open(store) as opened:
        found = [pieces_of(opened, path, array)[0] for path, array in opened.catalog.arrays()]
    return [one for one in found if one.sizes.sum()]


def flip(path: Path, place: int, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1 << bit]))


def named(store: Path, arrays: list[Pieces], random: np.random.Generator) -> tuple[str, bool]:
    """Flip a bit of a stored byte, each as likely; its array, and whether that and its row are named."""
    sizes = np.array([int(one.sizes.sum()) for one in arrays])
    one = arrays[random.choice(len(arrays), p=sizes / sizes.sum())]
    piece = int(random.choice(len(one.sizes), p=one.sizes / one.sizes.sum()))
    place = int(one.starts[piece] + random.integers(one.sizes[piece]))
    bit = int(random.integers(8))
    flip(store, place, bit)
    problems = [p for p in verify(store, "full").problems if "not what was written" in p.what]
    flip(store, place, bit)
    return one.path, [(p.path, p.row) for p in problems] == [(one.path, one.rows(piece)[0])]


@click.command()
@click.option("--flips", default=100, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(flips: int, seed: int) -> None:
    """Flip bits in stores of every compression; exit status 1 if one is not found where it is."""
    random = np.random.default_rng(seed)
    fields: Counter[str] = Counter()
    found = 0
    with tempfile.TemporaryDirectory() as folder:
        stores = [
            write_tiny_store(Path(folder) / f"{c}.h5", compression=c, entities=60).path
            for c in COMPRESSIONS
        ]
        arrays = [pieces(store) for store in stores]
        for number in range(flips):
            which = number % len(stores)
            path, right = named(stores[which], arrays[which], random)
            fields[path] += 1
            found += right
    click.echo(
        f"{found} of {flips} flipped bits found, with field and row; in {len(fields)} arrays"
    )
    sys.exit(found != flips)


if __name__ == "__main__":
    main()
