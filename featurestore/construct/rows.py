"""Tables of mentions, row by row: JSON lines, CSV and TSV, and what is wrong with a row as such.

A row is an object of columns; nothing is known here of mentions. Files are never held in memory.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Literal

from featurestore.errors import ConfigError, SourceError

Kind = Literal["jsonl", "csv", "tsv"]

#: Suffix → how the file is read.
KINDS: dict[str, Kind] = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv", ".tab": "tsv",
}  # fmt: skip

_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")

#: Characters of one cell, at most; Python's own limit of 131,072 is less than a long article.
_LONGEST_CELL = 1 << 24


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a row: ``kind`` to count by, ``field`` or "row", what was found, what to do."""

    kind: str
    field: str
    what: str
    next: str


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the line it begins in (from 1), its values by column, or the problem it is.

    ``values`` of a row with a problem are what could be read of it.
    """

    line: int
    values: dict[str, Any]
    problem: Problem | None = None


def kind_of(path: Path) -> Kind:
    """How to read a file, by its suffix.

    Raises:
        ConfigError: an unknown suffix.
    """
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        raise ConfigError(
            f"{path.suffix or 'no suffix'} does not say what the file is",
            where=str(path),
            hint=f"name it {', '.join(KINDS)}",
        )
    return kind


class Table:
    """An open table of mentions.

    Args:
        path: a ``.jsonl``, ``.csv`` or ``.tsv`` file.
        quotes: whether quotation marks of a CSV or TSV file enclose cells; False = they are letters.

    Raises:
        ConfigError: an unknown suffix.
        SourceError: the file cannot be read, is empty, or is UTF-16.
    """

    def __init__(self, path: Path, *, quotes: bool = True) -> None:
        self.path = path
        self.kind = kind_of(path)
        self._quotes = quotes
        try:
            self.size = path.stat().st_size
            with path.open("rb") as file:
                start = file.read(3)
        except OSError as error:
            raise SourceError(
                f"the file cannot be read: {error.strerror}",
                where=str(path),
                hint="give the path of a file of mentions",
            ) from error
        if start[:2] in _UTF16_MARKS:
            raise SourceError(
                "the file is UTF-16", where=str(path), hint="save it as UTF-8 (iconv -t UTF-8)"
            )
        self.position = 0
        self.header: list[str] = []
        if self.kind != "jsonl":
            self.header = next(self._csv_rows())[1]
            if not any(self.header):
                raise SourceError(
                    "the file has no header",
                    where=str(path),
                    hint="its first line names the columns",
                )
            self._refuse_twins()

    def _refuse_twins(self) -> None:
        twin = next((name for name in self.header if name and self.header.count(name) > 1), None)
        if twin is not None:
            raise SourceError(
                f"column {twin!r} stands twice in the header",
                where=f"{self.path}:1",
                hint="give each column a name of its own",
            )

    def rows(self) -> Iterator[Row]:
        """Every row that is not blank; ``position`` is where in the file, in bytes, reading is.

        Raises:
            SourceError: a CSV file that cannot be read on (a quotation mark that is never closed).
        """
        return self._objects() if self.kind == "jsonl" else self._records()

    # JSON lines ---------------------------------------------------------------------------------

    def _objects(self) -> Iterator[Row]:
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                self.position += len(line)
                if number == 1:
                    line = line.removeprefix(_UTF8_MARK)
                if line.strip():
                    yield _object(number, line)

    # CSV and TSV --------------------------------------------------------------------------------

    def _records(self) -> Iterator[Row]:
        rows = self._csv_rows()
        next(rows)
        for line, cells in rows:
            if not any(cell.strip() for cell in cells):
                continue
            values: dict[str, Any] = dict(zip(self.header, cells, strict=False))
            yield Row(line, values, self._count_problem(cells))

    def _count_problem(self, cells: list[str]) -> Problem | None:
        if len(cells) == len(self.header):
            return None
        return Problem(
            "row with too many or too few cells",
            "row",
            f"{len(cells)} cells, the header has {len(self.header)}",
            "put quotation marks around a cell that holds the separator"
            if len(cells) > len(self.header)
            else "leave a cell empty where there is no value, but keep its separator",
        )

    def _csv_rows(self) -> Iterator[tuple[int, list[str]]]:
        """Line and cells of each record; bytes that are not UTF-8 become halves of characters."""
        before = csv.field_size_limit(_LONGEST_CELL)
        try:
            with (
                self.path.open("rb") as raw,
                TextIOWrapper(raw, "utf-8-sig", "surrogateescape", newline="") as file,
            ):
                for line, cells in self._read(file):
                    self.position = raw.tell()
                    yield line, cells
        finally:
            csv.field_size_limit(before)

    def _read(self, file: TextIOWrapper) -> Iterator[tuple[int, list[str]]]:
        reader = csv.reader(
            file,
            delimiter="\t" if self.kind == "tsv" else ",",
            quoting=csv.QUOTE_MINIMAL if self._quotes else csv.QUOTE_NONE,
            strict=True,
        )
        line, found = 1, False
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                break
            except csv.Error as error:
                raise SourceError(
                    f"the record cannot be read: {error}",
                    where=f"{self.path}, lines {line} to {max(line, reader.line_num)}",
                    hint='close its quotation marks and double those inside ("…""…"), or say '
                    "--no-quotes if they are letters",
                ) from error
            if cells:
                found = True
                yield line, cells
            line = reader.line_num + 1
        if not found:
            yield 1, []


def _object(number: int, line: bytes) -> Row:
    try:
        value = json.loads(line.decode())
    except UnicodeDecodeError as error:
        text = line.decode(errors="replace")
        what = f"not UTF-8: {error.reason} at byte {error.start}"
        return Row(
            number, {"line": text}, Problem("row not UTF-8", "row", what, "save it as UTF-8")
        )
    except (ValueError, RecursionError) as error:
        text = line.decode().rstrip("\r\n")
        what = f"not a line of JSON: {error}"
        advice = "one object a line, no commas between"
        return Row(number, {"line": text}, Problem("row not JSON", "row", what, advice))
    if not isinstance(value, dict):
        advice = '{"sentence": "… [[mention]] …"}'
        problem = Problem("row not JSON", "row", "not a JSON object", advice)
        return Row(number, {"line": value}, problem)
    return Row(number, value)
