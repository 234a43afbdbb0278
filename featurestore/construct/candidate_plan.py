"""What decides the candidates, so that a run goes on only with blocks of the very same work."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.metadata import version

from xxhash import xxh3_128

from featurestore.construct.candidate_options import CandidateOptions
from featurestore.construct.finders import BY_NAME
from featurestore.construct.title_table import TitleTable
from featurestore.store import Store


def plan_of(
    table: TitleTable, queries: Sequence[str], options: CandidateOptions, store: Store | None
) -> dict[str, object]:
    """Digests of what is sought and where, the options that matter, the versions that do."""
    plan: dict[str, object] = {
        "queries": _digest(queries),
        "qids": _digest(table.qids),
        "names": _digest(table.names),
        "names of entities": xxh3_128(table.firsts.tobytes()).hexdigest(),
        "k": options.k,
        "method": options.method,
    }
    if store is not None:
        return {
            **plan,
            "store": store.fingerprint,
            "field": options.dense_field,
            "index": options.index,
            "without a vector": BY_NAME,
            "version": version("numpy" if options.index == "exact" else "faiss-cpu"),
        }
    return {
        **plan,
        "scorer": options.scorer_used,
        "processor": options.processor,
        "pool": options.pool if options.method != "fuzzy" else None,
        "version": version("rapidfuzz") if options.scorer_used else version("numpy"),
    }


def _digest(texts: Iterable[str]) -> str:
    digest = xxh3_128()
    for text in texts:
        digest.update(f"{len(text)}:{text}".encode())
    return digest.hexdigest()
