"""What of a title table is finished while it is made: hidden files beside it, and a checkpoint.

    .NAME.lock                    who is at work (:mod:`featurestore.lock`)
    .NAME.titles/titles           lines of the table
    .NAME.titles/details          lines of the details
    .NAME.titles/checkpoint.json  how much of both is finished, and where in the dump to go on

What a file holds beyond its size in the checkpoint is cut off when the work goes on.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from featurestore.construct.dump_pieces import Place
from featurestore.construct.dump_tasks import BEGIN, Mark
from featurestore.construct.entity_lines import EXAMPLES, Broken, Found
from featurestore.construct.seen import Seen
from featurestore.disk import sync_path, write_errors
from featurestore.errors import WriteError
from featurestore.lock import Held, Lock
from featurestore.resume import differences
from featurestore.target import make_folder, replace_file

_FULL = "make room, then run the same command again: it goes on"


@dataclass(slots=True, kw_only=True)
class State:
    """How far the work is."""

    mark: Mark = BEGIN
    titles: int = 0
    entities: int = 0
    sizes: dict[str, int] = field(default_factory=dict)  # file → bytes that are finished
    skipped: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    examples: list[Broken] = field(default_factory=list)
    finished: bool = False

    def count(self, found: Found) -> None:
        """Add what a task counted."""
        self.entities += found.entities
        self.skipped += found.skipped
        for example in found.examples:
            self._show(example)
        self.broken += found.broken

    def breaks(self, example: Broken) -> None:
        self._show(example)
        self.broken[example.reason] += 1

    def _show(self, example: Broken) -> None:
        if sum(each.reason == example.reason for each in self.examples) < EXAMPLES:
            self.examples.append(example)

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "mark": asdict(self.mark),
            "titles": self.titles,
            "entities": self.entities,
            "sizes": self.sizes,
            "skipped": self.skipped,
            "broken": self.broken,
            "examples": [asdict(each) for each in self.examples],
            "finished": self.finished,
        }

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> State:
        """The state that :meth:`plain` made plain."""
        mark = Mark(Place(**plain["mark"]["place"]), plain["mark"]["offset"])
        return cls(
            mark=mark,
            titles=plain["titles"],
            entities=plain["entities"],
            sizes=dict(plain["sizes"]),
            skipped=Counter(plain["skipped"]),
            broken=Counter(plain["broken"]),
            examples=[Broken(**each) for each in plain["examples"]],
            finished=plain["finished"],
        )


class TitleWork:
    """The unfinished files of a table, held by one process.

    Args:
        targets: "titles" and perhaps "details" → the file that is to be made.
        identity: what decides the content; that of what was begun must be equal.
        restart: give up what was begun.

    Raises:
        WriteError: another process is at work, or it was begun otherwise.
    """

    def __init__(
        self, targets: Mapping[str, Path], identity: Mapping[str, Any], *, restart: bool
    ) -> None:
        self._targets = targets
        self._identity = dict(identity)
        main = targets["titles"]
        self.folder = main.with_name(f".{main.name}.titles")
        self._checkpoint = self.folder / "checkpoint.json"
        make_folder(main.parent)
        try:
            self._lock = Lock(main.with_name(f".{main.name}.lock"))
        except Held as error:
            raise WriteError(
                f"another process makes this table: {error.holder}",
                where=str(main), hint=error.stale_hint,
            ) from error  # fmt: skip
        except OSError as error:
            raise WriteError(
                f"cannot create the file ({error.strerror})",
                where=str(main.parent),
                hint="see who may write there, or choose another -o",
            ) from error
        try:
            if restart:
                self.discard()
            self.state = self._begun()
        except BaseException:
            self._lock.release()
            raise
        self._files: dict[str, Any] = {}

    def _begun(self) -> State:
        if not self._checkpoint.exists():
            self.discard()
            return State(sizes=dict.fromkeys(self._targets, 0))
        plain = json.loads(self._checkpoint.read_text(encoding="utf-8"))
        differing = list(differences(plain["identity"], self._identity))
        if differing:
            raise WriteError(
                f"an interrupted run to this target was begun otherwise: {'; '.join(differing[:3])}",
                where=str(self.folder),
                hint="run the command that was interrupted, or pass --restart to give up its "
                f"{plain['state']['titles']:,} titles",
            )
        return State.of(plain["state"])

    def open(self) -> None:
        """Open the files behind what is finished.

        Raises:
            WriteError: they cannot be written, or are shorter than the checkpoint says.
        """
        with write_errors(self.folder, when_full=_FULL):
            self.folder.mkdir(exist_ok=True)
            for name in self._targets:
                file = self._files[name] = (self.folder / name).open("ab")
                if file.tell() < self.state.sizes[name]:
                    raise WriteError(
                        "what is finished is not there any more",
                        where=file.name, hint="pass --restart to begin anew",
                    )  # fmt: skip
                file.truncate(self.state.sizes[name])

    def seen(self) -> Seen:
        """The numbers of the QIDs that are finished."""
        seen = Seen()
        with (self.folder / "titles").open("rb") as file:
            for line in file:
                seen.add(int(line[1 : line.index(b"\t")]))
        return seen

    def write(self, name: str, lines: Iterable[bytes]) -> None:
        """Put lines behind the others; finished with the next checkpoint.

        Raises:
            WriteError: disk full, or an I/O error.
        """
        data = b"".join(lines)
        with write_errors(self._targets[name], when_full=_FULL):
            self._files[name].write(data)
        self.state.sizes[name] += len(data)

    def checkpoint(self) -> None:
        """All that was written so far is finished.

        Raises:
            WriteError: disk full, or an I/O error.
        """
        with write_errors(self._targets["titles"], when_full=_FULL):
            for file in self._files.values():
                file.flush()
                os.fsync(file.fileno())
        plain = {"identity": self._identity, "state": self.state.plain()}
        replace_file(self._checkpoint, json.dumps(plain).encode())

    def publish(self) -> None:
        """Put the files in their places; what stood there is replaced.

        It may be interrupted anywhere and called again.

        Raises:
            WriteError: no permission, or an I/O error.
        """
        for name, target in reversed(list(self._targets.items())):  # the table last
            made = self.folder / name
            if made.exists():
                make_folder(target.parent)
                with write_errors(target, when_full=_FULL):
                    _move(made, target)
                    sync_path(target.parent)
        self.discard()

    def discard(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def close(self) -> str:
        """Let go of it; words about what is kept, if something is."""
        for file in self._files.values():
            file.close()
        kept = ""
        if self._checkpoint.exists():
            kept = f"kept in {self.folder}; the same command goes on from there"
        else:
            self.discard()
        self._lock.release()
        return kept


def _move(made: Path, target: Path) -> None:
    """Put a file in its place, which may be on another disk: it is there whole, or not at all."""
    try:
        os.replace(made, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        part = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            shutil.copyfile(made, part)
            sync_path(part)
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)
        made.unlink()
