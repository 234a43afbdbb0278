"""Protocol ``full-kb``: rank the gold of each mention among all entities of the store.

Mentions are taken some at a time, and the knowledge base passes by them in blocks, so that memory
does not grow with either. What the protocol means for each model, and what it costs:
``docs/decisions/protocols.md``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from featurestore import Store
from featurestore.errors import DataError, FieldMissing
from featurestore.progress import Progress
from featurestore.schema import BY_PATH, NO_ENTITIES, NO_ROW, SIMILARITIES
from linker.batch import Batch
from linker.data import as_tensor, mention_feature
from linker.diagnosis import diverged
from linker.job import Job
from linker.machine import autocast
from linker.metrics import rank_gold_in_blocks
from linker.models.base import Model
from linker.ranks import Ranks
from linker.reading import ReadCost
from linker.requests import Requests

#: hits@k that are reported: the columns of MIMIC's tables.
KS = (1, 3, 5, 10, 20)

#: Mentions that the knowledge base passes by at a time (chosen here: the work a pass does once an
#: entity is then small beside that of the pairs).
MENTIONS = 256

#: Mention–entity pairs of a block, by device (chosen here: DRIN holds about eight vectors a pair,
#: which at its 768 channels are 0.4 GB; a GPU has more room, and needs more work at a time).
PAIRS: Mapping[str, int] = {"cpu": 1 << 14, "cuda": 1 << 19}

#: Mentions whose stored similarities are compared with products of their embeddings.
COMPARED = 64

#: How far these may be apart, as a share of the similarities (chosen here: float16 embeddings are
#: off by 0.0004 on WikiMEL, and 25 times as much is no rounding).
TOLERANCE = 0.01


def rank_all_entities(
    job: Job, network: Model[Any], split: str, *, progress: Progress
) -> tuple[Ranks, int]:
    """The rank of every mention's gold in a split, in the order of the rows; and among how many.

    Raises:
        UnknownId, DataError: no such split, or an empty one.
        FieldMissing, DataError: as ``KnowledgeBase``.
        TrainingDiverged: the model scores NaN.
    """
    base = KnowledgeBase(
        store=job.store, paths=job.match.paths, device=job.device, reader=f"model {job.match.name}"
    )
    requests = Requests(rows=job.rows(split), batch_size=MENTIONS)
    network = network.to(job.device).eval()
    parts: list[Ranks] = []
    with (
        torch.inference_mode(),
        autocast(job.device, job.config.precision),
        progress.stage("ranking all entities", len(requests.rows), "mentions") as stage,
    ):
        for rows in requests:
            parts.append(_rank(network, base, rows, pairs=PAIRS[job.device.type]))
            stage.advance(len(rows))
    return Ranks.concatenate(parts), len(base)


def _rank(network: Model[Any], base: KnowledgeBase, rows: np.ndarray, *, pairs: int) -> Ranks:
    mentions = base.read_mentions(rows)
    size = max(1, pairs // len(rows))
    firsts = np.arange(0, len(base), size)
    holds_gold = np.isin(firsts // size, mentions.batch.answer.cpu().numpy() // size)
    order = [*firsts[holds_gold].tolist(), *firsts[~holds_gold].tolist()]
    scores = network.score_in_blocks(lambda: (base.block(mentions, n, size) for n in order))
    ranks = rank_gold_in_blocks(
        zip(order, scores, strict=True),
        mentions.batch.answer,
        candidates=len(base),
        waiting=size * int(holds_gold.sum()),
    )
    if ranks.nan_golds:
        ids = base.store.mentions.ids(rows[ranks.retrieved & np.isinf(ranks.optimistic)])
        raise diverged(
            f"the model scores NaN for the gold of {len(ids)} mentions",
            mentions=ids,
            hint="try --precision 32",
        )
    return ranks


@dataclass(frozen=True, kw_only=True)
class Mentions:
    """What every block needs of some mentions, read once.

    ``batch``: their features, without candidates; ``answer`` is the place of the gold among all
    ranked entities. ``embeddings``: similarity → (B, P), the mention's side, scaled to logits.
    """

    batch: Batch
    embeddings: Mapping[str, Tensor]


class KnowledgeBase:
    """All entities of a store as candidates of every mention, but for the rows that are none.

    Args:
        paths: batch field → ``table/field`` of the store, as for a ``BatchReader``.
        reader: who asks, for messages: "model drin".

    Raises:
        FieldMissing: a similarity is read, and the store has no embeddings to compute it from.
        DataError: the similarities of the store are not those of its embeddings.
    """

    def __init__(
        self, *, store: Store, paths: Mapping[str, str], device: torch.device, reader: str
    ) -> None:
        self.store = store
        self.device = device
        everything = np.arange(len(store.entities))
        self.rows = np.setdiff1d(everything, store.entities.find(NO_ENTITIES))
        pairs = [name for name in SIMILARITIES if name in paths]
        _check_embeddings(store, pairs, reader=reader)
        self._scales = {name: similarity_scale(store, name) for name in pairs}
        self._paths = {name: path for name, path in paths.items() if name not in pairs}

    def __len__(self) -> int:
        return len(self.rows)

    def read_mentions(self, rows: np.ndarray) -> Mentions:
        """The mentions at ``rows``."""
        gold = self.store.mentions.gather("gold", rows)
        place = np.where(np.isin(gold, self.rows), np.searchsorted(self.rows, gold), len(self))
        features = {
            name: self._on_device(mention_feature(self.store, name, field, rows))
            for name, field in self._fields("mentions")
        }
        batch = Batch(
            texts=None,
            cost=ReadCost(),
            mention_rows=self._on_device(np.asarray(rows)),
            answer=self._on_device(place),
            candidates=torch.empty(len(rows), 0, dtype=torch.int64, device=self.device),
            retrieved=0,
            **features,
        )
        embeddings = {
            name: scale * self._on_device(self.store.mentions.gather(SIMILARITIES[name][0], rows))
            for name, scale in self._scales.items()
        }
        return Mentions(batch=batch, embeddings=embeddings)

    def block(self, mentions: Mentions, first: int, size: int) -> Batch:
        """These mentions with the ranked entities from ``first`` on as candidates, ``size`` of them."""
        rows = self.rows[first : first + size]
        features = {
            name: self._on_device(self.store.entities.gather(field, rows))
            for name, field in self._fields("entities")
        }
        similarities = {
            name: embeddings
            @ self._on_device(self.store.entities.gather(SIMILARITIES[name][1], rows)).T
            for name, embeddings in mentions.embeddings.items()
        }
        place = mentions.batch.answer - first
        candidates = torch.arange(len(rows), device=self.device)
        return replace(
            mentions.batch,
            texts=None,
            cost=ReadCost(),
            answer=place.where((place >= 0) & (place < len(rows)), len(rows)),
            candidates=candidates.expand(len(mentions.batch), -1),
            retrieved=len(rows),
            **features,
            **similarities,
        )

    def _fields(self, table: str) -> Iterator[tuple[str, str]]:
        """Batch field and stored field of what is read of a table."""
        for name, path in self._paths.items():
            of, _, field = path.partition("/")
            if of == table:
                yield name, field

    def _on_device(self, values: np.ndarray) -> Tensor:
        """float16 features travel as float16, and widen there."""
        tensor = as_tensor(values).to(self.device)
        return tensor.float() if tensor.dtype == torch.float16 else tensor


def similarity_scale(store: Store, name: str) -> float:
    """What a cosine is multiplied by in the stored similarities: 100 for the released CLIP models.

    It is a weight of CLIP that a store does not record, and is found from its first mentions, by
    least squares over their candidates.

    Raises:
        DataError: the similarities are no multiple of the products of the stored embeddings.
    """
    rows = np.arange(min(COMPARED, len(store.mentions)))
    candidates = store.mentions.gather("candidates", rows)
    stored = store.mentions.gather(name, rows)[:, : candidates.shape[1]]
    mention_side, entity_side = SIMILARITIES[name]
    entities = store.entities.gather(entity_side, np.maximum(candidates, 0).ravel())
    entities = entities.astype(np.float32)
    mentions = store.mentions.gather(mention_side, rows).astype(np.float32)
    cosines = np.einsum("np,ncp->nc", mentions, entities.reshape(*candidates.shape, -1))
    cosines, stored = cosines[candidates != NO_ROW], stored[candidates != NO_ROW]
    scale = float(cosines @ stored / max(cosines @ cosines, np.finfo(np.float32).tiny))
    if np.linalg.norm(stored - scale * cosines) > TOLERANCE * np.linalg.norm(stored):
        raise DataError(
            f"mentions/{name} is not mentions/{mention_side} times entities/{entity_side}, times "
            "some number",
            where=f"{store.path}::/mentions/{name}",
            hint="ingest again with --clip, or score under protocol strict",
        )
    return scale


def _check_embeddings(store: Store, names: list[str], *, reader: str) -> None:
    for name in names:
        mention_side, entity_side = SIMILARITIES[name]
        for path in (f"mentions/{mention_side}", f"entities/{entity_side}"):
            if not store.has(path):
                raise FieldMissing(
                    f"{reader} reads {name}, which under protocol full-kb is computed for every "
                    f"entity, and this store has no {path} ({BY_PATH[path].doc})",
                    where=f"{store.path}::/{path}",
                    hint="ingest from raw data with --clip (preprocessed data has similarities of the "
                    "candidates only), or train without it: drin with --set model.edges=tt,ii",
                )
