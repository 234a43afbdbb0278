"""The knowledge base of MIMIC's layout, and how its pictures are found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from featurestore.errors import SourceError
from featurestore.sources.items import as_number, objects, optional_text, text
from featurestore.sources.notes import note_ids, note_without_picture
from featurestore.sources.pictures import PictureFolder
from featurestore.sources.rawtables import RawEntities
from featurestore.sources.textfiles import read_json_object
from featurestore.sources.wikimel_entities import entity_text

KNOWLEDGE_BASE = Path("kb_entity.json")
NUMBERS = Path("qid2id.json")
_PICTURES = ("kb_image", "kb_images")


class Entity(NamedTuple):
    """One item of the knowledge base."""

    number: int  # MIMIC's "id"
    qid: str
    title: str
    description: str
    pictures: list[str]  # names in the picture folder, in the order of the list
    where: str


def read_entities(root: Path, notes: list[str]) -> list[Entity]:
    """The knowledge base in the order of its numbers.

    Raises:
        SourceError: a malformed item, no item, an entity without QID or with two, or a number or
            QID that stands twice.
    """
    qid_of = _read_numbers(root / NUMBERS)
    entities = [_entity(item, qid_of, where) for where, item in objects(root / KNOWLEDGE_BASE)]
    if not entities:
        raise SourceError(
            "the knowledge base holds no entity",
            where=str(root / KNOWLEDGE_BASE),
            hint="give the file that holds the entities, a list of objects",
        )
    _check_unique(entities, "id", [str(entity.number) for entity in entities])
    _check_unique(entities, "QID", [entity.qid for entity in entities])
    unknown = qid_of.keys() - {entity.number for entity in entities}
    unused = [qid_of[number] for number in sorted(unknown)]
    note_ids(notes, f"QIDs of {NUMBERS} without entity", unused)
    return sorted(entities, key=lambda entity: entity.number)


def entity_table(root: Path, known: list[Entity], notes: list[str]) -> RawEntities:
    """The entities with the text that is encoded, and the picture files that are there."""
    bare = [entity.qid for entity in known if not entity.description]
    note_ids(notes, "entities without description", bare)
    folder = picture_folder(root, _PICTURES)
    choices = [_picture_files(folder, entity.pictures) for entity in known]
    note_pictures(notes, folder, "entities", choices.count(()), len(choices))
    return RawEntities(
        ids=[entity.qid for entity in known],
        titles=[entity.title for entity in known],
        descriptions=[entity.description for entity in known],
        texts=[entity_text(entity.title, entity.description) for entity in known],
        image_choices=choices,
    )


def _read_numbers(path: Path) -> dict[int, str]:
    """{number: QID} from ``qid2id.json``; empty where it is absent."""
    if not path.is_file():
        return {}
    qid_of: dict[int, str] = {}
    for qid, value in read_json_object(path).items():
        number = as_number(value, "an id", f"{path}, key {qid!r}")
        if number in qid_of:
            raise SourceError(
                f"id {number} stands twice",
                where=f"{path}, keys {qid_of[number]!r} and {qid!r}",
                hint="give each QID a number of its own",
            )
        qid_of[number] = qid
    return qid_of


def _entity(item: dict[str, object], qid_of: dict[int, str], where: str) -> Entity:
    if "id" not in item:
        raise SourceError(
            "the item has no 'id'",
            where=where,
            hint="give each entity a number as 'id', or leave the item out",
        )
    number = as_number(item["id"], "'id'", where)
    own, listed = optional_text(item, "qid", where), qid_of.get(number, "")
    if not (own or listed):
        raise SourceError(
            f"entity {number} has no QID",
            where=where,
            hint=f"{NUMBERS} gives them, or each entity has its own as 'qid'",
        )
    if own and listed and own != listed:
        raise SourceError(
            f"entity {number} is {own!r} here and {listed!r} in {NUMBERS}",
            where=where,
            hint=f"make the two agree, or remove {NUMBERS}: then each entity needs its 'qid'",
        )
    pictures = item.get("image_list", [])
    if not isinstance(pictures, list) or not all(isinstance(name, str) for name in pictures):
        raise SourceError(
            "'image_list' must be a list of strings",
            where=where,
            hint='write file names in a list: ["1.jpg"]; or leave the key out',
        )
    return Entity(
        number,
        own or listed,
        title=unquote(text(item, "entity_name", where)),
        description=optional_text(item, "attr", where) or optional_text(item, "desc", where),
        pictures=pictures,
        where=where,
    )


def _check_unique(entities: list[Entity], what: str, values: list[str]) -> None:
    for value, times in Counter(values).most_common(1):
        if times > 1:
            first, second, *_ = (n for n, other in enumerate(values) if other == value)
            raise SourceError(
                f"{what} {value!r} stands twice",
                where=f"{entities[first].where} and {entities[second].where}",
                hint="leave one of the two out",
            )


def _picture_files(folder: PictureFolder, listed: list[str]) -> tuple[str, ...]:
    """The files of the listed names that are there; a name may have got another suffix."""
    files = (first_file(folder, (name, name.rpartition(".")[0])) for name in listed)
    return tuple(file for file in files if file)


# pictures ---------------------------------------------------------------------------------------


def picture_folder(root: Path, names: Sequence[str]) -> PictureFolder:
    """The first of the folders that holds something; the first named where none does."""
    folders = [PictureFolder.open(root / name) for name in names]
    return next((folder for folder in folders if folder), folders[0])


def first_file(folder: PictureFolder, stems: Sequence[str]) -> str:
    """The first of the stems that is a file of the folder, as a path below its parent; "" = none."""
    names = (folder.find(stem) for stem in stems if stem)
    name = next((name for name in names if name), "")
    return f"{folder.path.name}/{name}" if name else ""


def note_pictures(
    notes: list[str], folder: PictureFolder, what: str, missing: int, total: int
) -> None:
    """Say how many rows have no picture file, and whether there is a folder at all."""
    if not folder:
        notes.append(f"{folder.path.name} is absent or empty")
    note_without_picture(notes, what, missing, total)
