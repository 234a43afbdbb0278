"""Preprocessed datasets in archives, and what their ingest leaves or refuses with."""

from __future__ import annotations

import json
import random
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401  the filters of the records
import pytest

from featurestore.errors import DrinFsError
from featurestore.ingest import ingest
from featurestore.options import IngestOptions
from featurestore.progress import Silent, Stage
from featurestore.publish import CHUNKS_GROUP
from featurestore.sources import archive

EXACT = IngestOptions(dtype="float32")


def files_of(folder: Path, seed: int | None = None) -> list[Path]:
    """The arrays of a dataset by name, or shuffled."""
    files = sorted(p for p in folder.iterdir() if p.suffix == ".npy" or p.name == "qid2idx.json")
    if seed is not None:
        random.Random(seed).shuffle(files)
    return files


def write_tar(path: Path, files: Sequence[Path], *, mode: str = "w:gz", below: str = "x") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for file in files:
            tar.add(file, f"{below}/{file.parent.name}/{file.name}")
    return path


def disguised(path: Path) -> Path:
    archive.pack([path], path.parent / "download")
    return path.parent / "download" / f"{path.name}.mp4"


def fields_of(store: Path) -> dict[str, Any]:
    """Every byte and attribute of a store, and of its provenance what the source does not decide."""
    found: dict[str, Any] = {}

    def visit(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if name.startswith(f"{CHUNKS_GROUP}/"):
            return  # where records lie depends on the order of writing
        found[f"{name} attributes"] = {key: str(value) for key, value in item.attrs.items()}
        if isinstance(item, h5py.Dataset):
            found[name] = (item.dtype.str, item.shape, item[()].tobytes())

    with h5py.File(store) as file:
        file.visititems(visit)
        provenance = json.loads(file.attrs["provenance"])
    del provenance["run"], provenance["source"]
    return {**found, "provenance": provenance}


def refused(source: Path, target: Path, options: IngestOptions = EXACT) -> DrinFsError:
    """The error of an ingest that must fail and leave nothing but finished parts."""
    before = {*target.parent.iterdir(), target.with_name(f".{target.name}.ingest")}
    with pytest.raises(DrinFsError) as caught:
        ingest(source, target, options=options)
    assert set(target.parent.iterdir()) <= before
    return caught.value


class Watched(Silent):
    """Calls back at every step of the stages whose name begins so."""

    def __init__(self, stage: str, call: Callable[[], None]) -> None:
        self._stage, self._call = stage, call
        self.units: dict[str, str] = {}

    @contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Stage]:
        self.units[name] = unit
        if name.startswith(self._stage):
            self._call()
        yield self
