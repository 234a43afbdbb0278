"""What tests share: small stores and a run, each made once, and no network."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

import featurestore
from featurestore import Store
from featurestore.ingest import ingest
from featurestore.options import IngestOptions
from featurestore.sources.sample import write_sample
from tests.tiny_store import TinyStore, write_tiny_store

if TYPE_CHECKING:
    from tests.runs_for_tests import QuickRun

os.environ["HF_HUB_OFFLINE"] = "1"  # read when transformers is imported, so set before any test

settings.register_profile("drin-fs", deadline=None)  # a slow machine is no failure
settings.load_profile("drin-fs")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models: more threads only wait for each other
# Tests limit what a process may write, and kill it: a module's bytecode would be left cut off.
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"


def pytest_collection_finish() -> None:
    """All that was imported by now is kept: going through it takes 0.3 s a collection of garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyStore:
    """A published store with every field, and the values it was made from. Read it only."""
    return write_tiny_store(tmp_path_factory.mktemp("tiny") / "tiny.h5")


@pytest.fixture(scope="session")
def golden_stores(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The recorded raw datasets as stores, see ``golden_store``; each is made once. Read them only."""
    from tests.link_for_tests import golden_store  # imports torch, which few tests need

    @cache
    def made(dataset: str, **changes: Any) -> Path:
        return golden_store(tmp_path_factory.mktemp(dataset), dataset, **changes)

    return made


@pytest.fixture(scope="session")
def store_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path, IngestOptions], Path]:
    """Datasets as stores; each is made once for equal options. Read them only."""

    @cache
    def made(source: Path, options: IngestOptions) -> Path:
        target = tmp_path_factory.mktemp(source.name) / "store.h5"
        ingest(source, target, options=options)
        return target

    return made


@pytest.fixture(scope="session")
def quick(tmp_path_factory: pytest.TempPathFactory) -> QuickRun:
    """A finished run of DRIN on a store with a planted signal. Read it only."""
    from tests.runs_for_tests import quick_run  # imports torch

    return quick_run(tmp_path_factory.mktemp("quick"))


@pytest.fixture
def store(tiny: TinyStore) -> Iterator[Store]:
    """The tiny store, open."""
    with featurestore.open(tiny.path) as opened:
        yield opened


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small preprocessed dataset of each name. Read it only."""
    root = tmp_path_factory.mktemp("datasets")
    for name in ("wikimel", "wikidiverse"):
        write_sample(
            root / name, dataset=name, layout="preprocessed", mentions=60, entities=40,
            candidates=6, text_width=16, image_width=16, mention_tokens=32, entity_tokens=40,
            regions=4,
        )  # fmt: skip
    return {name: root / name for name in ("wikimel", "wikidiverse")}


@pytest.fixture
def dataset(folders: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """Copies a dataset to where a test may change it."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(folders[name], tmp_path / "changed" / name))

    return copy
