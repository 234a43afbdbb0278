"""Forged stores put to use: models matched, trained a step and scored; every kind of export.

What a store says of itself decides sizes of models, rows that are read and files that are written.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import featurestore
from featurestore import Store
from featurestore.errors import DrinFsError
from featurestore.export import export_jsonl, export_npy, export_parquet
from featurestore.progress import Silent
from linker.config_text import read_config
from linker.job import prepare_job
from linker.scoring import score_split
from tests.fuzz.kinds import Case, Kind
from tests.fuzz.stores import FORGING, NAME, check_error, store_seeds

#: Models with options that fit the store of the seeds, and the protocol that each is run under.
_MODELS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"name": "drin"}, "paper"),
    ({"name": "ghmfc", "heads": 2}, "strict"),
    ({"name": "melhi"}, "paper"),
    ({"name": "text"}, "strict"),
)


def _train(store: Store, model: dict[str, Any], protocol: str) -> None:
    config = {"model": model, "protocol": protocol, "device": "cpu", "batch_size": 4}
    job = prepare_job(store, read_config(config))
    module = job.module()
    for batch in job.loader("train", shuffled=True):
        module.network(batch.float()).sum().backward()
    for scored in (None, "full-kb"):
        score_split(job, module, "valid", protocol=scored, progress=Silent())


def _use(case: Case) -> None:
    path = case.source / NAME
    attempts: list[Callable[[Store], object]] = [
        *(partial(_train, model=model, protocol=protocol) for model, protocol in _MODELS),
        lambda store: export_npy(store, case.out / "npy"),
        lambda store: export_jsonl(store, case.out / "jsonl"),
        lambda store: export_parquet(store, case.out / "parquet"),
    ]
    with featurestore.open(path) as store:
        for attempt in attempts:
            try:
                attempt(store)
            except DrinFsError as error:
                check_error(error)


KIND = Kind(
    name="uses",
    about="forged stores that are trained on, scored and exported",
    seeds=store_seeds,
    mutators=FORGING,
    read=_use,
)
