"""The names that entities can be found by: their titles, aliases, and what redirects to them.

    table = TitleTable.read(Path("qid-entity.tsv"), aliases=Path("qid-details.jsonl"))

The names of an entity stand side by side, its title first, so that a pass over the names in blocks
needs no more than a block in memory to give an entity the best score of its names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featurestore.errors import SourceError
from featurestore.sources.items import as_text, text
from featurestore.sources.textfiles import json_kind, numbered_lines
from featurestore.sources.wikimel_entities import read_titles

#: Files of entities and mentions → where they come from.
_MAKERS = {
    "titles": "drin-fs build titles makes one of a Wikidata dump",
    "details": "drin-fs build titles --details makes one of a Wikidata dump",
    "aliases": "drin-fs build titles --details makes one of a Wikidata dump",
    "redirects": "a line is an old title, a tab, and the title that it leads to",
    "mentions": "drin-fs build mentions makes one of a table",
    "candidates": "drin-fs build candidates makes one",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TitleTable:
    """Entities in the order of the titles file, and their names.

    ``qids``, ``titles``: (N,). ``names``: (M,) those of entity 0, of entity 1, … ``firsts``: (N + 1,)
    entity i has ``names[firsts[i]:firsts[i + 1]]``. ``skipped``: what of aliases and redirects was not
    used → how often.
    """

    qids: list[str]
    titles: list[str]
    names: list[str]
    firsts: NDArray[np.int64]
    skipped: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(
        cls, titles: Path, *, aliases: Path | None = None, redirects: Path | None = None
    ) -> TitleTable:
        """Read the files.

        Args:
            titles: QID TAB title a line.
            aliases: the details of ``build titles``: an object with ``qid`` and ``aliases`` a line.
            redirects: title of the redirect TAB title of its target, a line.

        Raises:
            SourceError: a file is missing, empty or malformed; a title is empty; a QID stands twice.
        """
        known = read_titles(existing(titles, "titles"))
        if not known:
            raise SourceError(
                "the file holds no title", where=str(titles), hint="a line is QID TAB title"
            )
        more: dict[str, list[str]] = {}
        skipped: dict[str, int] = {}
        if aliases is not None:
            _add_aliases(existing(aliases, "aliases"), known, more, skipped)
        if redirects is not None:
            _add_redirects(existing(redirects, "redirects"), known, more, skipped)
        return cls.of(known, more, skipped)

    @classmethod
    def of(
        cls,
        titles: dict[str, str],
        more: dict[str, list[str]] | None = None,
        skipped: dict[str, int] | None = None,
    ) -> TitleTable:
        """A table of {QID: title} and {QID: further names}; names that an entity repeats count once."""
        names: list[str] = []
        firsts = np.zeros(len(titles) + 1, np.int64)
        for row, (qid, title) in enumerate(titles.items()):
            names += dict.fromkeys([title, *(more or {}).get(qid, ())])
            firsts[row + 1] = len(names)
        return cls(
            qids=list(titles),
            titles=list(titles.values()),
            names=names,
            firsts=firsts,
            skipped=skipped or {},
        )

    def __len__(self) -> int:
        """N: the entities."""
        return len(self.qids)

    @property
    def one_name_each(self) -> bool:
        """Whether row i of the names is entity i."""
        return len(self.names) == len(self.qids)

    def owners(self) -> NDArray[np.int32]:
        """(M,) the entity that each name is of."""
        return np.repeat(np.arange(len(self), dtype=np.int32), np.diff(self.firsts))

    def blocks(self, names: int) -> Iterator[range]:
        """Ranges of entities that have about so many names together; an entity is never cut."""
        first = 0
        while first < len(self):
            wanted = self.firsts[first] + names
            last = int(np.searchsorted(self.firsts, wanted, side="right")) - 1
            last = max(first + 1, min(last, len(self)))
            yield range(first, last)
            first = last


def existing(path: Path, what: str) -> Path:
    """The path, if a file is there.

    Args:
        what: a key of ``_MAKERS``, for the message.

    Raises:
        SourceError: there is none.
    """
    if not path.is_file():
        raise SourceError(
            f"there is no file of {what}",
            where=str(path),
            hint=f"give the path of a file; {_MAKERS[what]}",
        )
    return path


def _add_aliases(
    path: Path, titles: dict[str, str], more: dict[str, list[str]], skipped: dict[str, int]
) -> None:
    strangers = 0
    for where, item in json_lines(path):
        qid = text(item, "qid", where)
        if qid not in titles:
            strangers += 1
            continue
        names = item.get("aliases")
        if not isinstance(names, list | None):
            what = f"'aliases' must be a list, found {json_kind(names)}"
            raise SourceError(
                what,
                where=where,
                hint="write a list of strings, as build titles --details does, or leave it out",
            )
        found = [as_text(name, "an alias", where).strip() for name in names or ()]
        more.setdefault(qid, []).extend(name for name in found if name)
    if strangers:
        skipped["aliases of entities without a title"] = strangers


def _add_redirects(
    path: Path, titles: dict[str, str], more: dict[str, list[str]], skipped: dict[str, int]
) -> None:
    """A title of several entities leads to all of them; chains of redirects are not followed."""
    qids: dict[str, list[str]] = {}
    for qid, title in titles.items():
        qids.setdefault(_underscored(title), []).append(qid)
    strangers = 0
    for number, line in numbered_lines(path):
        name, tab, target = line.partition("\t")
        if not (tab and name and target):
            raise SourceError(
                f"expected redirect TAB title, found {line[:80]!r}",
                where=f"{path}, line {number}",
                hint="give the redirects as lines of: old title, tab, title of the page it leads to",
            )
        found = qids.get(_underscored(target), [])
        strangers += not found
        for qid in found:
            more.setdefault(qid, []).append(name)
    if strangers:
        skipped["redirects to titles that are not in the table"] = strangers


def _underscored(title: str) -> str:
    return title.replace(" ", "_")


def json_lines(path: Path) -> Iterator[tuple[str, dict[str, object]]]:
    """Place and value of each line that is not blank.

    Raises:
        SourceError: a line is no JSON object.
    """
    for number, line in numbered_lines(path):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise SourceError(
                f"malformed JSON: {error}", where=where, hint="mend the line, or leave it out"
            ) from error
        if not isinstance(value, dict):
            raise SourceError(
                f"expected an object, found {json_kind(value)}",
                where=where,
                hint="write one object a line: {…}",
            )
        yield where, value
