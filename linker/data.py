"""From the store to batches: a sampler says which mentions, a reader answers a whole batch at once.

The reader holds nothing that a batch depends on but the store, which pickles as a path, so batches do
not depend on how many workers read them, or how they were started.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Container, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from featurestore import Store
from featurestore.machine import disk_bytes
from featurestore.schema import NO_ROW
from linker.batch import Batch
from linker.buffers import Buffers
from linker.fields import PER_CANDIDATE, WHOLE_RECORDS
from linker.pointers import Slots, answer_places, candidate_rows, check_counts, check_spans
from linker.read_ahead import read_ahead
from linker.reading import ReadCost
from linker.requests import Requests
from linker.tables import Tables

if TYPE_CHECKING:
    from linker.texts import TextReader

#: ``strict``: the K retrieved candidates. ``paper``: and the gold entity as one more, last, which
#: the forward pass sees (needed for the published numbers; it lets the answer leak, see the docs).
Protocol: TypeAlias = Literal["strict", "paper"]

#: Those that a trained model can be scored under; ``full-kb``: all entities (``linker.full_kb``).
ScoringProtocol: TypeAlias = Literal["strict", "paper", "full-kb"]

#: Mentions whose candidates are marked at once: a few megabytes of them.
_MARKED = 8192

#: Rows of a batch's entities are filled up with zeros to a multiple of this (chosen here: a hundredth
#: more). Every batch has another number of distinct entities, and oneDNN prepares a matrix product once
#: for its shape, 0.3 to 0.8 ms each in bfloat16.
_ROWS = 16

#: Columns that index into something are handed to models as int64, torch's type of an index.
_INDEX_KINDS = "iu"


class BatchReader(Dataset[Batch]):
    """``reader[rows]`` is the batch of these mentions: one gather a field, once a distinct entity.

    Under ``paper`` a gold that is not in the entity table (NIL) cannot stand in the gold slot; its
    place is taken by an entity whose features are all zero. So is that of an absent candidate.

    Args:
        store: a store, or its entities with mentions of another origin.
        paths: batch field → ``table/field`` of the store; nothing else is read.
        first: candidates of each list that count, in the order of retrieval; None = all. Entities
            behind them are not read, and a gold behind them was not retrieved.
        texts: reads the texts themselves, where an encoder inside training makes their features.
        widen: give float16 features as float32. Where they travel on to a GPU they widen there.
        as_stored: features that are not widened all the same: the model takes them as they are.
        buffers: memory for large features. Readers whose batches are not needed at the same time
            share it; by default the reader has its own.
    """

    def __init__(
        self,
        *,
        store: Tables,
        paths: Mapping[str, str],
        protocol: Protocol,
        first: int | None = None,
        texts: TextReader | None = None,
        widen: bool = False,
        as_stored: Container[str] = (),
        buffers: Buffers | None = None,
    ) -> None:
        self.store = store
        self.paths = dict(paths)
        self.protocol = protocol
        self.first = first
        self.texts = texts
        self.widen = widen
        self.as_stored = as_stored
        self.buffers = buffers or Buffers()

    def __getitem__(self, rows: np.ndarray) -> Batch:
        started, from_disk = time.perf_counter(), disk_bytes()
        candidates, retrieved, listed = self._candidates(rows)
        distinct, places = np.unique(candidates, return_inverse=True)
        mentions = self._mention_features(rows)
        read = sum(values.nbytes for values in mentions.values())
        features = {name: self._ready(name, values) for name, values in mentions.items()}
        entity_features, size = self._entity_features(distinct)
        features |= entity_features
        read += size
        for name in PER_CANDIDATE & features.keys():
            features[name] = self._of_slots(features[name], retrieved)
        texts = None
        if self.texts is not None:
            texts, counted = self.texts.read(rows, distinct)
            features |= counted
        answer = as_tensor(answer_places(self.store, rows, listed, first=self.first))
        return Batch(
            texts=texts,
            mention_rows=torch.from_numpy(np.asarray(rows, np.int64)),
            answer=answer,
            candidates=torch.from_numpy(places.reshape(candidates.shape)),
            retrieved=retrieved,
            cost=ReadCost(
                batches=1,
                slots=candidates.size,
                distinct=len(distinct),
                bytes=read,
                disk_bytes=disk_bytes() - from_disk,
                seconds=time.perf_counter() - started,
            ),
            **features,
        )

    def distinct_entities(self, rows: np.ndarray) -> np.ndarray:
        """(U,) rows of the entities of the batch of these mentions, in its order; -1 = no entity."""
        return np.unique(self._candidates(rows).entities)

    def entities_of(self, rows: range) -> np.ndarray:
        """(n,) rows of the entities that these mentions' batches hold, each once, ascending."""
        used = np.zeros(len(self.store.entities), bool)
        for first in range(rows.start, rows.stop, _MARKED):
            block = np.arange(first, min(first + _MARKED, rows.stop))
            candidates = self._candidates(block).entities
            used[candidates[candidates != NO_ROW]] = True
        return np.flatnonzero(used)

    def _candidates(self, rows: np.ndarray) -> Slots:
        """The entities that the forward pass sees."""
        gold_slot = self.protocol == "paper"
        return candidate_rows(self.store, rows, gold_slot=gold_slot, first=self.first)

    def _of_slots(self, values: Tensor, retrieved: int) -> Tensor:
        """(B, C) of what is stored for K candidates and the gold."""
        if self.protocol == "strict":
            return values[:, :retrieved]
        if values.shape[1] == retrieved + 1:
            return values
        return torch.cat([values[:, :retrieved], values[:, -1:]], dim=1)

    def _entity_features(self, distinct: np.ndarray) -> tuple[dict[str, Tensor], int]:
        """Batch field → (U, …) of the distinct entities, zero for the one that is no entity, and behind
        them; bytes that were read.

        What is widened is read one feature after the other, so that its memory serves the next.
        """
        names = self.fields_of("entities").keys()
        alone = [name for name in names if self.widen and name not in self.as_stored]
        together = [name for name in names if name not in alone]
        features: dict[str, Tensor] = {}
        size = 0
        for group in (together, *([name] for name in alone)):
            if not group:
                continue
            found, read = self._read_entities(group, distinct)
            features |= found
            size += read
        return features, size

    def _read_entities(
        self, names: Sequence[str], distinct: np.ndarray
    ) -> tuple[dict[str, Tensor], int]:
        """As :meth:`_entity_features`, of the features ``names``, which are read together."""
        fields = self.fields_of("entities")
        absent = int(distinct[0] == NO_ROW)
        # an encoder inside training makes as many rows as there are texts
        rows = len(distinct) if self.texts else -(-len(distinct) // _ROWS) * _ROWS
        whole: list[np.ndarray] = []

        def with_absent(shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
            whole.append(self.buffers.array((rows, *shape[1:]), dtype))
            whole[-1][:absent] = 0
            whole[-1][len(distinct) :] = 0
            return whole[-1][absent : len(distinct)]

        wanted = [fields[name] for name in names]
        found = self.store.entities.gather_all(wanted, distinct[absent:], new=with_absent)
        features = {name: self._ready(name, v) for name, v in zip(names, whole, strict=True)}
        return features, sum(values.nbytes for values in found.values())

    def _mention_features(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Batch field → (B, …)."""
        fields = self.fields_of("mentions")
        padded = {name: fields.pop(name) for name in WHOLE_RECORDS & fields.keys()}
        new = self.buffers.array
        found = self.store.mentions.gather_all(fields.values(), rows, new=new)
        if {"token_start", "token_end"} <= found.keys():
            check_spans(found["token_start"], found["token_end"], rows)
        if "token_count" in found:
            check_counts(found["token_count"], rows)
        return {
            **{name: found[field] for name, field in fields.items()},
            **{
                name: self.store.mentions.whole_records(field, rows, new=new)
                for name, field in padded.items()
            },
        }

    def fields_of(self, table: str) -> dict[str, str]:
        """Batch field → field of a table."""
        split = {name: path.split("/", 1) for name, path in self.paths.items()}
        return {name: field for name, (of, field) in split.items() if of == table}

    def _ready(self, name: str, values: np.ndarray) -> Tensor:
        """The tensor of a feature, widened if that was asked for."""
        if not self.widen or values.dtype != np.float16 or name in self.as_stored:
            return as_tensor(values)
        # at once: in blocks that stay in the cache it takes longer, for their number
        wide = torch.from_numpy(self.buffers.array(values.shape, np.dtype(np.float32)))
        return wide.copy_(torch.from_numpy(values))


class BatchLoader:
    """The batches of a reader, in the order of its requests.

    Without workers one thread reads the next batch while the caller computes on this one; with
    workers torch's processes do. Nothing starts before the first batch is asked for.

    Its state is the place in the epoch: a loader that loads it goes on with the batch after the last
    that was handed out, whatever had been read ahead.
    """

    def __init__(
        self,
        *,
        reader: BatchReader,
        requests: Requests,
        workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        self.reader = reader
        self.requests = requests
        self.workers = workers
        self.pin_memory = pin_memory
        self.waited = 0.0  # seconds in which the caller had to wait for batches
        self._step = 0  # of the epoch, after the last batch handed out

    def __iter__(self) -> Iterator[Batch]:
        self._step = self.requests.first
        batches = iter(self._from_workers()) if self.workers else self._prefetched()
        while True:
            started = time.perf_counter()
            batch = next(batches, None)
            self.waited += time.perf_counter() - started
            if batch is None:
                return
            self._step += 1
            yield batch
            del batch  # nothing here holds on to a batch handed out

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return len(self.requests)

    def state_dict(self) -> dict[str, int]:
        """``epoch``, and the ``step`` of it that comes next; Lightning puts it into checkpoints."""
        return {"epoch": self.requests.epoch, "step": self._step}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Let the next pass go on where :meth:`state_dict` was taken."""
        self.requests.start_at(epoch=state_dict["epoch"], step=state_dict["step"])

    def _from_workers(self) -> DataLoader[Batch]:
        return DataLoader(
            self.reader,
            batch_size=None,  # a request already is a batch
            sampler=self.requests,
            num_workers=self.workers,
            pin_memory=self.pin_memory,
            generator=torch.Generator(),  # workers take their seed here, not from the model's
        )

    def _prefetched(self) -> Iterator[Batch]:
        reading: deque[Future[Batch]] = deque()
        with ThreadPoolExecutor(1, thread_name_prefix="next-batch") as thread:
            for rows in read_ahead(self.reader, self.requests):
                reading.append(thread.submit(self._read, rows))
                if len(reading) > 1:
                    yield reading.popleft().result()
        while reading:
            yield reading.popleft().result()

    def _read(self, rows: np.ndarray) -> Batch:
        batch = self.reader[rows]
        return batch.pin_memory() if self.pin_memory else batch


def golds_outside_table(store: Store, rows: range) -> int:
    """How many mentions have a gold that is not in the entity table: no gold slot for these."""
    return int((store.mentions.gather("gold", np.arange(rows.start, rows.stop)) == NO_ROW).sum())


def mention_feature(store: Tables, name: str, field: str, rows: np.ndarray) -> np.ndarray:
    """(n, …) the batch field ``name`` of mentions, out of the field ``field`` of their table."""
    if name in WHOLE_RECORDS:
        return store.mentions.whole_records(field, rows)
    found: np.ndarray = store.mentions.gather(field, rows)
    return found


def as_tensor(values: np.ndarray) -> Tensor:
    """A tensor over the same memory; integers become int64."""
    if values.dtype.kind in _INDEX_KINDS:
        values = values.astype(np.int64, copy=False)
    return torch.from_numpy(values)
