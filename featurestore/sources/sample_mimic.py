"""The sample in MIMIC's layout (``featurestore.sources.mimic``): a knowledge base and no candidates."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import quote

from featurestore.progress import Progress
from featurestore.sources.sample_files import write_json
from featurestore.sources.sample_names import qid
from featurestore.sources.sample_pictures import draw_all
from featurestore.sources.sample_plan import picture_states
from featurestore.sources.sample_world import SPLITS, World, stream

#: What the released lists are called, and their word for the validation split.
_PREFIX = {"wikimel": "WIKIMEL", "wikidiverse": "wiki_diverse"}
_WORD = {"train": "train", "valid": "dev", "test": "test"}


def write_mimic(
    root: Path, world: World, *, dataset: Literal["wikimel", "wikidiverse"], progress: Progress
) -> dict[str, int]:
    """Write the dataset below ``root``; what troubles are planted, and how often each.

    One mention does not stand in its sentence, one gold is NIL and one not in the knowledge base.
    """
    without_text = _write_entities(root, world)
    _write_mentions(root, world, _PREFIX[dataset])
    entities = draw_all(
        kind="entity",
        themes=[world.theme_of(entity) for entity in range(world.entities)],
        stems=[root / "kb_image" / qid(entity) for entity in range(world.entities)],
        states=picture_states(world.entities, stream(world.seed, "entity pictures")),
        seed=world.seed,
        progress=progress,
    )
    owners = world.pictures.tolist()
    mentions = draw_all(
        kind="mention",
        themes=[world.theme_of(int(world.gold[row])) for row in owners],
        stems=[root / "mention_image" / str(row) for row in owners],
        states=picture_states(len(owners), stream(world.seed, "mention pictures")),
        seed=world.seed,
        progress=progress,
    )
    return {
        "mentions not in their sentence": 1,
        "golds that are NIL": 1,
        "golds outside the knowledge base": 1,
        "entities without description": without_text,
        **mentions.troubles(),
        **entities.troubles(),
    }


def _write_entities(root: Path, world: World) -> int:
    """The knowledge base; how many of its entities have no description."""
    rows = range(world.entities)
    texts = [world.description(entity) for entity in rows]
    items = [
        {
            "id": entity,
            "qid": qid(entity),
            "type": "entity",
            "entity_name": quote(world.title(entity)),
            "attr": texts[entity],
            "image_list": [f"{qid(entity)}.jpg"],
        }
        for entity in rows
    ]
    write_json(root / "kb_entity.json", items)
    write_json(root / "qid2id.json", {qid(entity): entity for entity in rows})
    return texts.count("")


def _write_mentions(root: Path, world: World, prefix: str) -> None:
    absent, nil, outside, *_ = stream(world.seed, "odd sentences").permutation(world.mentions)
    answers = {int(nil): "nil", int(outside): qid(world.entities)}
    for split in SPLITS:
        items = []
        for row in world.rows_of(split).tolist():
            gold = int(world.gold[row])
            name = world.name(gold)
            items.append(
                {
                    "mentions": name.upper() if row == absent else name,
                    "sentence": world.sentence(row),
                    "imgPath": f"images/{int(world.picture[row])}.png",  # converted to JPEG since
                    "answer": answers.get(row, qid(gold)),
                    "entities": world.title(gold),
                }
            )
        write_json(root / f"{prefix}_{_WORD[split]}.json", items)
