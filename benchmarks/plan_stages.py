"""Machine-hours and wall hours of each stage, disk and memory: a plan computed from measured costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from benchmarks.cost_keys import Cost
from benchmarks.plan_costs import Costs
from benchmarks.plan_sizes import DRIN_VIEWS, RECORD, Dataset

#: What stages are steps of.
Work: TypeAlias = Literal["ingest", "candidates", "an epoch", "full-kb, text", "full-kb, DRIN"]

WORKS: tuple[Work, ...] = ("ingest", "candidates", "an epoch", "full-kb, text", "full-kb, DRIN")

#: Bytes that the writer holds of an id beside the id (python -m benchmarks index).
ID_MEMORY = 20


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What the user knows and no benchmark here.

    ``encode``, ``train``: how many times as fast as measured an accelerator encodes and trains.
    ``minilm``: texts are encoded by MiniLM-L6 in place of BERT-base.
    """

    encode: float = 1.0
    train: float = 1.0
    minilm: bool = False


@dataclass(frozen=True, kw_only=True)
class Stage:
    """``seconds``: of one worker that does all. ``divides``: workers share it; one does all otherwise."""

    work: Work
    name: str
    seconds: float
    divides: bool = True
    with_others: bool = False  # only where there are several workers


def stages_of(data: Dataset, costs: Costs, choices: Choices) -> list[Stage]:
    """All stages, in the order of the work."""
    return [
        *_ingest(data, costs, choices),
        *_candidates(data, costs),
        *_models(data, costs, choices),
    ]


def _ingest(data: Dataset, costs: Costs, choices: Choices) -> Iterator[Stage]:
    """Encoders, decoding and writing share the cores; a store beyond memory is read from disk again."""
    n, m, of, fast = data.entities, data.mentions, costs.of, choices.encode
    entity, mention = Cost.BERT_ENTITY, Cost.BERT_MENTION
    if choices.minilm:
        entity, mention = Cost.MINILM_ENTITY, Cost.MINILM_MENTION
    reading = n * of(Cost.READ_ENTITY) + m * of(Cost.READ_MENTION)
    yield Stage(work="ingest", name="read the source", seconds=reading, divides=False)
    fast *= costs.cores
    clip = n * of(Cost.CLIP_ENTITY) + m * of(Cost.CLIP_MENTION)
    clip += data.pictures * of(Cost.CLIP_PICTURE)
    writing = n * (of(Cost.WRITE_ENTITY_TEXT) + of(Cost.WRITE_ENTITY_PICTURE))
    writing += m * (of(Cost.WRITE_MENTION_TEXT) + of(Cost.WRITE_MENTION_PICTURE))
    for name, seconds in (
        ("encode texts", (n * of(entity) + m * of(mention)) / fast),
        ("open pictures", data.pictures * of(Cost.OPEN_PICTURE) / costs.cores),
        ("detect objects", data.pictures * of(Cost.DETECTOR) / fast),
        ("run ResNet", data.encoded_pictures * of(Cost.RESNET) / fast),
        ("run CLIP", clip / fast),
        ("derive views and write", writing / costs.cores),
    ):
        yield Stage(work="ingest", name=name, seconds=seconds)
    size = store_bytes(data, costs)
    cold = of(Cost.READ_DISK) if size > costs.memory else 0.0
    copying, publishing = (size / 1e9 * (of(cost) + cold) for cost in (Cost.COPY, Cost.PUBLISH))
    yield Stage(work="ingest", name="assemble", seconds=copying, divides=False, with_others=True)
    ids = (n + m) * of(Cost.IDS)
    yield Stage(work="ingest", name="index ids", seconds=ids, divides=False)
    yield Stage(work="ingest", name="publish", seconds=publishing, divides=False)


def _candidates(data: Dataset, costs: Costs) -> Iterator[Stage]:
    """By grams, on one core; every worker has an index of its own."""
    n, m = data.entities, data.mentions
    indexing = n * costs.of(Cost.NGRAM_INDEX)
    yield Stage(work="candidates", name="index titles", seconds=indexing, divides=False)
    yield Stage(work="candidates", name="seek (ngram)", seconds=n * m * costs.of(Cost.NGRAM))


def _models(data: Dataset, costs: Costs, choices: Choices) -> Iterator[Stage]:
    """Batches are read while the step before runs."""
    fast = costs.cores * choices.train
    step = max(costs.of(Cost.TRAIN) / fast, costs.of(Cost.READ_BATCH) / costs.cores)
    yield Stage(work="an epoch", name="train", seconds=data.mentions * step)
    pairs = data.tested * data.entities / fast
    yield Stage(work="full-kb, text", name="rank", seconds=pairs * costs.of(Cost.FULL_KB_TEXT))
    yield Stage(work="full-kb, DRIN", name="rank", seconds=pairs * costs.of(Cost.FULL_KB_DRIN))


def wall_seconds(stages: Sequence[Stage], work: Work, workers: int) -> float:
    """From the start of a work to its end."""
    return serial_seconds(stages, work, workers) + divided_seconds(stages, work) / workers


def serial_seconds(stages: Sequence[Stage], work: Work, workers: int) -> float:
    """Of a work, what one worker does while the others wait, or each does for itself."""
    return sum(
        stage.seconds
        for stage in stages
        if stage.work == work and not stage.divides and (workers > 1 or not stage.with_others)
    )


def divided_seconds(stages: Sequence[Stage], work: Work) -> float:
    """Of a work, what workers share; of one worker that does all."""
    return sum(stage.seconds for stage in stages if stage.work == work and stage.divides)


# disk and memory ------------------------------------------------------------------------------------


def record_bytes(data: Dataset, costs: Costs) -> float:
    """Tokens and regions, compressed as the made-up ones were, and where they stand."""
    entity = 0.0 if data.pooled else costs.sizes[Cost.WRITE_ENTITY_TEXT] + RECORD
    mention = costs.sizes[Cost.WRITE_MENTION_TEXT] + costs.sizes[Cost.WRITE_MENTION_PICTURE]
    return data.entities * entity + data.mentions * (mention + 2 * RECORD)


def store_bytes(data: Dataset, costs: Costs) -> float:
    """The store as it is ingested, records and all."""
    return data.view_bytes + record_bytes(data, costs)


def scratch_bytes(data: Dataset, costs: Costs, workers: int) -> float:
    """Beside the store while it is made: exact embeddings, and the shards of several workers."""
    return data.exact_bytes + (store_bytes(data, costs) if workers > 1 else 0.0)


def ingest_memory(data: Dataset, costs: Costs) -> float:
    """Of one worker: encoders, the source's tables, of which each reads the whole, and the index."""
    return (
        costs.sizes[Cost.ENCODERS]
        + data.entities * (costs.sizes.get(Cost.READ_ENTITY, 0.0) + ID_MEMORY)
        + data.mentions * (costs.sizes.get(Cost.READ_MENTION, 0.0) + ID_MEMORY)
    )


def cache_bytes(data: Dataset) -> float:
    """What the page cache must hold for training to run at the speed of memory."""
    return float(data.entities * DRIN_VIEWS)
