"""Which entities a model ranks where there are too many for it: the options, settled and made ready."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from featurestore.construct.dense import DenseFields
from featurestore.errors import ConfigError
from featurestore.neighbours import default_field
from featurestore.progress import Progress
from featurestore.schema import SIMILARITIES
from linker.exact_search import ExactSearch
from linker.faiss_index import IndexSearch, default_probe, list_count, ready_index
from linker.knowledge_base import KnowledgeBase
from linker.models.base import BiEncoder, Model
from linker.models.untrained import ClipZeroShot
from linker.search_vectors import EncodedVectors, SearchVectors, StoredVectors

FirstStageMethod: TypeAlias = Literal["exact", "ivf", "ivf-pq"]

#: Places of entities (n, R), best first, ``NO_ROW`` where there is none, for mentions by their rows.
Search: TypeAlias = Callable[[np.ndarray], np.ndarray]

#: Entities that can be retrieved a mention (chosen here: places of 256 mentions are then 2 GB).
MOST_RETRIEVED = 999_999

#: The option, for messages.
_FIELD = "--first-stage-field"


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstStage:
    """What a user asks for.

    ``retrieve``: entities a mention. ``fields``: ``MENTION`` or ``MENTION:ENTITY``; None = the vectors
    that the model itself compares, and for a model that compares none the texts as they are stored.
    ``index``: a file to keep the index in, or to use again. ``probe``: lists of an index to search.
    """

    method: FirstStageMethod
    retrieve: int = 1000
    fields: str | None = None
    index: Path | None = None
    probe: int | None = None

    def check(self, *, least: int) -> None:
        """Refuse what cannot be.

        Raises:
            ConfigError: too few or too many entities retrieved, or options of an index without one.
        """
        if self.retrieve < least:
            raise ConfigError(
                f"hits@{least} are reported, and {self.retrieve} entities would be retrieved",
                where=f"--retrieve {self.retrieve}",
                hint=f"retrieve {least} or more",
            )
        if self.retrieve > MOST_RETRIEVED:
            raise ConfigError(
                f"at most {MOST_RETRIEVED:,} entities can be retrieved a mention",
                where=f"--retrieve {self.retrieve}",
                hint="leave out --first-stage to rank all entities",
            )
        for option, value in {"--index": self.index, "--probe": self.probe}.items():
            if self.method == "exact" and value is not None:
                raise ConfigError(
                    "an exact search compares all entities, and has no index",
                    where=option,
                    hint=f"leave out {option}, or use --first-stage ivf or ivf-pq",
                )
        if self.probe is not None and self.probe < 1:
            raise ConfigError("no list would be searched", where="--probe", hint="1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """A first stage with everything settled, its index on disk. Pickles, to be opened elsewhere.

    ``fields``: None = the vectors of the model. ``lists``, ``probe``: 0 without an index.
    """

    method: FirstStageMethod
    retrieve: int
    fields: DenseFields | None
    vectors: str
    index: Path | None
    lists: int
    probe: int

    @property
    def conditions(self) -> dict[str, Any]:
        """What one has to know to read the figures."""
        about: dict[str, Any] = {
            "method": self.method,
            "vectors": self.vectors,
            "fields": None if self.fields is None else str(self.fields),
            "retrieve": self.retrieve,
        }
        return about if self.index is None else {**about, "lists": self.lists, "probe": self.probe}

    def search(self, network: Model[Any], base: KnowledgeBase) -> Search:
        """Open it."""
        vectors = _vectors(self.fields, network, base)
        if self.index is None:
            return ExactSearch(vectors, retrieve=self.retrieve)
        return IndexSearch(vectors, self.index, retrieve=self.retrieve, probe=self.probe)


def prepare(
    stage: FirstStage,
    network: Model[Any],
    base: KnowledgeBase,
    *,
    folder: Path,
    progress: Progress,
) -> Retrieval:
    """Settle what was left open, and make the index if there is none.

    Args:
        folder: for an index that is not kept.

    Raises:
        ConfigError: fields that hold no vectors or do not fit each other; as ``ready_index``.
        FieldMissing: the store has no such field, or none to compare.
        WriteError: the index cannot be written.
    """
    fields = _fields(stage.fields, network, base)
    vectors = _vectors(fields, network, base)
    index, lists = None, 0
    if stage.method != "exact":
        index = (stage.index or folder / "index").absolute()
        lists = list_count(len(base))
        ready_index(vectors, index, method=stage.method, progress=progress)
    return Retrieval(
        method=stage.method,
        retrieve=min(stage.retrieve, len(base)),
        fields=fields,
        vectors=vectors.words,
        index=index,
        lists=lists,
        probe=min(lists, stage.probe or default_probe(lists)),
    )


def _fields(named: str | None, network: Model[Any], base: KnowledgeBase) -> DenseFields | None:
    """The stored fields to compare; None = what the model compares itself."""
    if named is None and isinstance(network, BiEncoder):
        return None
    if named is None and isinstance(network, ClipZeroShot) and len(network.similarities) == 1:
        mention, entity = SIMILARITIES[network.similarities[0]]
        named = f"{mention}:{entity}"
    return DenseFields.of(base.store, named or default_field(base.store, "mentions"), option=_FIELD)


def _vectors(fields: DenseFields | None, network: Model[Any], base: KnowledgeBase) -> SearchVectors:
    if fields is not None:
        return StoredVectors(base, fields)
    assert isinstance(network, BiEncoder)
    return EncodedVectors(base, network)
