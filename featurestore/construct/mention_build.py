"""From an open table of mentions to the files of a dataset, block by block of rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from featurestore.construct.columns import Columns
from featurestore.construct.item_files import MENTIONS, SPLIT_FILES, LinesFile, SplitFile
from featurestore.construct.mention_checks import MentionChecks
from featurestore.construct.mention_pictures import ADVICE, MentionPictures, Placing
from featurestore.construct.mention_rows import OwnMention, read_mention
from featurestore.construct.needed import NeededFile, needed_files
from featurestore.construct.rows import Problem, Row, Table
from featurestore.construct.scratch import Scratch
from featurestore.errors import SourceError
from featurestore.progress import Progress
from featurestore.schema import SPLITS
from featurestore.visible import clean

REJECTED, PICTURES_MISSING = Path("rejected.jsonl"), Path("missing-pictures.jsonl")
PICTURES = Path("mentions", "KVQAimgs")

#: Rows that are looked at together, so that their pictures are decoded side by side.
_BLOCK = 256

#: Bad rows that are told one by one; all are in the file of rejected rows.
_TOLD = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class MentionsSummary:
    """What became of a table of mentions.

    ``rejected``: kind of problem → rows. ``pictures``: status → mentions ("ok", "none" = the row names
    none, "missing", "broken", "too small", "not readable", "a URL"). ``splits``: split → mentions, as
    the table says; "" = no split. ``several``: mentions that stand more than once in their sentence, of
    which nothing said which: the first was taken. ``unused_columns``: columns that are no field.
    """

    root: str
    rows: int
    mentions: int
    rejected: dict[str, int]
    pictures: dict[str, int]
    distinct_pictures: int
    golds: int
    documents: bool
    topics: bool
    splits: dict[str, int]
    several: int
    entities: int | None
    unused_columns: list[str]
    needed: list[NeededFile]


class Counts:
    """What was met on the way."""

    def __init__(self) -> None:
        self.rows = self.golds = self.several = self.documents = self.topics = 0
        self.rejected: Counter[str] = Counter()
        self.pictures: Counter[str] = Counter()
        self.splits: Counter[str] = Counter()
        self.distinct_pictures = 0
        self.entities: int | None = None

    def kept(self, mention: OwnMention, gold: str, status: str) -> None:
        self.pictures[status] += 1
        self.splits[mention.split] += 1
        self.golds += bool(gold)
        self.several += mention.chosen
        self.documents += bool(mention.document)
        self.topics += bool(mention.topic)

    def summary(self, root: Path, columns: Columns) -> MentionsSummary:
        return MentionsSummary(
            root=str(root),
            rows=self.rows,
            mentions=self.splits.total(),
            rejected=dict(self.rejected.most_common()),
            pictures=dict(self.pictures.most_common()),
            distinct_pictures=self.distinct_pictures,
            golds=self.golds,
            documents=bool(self.documents),
            topics=bool(self.topics),
            splits={name: self.splits[name] for name in (*SPLITS, "") if self.splits[name]},
            several=self.several,
            entities=self.entities,
            unused_columns=columns.unused,
            needed=needed_files(root),
        )


class MentionBuild:
    """The work itself: from the open table to the files in the hidden folder."""

    def __init__(
        self,
        work: Path,
        table: Table,
        columns: Columns,
        images: Path,
        placing: Placing,
        strict: bool,
        progress: Progress,
    ) -> None:
        self._work, self._table, self._columns = work, table, columns
        self._images, self._placing = images, placing
        self._strict, self._progress = strict, progress
        self._counts = Counts()
        self._told: list[str] = []

    def run(self, titles: Path | None) -> Counts:
        """Write every file; what was counted."""
        with ExitStack() as stack:
            self._scratch = stack.enter_context(closing(Scratch(self._work / "scratch")))
            self._checks = MentionChecks(self._scratch, titles)
            self._counts.entities = self._checks.entities
            self._pictures = stack.enter_context(
                closing(
                    MentionPictures(
                        self._images,
                        self._work / PICTURES,
                        placing=self._placing,
                        scratch=self._scratch,
                    )
                )
            )
            (self._work / "mentions").mkdir()
            self._all = stack.enter_context(LinesFile(self._work / MENTIONS))
            self._bad = stack.enter_context(LinesFile(self._work / REJECTED))
            self._unseen = stack.enter_context(LinesFile(self._work / PICTURES_MISSING))
            self._split_files = {
                split: stack.enter_context(SplitFile(self._work / name))
                for split, name in SPLIT_FILES.items()
            }
            self._read_all()
        self._counts.distinct_pictures = self._pictures.statuses["ok"]
        if not self._columns_met():
            raise SourceError(
                "the file has no row",
                where=str(self._table.path),
                hint="write a row for each mention; columns are named in the first line of CSV and TSV",
            )
        return self._counts

    def _columns_met(self) -> bool:
        """Whether there were rows; their columns are those that the user named."""
        if self._counts.rows and self._table.kind == "jsonl":
            self._columns.check_chosen(self._columns.unused, str(self._table.path))
        return bool(self._counts.rows)

    def _read_all(self) -> None:
        rows = iter(self._table.rows())
        with self._progress.stage("mentions", self._table.size, "bytes") as stage:
            done = 0
            while block := list(islice(rows, _BLOCK)):
                self._take(block)
                stage.advance(self._table.position - done)
                done = self._table.position
            stage.advance(self._table.size - done)
        more = sum(self._counts.rejected.values()) - len(self._told)
        if more > 0 and not self._strict:
            self._progress.note(f"… and {more:,} more bad rows in {REJECTED}")

    def _take(self, block: Iterable[Row]) -> None:
        """Check the rows of a block, then their pictures, then write them."""
        sound: list[tuple[OwnMention, str]] = []
        for row in block:
            self._counts.rows += 1
            found = read_mention(row, self._columns, str(self._table.path))
            gold = found if isinstance(found, Problem) else self._checks.gold(found)
            if isinstance(found, OwnMention) and isinstance(gold, str):
                gold = self._checks.repeated(found) or gold
            if isinstance(gold, Problem) or isinstance(found, Problem):
                self._reject(row, gold)
            else:
                sound.append((found, gold))
        pictures = self._pictures.take([mention.picture for mention, _ in sound])
        for (mention, gold), (name, status) in zip(sound, pictures, strict=True):
            self._keep(mention, gold, name, status)

    def _reject(self, row: Row, problem: str | Problem) -> None:
        assert isinstance(problem, Problem)
        self._counts.rejected[problem.kind] += 1
        self._bad.write(
            {
                "line": row.line,
                "kind": problem.kind,
                "field": problem.field,
                "what": problem.what,
                "next": problem.next,
                "row": row.values,
            }
        )
        self._tell(row.line, problem)

    def _keep(self, mention: OwnMention, gold: str, picture: str, status: str) -> None:
        item = mention.as_item(gold=gold, picture=picture)
        self._all.write(item)
        if mention.split:
            self._split_files[mention.split].write(item)
        self._counts.kept(mention, gold, status)
        if status in ADVICE:
            place = {"line": mention.line, "id": mention.id, "picture": mention.picture}
            self._unseen.write({**place, "status": status, "next": ADVICE[status]})
            if self._strict:
                what = f"picture {mention.picture!r} is {status}"
                self._tell(mention.line, Problem(status, "picture", what, ADVICE[status]))

    def _tell(self, line: int, problem: Problem) -> None:
        """Say what is wrong, of the first rows; a strict build says it when it refuses."""
        if len(self._told) >= _TOLD:
            return
        self._told.append(
            clean(f"line {line}, {problem.field}: {problem.what}; next: {problem.next}")
        )
        if not self._strict:
            self._progress.note(self._told[-1])

    # what ends a build --------------------------------------------------------------------------

    @property
    def is_refused(self) -> bool:
        counts = self._counts
        return not counts.splits.total() or (self._strict and bool(self._told))

    def refusal(self) -> SourceError:
        """Why nothing is written."""
        counts = self._counts
        bad, unseen = counts.rejected.total(), self._unseen.count
        parts = [f"{number:,} {kind}" for kind, number in counts.rejected.most_common()]
        if self._strict:
            parts += [f"{unseen:,} pictures that cannot be used"] if unseen else []
            bad += unseen
        lines = [f"of {counts.rows:,} rows {bad:,} have a problem: {', '.join(parts)}"]
        lines += self._told + (
            [f"… and {bad - len(self._told):,} more"] if bad > len(self._told) else []
        )
        return SourceError(
            "\n".join(lines),
            where=str(self._table.path),
            hint="mend them, or leave out --strict"
            if counts.splits.total()
            else "no row can be used: check the columns (--columns FIELD=NAME)",
        )
