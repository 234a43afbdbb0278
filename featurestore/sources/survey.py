"""What a tar archive holds of preprocessed datasets, found in one pass over it.

Small files are copied to a folder on the way, and of features the headers are read. Nothing else is
kept, and no name of the archive becomes a name on disk unless it is one of the release's.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from featurestore.errors import ConfigError, SourceError
from featurestore.progress import Progress
from featurestore.sources.arrays import Header, read_header
from featurestore.sources.disguise import Original
from featurestore.sources.members import Content, Member, holds_twice, members
from featurestore.sources.meter import megabytes
from featurestore.sources.preprocessed import preprocessed_dataset

#: Kinds of array that are small, and needed in any order.
_SMALL = (
    "mention-text-raw", "mention-image-path", "mention-text-mask", "mention-object-score",
    "start-pos", "end-pos", "answer", "similarity-miet", "similarity-eimt",
    "entity-name-raw", "entity-attr-raw", "entity-image-path", "entity-attr-mask",
    "entity-object-score",
)  # fmt: skip

#: Bytes of small files that are copied. Chosen here: the release has about 0.5 GB of them a dataset
#: (texts of 512 four-byte characters, masks of eight-byte integers).
MAX_SMALL = 8 << 30


@dataclass
class Found:
    """The release's files in one folder of an archive.

    ``copies``: where the small ones were copied to; ``features``: headers of the others.
    """

    folder: PurePosixPath
    wheres: dict[str, str] = field(default_factory=dict)
    copies: dict[str, Path] = field(default_factory=dict)
    features: dict[str, Header] = field(default_factory=dict)

    @property
    def dataset(self) -> str | None:
        """Which one it is; None = neither."""
        return preprocessed_dataset(self.wheres.__contains__)


def survey(original: Original, scratch: Path, progress: Progress) -> tuple[list[Found], str]:
    """Read an archive through.

    Args:
        original: a tar, gzipped or not.
        scratch: an empty folder for the small files.
        progress: receives one stage of megabytes of the archive.

    Returns:
        Every folder that holds a file of the release, and the md5 of the archive.

    Raises:
        SourceError: damaged, a member that is refused or stands twice, or too many small files.
        OSError: the disk is full, or another write error.
    """
    digest = hashlib.md5(usedforsecurity=False)
    copy = _Copy(scratch)
    found: dict[PurePosixPath, Found] = {}
    with megabytes(progress, f"check {original.name}", original.size) as meter:
        for member, content in members([original], meter.to, digest.update):
            file = member.path.name
            if not member.is_folder and (is_feature(file) or _is_small(file)):
                here = found.setdefault(member.path.parent, Found(member.path.parent))
                if file in here.wheres:
                    raise holds_twice(member.where)
                here.wheres[file] = member.where
                if is_feature(file):
                    head = io.BytesIO(next(content, b""))
                    here.features[file] = read_header(head, member.size, member.where)
                else:
                    here.copies[file] = copy.make(member, content)
            for _ in content:  # what was not asked for is read, too: it is part of the sums
                pass
    return list(found.values()), digest.hexdigest()


def is_feature(file: str) -> bool:
    """Whether a file is one of the large arrays."""
    return file.endswith(".npy") and _kind(file).endswith("-feature")


def _is_small(file: str) -> bool:
    return file == "qid2idx.json" or (file.endswith(".npy") and _kind(file) in _SMALL)


def _kind(file: str) -> str:
    return file.removesuffix(".npy").partition("_")[0]


class _Copy:
    """Copies members to numbered files."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._count = self._bytes = 0

    def make(self, member: Member, content: Content) -> Path:
        self._bytes += member.size
        if self._bytes > MAX_SMALL:
            raise SourceError(
                f"over {MAX_SMALL / 1e9:.1f} GB of arrays that should be small",
                where=member.where,
                hint="unpack the archive with drin-fs unpack, and ingest the folder",
            )
        path = self._scratch / f"{self._count}"
        self._count += 1
        with path.open("wb") as file:
            for chunk in content:
                file.write(chunk)
        return path


def choose(found: Sequence[Found], dataset: str | None, archive: Path) -> Found:
    """The one folder that holds the dataset.

    Raises:
        SourceError: there is none, or there are several of one dataset.
        ConfigError: ``dataset`` is not the one, or not given and there are both.
    """
    known = [(each, each.dataset) for each in found if each.dataset]
    places = " and ".join(f"{name} in {each.folder}/" for each, name in known)
    if not known:
        raise SourceError(
            "no preprocessed dataset in the archive",
            where=str(archive),
            hint="expected *_train.npy; drin-fs unpack --list shows what it holds",
        )
    chosen = [each for each, name in known if dataset in (None, name)]
    if not chosen:
        raise ConfigError(
            f"--dataset {dataset}, but the archive holds {places}",
            where=str(archive),
            hint=f"leave --dataset out, or say --dataset {known[0][1]}",
        )
    if len(chosen) > 1 and len({each.dataset for each in chosen}) > 1:
        raise ConfigError(
            f"the archive holds {places}",
            where=str(archive),
            hint="say --dataset wikidiverse or --dataset wikimel",
        )
    if len(chosen) > 1:
        raise SourceError(
            f"the archive holds one dataset twice: {places}",
            where=str(archive),
            hint="unpack it with drin-fs unpack, and ingest one of the folders",
        )
    return chosen[0]
