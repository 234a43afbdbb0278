"""The same by an index of faiss: quicker than comparing all, and some of the nearest are missed.

Entities stand in lists around centres, and only the lists nearest to a mention are searched. ``ivf``
holds their vectors as float16, ``ivf-pq`` as codes of at most 64 bytes. An index is one file: what
faiss writes, and behind it what it was made of, so that one of other vectors is not taken for it. It
is mapped, not loaded: processes share its lists.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import numpy as np
import torch

from featurestore.errors import ConfigError
from featurestore.progress import Progress
from linker.atomic import replacing
from linker.search_vectors import SearchVectors

Method: TypeAlias = Literal["ivf", "ivf-pq"]

#: Entities that are added at a time (chosen here: at 768 values they take 50 MB as float32).
BLOCK = 16_384

#: Entities that the centres are learned from, at most (chosen here: 0.8 GB at 768 values), how many of
#: them stand for a centre at least (faiss warns below), and the seed that draws them.
SAMPLE, PER_CENTRE, SEED = 1 << 18, 39, 0

#: Bytes of a code at most, and entities that its 256 centres a part are learned from at least.
CODE, CODED = 64, 256 * PER_CENTRE

#: Share of the lists that is searched by default: one in so many, but some at least (chosen here from
#: the figures of docs/full-kb.md).
PROBED, LEAST_PROBED = 4, 32

#: The end of an index file: these bytes, behind the length of the description as 8 bytes.
_MAGIC = b"drin-fs index 1\n"

#: Longest description that is read (chosen here: ours have some hundred bytes).
_LONGEST = 1 << 16


class IndexSearch:
    """Searches an index on disk.

    Args:
        path: of an index that :func:`ready_index` found or made.
        retrieve: entities to find for a mention, at most.
        probe: lists to search.
    """

    def __init__(self, vectors: SearchVectors, path: Path, *, retrieve: int, probe: int) -> None:
        import faiss

        self._vectors = vectors
        self._retrieve = retrieve
        faiss.omp_set_num_threads(torch.get_num_threads())
        self._index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP)
        self._searched = cast(Any, faiss).SearchParametersIVF(nprobe=probe)

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """(n, retrieve) int64 places of entities, best first; ``NO_ROW`` where there is none."""
        queries = self._vectors.mentions(rows).cpu().numpy()
        real = np.isfinite(queries[:, 0])
        wanted = np.where(real[:, None], queries, 0)
        _, places = self._index.search(wanted, self._retrieve, params=self._searched)
        places[~real] = -1
        found: np.ndarray = places
        return found


def list_count(entities: int) -> int:
    """Lists of an index: the square root of the entities, as far as the sample has enough for each."""
    return max(1, min(math.isqrt(entities), min(entities, SAMPLE) // PER_CENTRE))


def default_probe(lists: int) -> int:
    """Lists that are searched where nobody says how many."""
    return min(lists, max(LEAST_PROBED, lists // PROBED))


def ready_index(vectors: SearchVectors, path: Path, *, method: Method, progress: Progress) -> None:
    """Make an index where ``path`` is free; otherwise check that it is the one that would be made.

    Memory while it is made: the sample, and 2 bytes a value of every entity (``ivf``), or 72 bytes an
    entity (``ivf-pq``).

    Raises:
        ConfigError: ``path`` is something else, or an index of other vectors; or too few entities for
            ``ivf-pq``.
        WriteError: the disk is full or fails; nothing is left there.
    """
    if method == "ivf-pq" and len(vectors.base) < CODED:
        raise ConfigError(
            f"ivf-pq learns its codes from {CODED:,} entities or more, and there are "
            f"{len(vectors.base):,}",
            where="--first-stage ivf-pq",
            hint="use --first-stage ivf, or exact: so few are compared at once",
        )
    wanted = _description(vectors, method)
    if path.exists():
        _check_same(path, wanted)
        return
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    index = _trained(faiss, vectors, method, wanted)
    with progress.stage("indexing entities", len(vectors.base), "entities") as stage:
        for first in range(0, len(vectors.base), BLOCK):
            places = np.arange(first, min(first + BLOCK, len(vectors.base)))
            values = vectors.entities(places).cpu().numpy()
            real = np.isfinite(values[:, 0])
            index.add_with_ids(values[real], places[real])
            vectors.base.store.release_pages()
            stage.advance(len(places))
    text = json.dumps(wanted).encode()
    with replacing(path) as temporary:
        faiss.write_index(index, str(temporary))
        with temporary.open("ab") as file:
            file.write(text + len(text).to_bytes(8, "little") + _MAGIC)


def _description(vectors: SearchVectors, method: Method) -> dict[str, Any]:
    """What decides the content of an index."""
    width = vectors.entities(np.arange(1)).shape[1]
    return {
        "store": vectors.base.store.fingerprint,
        "vectors": vectors.of_entities,
        "method": method,
        "entities": len(vectors.base),
        "width": width,
        "lists": list_count(len(vectors.base)),
        "code": _code_bytes(width) if method == "ivf-pq" else 2 * width,
    }


def _code_bytes(width: int) -> int:
    """Parts that a vector is cut into, of a byte each: the most that divide it, of 4 values or more."""
    return max(n for n in range(1, CODE + 1) if width % n == 0 and (n == 1 or width // n >= 4))


def _trained(faiss: Any, vectors: SearchVectors, method: Method, about: Mapping[str, Any]) -> Any:
    """An index without entities, its centres learned from a sample drawn by ``SEED``."""
    width, lists = about["width"], about["lists"]
    quantizer = faiss.IndexFlatIP(width)
    product = faiss.METRIC_INNER_PRODUCT
    if method == "ivf-pq":
        index = faiss.IndexIVFPQ(quantizer, width, lists, about["code"], 8, product)
    else:
        half = faiss.ScalarQuantizer.QT_fp16
        index = faiss.IndexIVFScalarQuantizer(quantizer, width, lists, half, product)
    index.cp.seed = SEED
    index.cp.spherical = True  # the product with a long centre would draw what is not near it
    drawn = np.random.default_rng(SEED).choice(
        about["entities"], min(about["entities"], SAMPLE), replace=False, shuffle=False
    )
    drawn.sort()
    blocks = np.split(drawn, range(BLOCK, len(drawn), BLOCK))
    sample = np.concatenate([vectors.entities(places).cpu().numpy() for places in blocks])
    sample = sample[np.isfinite(sample[:, 0])]
    if len(sample) < lists or (method == "ivf-pq" and len(sample) < CODED):
        raise ConfigError(
            f"{len(sample):,} of {len(drawn):,} sampled entities have a vector with a direction: "
            "too few to learn an index from",
            where=vectors.words,
            hint="compare other vectors: --first-stage-field MENTION:ENTITY",
        )
    index.train(sample)
    return index


def _check_same(path: Path, wanted: Mapping[str, Any]) -> None:
    found = _read_description(path)
    wrong = [
        f"{key} {found.get(key)} → {value}"
        for key, value in wanted.items()
        if found.get(key) != value
    ]
    if wrong:
        raise ConfigError(
            f"the index is not of what is to be searched: {', '.join(wrong)}",
            where=str(path),
            hint="give another --index FILE to make one there, or remove this one",
        )


def _read_description(path: Path) -> dict[str, Any]:
    """What the end of an index file says.

    Raises:
        ConfigError: it is no such file, or a part of one.
    """
    tail = 8 + len(_MAGIC)
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - tail))
            end = file.read()
            length = int.from_bytes(end[:8], "little")
            if end[8:] == _MAGIC and length <= min(_LONGEST, size - tail):
                file.seek(size - tail - length)
                found = json.loads(file.read(length))
                if isinstance(found, dict):
                    return found
    except (OSError, ValueError) as error:
        raise _no_index(path) from error
    raise _no_index(path)


def _no_index(path: Path) -> ConfigError:
    return ConfigError(
        "this is no index of drin-fs, or a part of one",
        where=str(path),
        hint="give the path of an index, or one where nothing is yet",
    )
