"""What is read of a run to look at its mistakes: scores, ranks, and the small files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np

import featurestore
from cli.render_mistakes import mistakes_view
from cli.render_row import mention_view
from featurestore import Store
from featurestore.describe import describe_mention
from linker.mistakes import mistakes
from linker.recorded import RecordedRun
from linker.verdicts import judge_mention
from tests.fuzz.generic import GENERIC
from tests.fuzz.jsons import JSON
from tests.fuzz.kinds import Case, Kind, Seed, Wrong
from tests.fuzz.npy import header_field, header_text, values
from tests.fuzz.tables import cell, columns, lines
from tests.recorded_for_tests import recorded_run
from tests.terminal import shown
from tests.tiny_store import SIZES, write_tiny_store

_ARRAY = (header_field, header_text, values)
_TABLE = (cell, columns, lines)


def _fitting(rng: Random, data: bytes, other: bytes) -> bytes:
    """A mutation of an array, of JSON or of a table, whichever it is."""
    if data.startswith(b"\x93NUMPY"):
        return rng.choice(_ARRAY)(rng, data, other)
    return rng.choice(JSON if data.lstrip()[:1] == b"{" else _TABLE)(rng, data, other)


def _seeds(folder: Path) -> Sequence[Seed]:
    store = write_tiny_store(folder.parent / "tiny.h5").path
    scores = np.random.default_rng(3).random((3, SIZES["K"])).astype(np.float32)
    run = recorded_run(folder / "run", store, {"test": scores})
    files = ("scores/test.npy", "ranks/test.csv", "summary.json", "environment.json")
    return [Seed(run.path, (name,)) for name in files]


def _read(case: Case) -> None:
    """``drin-fs inspect STORE --errors RUN``, and ``--mention … --run RUN``."""
    store: Store = case.opened
    run = RecordedRun(case.source)
    found = mistakes(store, run)
    if sum(group.count for group in found.groups) != found.wrong:
        raise Wrong(f"{found.wrong} mistakes in groups of {[g.count for g in found.groups]}")
    shown(mistakes_view(found), width=80)
    for row in store.mentions.split("test"):
        verdict = judge_mention(store, run, row)
        mention = describe_mention(store, row, order=verdict.order)
        shown(mention_view(mention, [verdict]), width=80)


KIND = Kind(
    name="recorded",
    about="scores, ranks and small files of a run whose mistakes are looked at",
    seeds=_seeds,
    mutators=(*[_fitting] * len(GENERIC), *GENERIC),
    read=_read,
    open=lambda folder: featurestore.open(folder.parent / "tiny.h5"),
)
