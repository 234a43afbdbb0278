"""Checks of pictures: missing ones, and held-out ones that the knowledge base shows as well."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import numpy as np

from featurestore.audit.entities import missing_severity
from featurestore.audit.equals import digests
from featurestore.audit.finding import Finding, examples_of, found, not_looked_at, pairs
from featurestore.audit.look import Look, row_blocks
from featurestore.audit.looks import MOST_BITS, PictureHashes, distances, hash_pictures, nearest
from featurestore.progress import Stage
from featurestore.schema import IMAGE_STATUS, NO_ROW
from featurestore.table import Table
from featurestore.thumbnails import thumbnail

#: Splits whose pictures should be new to a model.
HELD_OUT = ("valid", "test")

_UNKNOWN = IMAGE_STATUS.index("unknown")
_DEFAULT = "their picture features are those of the default picture and say nothing"
_SEEN = (
    "comparing pictures finds the entity without recognising anything, which no new picture allows"
)


def missing_pictures(look: Look) -> Iterator[Finding]:
    """Rows that have the default picture: of the entities, and of the mentions of each split."""
    yield from _missing(look.entities, range(len(look.entities)), "entities", look.is_entity)
    for split, rows in look.mentions.splits.items():
        everyone = np.ones(len(look.mentions), bool)
        yield from _missing(look.mentions, rows, f"mentions of {split}", everyone)


def _missing(table: Table, rows: range, who: str, counted: np.ndarray) -> Iterator[Finding]:
    part = slice(rows.start, rows.stop)
    mask = counted[part]
    status = np.asarray(table.view("image_status"))[part] if "image_status" in table else None
    if status is None or (len(status) and (status == _UNKNOWN).all()):
        yield not_looked_at(f"the source does not say which {who} have a picture", _DEFAULT)
        return
    missing = (status != IMAGE_STATUS.index("ok")) & (status != _UNKNOWN) & mask
    count, of = int(missing.sum()), int(mask.sum())
    if count:
        numbers = np.bincount(status[missing], minlength=len(IMAGE_STATUS))
        words = (f"{numbers[code]:,} {word}" for code, word in enumerate(IMAGE_STATUS)
                 if numbers[code])  # fmt: skip
        what = f"{who} have no usable picture: {', '.join(words)}"
        shown = examples_of(table, rows.start + np.flatnonzero(missing))
        yield found(missing_severity(count, of), count, of, what, _DEFAULT, shown)


# the same file ----------------------------------------------------------------------------------


def picture_files(look: Look) -> Iterator[Finding]:
    """Mentions of valid and test whose picture file has the name of an entity's."""
    if "image_path" not in look.entities or "image_path" not in look.mentions:
        yield not_looked_at("the store does not know the files of its pictures", _SEEN)
        return
    names, rows = _file_names(look.entities, range(len(look.entities)))
    order = np.argsort(names, kind="stable")
    names, rows = names[order], rows[order]
    for split in (name for name in HELD_OUT if name in look.mentions.splits):
        wanted, mentions = _file_names(look.mentions, look.mentions.split(split))
        if not len(names) or not len(wanted):
            continue
        places = np.minimum(np.searchsorted(names, wanted), len(names) - 1)
        hit = np.flatnonzero(names[places] == wanted)
        if len(hit):
            matched = list(zip(mentions[hit].tolist(), rows[places[hit]].tolist(), strict=True))
            what = (
                f"mentions of {split} have a picture with the file name of an entity's; "
                f"{_of_gold(look, matched)}"
            )
            shown = pairs(look.mentions, look.entities, matched)
            yield found("warning", len(hit), len(wanted), what, _SEEN, shown)


def _file_names(table: Table, rows: range) -> tuple[np.ndarray, np.ndarray]:
    """(n,) uint64 digests of the file names without folders, and (n,) int64 the rows that have one."""
    found_names, found_rows = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    for block in row_blocks(rows):
        names = [path.rpartition("/")[2] for path in table.gather("image_path", block)]
        kept = np.array([bool(name) for name in names], bool)
        found_names.append(digests((n.encode() for n in names if n), int(kept.sum())))
        found_rows.append(block[kept])
    return np.concatenate(found_names), np.concatenate(found_rows)


def _of_gold(look: Look, matched: list[tuple[int, int]]) -> str:
    golds = sum(int(look.gold[mention]) == entity for mention, entity in matched)
    return f"for {golds:,} of them the entity is the gold"


# the same look ----------------------------------------------------------------------------------


def similar_pictures(look: Look) -> Iterator[Finding]:
    """Mentions of valid and test whose picture looks as an entity's does, by perceptual hash."""
    if not all("thumbnail" in table for table in (look.entities, look.mentions)):
        yield not_looked_at("the store has no thumbnails (ingest with them)", _SEEN)
        return
    if find_spec("PIL") is None:
        yield not_looked_at('Pillow is not installed (pip install "drin-fs[encode]")', _SEEN)
        return
    splits = {name: look.mentions.split(name) for name in HELD_OUT if name in look.mentions.splits}
    total = len(look.entities) + sum(map(len, splits.values()))
    with look.progress.stage("pictures", total, "pictures") as stage:
        known = hash_pictures(_thumbnails(look.entities, range(len(look.entities)), stage))
        hashed = {
            name: hash_pictures(_thumbnails(look.mentions, rows, stage))
            for name, rows in splits.items()
        }
    for split, hashes in hashed.items():
        yield from compare_pictures(look, split, hashes, known)


def _thumbnails(table: Table, rows: range, stage: Stage) -> Iterator[tuple[int, bytes]]:
    """Row and JPEG of every row that has a picture."""
    for row in rows:
        data = thumbnail(table, row)
        stage.advance(1)
        if data is not None:
            yield row, data


def compare_pictures(
    look: Look, split: str, mentions: PictureHashes, entities: PictureHashes
) -> Iterator[Finding]:
    """The pictures of a split's mentions that look as an entity's."""
    places, bits = nearest(mentions.hashes, entities.hashes)
    bits, entity_of = bits.copy(), np.full(len(places), NO_ROW, np.int64)
    entity_of[places >= 0] = entities.rows[places[places >= 0]]
    gold_bits = _bits_to_gold(look, mentions, entities)
    is_gold = gold_bits <= MOST_BITS
    entity_of = np.where(is_gold, look.gold[mentions.rows], entity_of)
    hit = np.flatnonzero(entity_of >= 0)
    if not len(hit):
        return
    exact = int((bits[hit] == 0).sum())
    plain = mentions.plain + entities.plain
    apart = f"; {plain:,} pictures are too plain to compare" if plain else ""
    what = (
        f"mentions of {split} have a picture that looks as an entity's (at most {MOST_BITS} of 64 "
        f"bits of the perceptual hash differ, none for {exact:,}); for {int(is_gold.sum()):,} of "
        f"them the entity is the gold{apart}"
    )
    matched = list(zip(mentions.rows[hit].tolist(), entity_of[hit].tolist(), strict=True))
    shown = pairs(look.mentions, look.entities, matched)
    yield found("warning", len(hit), len(mentions.rows), what, _SEEN, shown)


def _bits_to_gold(look: Look, mentions: PictureHashes, entities: PictureHashes) -> np.ndarray:
    """(n,) how many bits differ from the picture of the gold; 65 where one has none."""
    gold = look.gold[mentions.rows]
    bits = np.full(len(gold), 65, np.int64)
    if len(entities.rows):
        places = np.minimum(np.searchsorted(entities.rows, gold), len(entities.rows) - 1)
        there = entities.rows[places] == gold
        bits[there] = distances(mentions.hashes[there], entities.hashes[places[there]])
    return bits
