"""The sample as raw WikiMEL, with the troubles of the real one (DATASETS.md, "Raw WikiMEL").

Beside the dataset stands ``boxes/``: what a detector would have found, for ``ingest --boxes``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from featurestore.progress import Progress
from featurestore.sources.sample_files import write_json, write_lines
from featurestore.sources.sample_names import qid
from featurestore.sources.sample_pictures import Box, draw_all
from featurestore.sources.sample_plan import picture_states
from featurestore.sources.sample_world import SPLITS, World, stream

_ENTITY_PICTURES = Path("entities", "cleaned-images")
_MENTION_PICTURES = Path("mentions", "KVQAimgs")
_BOXES = Path("boxes")
#: Number of the first picture, as in the real files.
_FIRST_PICTURE = 3000
#: Share of mentions that do not stand in their sentence; chosen here, at least one.
_NOT_IN_SENTENCE = 0.005
#: Said before one mention, so that 128 tokens end before it.
_FAR = "After the letter was left near the house, " + "the story of the street followed, " * 22

#: Share of pictures in which only the figure is found; every box costs the encoder a picture.
_ONE_BOX = 0.7

_Boxes = npt.NDArray[np.float32]


def write_wikimel(
    root: Path,
    world: World,
    *,
    mention_objects: int,
    entity_objects: int,
    progress: Progress,
) -> dict[str, int]:
    """Write the dataset below ``root``; what troubles are planted, and how often each."""
    without_text = _write_entities(root, world)
    ids = list(_mention_ids(world))
    absent, far = _odd_sentences(world)
    _write_mentions(root, world, ids, absent, far)
    _write_candidates(root, world, ids)
    entities = draw_all(
        kind="entity",
        themes=[world.theme_of(entity) for entity in range(world.entities)],
        stems=[root / _ENTITY_PICTURES / qid(entity) for entity in range(world.entities)],
        states=picture_states(world.entities, stream(world.seed, "entity pictures")),
        seed=world.seed,
        progress=progress,
    )
    owners = world.pictures.tolist()
    mentions = draw_all(
        kind="mention",
        themes=[world.theme_of(int(world.gold[row])) for row in owners],
        stems=[root / _MENTION_PICTURES / _picture_id(row) for row in owners],
        states=picture_states(len(owners), stream(world.seed, "mention pictures")),
        seed=world.seed,
        progress=progress,
    )
    figures = dict(zip(owners, mentions.figures, strict=True))
    _write_entity_boxes(root / _BOXES, world, entities.figures, entity_objects)
    _write_mention_boxes(root / _BOXES, world, figures, mention_objects, absent)
    return {
        "mentions not in their sentence": len(absent),
        "mentions beyond 128 tokens": len(far),
        "golds not among the candidates": int((world.answer == world.candidates.shape[1]).sum()),
        "entities without description": without_text,
        **mentions.troubles(),
        **entities.troubles(),
    }


# entities ---------------------------------------------------------------------------------------


def _write_entities(root: Path, world: World) -> int:
    """Titles and descriptions; how many have none. The first described only has a brief."""
    rows = range(world.entities)
    titles = {qid(entity): world.title(entity) for entity in rows}
    write_json(root / "candidates" / "qid2ne.json", titles)
    write_json(root / "candidates" / "ne2qid.json", {title: q for q, title in titles.items()})
    write_lines(root / "entities" / "qid-entity.tsv", map("\t".join, titles.items()))
    abstracts = {qid(entity): text for entity in rows if (text := world.description(entity))}
    write_json(
        root / "entities" / "qid2brief.json",
        {entity: text.split(". ")[0] for entity, text in abstracts.items()},
    )
    write_json(root / "entities" / "qid2abs.json", dict(list(abstracts.items())[1:]))
    return len(titles) - len(abstracts)


# mentions ---------------------------------------------------------------------------------------


def _mention_ids(world: World) -> Iterator[str]:
    """Picture number, then how many mentions stand under that picture already: "3003-0"."""
    seen: Counter[int] = Counter()
    for picture in world.picture.tolist():
        yield f"{_picture_id(picture)}-{seen[picture]}"
        seen[picture] += 1


def _picture_id(picture: int) -> str:
    return str(_FIRST_PICTURE + picture)


def _odd_sentences(world: World) -> tuple[set[int], set[int]]:
    """Mention rows that do not stand in their sentence, and one that stands too far behind."""
    rows = stream(world.seed, "odd sentences").permutation(world.mentions).tolist()
    absent = max(1, round(_NOT_IN_SENTENCE * world.mentions))
    return set(rows[:absent]), set(rows[absent : absent + 1])


def _write_mentions(
    root: Path, world: World, ids: list[str], absent: set[int], far: set[int]
) -> None:
    for split in SPLITS:
        items = {}
        for row in world.rows_of(split).tolist():
            gold = int(world.gold[row])
            name = world.name(gold)
            items[ids[row]] = {
                "id": ids[row],
                "sentence": (_FAR if row in far else "") + world.sentence(row),
                "imgPath": f"{_picture_id(int(world.picture[row]))}.jpg",
                "mentions": name.upper() if row in absent else name,
                "entities": world.title(gold),
                "answer": qid(gold),
            }
        write_json(root / "mentions" / f"WIKIMEL_{split}.json", items)


def _write_candidates(root: Path, world: World, ids: list[str]) -> None:
    lists = (
        "\t".join([mention_id, *(qid(entity) for entity in candidates)])
        for mention_id, candidates in zip(ids, world.candidates.tolist(), strict=True)
    )
    write_lines(root / "candidates" / "top100" / "candidates-answer.tsv", lists)


# boxes ------------------------------------------------------------------------------------------


def _write_entity_boxes(folder: Path, world: World, figures: list[Box | None], keep: int) -> None:
    boxes, scores = _boxes(figures, keep, stream(world.seed, "entity boxes"))
    _save_boxes(folder, "entity", "all", boxes, scores)


def _write_mention_boxes(
    folder: Path, world: World, figures: dict[int, Box | None], keep: int, absent: set[int]
) -> None:
    """The boxes of each split's mentions, those left out that ingest drops."""
    boxes, scores = _boxes(list(figures.values()), keep, stream(world.seed, "mention boxes"))
    place = {picture: number for number, picture in enumerate(figures)}
    for split in SPLITS:
        rows = [row for row in world.rows_of(split).tolist() if row not in absent]
        places = [place[picture] for picture in world.picture[rows].tolist()]
        _save_boxes(folder, "mention", split, boxes[places], scores[places])


def _boxes(figures: list[Box | None], keep: int, rng: np.random.Generator) -> tuple[_Boxes, _Boxes]:
    """Boxes (n, O, 4) and scores (n, O): the figure, then now and then a part of the ground."""
    boxes = np.tile(np.array([0, 0, 50, 50], np.float32), (len(figures), keep, 1))
    scores = np.zeros((len(figures), keep), np.float32)
    for row, figure in enumerate(figures):
        if figure is None:
            continue
        found = 1 if rng.random() < _ONE_BOX else int(rng.integers(1, keep + 1))
        corner = rng.integers(0, 120, size=(found, 2))
        boxes[row, :found] = np.concatenate([corner, corner + rng.integers(40, 100)], axis=1)
        boxes[row, 0] = figure
        scores[row, :found] = np.sort(rng.uniform(0.3, 0.6, found))[::-1]
        scores[row, 0] = rng.uniform(0.8, 0.99)
    return boxes, scores


def _save_boxes(folder: Path, kind: str, suffix: str, boxes: _Boxes, scores: _Boxes) -> None:
    folder.mkdir(exist_ok=True)
    np.save(folder / f"{kind}-object-box_{suffix}.npy", boxes)
    np.save(folder / f"{kind}-object-score_{suffix}.npy", scores)
