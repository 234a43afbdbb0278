"""What ``build candidates`` can be told."""

from __future__ import annotations

from dataclasses import dataclass

from featurestore.errors import ConfigError
from featurestore.threads import available_processors

METHODS = ("fuzzy", "ngram", "bm25", "dense")

#: Scorers of ``rapidfuzz.fuzz``. ``WRatio``: the best of several, weighted, as in WikiMEL's release;
#: ``partial_ratio``: the mention within the title, as in searches of a whole dump.
SCORERS = (
    "WRatio", "partial_ratio", "ratio", "QRatio", "token_ratio", "token_sort_ratio",
    "token_set_ratio", "partial_token_ratio", "partial_token_sort_ratio", "partial_token_set_ratio",
)  # fmt: skip

#: What both sides go through before. ``default``: small letters, what is neither letter nor digit
#: becomes a blank, none at the ends; ``lower``: small letters; ``none``: as they stand.
PROCESSORS = ("default", "lower", "none")

#: What finds vectors. ``exact``: all are compared; ``hnsw``: a graph of neighbours; ``ivf``: lists of
#: vectors around centres.
INDEXES = ("exact", "hnsw", "ivf")


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateOptions:
    """Everything beside the files that decides the candidates; ``jobs`` decides the time alone.

    ``k``: entities a mention. ``scorer``: of ``fuzzy``, and of the pool of ``ngram`` and ``bm25``;
    None = ``WRatio``; "none" = the pool in the order of the first stage. ``pool``: names that the first
    stage gives, at least k. ``dense_field``: ``MENTION`` or ``MENTION:ENTITY``. ``index``: of
    ``dense``. ``jobs``: threads; None = one a processor. ``limit``: mentions of each file, at most.

    Raises:
        ConfigError: no such method, scorer, processor or index; numbers below 1; ``fuzzy`` without
            scorer.
    """

    k: int = 100
    method: str = "fuzzy"
    scorer: str | None = None
    processor: str = "default"
    pool: int = 1000
    dense_field: str = "text_span"
    index: str = "exact"
    jobs: int | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        _one_of("--method", self.method, METHODS)
        _one_of("--scorer", self.scorer or "none", (*SCORERS, "none"))
        _one_of("--processor", self.processor, PROCESSORS)
        _one_of("--index", self.index, INDEXES)
        if self.method == "fuzzy" and self.scorer == "none":
            raise ConfigError(
                "the method fuzzy is a scorer and has no order without one",
                where="--scorer",
                hint=f"scorers: {', '.join(SCORERS)}; or --method ngram --scorer none",
            )
        for name, number in (("--k", self.k), ("--pool", self.pool), ("--jobs", self.jobs),
                             ("--limit", self.limit)):  # fmt: skip
            if number is not None and number < 1:
                raise ConfigError(
                    f"{number} is less than 1",
                    where=name,
                    hint=f"{name} takes whole numbers from 1",
                )

    @property
    def scorer_used(self) -> str | None:
        """The scorer that has a say; None where none has."""
        if self.method == "dense" or self.scorer == "none":
            return None
        return self.scorer or "WRatio"

    @property
    def threads(self) -> int:
        """Blocks that are sought at once; the matrix products of ``dense`` have threads of their own."""
        return 1 if self.method == "dense" else self.jobs or available_processors()


def _one_of(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(
            f"unknown value {value!r}", where=option, hint=f"choices: {', '.join(choices)}"
        )
