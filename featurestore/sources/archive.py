"""Unpack the release's archives, disguised as ``.mp4`` or not, and disguise archives.

Every download is read through and its md5 compared before anything is written. The members are then
taken straight from the downloads, which are never changed or copied; gzip's and zip's own sums are
checked while they are. What was complete when a run was interrupted is kept by the next.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from featurestore.errors import SourceError
from featurestore.progress import Progress, Silent
from featurestore.sources.disguise import (
    CHUNK,
    MP4_HEADER,
    Original,
    Piece,
    disguise,
    incomplete,
    kind_of,
    open_pieces,
    recognise,
)
from featurestore.sources.members import Member, members
from featurestore.sources.meter import Meter, megabytes
from featurestore.sources.target import Target

#: md5 sums of the released originals, as their authors give them.
RELEASED = {
    "preprocessed.tar.gz": "af7f41dac88e5ce1a66085af5f52fc44",
    "raw-data.z01": "3240b50cd92abf7cb8db6f057d9ae082",
    "raw-data.z02": "d7f33381bad8725d6c9c00ad8f54c4c1",
    "raw-data.z03": "5ba7495c7612978063d1f7ed000018d7",
    "raw-data.z04": "a03cf88dd594ea731ee146cfa815d53c",
    "raw-data.z05": "dc953e503a011d1fbe8f46d02c98061b",
    "raw-data.zip": "3f679dee86dff458b6221978a996caeb",
}


@dataclass(frozen=True, slots=True)
class Checked:
    """An original that was read through. ``verified``: its md5 is known, and is this one."""

    original: Original
    md5: str
    verified: bool

    def as_dict(self) -> dict[str, Any]:
        about = self.original
        return {"path": str(about.path), "name": about.name, "kind": about.kind,
                "bytes": about.size, "disguised": about.disguised, "md5": self.md5,
                "verified": self.verified}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What :func:`unpack` did; ``size``: bytes of the files written and of those already there."""

    target: Path
    checked: list[Checked]
    written: int
    skipped: int
    size: int

    def as_dict(self) -> dict[str, Any]:
        return {"target": str(self.target), "originals": [c.as_dict() for c in self.checked],
                "written": self.written, "skipped": self.skipped, "bytes": self.size}  # fmt: skip


# reading ----------------------------------------------------------------------------------------


def verify(
    files: Sequence[Path],
    *,
    known: Mapping[str, str] = RELEASED,
    progress: Progress | None = None,
) -> list[Checked]:
    """Read every file through, and compare the md5 of its original with the known one.

    Args:
        files: disguised or plain archives.
        known: name of an original → its md5.
        progress: receives one stage a file.

    Raises:
        SourceError: an md5 is not the known one; names the file and both sums.
    """
    progress = progress or Silent()
    return [_verify(recognise(path), known, progress) for path in files]


def _verify(original: Original, known: Mapping[str, str], progress: Progress) -> Checked:
    digest = hashlib.md5(usedforsecurity=False)
    with megabytes(progress, f"md5 of {original.name}", original.size) as meter:
        for chunk in _bytes_of(original.pieces, meter):
            digest.update(chunk)
    return compare(original, digest.hexdigest(), known=known, progress=progress)


def compare(
    original: Original, md5: str, *, known: Mapping[str, str] = RELEASED, progress: Progress
) -> Checked:
    """Compare the md5 of an original with the known one, if there is one.

    Raises:
        SourceError: it is not the known one; names the file and both sums.
    """
    expected = known.get(original.name)
    if expected not in (None, md5):
        raise SourceError(
            f"the md5 of the original {original.name} is {md5}, it should be {expected}",
            where=str(original.path),
            hint="the download is damaged or incomplete: download it again, or give it another name "
            "if it is not the released one",
        )
    name = next((name for name, each in known.items() if each == md5), None)
    if name and expected is None:  # a known archive, whatever the download was called
        original = replace(original, name=name, kind=kind_of(name))
    if name is None:
        progress.note(f"{original.path}: md5 {md5} of {original.name}; no sum to compare it with")
    return Checked(original, md5, verified=name is not None)


def archives(originals: Iterable[Original]) -> list[list[Original]]:
    """Put the parts of each zip archive together, in order.

    Raises:
        SourceError: a part is missing or given twice, or something is no archive.
    """
    groups: dict[str, dict[str, Original]] = {}
    for original in originals:
        if original.kind == "other" and original.disguised:
            otherwise = "; if it is no archive, --restore writes the original as it is"
            raise incomplete(original.path, hint=f"download it again{otherwise}")
        if original.kind == "other":
            raise SourceError(
                f"{original.name} is neither a tar nor a zip, nor a part of one",
                where=str(original.path),
                hint="--restore writes the original as it is",
            )
        stem = Path(original.name).stem if original.kind == "zip" else original.name
        parts = groups.setdefault(stem, {})
        ending = Path(original.name).suffix.lower()
        if ending in parts:
            where = f"{parts[ending].path} and {original.path}"
            raise SourceError(
                f"{original.name} is given twice",
                where=where,
                hint="give each file once, or archives of one name in two commands",
            )
        parts[ending] = original
    return [_in_order(parts) for parts in groups.values()]


def _in_order(parts: Mapping[str, Original]) -> list[Original]:
    if all(part.kind != "zip" for part in parts.values()):
        return list(parts.values())
    last = max((int(ending[2:]) for ending in parts if ending != ".zip"), default=0)
    wanted = [*(f".z{number:02}" for number in range(1, last + 1)), ".zip"]
    missing = [ending for ending in wanted if ending not in parts]
    if missing:
        some = next(iter(parts.values()))
        stem = Path(some.name).stem
        raise SourceError(
            f"parts of a zip archive are missing: {', '.join(stem + end for end in missing)}",
            where=str(some.path),
            hint="give all parts in one command",
        )
    return [parts[ending] for ending in wanted]


def listing(files: Sequence[Path]) -> Iterator[Member]:
    """Every member of the archives. A tar is read through for it, but nothing is written.

    Raises:
        SourceError: as :func:`archives` and :func:`~featurestore.sources.members.members`.
    """
    for parts in archives(recognise(path) for path in files):
        for member, content in members(parts):
            if parts[0].kind != "zip":
                for _ in content:
                    pass
            yield member


# writing ----------------------------------------------------------------------------------------


def unpack(
    files: Sequence[Path],
    target: Path,
    *,
    restore: bool = False,
    overwrite: bool = False,
    known: Mapping[str, str] = RELEASED,
    progress: Progress | None = None,
) -> Unpacked:
    """Verify the files, then extract their archives below ``target``, which is made if needed.

    Args:
        files: disguised or plain archives; all parts of a split zip.
        target: a folder.
        restore: write the originals themselves, as they were before they were disguised.
        overwrite: replace files that stand at a member's name and differ from it.
        known: name of an original → its md5.
        progress: receives the stages.

    Raises:
        SourceError: damaged, incomplete, or refused, or a member that stands there twice with
            different contents; names the archive and the member.
        WriteError: disk full, no permission, or a file in the way.
    """
    progress = progress or Silent()
    checked = verify(files, known=known, progress=progress)
    originals = [each.original for each in checked]
    groups = [] if restore else archives(originals)
    folder = Target(target, sources=files, overwrite=overwrite)
    for each in checked if restore else ():
        original = each.original
        with megabytes(progress, f"restore {original.name}", original.size) as meter:
            content = _unchanged(_bytes_of(original.pieces, meter), each)
            folder.write(original.name, original.size, content, origin=str(original.path))
    for parts in groups:
        total, origin = sum(part.size for part in parts), str(parts[-1].path)
        with megabytes(progress, f"unpack {parts[-1].name}", total) as meter:
            for member, content in members(parts, meter.to):
                if member.is_folder:
                    folder.make(str(member.path))
                else:
                    folder.write(str(member.path), member.size, content, origin=origin)
    return Unpacked(target, checked, folder.written, folder.skipped, folder.size)


def _unchanged(content: Iterable[bytes], checked: Checked) -> Iterator[bytes]:
    """The bytes of an original, whose md5 is computed once more on their way out.

    An archive's members have sums of their own; what is restored as it is has none but this.

    Raises:
        SourceError: at the end, if they are not those that were checked.
    """
    digest = hashlib.md5(usedforsecurity=False)
    for chunk in content:
        digest.update(chunk)
        yield chunk
    if digest.hexdigest() != checked.md5:
        raise SourceError(
            f"{checked.original.name} changed while it was read: its md5 was {checked.md5} and is "
            f"{digest.hexdigest()}",
            where=str(checked.original.path),
            hint="leave the download alone, and start again",
        )


def pack(
    files: Sequence[Path],
    target: Path,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> list[Checked]:
    """Disguise files as ``target/NAME.mp4``, and give the md5 sums of the originals.

    Raises:
        SourceError: no such file, one under 32 bytes, or two of one name.
        WriteError: disk full, no permission, or a file in the way.
    """
    progress = progress or Silent()
    plans = {path: disguise(path) for path in files}
    names = [path.name for path in files]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise SourceError("two files of one name", where=twice, hint="pack them to two folders")
    folder = Target(target, sources=files, overwrite=overwrite)
    checked = []
    for path, pieces in plans.items():
        size = sum(piece.length for piece in pieces)
        with megabytes(progress, f"pack {path.name}", size) as meter:
            content = _bytes_of(pieces, meter, before=MP4_HEADER)
            folder.write(f"{path.name}.mp4", len(MP4_HEADER) + size, content, origin=str(path))
        checked.append(_verify(recognise(target / f"{path.name}.mp4"), {}, Silent()))
    return checked


def _bytes_of(pieces: Sequence[Piece], meter: Meter, before: bytes = b"") -> Iterator[bytes]:
    if before:
        yield before
    with open_pieces(pieces) as file:
        while chunk := file.read(CHUNK):
            yield chunk
            meter.to(file.tell())
