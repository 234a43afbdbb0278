"""What tests share: a small store, and no network."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

import featurestore
from featurestore import Store
from tests.tiny_store import TinyStore, write_tiny_store

os.environ["HF_HUB_OFFLINE"] = "1"  # read when transformers is imported, so set before any test

settings.register_profile("drin-fs", deadline=None)  # a slow machine is no failure
settings.load_profile("drin-fs")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models: more threads only wait for each other


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyStore:
    """A published store with every field, and the values it was made from. Read it only."""
    return write_tiny_store(tmp_path_factory.mktemp("tiny") / "tiny.h5")


@pytest.fixture(scope="session")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The recorded raw datasets as stores, see ``golden_store``; each is made once. Read them only."""
    from tests.link_for_tests import golden_store  # imports torch, which few tests need

    @cache
    def made(dataset: str, **changes: Any) -> Path:
        return golden_store(tmp_path_factory.mktemp(dataset), dataset, **changes)

    return made


@pytest.fixture
def store(tiny: TinyStore) -> Iterator[Store]:
    """The tiny store, open."""
    with featurestore.open(tiny.path) as opened:
        yield opened
