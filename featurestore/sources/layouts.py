"""Which dataset a folder holds and in which layout, and opening a raw one."""

from __future__ import annotations

from pathlib import Path

from featurestore.options import IngestOptions
from featurestore.sources.mimic import RawMimic, is_mimic, mimic_dataset
from featurestore.sources.preprocessed import preprocessed_dataset
from featurestore.sources.rawtables import RawDataset
from featurestore.sources.wikidiverse import RawWikidiverse, is_raw_wikidiverse
from featurestore.sources.wikimel import RawWikimel, is_raw_wikimel


def layout_of(folder: Path) -> tuple[str, str] | None:
    """(dataset, layout) by the files that must be there; None = no layout that is known."""
    if dataset := preprocessed_dataset(lambda name: (folder / name).exists()):
        return dataset, "preprocessed"
    if is_raw_wikimel(folder):
        return "wikimel", "raw"
    if is_raw_wikidiverse(folder):
        return "wikidiverse", "raw"
    if is_mimic(folder):
        return mimic_dataset(folder), "mimic"
    return None


def open_raw(root: Path, options: IngestOptions) -> RawDataset:
    """Read the raw dataset below ``root``, which ``layout_of`` has found to be one.

    Raises:
        SourceError: a file is missing or malformed; names file and item.
    """
    if is_raw_wikimel(root):
        return RawWikimel.open(root, limit=options.limit)
    if is_raw_wikidiverse(root):
        return RawWikidiverse.open(root, limit=options.limit, title_match=options.title_match)
    return RawMimic.open(root, candidates=options.candidates, limit=options.limit)
