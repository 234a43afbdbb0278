"""Run folders with given ranks, as a report reads them: no store, no model, no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from linker.ranks import Denominator, Ranks, TieRule, summarise
from linker.recorded import RecordedRun
from linker.run_folder import RunFolder
from linker.run_groups import runs_below

#: A store's identity, as runs record it.
STORE: dict[str, Any] = {
    "path": "/data/wikimel.h5",
    "fingerprint": "d36fd5a425bab229fa20fdff603ba06f",
    "dataset": "wikimel",
    "entities": 18_880,
    "mentions": 25_106,
    "sentences": {"valid": "895672f03961d073", "test": "bbaec6093df12373"},
    "fields": {"mentions/candidates": "int32[100]", "entities/text_tokens": "float16[64, 384]"},
}


def ranks(best: ArrayLike, *, ties: ArrayLike = 0) -> Ranks:
    """Ranks whose gold ties with ``ties`` others; ``inf``: not retrieved."""
    optimistic = np.asarray(best, np.float64)
    return Ranks(
        optimistic=optimistic,
        pessimistic=optimistic + np.asarray(ties),
        retrieved=np.isfinite(optimistic),
    )


def drawn_ranks(hits: float, mentions: int, *, seed: int) -> Ranks:
    """Ranks of which a share is 1; some golds are not retrieved, the same for every share."""
    random = np.random.default_rng(seed)
    best = np.where(random.random(mentions) < hits, 1, random.integers(2, 40, mentions)).astype(
        float
    )
    best[np.random.default_rng(1).random(mentions) < 0.02] = np.inf
    return ranks(best)


def reported_run(
    folder: Path,
    found: Mapping[str, Ranks],
    *,
    config: str = "model: {name: text}\n",
    ks: Sequence[int] = (1, 5, 10, 20),
    store: Mapping[str, Any] = STORE,
    recorded: bool = True,
    ids: str = "m",
    ties: TieRule = "expected",
    denominator: Denominator = "all",
    **changes: Any,
) -> RunFolder:
    """A finished run whose summary follows from its ranks. ``changes``: of the summary."""
    run = RunFolder(folder)
    run.start(checkpoints=False)
    run.write_config(config)
    counts = {split: len(each) for split, each in found.items()}
    run.write_environment({"store": {**store, "splits": counts}})
    summary: dict[str, Any] = {"model": "text", "seed": 0, "protocol": "strict"}
    summary |= {"tie_rule": ties, "denominator": denominator, "store": {"dataset": "wikimel"}}
    for split, each in found.items():
        if recorded:
            names = [f"{ids}{row}" for row in range(len(each))]
            run.write_ranks(split, ids=names, ranks=each)
        metrics = summarise(each, ks=ks, denominator=denominator, ties=ties)
        summary[split] = {
            **{f"hits@{k}": value for k, value in metrics.hits.items()},
            "mrr": metrics.mrr,
            "mean_rank": metrics.mean_rank,
            "mentions": metrics.mentions,
            "retrieved": metrics.retrieved,
        }
    run.write_summary(summary | changes)
    return run


def grid(folder: Path, shares: Mapping[str, float], *, mentions: int = 300, seeds: int = 3) -> Path:
    """Cells of one share of hits each, with seeds; ``clip`` learns nothing."""
    for name, share in shares.items():
        for seed in range(1 if name == "clip" else seeds):
            cell = folder / name if name == "clip" else folder / name / f"seed-{seed}"
            about: dict[str, Any] = {"seed": seed, "model": name}
            if name == "clip":
                about = {"seed": None, "model": "clip", "options": {"pair": "sum"}}
            if name.startswith("drin"):
                about |= {"model": "drin", "edges": ["tt", "ti", "it", "ii"]}
            place = json.dumps({"model": {"name": name}, "seed": seed})
            found = {
                split: drawn_ranks(share, size, seed=seed)
                for split, size in (("valid", mentions // 2), ("test", mentions))
            }
            reported_run(cell, found, config=place, **about)
    return folder


def recorded(*paths: Path) -> list[RecordedRun]:
    """The runs below some folders."""
    return [RecordedRun(path) for path in runs_below(paths)]
