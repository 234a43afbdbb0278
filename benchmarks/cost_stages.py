"""Everything of an ingest but its encoders: reading, writing, publishing, ids, candidates."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.cost_encoders import Taken
from benchmarks.cost_keys import Cost
from benchmarks.cost_texts import (
    ENTITY_WORDS,
    SENTENCE_WORDS,
    made_up_words,
    titles,
    write_raw,
)
from benchmarks.files import remove
from benchmarks.index_store import Numbered
from benchmarks.page_cache import StaysWarm, empty, read_in
from benchmarks.read_run import Reading
from benchmarks.steps import core_seconds
from benchmarks.timing import timed
from featurestore import Store
from featurestore.codecs import DEFAULT_COMPRESSION
from featurestore.construct.finders import Finder
from featurestore.construct.first_stage import pooled_titles
from featurestore.construct.fuzzy import FuzzyTitles
from featurestore.construct.title_table import TitleTable
from featurestore.derive import EntityText, MentionImages, MentionText
from featurestore.ids import build_index
from featurestore.writer import StoreWriter

_OF_ENTITIES = (Cost.WRITE_ENTITY_TEXT, Cost.WRITE_ENTITY_PICTURE)

#: Bytes that a copy reads at once.
_COPIED = 8 << 20


@dataclass(frozen=True, kw_only=True)
class Amounts:
    """How much goes through each stage in a round."""

    read: int = 40_000  # entities, or mentions, of a raw dataset
    entities: int = 2_000
    mentions: int = 256
    ids: int = 1_000_000
    titles: int = 200_000
    fuzzy_titles: int = 20_000
    sought: int = 200
    copied: int = 512 << 20
    rounds: int = 3
    text_width: int = 768
    image_width: int = 2048


TINY = Amounts(
    read=40,
    entities=20,
    mentions=4,
    ids=500,
    titles=200,
    fuzzy_titles=50,
    sought=5,
    copied=1 << 20,
    rounds=1,
    text_width=32,
    image_width=32,
)


def stage_costs(folder: Path, amounts: Amounts) -> Iterator[Taken]:
    yield from _reading(folder / "raw", amounts)
    yield from _writing(folder, amounts)
    yield from _copying(folder, amounts)
    ids = Numbered("Q", amounts.ids)
    build = [core_seconds(partial(build_index, ids)) for _ in range(amounts.rounds)]
    yield Taken(cost=Cost.IDS, seconds=median(build) / amounts.ids, of=f"{amounts.ids:,} ids")
    yield from _candidates(amounts)


# reading --------------------------------------------------------------------------------------------


def _reading(folder: Path, amounts: Amounts) -> Iterator[Taken]:
    """Many rows of one table beside few of the other: nearly all of it is theirs."""
    few = max(10, amounts.read // 100)
    for cost, entities, mentions in (
        (Cost.READ_ENTITY, amounts.read, few),
        (Cost.READ_MENTION, few, amounts.read),
    ):
        remove(folder)
        write_raw(folder, entities=entities, mentions=mentions, candidates=min(100, few))
        found = Reading.of(folder, rounds=amounts.rounds)
        yield Taken(
            cost=cost,
            seconds=median(found.seconds) / amounts.read,
            size=found.anonymous / amounts.read or None,
            of=f"{amounts.read:,} rows, JSON and TSV; bytes: at its peak",
        )
    remove(folder)


# writing --------------------------------------------------------------------------------------------


def _writing(folder: Path, amounts: Amounts) -> Iterator[Taken]:
    """Random features in the shapes of the encoders; they compress worse than real ones."""
    taken: dict[Cost, list[float]] = {}
    sizes: dict[Cost, float] = {}
    publishing: list[float] = []
    target = folder / "written.h5"
    for _ in range(amounts.rounds):
        with StoreWriter.create(target) as writer:
            for cost, act in _writes(writer, amounts).items():
                taken.setdefault(cost, []).append(core_seconds(act))
            seconds = timed(partial(_publish, writer))
        publishing.append(seconds / target.stat().st_size)
        sizes = _record_sizes(target)
        target.unlink()
    for cost, seconds_of in taken.items():
        count = amounts.entities if cost in _OF_ENTITIES else amounts.mentions
        yield Taken(
            cost=cost,
            seconds=median(seconds_of) / count,
            size=sizes.get(cost),
            of=f"{count:,} rows, float16, {DEFAULT_COMPRESSION}; bytes: of its compressed records",
        )
    yield Taken(cost=Cost.PUBLISH, seconds=median(publishing) * 1e9, of="what was just written")


def _publish(writer: StoreWriter, _: int) -> None:
    writer.publish(dataset="costs", provenance={})


def _writes(writer: StoreWriter, amounts: Amounts) -> dict[Cost, Callable[[], None]]:
    """Start the tables and their fields; what writes each kind of them."""
    entities, mentions = amounts.entities, amounts.mentions
    writer.table("entities", Numbered("Q", entities))
    writer.table("mentions", Numbered("m", mentions))
    writer.splits({"train": range(mentions)})
    text, image = amounts.text_width, amounts.image_width
    about = EntityText(writer, tokens=64, width=text)
    starts = np.ones(mentions, np.int32)
    spoken = MentionText(writer, tokens=128, width=text, starts=starts, ends=starts + 2)
    seen = MentionImages(writer, regions=49, width=image)
    views = {
        path: writer.feature(path, shape)
        for path, shape in (
            ("entities/image_pooled", (image,)),
            ("entities/objects", (1, image)),
            ("mentions/objects", (3, image)),
        )
    }
    random = np.random.default_rng(0)
    texts = _tokens(random, entities, ENTITY_WORDS, most=64, width=text)
    said = _tokens(random, mentions, SENTENCE_WORDS, most=128, width=text)
    pooled = random.standard_normal((entities, image), np.float32)
    regions = random.standard_normal((mentions, 49, image), np.float32)

    def write_pooled() -> None:
        views["entities/image_pooled"].write(range(entities), pooled)
        views["entities/objects"].write(range(entities), pooled[:, None])

    def write_regions() -> None:
        seen.write(np.arange(mentions), regions)
        views["mentions/objects"].write(range(mentions), regions[:, :3])

    return {
        Cost.WRITE_ENTITY_TEXT: lambda: about.write(np.arange(entities), *texts),
        Cost.WRITE_ENTITY_PICTURE: write_pooled,
        Cost.WRITE_MENTION_TEXT: lambda: spoken.write(np.arange(mentions), *said),
        Cost.WRITE_MENTION_PICTURE: write_regions,
    }


def _tokens(
    random: np.random.Generator, rows: int, words: int, *, most: int, width: int
) -> tuple[list[np.ndarray], np.ndarray]:
    """Token features, one array a row, and their (n,) counts."""
    counts = np.clip(random.poisson(words + 2, rows), 4, most).astype(np.int32)
    return [random.standard_normal((count, width), np.float32) for count in counts], counts


def _record_sizes(path: Path) -> dict[Cost, float]:
    """Bytes of a record, by what it was written with."""
    fields = {
        Cost.WRITE_ENTITY_TEXT: "entities/text_tokens",
        Cost.WRITE_MENTION_TEXT: "mentions/text_tokens",
        Cost.WRITE_MENTION_PICTURE: "mentions/image_regions",
    }
    with Store(path) as store:
        found = {}
        for cost, field in fields.items():
            table, _, name = field.partition("/")
            rows = store.table(table)
            found[cost] = rows.stored(name).stored_bytes / len(rows)
        return found


def _copying(folder: Path, amounts: Amounts) -> Iterator[Taken]:
    """A file of which everything is in the page cache, to another one, on disk at the end."""
    source, target = folder / "source", folder / "target"
    block = np.random.default_rng(0).bytes(1 << 20)
    with source.open("wb") as file:
        for _ in range(amounts.copied // len(block)):
            file.write(block)

    def copy() -> None:
        with source.open("rb") as read, target.open("wb") as written:
            while data := read.read(_COPIED):
                written.write(data)
            written.flush()
            os.fsync(written.fileno())

    taken = [timed(lambda _: copy()) for _ in range(amounts.rounds)]
    reading, where = [], "a file that was dropped from the page cache"
    for _ in range(amounts.rounds):
        try:
            empty(source)
        except StaysWarm:
            where = "from memory: the file cannot be dropped from it"
        reading.append(timed(lambda _: read_in(source)))
    yield Taken(cost=Cost.READ_DISK, seconds=median(reading) / amounts.copied * 1e9, of=where)
    remove(source)
    remove(target)
    yield Taken(
        cost=Cost.COPY,
        seconds=median(taken) / amounts.copied * 1e9,
        of=f"{amounts.copied / 1e6:,.0f} MB",
    )


# candidates -----------------------------------------------------------------------------------------


def _candidates(amounts: Amounts) -> Iterator[Taken]:
    """Mentions are one word of a title; each method on as many titles as it is for."""
    words = made_up_words(20_000)
    names = titles(words, amounts.titles)
    few, many = _table(names[: amounts.fuzzy_titles]), _table(names)
    sought = [name.split()[1] for name in names[:: len(names) // amounts.sought]]
    k = min(100, len(few.titles))
    fuzzy = FuzzyTitles(few, k=k, scorer="WRatio", processor="default")
    yield _sought(Cost.FUZZY, fuzzy, sought, len(few.titles))
    started = time.process_time()
    ngram = pooled_titles(many, "ngram", k=k, pool=k, scorer=None)
    spent = time.process_time() - started
    yield Taken(cost=Cost.NGRAM_INDEX, seconds=spent / len(names), of=f"{len(names):,} titles")
    yield _sought(Cost.NGRAM, ngram, sought, len(names))
    bm25 = pooled_titles(many, "bm25", k=k, pool=k, scorer=None)
    yield _sought(Cost.BM25, bm25, sought, len(names))


def _sought(cost: Cost, finder: Finder, mentions: Sequence[str], names: int) -> Taken:
    spent = core_seconds(partial(finder.find, mentions))
    return Taken(
        cost=cost,
        seconds=spent / len(mentions) / names,
        of=f"{len(mentions)} mentions among {names:,} titles",
    )


def _table(names: list[str]) -> TitleTable:
    return TitleTable.of({f"Q{row}": name for row, name in enumerate(names)}, {}, {})
