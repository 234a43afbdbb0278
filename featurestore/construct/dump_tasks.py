"""A dump cut into tasks: blocks of whole lines, each with the place at which the next one begins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from featurestore.construct.dump_pieces import START, Dump, Piece, Place
from featurestore.construct.entity_lines import LONGEST_LINE, TOO_LONG, Found, LineReader

#: Decompressed bytes of a task (chosen here: a worker has some milliseconds of work with it).
TASK = 8 << 20


@dataclass(frozen=True, slots=True)
class Mark:
    """Between two lines: all before is dealt with.

    ``place`` is where reading begins again; lines before ``offset`` are then passed over.
    """

    place: Place
    offset: int


BEGIN = Mark(START, 0)


@dataclass(frozen=True, slots=True)
class Task:
    """Lines to be read: ``data``, or those that begin within a part of a plain file."""

    data: bytes
    offset: int  # decompressed bytes before it
    end: Mark
    read: int  # bytes of the dump's file that were read when it was cut
    path: str = ""
    size: int = 0  # of the part
    too_long: tuple[tuple[int, bytes], ...] = ()  # offset and beginning of lines that were left out

    def work(self, reader: LineReader) -> Found:
        """Read its lines; called in any process."""
        found = Found()
        for offset, beginning in self.too_long:
            found.entities += 1
            found.breaks(TOO_LONG, offset, beginning)
        if self.path:
            _read_part(Path(self.path), self.offset, self.size, reader, found)
        else:
            reader.read(self.data, self.offset, found)
        return found


def tasks(dump: Dump, begin: Mark = BEGIN) -> Iterator[Task]:
    """The tasks behind a mark, in order. Equal dumps give equal tasks, wherever they begin.

    Raises:
        SourceError: the dump is damaged.
    """
    return _parts(dump, begin) if dump.is_plain_file else _blocks(dump.pieces(begin.place), begin)


def _parts(dump: Dump, begin: Mark) -> Iterator[Task]:
    for offset in range(begin.offset, dump.size, TASK):
        stop = min(offset + TASK, dump.size)
        end = Mark(Place(stop, stop), stop)
        yield Task(b"", offset, end, stop, path=dump.path, size=stop - offset)


def _read_part(path: Path, offset: int, size: int, reader: LineReader, found: Found) -> None:
    """Read the lines that begin within a part of a file, to their ends."""
    before = 1 if offset else 0  # a line begins at ``offset`` if the byte before it ends one
    with path.open("rb") as file:
        file.seek(offset - before)
        data = file.read(before + size)
        start = data.find(b"\n") + 1 if before else 0
        if before and not start:
            return  # one line goes through the whole part
        last = data.rfind(b"\n") + 1
        if last == len(data):
            reader.read(data, offset - before, found, start)
            return
        reader.read(data, offset - before, found, start, last)
        tail = data[last:]
        tail += file.readline(max(LONGEST_LINE + 1 - len(tail), 1))
        reader.read(tail, offset - before + last, found)


def _blocks(pieces: Iterator[Piece], begin: Mark) -> Iterator[Task]:
    """Join and cut pieces at the ends of lines."""
    cutter = _Cutter(begin.offset)
    for piece in pieces:
        skip = begin.offset - piece.offset
        if skip >= len(piece.data):
            continue
        task = cutter.add(piece, max(skip, 0))
        if task is not None:
            yield task
    last = cutter.finish()
    if last is not None:
        yield last


class _Cutter:
    """Collects pieces until they are a task."""

    def __init__(self, offset: int) -> None:
        self._parts: list[bytes] = []  # of the task that is collected, from ``_offset`` on
        self._size = 0
        self._offset = offset
        self._places: list[tuple[int, Place]] = []  # of the pieces that are collected
        self._too_long: list[tuple[int, bytes]] = []
        self._within = False  # a line that is left out
        self._read = 0

    def add(self, piece: Piece, skip: int) -> Task | None:
        """Collect a piece without its first bytes; the task that is complete with it."""
        data = piece.data[skip:] if skip else piece.data
        self._read = piece.read
        self._places.append((piece.offset, piece.place))
        if self._within:
            end = data.find(b"\n") + 1
            self._offset += end or len(data)
            self._within = not end
            data = data[end:] if end else b""
        self._parts.append(data)
        self._size += len(data)
        return self._cut() if self._size >= TASK else None

    def _cut(self) -> Task | None:
        """The whole lines that are there; what is behind them stays."""
        data = b"".join(self._parts)
        last = data.rfind(b"\n") + 1
        if last:
            return self._task(data[:last], data[last:])
        self._parts = [data]
        if self._size > LONGEST_LINE:
            self._too_long.append((self._offset, data[:200]))
            self._parts, self._size = [], 0
            self._offset += len(data)
            self._within = True
        return None

    def _task(self, data: bytes, rest: bytes) -> Task:
        offset, self._offset = self._offset, self._offset + len(data)
        self._parts, self._size = [rest], len(rest)
        behind = [known for known in self._places if known[0] > self._offset]
        before = [known for known in self._places if known[0] <= self._offset]
        self._places = [*before[-1:], *behind]
        too_long, self._too_long = tuple(self._too_long), []
        end = Mark(self._places[0][1], self._offset)
        return Task(data, offset, end, self._read, too_long=too_long)

    def finish(self) -> Task | None:
        """What is left, whether a line feed ends it or not."""
        data = b"".join(self._parts)
        return self._task(data, b"") if data or self._too_long else None
