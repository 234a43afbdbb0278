"""Train, valid and test for a dataset of one's own: seeded, whole documents, and stable.

Groups of mentions (documents, golds, or mentions alone) are put in the order of a keyed hash of their
name and cut where the shares say. The order does not depend on what else is there, so that added rows
move only those groups that stand next to a cut.
"""

from __future__ import annotations

import math
import os
import shutil
from array import array
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Literal

import numpy as np

from featurestore.construct.item_files import SPLIT_FILES, Item, SplitFile, read_items
from featurestore.construct.needed import NeededFile, needed_files
from featurestore.construct.split_report import SplitOverlap, SplitSize, overlaps, sizes
from featurestore.disk import write_errors
from featurestore.errors import ConfigError, SourceError, WriteError
from featurestore.progress import Progress, Silent
from featurestore.schema import SPLITS
from featurestore.target import remove_leftovers

SplitBy = Literal["document", "mention", "entity"]

#: What a mention says of itself that splits could share; each is kept as a hash of 8 bytes.
KINDS = ("group", "document", "gold", "surface", "sentence", "picture")


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSummary:
    """How the mentions were divided, and what splits share.

    ``documents_named``: mentions that name their document; of the others the sentence counts as one.
    """

    root: str
    by: SplitBy
    seed: int
    shares: dict[str, float]
    mentions: int
    groups: int
    documents_named: int
    splits: dict[str, SplitSize]
    overlap: dict[str, SplitOverlap]  # valid and test, each with what was seen in train
    needed: list[NeededFile]


def build_split(
    root: Path,
    *,
    shares: Sequence[float] = (0.7, 0.15, 0.15),
    seed: int = 0,
    by: SplitBy = "document",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> SplitSummary:
    """Divide the mentions below ``root`` and write ``mentions/WIKIMEL_{train,valid,test}.json``.

    They are read from ``mentions.jsonl``, or else from the split files that are there.

    Args:
        shares: of train, valid and test; only their proportions matter. A share of 0 gives an empty
            split; any other gets a group at least.
        seed: another seed is another division.
        by: what is never divided: the mentions of a document (its sentence where a mention names no
            document), of a gold (no gold of test is seen in train), or nothing.

    Raises:
        ConfigError: shares that are no three proportions.
        SourceError: no mentions, a malformed file, an id that stands twice, or fewer groups than splits.
        WriteError: there are split files already, or the folder cannot be written.
    """
    proportions = _proportions(shares)
    there = [name for name in SPLIT_FILES.values() if (root / name).exists()]
    if there and not overwrite:
        raise WriteError(
            f"{there[0].as_posix()} exists",
            where=str(root),
            hint="pass --overwrite to divide the mentions anew",
        )
    progress = progress or Silent()
    hashes, named = _hashes(root, by, seed)
    split_of, cuts = _divide(hashes["group"], proportions, by, root)
    _write(root, split_of, progress)
    return SplitSummary(
        root=str(root),
        by=by,
        seed=seed,
        shares=dict(zip(SPLITS, proportions, strict=True)),
        mentions=len(split_of),
        groups=cuts,
        documents_named=named,
        splits=sizes(hashes, split_of),
        overlap=overlaps(hashes, split_of),
        needed=needed_files(root),
    )


def parse_shares(text: str) -> tuple[float, ...]:
    """``0.7,0.15,0.15`` as numbers.

    Raises:
        ConfigError: not three numbers.
    """
    try:
        shares = tuple(float(part) for part in text.split(","))
    except ValueError:
        shares = ()
    _proportions(shares)
    return shares


def _proportions(shares: Sequence[float]) -> tuple[float, ...]:
    usable = len(shares) == len(SPLITS) and all(math.isfinite(s) and s >= 0 for s in shares)
    if not usable or not shares[0]:
        raise ConfigError(
            f"shares {', '.join(map(str, shares)) or 'that are no numbers'} cannot divide mentions",
            where="shares",
            hint="three proportions of train, valid and test, train above 0: 0.7,0.15,0.15",
        )
    return tuple(share / sum(shares) for share in shares)


# groups -----------------------------------------------------------------------------------------


def _hash(text: str, key: bytes = b"") -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8, key=key).digest(), "little")


def _hashes(root: Path, by: SplitBy, seed: int) -> tuple[dict[str, np.ndarray], int]:
    """Of each mention the hash (n,) uint64 of its group and all else that splits could share, 0 = none.

    And how many name their document.
    """
    key = f"drin-fs split {seed}".encode()
    columns = {name: array("Q") for name in KINDS}
    ids, named = array("Q"), 0
    for _, item in read_items(root):
        ids.append(_hash(item["id"]))
        values = _values(item)
        named += bool(item.get("document"))
        columns["group"].append(_hash(_group(item, values, by), key))
        for name, value in values.items():
            columns[name].append(_hash(value) if value else 0)
    hashes = {name: np.frombuffer(column, np.uint64) for name, column in columns.items()}
    _refuse_twins(root, np.frombuffer(ids, np.uint64))
    return hashes, named


def _values(item: Item) -> dict[str, str]:
    """What a mention says of itself."""
    picture = item.get("picture", str(item["id"]).partition("-")[0])
    return {
        "document": str(item.get("document") or f"\0sentence {item['sentence']}"),
        "gold": item["answer"],
        "surface": item["mentions"].casefold(),
        "sentence": item["sentence"],
        "picture": str(picture),
    }


def _group(item: Item, values: dict[str, str], by: SplitBy) -> str:
    if by == "mention" or (by == "entity" and not values["gold"]):
        return f"\0mention {item['id']}"
    return values["document"] if by == "document" else values["gold"]


def _refuse_twins(root: Path, ids: np.ndarray) -> None:
    """Ids that stand twice, which no split file could hold."""
    if not len(ids):
        raise SourceError("no mention is there", where=str(root), hint="build mentions first")
    known, number = np.unique(ids, return_counts=True)
    if number.max() == 1:
        return
    twins = set(known[number > 1].tolist())
    for where, item in read_items(root):
        if _hash(item["id"]) in twins:
            raise SourceError(
                f"mention id {item['id']!r} stands twice",
                where=where,
                hint="make the mentions again: drin-fs build mentions",
            )


def _divide(
    groups: np.ndarray, proportions: Sequence[float], by: SplitBy, root: Path
) -> tuple[np.ndarray, int]:
    """The split (n,) of each mention, an index into SPLITS; and how many groups there are."""
    order, number = np.unique(groups, return_counts=True)  # in the order of the keyed hash
    wanted = sum(share > 0 for share in proportions)
    if len(order) < wanted:
        raise SourceError(
            f"{wanted} splits need as many groups, by {by} there are {len(order)}",
            where=str(root),
            hint="choose another --by, or a share of 0",
        )
    before = np.concatenate([[0], np.cumsum(number)])  # mentions before each place of a cut
    first = _cuts(before, proportions)
    split_of_group = np.searchsorted(np.array(first), np.arange(len(order)), side="right")
    return split_of_group[np.searchsorted(order, groups)], len(order)


def _cuts(before: np.ndarray, proportions: Sequence[float]) -> list[int]:
    """The groups at which valid and test begin: nearest to the shares, no split with one is empty."""
    groups, total = len(before) - 1, int(before[-1])
    cuts: list[int] = []
    for place in range(1, len(proportions)):
        target = total * sum(proportions[:place])
        cut = int(np.argmin(np.abs(before - target)))
        smallest = (cuts[-1] if cuts else 0) + (proportions[place - 1] > 0)
        after = sum(share > 0 for share in proportions[place:])
        largest = groups - after
        if proportions[place - 1] == 0:
            cut = smallest
        elif not after:
            cut = groups
        cuts.append(min(max(cut, smallest), largest))
    return cuts


# files ------------------------------------------------------------------------------------------


def _write(root: Path, split_of: np.ndarray, progress: Progress) -> None:
    """The split files; they take their places when all are written."""
    with write_errors(root, when_full="make room on the disk"):
        (root / "mentions").mkdir(exist_ok=True)
        remove_leftovers(root / "split")
        work = root / f".split.{os.getpid()}.part"
        work.mkdir()
        try:
            (work / "mentions").mkdir()
            with ExitStack() as stack:
                files = [
                    stack.enter_context(SplitFile(work / SPLIT_FILES[split])) for split in SPLITS
                ]
                stage = stack.enter_context(progress.stage("split", len(split_of), "mentions"))
                for (_, item), split in zip(read_items(root), split_of.tolist(), strict=True):
                    files[split].write({**item, "split": SPLITS[split]})
                    stage.advance(1)
            for name in SPLIT_FILES.values():
                os.replace(work / name, root / name)
        finally:
            shutil.rmtree(work, ignore_errors=True)
