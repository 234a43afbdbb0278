"""Finished runs with random weights on stores made from the recorded raw datasets, and their scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import featurestore
from featurestore import Store
from featurestore.encoders.loading import EncoderInfo
from featurestore.encoders.objects import RecordedBoxes
from featurestore.encoders.suite import Encoders
from featurestore.ingest import ingest
from featurestore.schema import IMAGE_STATUS
from linker.checkpoint import load_weights, save_weights
from linker.config_text import read_config, to_yaml
from linker.data import BatchReader
from linker.job import prepare_job
from linker.link import Linked, MentionInput
from linker.machine import environment
from linker.run_folder import RunFolder
from tests.golden_for_tests import PIPELINE, PREPROCESSED, RAW, TINY
from tests.pipeline_parity import with_scores

OK = IMAGE_STATUS.index("ok")


def golden_store(folder: Path, dataset: str, **changes: Any) -> Path:
    """The recorded raw ``dataset`` with the tiny encoders and its recorded boxes."""
    boxes = with_scores(PIPELINE / "boxes" / dataset, PREPROCESSED / dataset, folder / "boxes")
    options = replace(
        TINY,
        detector="fasterrcnn",  # the recorded boxes stand in for it
        boxes=boxes,
        dtype="float32",
        mention_tokens=32,
        entity_tokens=20,
    )
    path = folder / f"{dataset}.h5"
    ingest(RAW / dataset, path, options=replace(options, **changes))
    return path


def write_run(folder: Path, store: Path, model: dict[str, Any], **settings: Any) -> Path:
    """A run folder as training leaves it, with weights that were never trained."""
    run = RunFolder(folder)
    run.start()
    with featurestore.open(store) as opened:
        job = prepare_job(opened, read_config({"model": model, "device": "cpu", **settings}))
        torch.manual_seed(3)
        save_weights(job.match.build(), run.best_weights, description={})
        run.write_config(to_yaml(job.config))
        run.write_environment(environment(job.device, opened))
    return folder


def evaluated(run: Path, rows: list[int]) -> np.ndarray:
    """(n, K) scores of mentions of the store, read and scored as evaluation does it."""
    folder = RunFolder(run)
    with featurestore.open(folder.read_environment()["store"]["path"]) as store:
        job = prepare_job(store, read_config(folder.read_config()))
        network = job.match.build().eval()
        load_weights(network, folder.best_weights)
        reader = BatchReader(store=store, paths=job.match.paths, protocol="strict")
        with torch.inference_mode():
            return network(reader[np.array(rows)].float()).numpy()


def stored_mention(store: Store, row: int, root: Path) -> MentionInput:
    """A mention of the store, given as if it were new: its text, picture file and candidates."""
    mention = store.mentions[row]
    path = mention["image_path"]
    return MentionInput(
        sentence=mention["sentence"],
        start=mention["char_start"],
        end=mention["char_end"],
        image=root / path if path else None,
        candidates=store.entities.ids(mention["candidates"]),
        id=mention["id"],
    )


def with_recorded_boxes(store: Store, root: Path, encoders: Encoders) -> Encoders:
    """The encoders, with a detector that finds in each picture file what the store has of it."""
    mentions = store.mentions
    rows = np.arange(len(mentions))
    boxes, scores = (mentions.gather(name, rows) for name in ("object_boxes", "object_scores"))
    found = {}
    for row in rows.tolist():
        path, status = mentions[row]["image_path"], mentions[row]["image_status"]
        found[str(root / path) if status == OK else ""] = (boxes[row], scores[row])
    info = EncoderInfo("detector", "recorded boxes", "", {}, {}, {})
    return replace(encoders, detector=RecordedBoxes(found=found, info=info))


def scores_by_position(linked: list[Linked]) -> np.ndarray:
    """(n, C) scores in the order of the candidates, of mentions with all their answers."""
    table = [sorted(each.answers, key=lambda answer: answer.position) for each in linked]
    return np.array([[answer.score for answer in row] for row in table])
