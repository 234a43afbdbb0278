"""A dataset out of nothing: for the demo, for tests, and for measuring at true size.

    write_sample(Path("sample"))                                        # raw WikiMEL, 900 mentions
    write_sample(Path("arrays"), dataset="wikidiverse", layout="preprocessed", text_width=768,
                 image_width=2048, mention_tokens=128)

The sample can be learnt from: after 15 epochs, DRIN with text edges alone ranks the gold first for
about 55 % of the test mentions, with all edges for about 90 % (``featurestore.sources.sample_world``
says why). It also holds the troubles of the real datasets, and the summary counts them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from featurestore.errors import ConfigError, EncoderError, SourceError, WriteError
from featurestore.progress import Progress, Silent
from featurestore.sources import sample_words as vocabulary
from featurestore.sources.sample_features import Widths
from featurestore.sources.sample_plan import plan_world
from featurestore.sources.sample_preprocessed import write_preprocessed
from featurestore.sources.sample_world import SPLITS, World

DatasetName = Literal["wikimel", "wikidiverse"]
LayoutName = Literal["raw", "preprocessed", "mimic", "own"]

#: Mentions from which on valid has the hundred in which an audit takes "always" for no accident.
PROBLEMS_NEED = 700


@dataclass(frozen=True, kw_only=True)
class SampleSummary:
    """What was written, for people and programs."""

    dataset: DatasetName
    layout: LayoutName
    root: str
    mentions: dict[str, int]  # split → mentions
    entities: int
    candidates: int  # of each mention; MIMIC's layout and own have none
    names: int  # groups of entities that share a name
    telling: int  # mentions whose sentence alone tells the gold from its namesakes
    troubles: dict[str, int]  # planted on purpose → how often
    encoders: dict[str, str]  # bert, resnet, clip → folder; not of the preprocessed layout
    boxes: str | None  # folder of recorded boxes for ingest --boxes; raw WikiMEL only
    files: int
    bytes: int
    seed: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def write_sample(
    root: Path,
    *,
    dataset: DatasetName = "wikimel",
    layout: LayoutName = "raw",
    mentions: int = 900,
    entities: int = 300,
    candidates: int = 10,
    text_width: int = 64,
    image_width: int = 96,
    mention_tokens: int = 32,
    entity_tokens: int = 48,
    regions: int = 49,
    mention_objects: int = 3,
    entity_objects: int = 1,
    seed: int = 0,
    problems: bool = False,
    progress: Progress | None = None,
) -> SampleSummary:
    """Write a sample dataset; ``root`` becomes its root folder in the layout asked for.

    Equal arguments write equal bytes. The raw layout and MIMIC's get ``encoders/`` that go with them,
    and need Pillow, torch and transformers; the preprocessed one needs NumPy and streams, so that
    any size can be written.

    Args:
        root: a folder that does not exist, or is empty.
        dataset: whose layout and troubles.
        layout: text and pictures as the dataset's makers or as MIMIC lays them out, ``.npy`` features,
            or what a dataset of one's own is built from (:mod:`featurestore.sources.sample_own`).
        mentions: of all splits together, divided 70/15/15.
        entities: rows of the knowledge base.
        candidates: K, of each mention; raw WikiDiverse lists hold at most 10.
        text_width: D, of the text features or of the BERT that makes them.
        image_width: V, of the picture features or of the ResNet that makes them.
        mention_tokens: T, word pieces that a sentence keeps to; one raw sentence is longer.
        entity_tokens: S, word pieces that most descriptions keep to.
        regions: R, rows of a picture's features; the raw layout's ResNet makes 49.
        mention_objects: objects of a mention's picture.
        entity_objects: objects of an entity's picture.
        seed: another seed is another sample.
        problems: plant what an audit looks for, too (``featurestore.sources.sample_problems``); raw
            WikiMEL only.

    Raises:
        SourceError: something is in ``root`` already.
        ConfigError: numbers that leave no room for the design, or do not fit the layout.
        EncoderError: the raw layout was asked for and a library that it needs is not installed.
        WriteError: the folder cannot be made or written, or the disk is full.
    """
    _check(root, dataset, layout, candidates, text_width, image_width, regions)
    if problems:
        _check_problems(dataset, layout, mentions)
    world = plan_world(
        mentions=mentions,
        entities=entities,
        candidates=candidates,
        mention_tokens=mention_tokens,
        entity_tokens=entity_tokens,
        short_lists=dataset == "wikidiverse" and layout not in ("mimic", "own"),
        seed=seed,
    )
    widths = Widths(
        text=text_width,
        image=image_width,
        mention_tokens=mention_tokens,
        entity_tokens=entity_tokens,
        regions=regions,
        mention_objects=mention_objects,
        entity_objects=entity_objects,
    )
    progress = progress or Silent()
    encoders: dict[str, Path] = {}
    try:
        if layout == "preprocessed":
            troubles = write_preprocessed(
                root, world, dataset=dataset, widths=widths, progress=progress
            )
        else:
            troubles, encoders = _write_raw(root, world, dataset, layout, widths, progress)
        if problems:
            from featurestore.sources.sample_problems import plant_problems

            troubles |= plant_problems(root)
    except OSError as error:
        raise WriteError(
            f"the sample cannot be written ({error.strerror or error})",
            where=str(error.filename or root),
            hint="choose a folder with room that you may write to",
        ) from error
    return _summary(root, dataset, layout, world, troubles, encoders)


def _check(
    root: Path,
    dataset: DatasetName,
    layout: LayoutName,
    candidates: int,
    text_width: int,
    image_width: int,
    regions: int,
) -> None:
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise SourceError(
            "the sample's folder is not empty" if root.is_dir() else "a file, not a folder",
            where=str(root),
            hint="name a new folder; nothing that stands there is overwritten",
        )
    if layout == "raw" and dataset == "wikidiverse" and candidates > 10:
        raise ConfigError(
            f"candidates is {candidates}, raw WikiDiverse lists hold at most 10",
            where="candidates",
            hint="choose 10 or fewer, or the preprocessed layout",
        )
    for what, width in (("text_width", text_width), ("image_width", image_width)):
        if width < 16 or width % 4:
            raise ConfigError(
                f"{what} is {width}: the sample's evidence needs 16 or more, in steps of 4",
                where=what,
                hint="64 is enough for both",
            )
    if layout != "preprocessed" and regions != 49:
        raise ConfigError(
            f"regions is {regions}, the sample's ResNet makes 49",
            where="regions",
            hint="leave it out, or choose the preprocessed layout",
        )


def _check_problems(dataset: DatasetName, layout: LayoutName, mentions: int) -> None:
    if (dataset, layout) != ("wikimel", "raw"):
        raise ConfigError(
            f"problems are not planted in {layout} {dataset}",
            where="problems",
            hint="leave it out, or choose the raw layout of wikimel",
        )
    if mentions < PROBLEMS_NEED:
        raise ConfigError(
            f"mentions is {mentions}, the sample with problems needs at least {PROBLEMS_NEED}",
            where="mentions",
            hint=f"some show in a hundred mentions of a split only; choose {PROBLEMS_NEED} or more",
        )


def _write_raw(
    root: Path,
    world: World,
    dataset: DatasetName,
    layout: LayoutName,
    widths: Widths,
    progress: Progress,
) -> tuple[dict[str, int], dict[str, Path]]:
    """The files of the dataset and the encoders beside them."""
    try:
        from featurestore.encoders.tiny import write_tiny_encoders
        from featurestore.sources.sample_mimic import write_mimic
        from featurestore.sources.sample_own import write_own
        from featurestore.sources.sample_wikidiverse import write_wikidiverse
        from featurestore.sources.sample_wikimel import write_wikimel
    except ModuleNotFoundError as error:
        raise EncoderError(
            f"the raw sample needs {error.name}, which is not installed",
            hint="install drin-fs[encode], or choose the preprocessed layout",
        ) from error
    encoders = write_tiny_encoders(
        root / "encoders",
        seed=world.seed,
        words=vocabulary.word_pieces(),
        quiet=vocabulary.quiet_words(),
        families=vocabulary.families(),
        colours=vocabulary.COLOURS,
        text_width=widths.text,
        image_width=widths.image,
    )
    if layout == "mimic":
        return write_mimic(root, world, dataset=dataset, progress=progress), encoders
    if layout == "own":
        return write_own(root, world, progress=progress), encoders
    if dataset == "wikidiverse":
        return write_wikidiverse(root, world, progress=progress), encoders
    troubles = write_wikimel(
        root,
        world,
        mention_objects=widths.mention_objects,
        entity_objects=widths.entity_objects,
        progress=progress,
    )
    return troubles, encoders


def _summary(
    root: Path,
    dataset: DatasetName,
    layout: LayoutName,
    world: World,
    troubles: dict[str, int],
    encoders: dict[str, Path],
) -> SampleSummary:
    files = [path for path in root.rglob("*") if path.is_file()]
    boxes = root / "boxes"
    return SampleSummary(
        dataset=dataset,
        layout=layout,
        root=str(root),
        mentions={split: len(world.rows_of(split)) for split in SPLITS},
        entities=world.entities,
        candidates=world.candidates.shape[1],
        names=int(world.group[-1]) + 1,
        telling=int(world.telling.sum()),
        troubles=troubles,
        encoders={name: str(folder) for name, folder in encoders.items()},
        boxes=str(boxes) if boxes.is_dir() else None,
        files=len(files),
        bytes=sum(path.stat().st_size for path in files),
        seed=world.seed,
    )
