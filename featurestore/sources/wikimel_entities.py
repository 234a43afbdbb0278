"""The knowledge base of raw WikiMEL: titles, descriptions, pictures; and how pictures are found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from featurestore.errors import SourceError
from featurestore.sources.items import as_text
from featurestore.sources.notes import note_ids, note_without_picture
from featurestore.sources.pictures import PictureFolder
from featurestore.sources.rawtables import RawEntities
from featurestore.sources.textfiles import numbered_lines, read_json_object

TITLES = Path("entities", "qid-entity.tsv")
DESCRIPTIONS = (Path("entities", "qid2abs.json"), Path("entities", "qid2brief.json"))
_PICTURES = Path("entities", "cleaned-images")


def entity_text(title: str, description: str) -> str:
    """What the text encoders read of an entity (DATASETS.md, raw WikiMEL).

    Full stops are replaced in the description only: the recorded features agree to 1e-6 with
    ``St. Petersburg, Florida. St; Petersburg is a city …`` and with no other form. Without a
    description it is the title alone, as in WikiDiverse (chosen here, the recordings have no such
    entity).
    """
    return f"{title}. {description.replace('.', ';')}" if description else title


def read_titles(path: Path) -> dict[str, str]:
    """{QID: title} in the order of the file, which is the order of the rows.

    Raises:
        SourceError: a malformed line, or an entity that stands twice.
    """
    titles: dict[str, str] = {}
    for number, line in numbered_lines(path):
        qid, tab, title = line.partition("\t")
        if not (tab and qid and title):
            raise SourceError(
                f"expected QID TAB title, found {line[:80]!r}",
                where=f"{path}, line {number}",
                hint="mend the line, or leave it out: one tab stands between QID and title",
            )
        if qid in titles:
            raise SourceError(
                f"entity {qid!r} stands twice",
                where=f"{path}, line {number}",
                hint="leave one of its lines out",
            )
        titles[qid] = title
    return titles


def entity_table(root: Path, titles: dict[str, str], notes: list[str]) -> RawEntities:
    """The entities with the text that is encoded, and the picture files that are there."""
    ids = list(titles)
    descriptions = _descriptions(root, ids, notes)
    paths = image_paths(root, _PICTURES, ids, "entities", notes)
    return RawEntities(
        ids=ids,
        titles=list(titles.values()),
        descriptions=descriptions,
        texts=[entity_text(t, d) for t, d in zip(titles.values(), descriptions, strict=True)],
        image_choices=[(path,) if path else () for path in paths],
    )


def _descriptions(root: Path, ids: list[str], notes: list[str]) -> list[str]:
    """Abstract before brief before none, entity by entity.

    The recordings use the abstract wherever both exist; the brief as second choice is chosen here.
    """
    found = [""] * len(ids)
    for name in DESCRIPTIONS:
        path = root / name
        if not path.is_file():
            notes.append(f"{name.as_posix()} is absent")
            continue
        known = read_json_object(path)
        for row, qid in enumerate(ids):
            if not found[row] and qid in known:
                found[row] = as_text(known[qid], "a description", f"{path}, entity {qid!r}")
    bare = [qid for qid, description in zip(ids, found, strict=True) if not description]
    note_ids(notes, "entities without description", bare)
    return found


def image_paths(
    root: Path,
    folder: Path,
    stems: list[str],
    what: str,
    notes: list[str],
    *,
    names: Sequence[str | None] | None = None,
) -> list[str]:
    """The picture file of each stem, relative to ``root``; "" where there is none.

    Args:
        names: the whole name of each file where it is known; None = found by its stem.
    """
    pictures = PictureFolder.open(root / folder)
    if not pictures:
        notes.append(f"{folder.as_posix()} is absent or empty")
    given = names if names is not None else [None] * len(stems)
    found = [
        pictures.find(stem) if name is None else pictures.named(name)
        for stem, name in zip(stems, given, strict=True)
    ]
    note_without_picture(notes, what, found.count(""), len(found))
    return [f"{folder.as_posix()}/{name}" if name else "" for name in found]
