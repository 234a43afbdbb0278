"""The sample as what one has before there is a dataset: texts, photos, a Wikidata dump and a wiki.

::

    <root>/mentions.jsonl      sentence with [[mention]], document, photo, gold (a title or NIL)
    <root>/photos/<n>.jpg      the photos of mentions
    <root>/wikidata.json.gz    a dump with all entities, items that no mention means, and items
                               without a page
    <root>/wiki/pages.json     [{title, qid, extract, picture}], what a Wikipedia would say of them
    <root>/wiki/<picture>      its pictures

It is what ``docs/own-dataset.md`` begins with.
"""

from __future__ import annotations

import json
from pathlib import Path

from featurestore.construct.made_up_dump import KnownEntity, write_made_up_dump
from featurestore.progress import Progress
from featurestore.sources.sample_files import write_json, write_lines
from featurestore.sources.sample_names import qid
from featurestore.sources.sample_pictures import draw_all
from featurestore.sources.sample_plan import picture_states
from featurestore.sources.sample_world import World, stream

#: Mentions of a document, at most; chosen here.
_DOCUMENT = 3

#: Items of the dump that no mention means, of those the share that has a page; chosen here.
_OTHERS_TITLED = 0.25

#: One mention in so many means nobody in the dump; chosen here.
_NIL_EVERY = 20


def write_own(root: Path, world: World, *, progress: Progress) -> dict[str, int]:
    """Write what a dataset is built from below ``root``; what troubles are planted, and how often.

    One mention stands nowhere in its sentence.
    """
    titles = {
        qid(entity): KnownEntity(
            title=world.title(entity),
            label=world.name(entity),
            description=f"{world.kind_of(entity)} of the sample",
            aliases=(world.name(entity),),
            image=f"{qid(entity)}.jpg",
        )
        for entity in range(world.entities)
    }
    write_made_up_dump(
        root / "wikidata.json.gz",
        entities=3 * world.entities,
        seed=world.seed,
        titles=titles,
        titled=_OTHERS_TITLED,
    )
    nil, absent = _write_mentions(root, world)
    owners = world.pictures.tolist()
    photos = draw_all(
        kind="mention",
        themes=[world.theme_of(int(world.gold[row])) for row in owners],
        stems=[root / "photos" / str(row) for row in owners],
        states=[
            "jpg" if state == "png" else state  # the list of mentions says .jpg
            for state in picture_states(len(owners), stream(world.seed, "mention pictures"))
        ],
        seed=world.seed,
        progress=progress,
    )
    _write_wiki(root / "wiki", world, progress)
    return {
        "mentions not in their sentence": absent,
        "golds that are NIL": nil,
        **photos.troubles(),
    }


def _write_mentions(root: Path, world: World) -> tuple[int, int]:
    """The list of mentions; how many mean nobody, and how many stand nowhere."""
    (astray,) = stream(world.seed, "odd sentences").permutation(world.mentions)[:1].tolist()
    lines, nil = [], 0
    for row in range(world.mentions):
        gold = int(world.gold[row])
        name, sentence = world.name(gold), world.sentence(row)
        means_nobody = row % _NIL_EVERY == _NIL_EVERY - 1
        nil += means_nobody and row != astray
        item = {
            "document": f"page-{row // _DOCUMENT}",
            "sentence": sentence if row == astray else sentence.replace(name, f"[[{name}]]", 1),
            "photo": f"{int(world.picture[row])}.jpg",
            "gold": "NIL" if means_nobody else world.title(gold),
        }
        if row == astray:
            item["mention"] = name.upper()
        lines.append(json.dumps(item, ensure_ascii=False))
    write_lines(root / "mentions.jsonl", lines)
    return nil, 1


def _write_wiki(folder: Path, world: World, progress: Progress) -> None:
    """The page and the picture of every entity."""
    rows = range(world.entities)
    pages = [
        {
            "title": world.title(entity),
            "qid": qid(entity),
            "extract": world.description(entity),
            "picture": f"{qid(entity)}.jpg",
        }
        for entity in rows
    ]
    write_json(folder / "pages.json", pages)
    draw_all(
        kind="entity",
        themes=[world.theme_of(entity) for entity in rows],
        stems=[folder / qid(entity) for entity in rows],
        states=["jpg"] * world.entities,
        seed=world.seed,
        progress=progress,
    )
