"""What kinds of datasets share: small valid ones, and what an ingest of one must leave."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection
from pathlib import Path

import featurestore.encoders.raw  # noqa: F401  torch, which raw datasets need, before the fork
from featurestore.ingest import ingest
from featurestore.options import IngestOptions
from featurestore.sources.sample import write_sample
from featurestore.verify import verify
from tests.fuzz.kinds import Case, Seed, Wrong
from tests.golden_for_tests import RAW

#: Text and candidates alone; pictures have a kind of their own.
TEXT_ALONE = IngestOptions(
    text_encoder="none", image_encoder="none", clip="none", detector="none", candidates=4
)


def seed_of(folder: Path, *suffixes: str) -> Seed:
    """Every file of a folder with one of the suffixes is mutated."""
    files = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.suffix in suffixes]
    return Seed(folder, tuple(sorted(files)))


def preprocessed(folder: Path, *, dataset: str) -> Path:
    """20 mentions with 4 candidates as the release has them."""
    write_sample(
        folder, dataset=dataset, layout="preprocessed", mentions=20, entities=20, candidates=4,
        text_width=16, image_width=16, mention_tokens=32, entity_tokens=40, regions=2,
    )  # fmt: skip
    return folder


def raw(folder: Path, *, dataset: str) -> Path:
    """The recorded raw dataset, without its pictures."""
    ignore = shutil.ignore_patterns("*.jpg", "*.JPG", "*.jpeg", "*.png", "*.PNG", "*.tif", "*.md")
    return Path(shutil.copytree(RAW / dataset, folder, ignore=ignore))


def mimic(folder: Path) -> Path:
    """A few entities and mentions in MIMIC's layout."""
    folder.mkdir()
    names = ["Michael%20Jordan", "Jordan", "Jordan%20(river)", "Amman", "Zoë", "Paris (Texas)"]
    entities = [
        {"id": n, "entity_name": name, "attr": f"Sex: {n}.", "image_list": [f"Q{n}.jpg"]}
        for n, name in enumerate(names)
    ]
    _write(folder / "kb_entity.json", entities)
    _write(folder / "qid2id.json", {f"Q{n}": n for n in range(len(names))})
    for split in ("train", "dev", "test"):
        items = [
            {"id": f"{split}{n}", "sentence": f"Then {name} came.", "mentions": name,
             "answer": f"Q{n}", "imgPath": f"a/{n}.jpg"}
            for n, name in enumerate(["Jordan", "Amman", "Zoë"])
        ]  # fmt: skip
        _write(folder / f"WIKIMEL_{split}.json", items)
    return folder


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")


def ingested(
    case: Case, options: IngestOptions, *, source: Path | None = None, kept: Collection[str] = ()
) -> Path:
    """The store of a case; it must be sound, and a refused one must leave nothing.

    ``kept``: fields that ingest takes as they are given, right or wrong, and says so.

    Raises:
        DrinFsError: the input is refused.
        Wrong: it is not as it must be.
    """
    target = case.out / "store.h5"
    try:
        ingest(source or case.source, target, options=options)
    except Exception as error:
        if left := [path.name for path in case.out.iterdir() if path.suffix != ".ingest"]:
            raise Wrong(f"refused, and left {left}") from error
        raise
    problems = [each for each in verify(target, "full").problems if each.path not in kept]
    if problems:
        raise Wrong(f"accepted, and the store is not sound: {problems[:3]}")
    return target
