"""Which files of the raw WikiMEL layout a folder still lacks, and the command that makes each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from featurestore.construct.item_files import MENTIONS, SPLIT_FILES

_TITLES = "entities/qid-entity.tsv"
_CANDIDATES = "candidates/top100/candidates-answer.tsv"
_DESCRIPTIONS, _PICTURES = "entities/qid2brief.json", "entities/cleaned-images"


@dataclass(frozen=True, slots=True)
class NeededFile:
    """A file that is not there; ``optional``: ingest does without it, and says so."""

    file: str
    what: str
    command: str
    optional: bool


def needed_files(root: Path) -> list[NeededFile]:
    """What ``root`` lacks before ``drin-fs ingest`` can take it, in the order in which it is made."""
    folder = quote(str(root))
    titles, candidates = quote(str(root / _TITLES)), quote(str(root / _CANDIDATES))
    mentions = quote(str(root / "mentions"))
    splits = [name.as_posix() for name in SPLIT_FILES.values()]
    images = f"drin-fs build images {titles} -o {folder} --contact YOU"
    build = f"drin-fs build titles DUMP -o {titles}"
    if (root / _CANDIDATES).exists():  # they were sought in titles that stand elsewhere
        build = f"drin-fs build entities {mentions} {candidates} TITLES -o {titles}"
    steps = [
        ([_TITLES], "titles", build, False),
        (splits, "train, valid and test", f"drin-fs build split {folder}", False),
        (
            [_CANDIDATES],
            "candidates",
            f"drin-fs build candidates {mentions} {titles} -o {candidates}",
            False,
        ),
        ([_DESCRIPTIONS, _PICTURES], "descriptions and pictures of entities", images, True),
    ]
    if not (root / MENTIONS).exists() and not any((root / name).exists() for name in splits):
        build = f"drin-fs build mentions FILE -o {folder}"
        steps.insert(0, ([MENTIONS.as_posix()], "mentions", build, False))
    missing = []
    for files, what, command, optional in steps:
        absent = [name for name in files if not (root / name).exists()]
        if absent:
            missing.append(NeededFile(absent[0], what, command, optional))
    return missing
