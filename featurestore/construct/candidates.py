"""Candidate lists for mentions: ``drin-fs build candidates``.

    build_candidates(Path("mentions"), Path("qid-entity.tsv"), Path("candidates-answer.tsv"))

Mentions are sought block by block, equal texts once; finished blocks are kept, so that the same call
after an interruption goes on and ends with the same file. The file has the layout of raw WikiMEL:
mention id TAB QID TAB QID …, best first, equally many for each mention. Where a method finds fewer,
the first entities of the table that it did not find follow; ``filled`` counts these mentions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

import featurestore.store
from featurestore.construct.blocks import BlockFolder, block_folder, each_done
from featurestore.construct.candidate_options import CandidateOptions
from featurestore.construct.candidate_plan import plan_of
from featurestore.construct.finders import Readied, by_names, by_vectors
from featurestore.construct.mention_texts import MentionText, read_mention_texts
from featurestore.construct.recall import Recall, RecallCount
from featurestore.construct.title_table import TitleTable
from featurestore.errors import ConfigError
from featurestore.progress import Progress, Silent
from featurestore.schema import NO_ROW
from featurestore.target import check_target

#: Names times mentions of a block (chosen here: seconds of work, which an interruption may lose), and
#: mentions of one at most.
_BLOCK_PAIRS, _BLOCK_MENTIONS = 5_000_000, 512


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidatesSummary:
    """What was found.

    ``k``: QIDs a mention. ``queries``: distinct texts (or, with ``dense``, mentions) that were sought;
    ``resumed`` of them by an earlier run. ``skipped``: what was not used → how often. ``by_name``: why
    ``dense`` has no vector of a mention → mentions that were sought by their names. ``filled``:
    mentions with fewer candidates than k of their own. ``splits``: by name. ``seconds``: stage → time;
    ``per_second``: mentions that the search of this run did in a second.
    """

    output: str
    method: str
    scorer: str | None
    k: int
    mentions: int
    queries: int
    resumed: int
    entities: int
    names: int
    filled: int
    skipped: dict[str, int]
    by_name: dict[str, int]
    splits: dict[str, Recall]
    overall: Recall
    seconds: dict[str, float] = field(default_factory=dict)
    per_second: float | None = None


def build_candidates(
    mentions: Path,
    titles: Path,
    output: Path,
    *,
    options: CandidateOptions | None = None,
    aliases: Path | None = None,
    redirects: Path | None = None,
    store: Path | None = None,
    overwrite: bool = False,
    restart: bool = False,
    progress: Progress | None = None,
) -> CandidatesSummary:
    """Find the candidates of every mention and write them to ``output``.

    Args:
        mentions: see :mod:`featurestore.construct.mention_texts`.
        titles: QID TAB title a line; the entities that may be found.
        aliases, redirects: further names of them, see :class:`TitleTable`.
        store: holds the vectors of mentions and entities, for the method ``dense``.
        restart: throw away what an interrupted run finished.

    Raises:
        SourceError: a file is missing or malformed.
        ConfigError: options that do not fit each other, or the store.
        FieldMissing: the store lacks the vectors.
        WriteError: the output exists, cannot be written, or is being written by another run.
    """
    chosen, show = options or CandidateOptions(), progress or Silent()
    check_target(output, overwrite=overwrite, makes_folder=True)
    _check_store(chosen, store)
    watch = _Watch()
    table = TitleTable.read(titles, aliases=aliases, redirects=redirects)
    found = read_mention_texts(mentions, limit=chosen.limit)
    watch.lap("read")
    with ExitStack() as stack:
        opened = stack.enter_context(featurestore.store.open(store)) if store else None
        search = _Search.of(found, table, chosen, opened)
        plan = plan_of(table, search.queries, chosen, opened)
        folder = stack.enter_context(block_folder(output, plan, restart=restart))
        if folder.left_over:
            show.note(
                "what an earlier run with other options or inputs had finished is thrown away"
            )
        watch.lap("index")
        searched = search.run(folder, show, jobs=chosen.threads)
        watch.lap("search")
        tally = _Tally(found, table, search)
        folder.finish(
            tally.lines(folder.joined(len(search.blocks), (len(search.queries), search.k)))
        )
        watch.lap("write")
    return CandidatesSummary(
        output=str(output),
        method=chosen.method,
        scorer=chosen.scorer_used,
        k=search.k,
        mentions=len(found),
        queries=len(search.queries),
        resumed=searched.resumed,
        entities=len(table),
        names=len(table.names),
        filled=tally.filled,
        skipped={**table.skipped, **search.ready.skipped, **tally.skipped},
        by_name=search.ready.by_name,
        splits={name: count.recall() for name, count in tally.splits.items()},
        overall=sum(tally.splits.values(), RecallCount.none(search.k)).recall(),
        seconds=watch.rounded(),
        per_second=searched.mentions / watch.seconds["search"] if searched.mentions else None,
    )


def _check_store(options: CandidateOptions, store: Path | None) -> None:
    if (options.method == "dense") != (store is not None):
        raise ConfigError(
            "the method dense compares the vectors of a store"
            if store is None
            else f"the method {options.method} reads no store",
            where="--store",
            hint="give --method dense and --store STORE together",
        )


class _Watch:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = perf_counter()

    def lap(self, stage: str) -> None:
        now = perf_counter()
        self.seconds[stage], self._last = now - self._last, now

    def rounded(self) -> dict[str, float]:
        """In thousandths, for people. Rates are taken of ``seconds``: a stage may round to 0."""
        return {stage: round(seconds, 3) for stage, seconds in self.seconds.items()}


# searching --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Searched:
    mentions: int
    resumed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """``queries``: (q,) distinct, in order of appearance. ``query_of``: (n,) the query of a mention."""

    queries: list[str]
    query_of: NDArray[np.int64]
    blocks: list[range]
    ready: Readied
    k: int

    @classmethod
    def of(
        cls,
        mentions: list[MentionText],
        table: TitleTable,
        options: CandidateOptions,
        store: featurestore.store.Store | None,
    ) -> _Search:
        k = min(options.k, len(table))
        keys = [mention.id if store is not None else mention.text for mention in mentions]
        places = {key: place for place, key in enumerate(dict.fromkeys(keys))}
        size = max(1, min(_BLOCK_MENTIONS, _BLOCK_PAIRS // len(table.names)))
        if options.method != "fuzzy":
            size = _BLOCK_MENTIONS
        if store is None:
            ready = by_names(table, options, k=k)
        else:
            texts = {mention.id: mention.text for mention in mentions}
            ready = by_vectors(table, options, k=k, store=store, texts=texts)
        if k < options.k:
            ready.skipped["candidates of each mention beyond all entities"] = options.k - k
        return cls(
            queries=list(places),
            query_of=np.array([places[key] for key in keys]),
            blocks=[range(at, min(at + size, len(places))) for at in range(0, len(places), size)],
            ready=ready,
            k=k,
        )

    def run(self, folder: BlockFolder, progress: Progress, *, jobs: int) -> _Searched:
        """Find what is not in the folder yet."""
        weights = np.bincount(self.query_of, minlength=len(self.queries))
        todo = [number for number in range(len(self.blocks)) if not folder.has(number)]
        resumed = len(self.queries) - sum(len(self.blocks[number]) for number in todo)
        if resumed:
            progress.note(f"going on: {resumed:,} of {len(self.queries):,} are found already")
        done = 0
        total = sum(int(weights[_slice(self.blocks[number])].sum()) for number in todo)
        with progress.stage("search", total, "mentions") as stage:
            for number, rows in each_done(todo, self._block, jobs=jobs):
                folder.put(number, rows)
                own = int(weights[_slice(self.blocks[number])].sum())
                stage.advance(own)
                done += own
        return _Searched(mentions=done, resumed=resumed)

    def _block(self, number: int) -> NDArray[np.int32]:
        return self.ready.finder.find(self.queries[_slice(self.blocks[number])])


def _slice(block: range) -> slice:
    return slice(block.start, block.stop)


# writing ----------------------------------------------------------------------------------------


class _Tally:
    """Makes the lines of the file, and counts on the way where the golds stand."""

    def __init__(self, mentions: list[MentionText], table: TitleTable, search: _Search) -> None:
        self._mentions = mentions
        self._table = table
        self._search = search
        self._row_of = {qid: row for row, qid in enumerate(table.qids)}
        self.splits: dict[str, RecallCount] = {}
        self.filled = 0
        self.skipped: dict[str, int] = {}

    def lines(self, rows: NDArray[np.int32]) -> Iterator[str]:
        """A line a mention, from the (q, k) entities of each query."""
        qids = np.array(self._table.qids, dtype=object)
        outside = 0
        for mention, query in zip(self._mentions, self._search.query_of, strict=True):
            own = filled(rows[query], len(self._table))
            self.filled += int(rows[query, -1] == NO_ROW)
            count = self.splits.setdefault(mention.split, RecallCount.none(self._search.k))
            gold = self._row_of.get(mention.gold, NO_ROW)
            outside += bool(mention.gold) and gold == NO_ROW
            count.add(own, gold, known=bool(mention.gold))
            yield "\t".join([mention.id, *qids[own]]) + "\n"
        if outside:
            self.skipped["golds that are not among the titles"] = outside


def filled(rows: NDArray[np.int32], entities: int) -> NDArray[np.int32]:
    """(k,) entities: those found, then the first of the table that were not, in place of ``NO_ROW``."""
    missing = int((rows == NO_ROW).sum())
    if not missing:
        return rows
    found = rows[: len(rows) - missing]
    others = np.setdiff1d(np.arange(min(entities, len(rows)), dtype=np.int32), found)
    return np.concatenate([found, others[:missing]])
