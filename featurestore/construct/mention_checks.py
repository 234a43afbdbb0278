"""What can be told of a row only beside others: whether its gold is an entity, and its id its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from featurestore.construct.mention_rows import QID, OwnMention
from featurestore.construct.rows import Problem
from featurestore.construct.scratch import Scratch
from featurestore.errors import SourceError
from featurestore.sources.textfiles import numbered_lines


class MentionChecks:
    """Looks up golds among the titles, and ids among those met before.

    Args:
        titles: QID TAB title; None = golds are QIDs, and taken as they are.

    Raises:
        SourceError: the titles cannot be read.
    """

    def __init__(self, scratch: Scratch, titles: Path | None) -> None:
        self._scratch = scratch
        self.entities = None if titles is None else scratch.add_titles(_titles(titles))

    def gold(self, mention: OwnMention) -> str | Problem:
        """The QID of the gold, "" where there is none."""
        gold = mention.gold
        if not gold:
            return ""
        if QID.fullmatch(gold):
            if self.entities is None or self._scratch.knows(gold):
                return gold
            what = f"gold {gold} is no entity of the titles"
            return Problem("gold unknown", "gold", what, "add it to the titles, or leave it empty")
        if self.entities is None:
            what = f"gold {gold!r} is no QID"
            return Problem("gold no QID", "gold", what, "give --titles to find entities by title")
        named = self._scratch.entities_named(gold)
        if len(named) == 1:
            return named[0]
        if named:
            what = f"gold {gold!r} is the title of {', '.join(named)}"
            return Problem("gold ambiguous", "gold", what, "give the QID")
        what = f"gold {gold!r} is no title of the titles"
        return Problem("gold unknown", "gold", what, "give the QID or the page's title")

    def repeated(self, mention: OwnMention) -> Problem | None:
        """What is wrong if an earlier row has the same id; None and remembered if none has."""
        first = self._scratch.first_line(mention.id, mention.line)
        if first == mention.line:
            return None
        if mention.has_own_id:
            what = f"id {mention.id!r} is that of line {first}"
            return Problem("id repeated", "id", what, "give each mention an id of its own")
        what = f"the same mention as in line {first}"
        return Problem("mention repeated", "row", what, "leave one out, or give them ids")


def _titles(path: Path) -> Iterator[tuple[str, str]]:
    """(QID, title) of each line."""
    try:
        for number, line in numbered_lines(path):
            qid, tab, title = line.partition("\t")
            if not (tab and qid and title):
                raise SourceError(
                    f"expected QID TAB title, found {line[:80]!r}",
                    where=f"{path}, line {number}",
                    hint="give --titles the table that drin-fs build titles wrote",
                )
            yield qid, title
    except OSError as error:
        raise SourceError(
            f"the titles cannot be read: {error.strerror}",
            where=str(path),
            hint="make them: drin-fs build titles",
        ) from error
