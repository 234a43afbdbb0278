"""Does ingest make of the raw datasets what the reference scripts made of them?

    python -m tests.pipeline_parity RAW PREPROCESSED BOXES ENCODERS

Ingests every raw dataset below RAW (``wikimel``, ``wikidiverse``) with these encoders and recorded
boxes in float32, and every dataset below PREPROCESSED, brings both stores into the release's form and
compares each array with PREPROCESSED. One line an array:

    dataset  form  array  rows  max|Δ|  ok/FAIL

Features may differ by 1e-4 from raw pictures and text, and not at all from recorded arrays; strings,
positions, masks and answers must be equal. Exit code 1 on any FAIL, or when nothing was compared.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import featurestore
from featurestore.errors import DrinFsError
from featurestore.export import ReleaseArray, release_arrays
from featurestore.ingest import IngestOptions, ingest

TOLERANCE = 1e-4
DATASETS = ("wikimel", "wikidiverse")


def difference(array: ReleaseArray, recorded: np.ndarray) -> float:
    """Largest absolute difference; 0 or inf for strings; inf where shape or dtype differ."""
    worst, first = 0.0, 0
    for block in array.blocks():
        part = recorded[first : first + len(block)]
        first += len(block)
        if part.shape != block.shape or part.dtype.kind != block.dtype.kind:
            return float("inf")
        if block.dtype.kind == "U":
            worst = max(worst, 0.0 if (part == block).all() else float("inf"))
        elif block.size:
            gap = np.abs(part.astype(np.float64) - block.astype(np.float64)).max()
            worst = max(worst, float(gap) if np.isfinite(gap) else float("inf"))
    return worst if first == len(recorded) else float("inf")


def compare(
    store_path: Path, recorded: Path, tolerance: float
) -> Iterator[tuple[str, int, float, bool]]:
    """(array, rows, max|Δ|, ok) of every array that PREPROCESSED has."""
    with featurestore.open(store_path) as store:
        arrays = {array.name: array for array in release_arrays(store)}
        for path in sorted(recorded.glob("*.npy")):
            array = arrays.get(path.stem)
            expected = np.load(path, mmap_mode="r", allow_pickle=False)
            gap = difference(array, expected) if array else float("inf")
            yield path.stem, len(expected), gap, gap <= tolerance


def raw_options(recorded: Path, boxes: Path, encoders: Path) -> IngestOptions:
    """The options under which the recordings were made: token limits come from their shapes."""
    tokens = np.load(recorded / "mention-text-feature_train.npy", mmap_mode="r").shape[1]
    entity_tokens = 64
    if (recorded / "entity-attr-feature.npy").exists():
        entity_tokens = np.load(recorded / "entity-attr-feature.npy", mmap_mode="r").shape[1]
    return IngestOptions(
        text_encoder=str(encoders / "bert"),
        image_encoder=str(encoders / "resnet"),
        clip=str(encoders / "clip"),
        boxes=boxes,
        dtype="float32",
        padding="keep",
        mention_tokens=tokens,
        entity_tokens=entity_tokens,
        device="cpu",
    )


def with_scores(boxes: Path, recorded: Path, folder: Path) -> Path:
    """The recorded boxes together with the detector's scores, which lie among the arrays."""
    folder.mkdir()
    for source in [*boxes.glob("*-object-box_*.npy"), *recorded.glob("*-object-score_*.npy")]:
        shutil.copy(source, folder)
    return folder


def run(raw: Path, preprocessed: Path, boxes: Path, encoders: Path) -> bool:
    """Print every line; returns whether all is well."""
    results = []
    print(f"{'dataset':12} {'form':13} {'array':30} {'rows':>6}  max|Δ|")
    with tempfile.TemporaryDirectory() as folder:
        for dataset in DATASETS:
            recorded = preprocessed / dataset
            if not recorded.is_dir():
                continue
            jobs = [("preprocessed", recorded, IngestOptions(dtype="float32", padding="keep"), 0.0)]
            if (raw / dataset).is_dir():
                replay = with_scores(boxes / dataset, recorded, Path(folder, f"{dataset}-boxes"))
                options = raw_options(recorded, replay, encoders)
                jobs.append(("raw", raw / dataset, options, TOLERANCE))
            for form, source, options, tolerance in jobs:
                store = Path(folder, f"{dataset}-{form}.h5")
                try:
                    ingest(source, store, options=options)
                except DrinFsError as error:
                    print(f"{dataset:12} {form:13} FAIL: {error}")
                    results.append(False)
                    continue
                for name, rows, gap, ok in compare(store, recorded, tolerance):
                    verdict = "ok" if ok else "FAIL"
                    print(f"{dataset:12} {form:13} {name:30} {rows:6}  {gap:.2e}  {verdict}")
                    results.append(ok)
    print(f"{sum(results)} of {len(results)} arrays within tolerance")
    return bool(results) and all(results)


def main(arguments: list[str]) -> int:
    if len(arguments) != 4:
        print(
            "usage: python -m tests.pipeline_parity RAW PREPROCESSED BOXES ENCODERS",
            file=sys.stderr,
        )
        return 2
    return 0 if run(*map(Path, arguments)) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
