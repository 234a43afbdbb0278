"""The sample as raw WikiDiverse, with the troubles of the real one (DATASETS.md, "Raw WikiDiverse")."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from featurestore.progress import Progress
from featurestore.sources.sample_files import write_json, write_lines
from featurestore.sources.sample_names import (
    ODD_GOLDS,
    GoldState,
    gold_states,
    gold_url,
    picture_digest,
    picture_url,
    wiki_title,
    wiki_url,
)
from featurestore.sources.sample_pictures import draw_all
from featurestore.sources.sample_plan import PictureState, picture_states
from featurestore.sources.sample_world import NOBODY, SPLITS, World, stream

_TOPICS = ("sports", "politics", "science", "world")
_PEOPLE = {"singer", "player", "painter", "bishop", "general", "chemist", "poet"}
_PLACES = {"river", "country", "castle", "mountain", "island", "school"}

_Pictures = list[tuple[str, PictureState]]  # URL, and what stands at it


def write_wikidiverse(root: Path, world: World, *, progress: Progress) -> dict[str, int]:
    """Write the dataset below ``root``; what troubles are planted, and how often each."""
    folder = root / "images"
    golds = gold_states(world)
    mention_pictures = _mention_pictures(world)
    _write_mentions(root, world, mention_pictures, golds)
    without_brief = _write_descriptions(root, world)
    entity_pictures = [list(_entity_pictures(world, *each)) for each in _entity_states(world)]
    _write_picture_lists(root, world, entity_pictures)
    listed = [(e, *each) for e, urls in enumerate(entity_pictures) for each in urls]
    entities = draw_all(
        kind="entity",
        themes=[world.theme_of(entity) for entity, _, _ in listed],
        stems=[folder / picture_digest(url) for _, url, _ in listed],
        states=[state for _, _, state in listed],
        seed=world.seed,
        progress=progress,
    )
    mentions = draw_all(
        kind="mention",
        themes=[world.theme_of(int(world.gold[row])) for row in mention_pictures],
        stems=[folder / picture_digest(url) for url, _ in mention_pictures.values()],
        states=[state for _, state in mention_pictures.values()],
        seed=world.seed,
        progress=progress,
    )
    lengths = (world.candidates != NOBODY).sum(1)
    return {
        "short candidate lists": int((lengths < world.candidates.shape[1]).sum()),
        "golds not among the candidates": int((world.answer == world.candidates.shape[1]).sum()),
        **{f"gold URLs, {state}": golds.count(state) for state in ODD_GOLDS},
        "entities without brief": without_brief,
        "entities without a listed picture": entity_pictures.count([]),
        **mentions.troubles(),
        **entities.troubles(),
    }


# mentions ---------------------------------------------------------------------------------------


def _write_mentions(
    root: Path, world: World, pictures: dict[int, tuple[str, PictureState]], golds: list[GoldState]
) -> None:
    """Every split twice: with the candidates, and without."""
    for split in SPLITS:
        items = []
        for row in world.rows_of(split).tolist():
            picture, _ = pictures[int(world.picture[row])]
            items.append(_item(world, row, picture, golds[row]))
        write_json(root / "candidates" / f"{split}_w_10cands.json", items)
        bare = [[*item[:7], *item[8:]] for item in items]
        write_json(root / "mentions" / f"{split}.json", bare)


def _item(world: World, row: int, picture_url: str, state: GoldState) -> list[Any]:
    """The 11 values of a mention, in the order of the release."""
    gold = int(world.gold[row])
    sentence, name = world.sentence(row), world.name(gold)
    start = sentence.index(name)
    end = start + len(name)
    candidates = [c for c in world.candidates[row].tolist() if c != NOBODY]
    return [
        sentence,
        picture_url,
        name,
        _type_of(world.kind_of(gold)),
        sentence[:start].split(),
        sentence[end:].split(),
        gold_url(world, gold, state),
        [wiki_url(world, candidate) for candidate in candidates],
        _TOPICS[gold % len(_TOPICS)],
        start,
        end,
    ]


def _type_of(kind: str) -> str:
    if kind in _PEOPLE:
        return "Person"
    if kind in _PLACES:
        return "Location"
    return "Organization" if kind == "company" else "Misc"


# entities ---------------------------------------------------------------------------------------


def _write_descriptions(root: Path, world: World) -> int:
    """All descriptions, and the briefs of the entities of each split; how many have none."""
    texts = {entity: world.description(entity) for entity in range(world.entities)}
    known = {entity: text for entity, text in texts.items() if text}
    for split in SPLITS:
        rows = world.rows_of(split)
        used = np.union1d(world.candidates[rows], world.gold[rows]).tolist()
        briefs = {wiki_title(world, entity): known[entity] for entity in used if entity in known}
        write_json(root / "entities" / f"entity2brief_{split}.json", briefs)
    lines = (f"{wiki_title(world, entity)}@@@@{text}" for entity, text in known.items())
    write_lines(root / "entities" / "wikipedia_entity2desc_filtered.tsv", lines)
    return len(texts) - len(known)


def _write_picture_lists(root: Path, world: World, pictures: list[_Pictures]) -> None:
    lines = (
        f"{wiki_title(world, entity)}@@@@{'[AND]'.join(url for url, _ in urls)}"
        for entity, urls in enumerate(pictures)
        if urls
    )
    path = root / "entities" / "wikipedia_entity2imgs.tsv"
    write_lines(path, ["entity@@@@images", *lines])


# pictures ---------------------------------------------------------------------------------------


def _mention_pictures(world: World) -> dict[int, tuple[str, PictureState]]:
    """Mention row → URL and state of the picture that is its own."""
    owners = world.pictures.tolist()
    states = picture_states(len(owners), stream(world.seed, "mention pictures"))
    return {
        row: (picture_url(f"Photo_of_{world.name(int(world.gold[row]))}_{row}", state, row), state)
        for row, state in zip(owners, states, strict=True)
    }


def _entity_states(world: World) -> Iterator[tuple[int, PictureState]]:
    return enumerate(picture_states(world.entities, stream(world.seed, "entity pictures")))


def _entity_pictures(
    world: World, entity: int, state: PictureState
) -> Iterator[tuple[str, PictureState]]:
    """What is listed for an entity: nothing, a picture, or one that cannot be used before it."""
    title = wiki_title(world, entity)
    if state == "missing" and entity % 2:
        return
    yield picture_url(f"{title}_0", state, entity), state
    if state == "small":
        yield picture_url(f"{title}_1", "jpg", entity), "jpg"
