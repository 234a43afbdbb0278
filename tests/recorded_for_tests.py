"""A run folder with given scores, made without torch and without a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import featurestore
from linker.ranks import rank_scores
from linker.run_folder import RunFolder
from linker.store_identity import store_identity


def recorded_run(
    folder: Path, store: Path, scores: dict[str, np.ndarray], **changes: Any
) -> RunFolder:
    """A finished run on a store with these scores by split. ``changes``: of the summary."""
    run = RunFolder(folder)
    run.start(checkpoints=False)
    run.write_config("model: {name: text}\n")
    with featurestore.open(store) as opened:
        identity = store_identity(opened)
        run.write_environment({"store": identity})
        for split, values in scores.items():
            rows = opened.mentions.split(split)
            answer = opened.mentions.gather("answer", np.arange(rows.start, rows.stop))
            with run.writing_scores(
                split, mentions=len(values), candidates=values.shape[1]
            ) as sink:
                for first in range(0, len(values), 2):  # as batches come
                    sink(values[first : first + 2])
            ranks = rank_scores(values.astype(np.float32), answer)
            run.write_ranks(split, ids=opened.mentions.ids(rows), ranks=ranks)
    summary = {
        "model": "text",
        "seed": 0,
        "protocol": "strict",
        "tie_rule": "expected",
        "denominator": "all",
        "store": {"dataset": identity["dataset"]},
    }
    run.write_summary(summary | changes)
    return run
