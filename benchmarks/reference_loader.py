"""The reference's way of loading WikiMEL, written anew from its description, to be measured against.

A data set of single mentions over the preprocessed ``.npy`` arrays: each mention looks up the rows of
its K + 1 candidates and copies whatever is stored of every one of them, all tokens of its text
included; torch's default collation then joins the mentions. In the axis letters of ``linker.batch``,
with S tokens of an entity's text, a batch holds B·C·S·D numbers of entity text alone: 1.27 GB of
WikiMEL.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

#: Name → tensor, one row a mention: see ``MENTION_ARRAYS`` and ``ENTITY_ARRAYS``.
ReferenceBatch: TypeAlias = dict[str, Tensor]

#: Name in a batch → array of a split, one row a mention.
MENTION_ARRAYS = {
    "mention_text": "mention-text-feature",  # (B, T, D)
    "mention_text_mask": "mention-text-mask",  # (B, T)
    "mention_start": "start-pos",  # (B,), [CLS] not counted
    "mention_end": "end-pos",  # (B,): tokens [start+1, end+1)
    "mention_image": "mention-image-feature",  # (B, R, V)
    "mention_objects": "mention-object-feature",  # (B, O, V)
    "mention_object_scores": "mention-object-score",  # (B, O)
    "sim_image_text": "similarity-miet",  # (B, C)
    "sim_text_image": "similarity-eimt",  # (B, C)
    "answer": "answer",  # (B,), K = not retrieved
}

#: Name in a batch → array, one row an entity; a batch holds one a mention and candidate.
ENTITY_ARRAYS = {
    "entity_text": "entity-attr-feature",  # (B, C, S, D)
    "entity_text_mask": "entity-attr-mask",  # (B, C, S)
    "entity_image": "entity-image-feature_all",  # (B, C, 1, V)
    "entity_objects": "entity-object-feature_all",  # (B, C, O, V)
    "entity_object_scores": "entity-object-score_all",  # (B, C, O)
}


class ReferenceDataset(Dataset[ReferenceBatch]):
    """One mention an item, with all its candidates; the gold slot is the last of them.

    Args:
        folder: of the preprocessed arrays.
        in_memory: load every array; otherwise they are mapped into memory.
    """

    def __init__(self, folder: Path, split: str, *, in_memory: bool) -> None:
        def opened(name: str) -> np.ndarray:
            path = folder / f"{name}.npy"
            if in_memory:
                return np.load(path, allow_pickle=False)
            return np.load(path, mmap_mode="r", allow_pickle=False)

        self.mentions = {key: opened(f"{name}_{split}") for key, name in MENTION_ARRAYS.items()}
        self.entities = {key: opened(name) for key, name in ENTITY_ARRAYS.items()}
        self.names = np.load(folder / f"entity-name-raw_{split}.npy", allow_pickle=False)
        self.rows: dict[str, int] = json.loads((folder / "qid2idx.json").read_text())
        self.slots = len(self.names) // len(self)

    def __len__(self) -> int:
        return len(self.mentions["answer"])

    def __getitem__(self, index: int) -> ReferenceBatch:
        names = self.names[index * self.slots : (index + 1) * self.slots]
        copied: dict[str, list[np.ndarray]] = {key: [] for key in self.entities}
        for name in names:
            row = self.rows[str(name)]
            for key, array in self.entities.items():
                copied[key].append(array[row])
        item = {key: torch.from_numpy(np.stack(rows)) for key, rows in copied.items()}
        for key, array in self.mentions.items():
            item[key] = torch.from_numpy(np.array(array[index]))
        return item


def reference_loader(
    dataset: ReferenceDataset, *, batch_size: int, seed: int = 0
) -> DataLoader[ReferenceBatch]:
    """Shuffled batches of the data set, loaded by the process that asks for them."""
    return DataLoader(
        dataset,
        batch_size=batch_size,
        shuffle=True,
        generator=torch.Generator().manual_seed(seed),
    )


def collated(dataset: ReferenceDataset, rows: Iterable[int]) -> ReferenceBatch:
    """The batch of these mentions, as a loader hands it over."""
    return torch.utils.data.default_collate([dataset[row] for row in rows])


def array_bytes(folder: Path) -> tuple[float, float]:
    """Bytes that the reference holds of each entity, and of each mention, with arrays in memory."""
    per_entity = sum(_row_bytes(folder / f"{name}.npy") for name in ENTITY_ARRAYS.values())
    per_mention = sum(_row_bytes(folder / f"{name}_train.npy") for name in MENTION_ARRAYS.values())
    return per_entity, per_mention


def _row_bytes(path: Path) -> float:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    return array.nbytes / len(array)
