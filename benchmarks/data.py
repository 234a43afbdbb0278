"""The data that all benchmarks share: a sample with rows of the true shapes, made once a run.

The features are made up, their shapes are not: BERT's 768, ResNet-152's 2048, 128 and 64 tokens, 49
regions, 100 candidates, as WikiMEL is released.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

import featurestore
from benchmarks.files import remove
from featurestore import Store
from featurestore.codecs import DEFAULT_COMPRESSION, Compression
from featurestore.ingest import ingest
from featurestore.options import FeatureDtype, IngestOptions
from featurestore.progress import Progress
from featurestore.sources.sample import write_sample


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much data. Only numbers of rows differ between ``QUICK`` and ``FULL``."""

    entities: int
    mentions: int
    candidates: int = 100
    text_width: int = 768
    image_width: int = 2048
    mention_tokens: int = 128
    entity_tokens: int = 64
    regions: int = 49
    batch: int = 64
    rounds: int = 9

    @property
    def thorough(self) -> bool:
        """Whether there is time for what takes minutes."""
        return self.rounds > QUICK.rounds

    @property
    def words(self) -> str:
        return (
            f"{self.entities:,} entities, {self.mentions:,} mentions × {self.candidates} "
            f"candidates, D {self.text_width}, V {self.image_width}, T {self.mention_tokens}, "
            f"S {self.entity_tokens}, R {self.regions}"
        )


#: Enough entities that a batch of 64 × 101 seldom repeats one twice; about 2 GB on disk.
QUICK = Sizes(entities=6_000, mentions=256, rounds=5)
#: The same rows, more of them; about 8 GB on disk.
FULL = Sizes(entities=20_000, mentions=2_048, rounds=15)
#: Rows so short that tests can run every benchmark; its figures mean nothing.
TINY = Sizes(
    entities=120,
    mentions=60,
    candidates=5,
    text_width=32,
    image_width=32,
    mention_tokens=32,
    entity_tokens=40,
    regions=4,
    batch=8,
    rounds=2,
)


class Workspace:
    """A folder with the data of one size; what is there already is used again."""

    def __init__(self, folder: Path, sizes: Sizes, progress: Progress) -> None:
        self.sizes = sizes
        self.progress = progress
        self._parent = folder
        rows = {k: v for k, v in asdict(sizes).items() if k not in ("batch", "rounds")}
        digest = blake2b(repr(sorted(rows.items())).encode(), digest_size=4).hexdigest()
        self.folder = folder / digest
        self.folder.mkdir(parents=True, exist_ok=True)

    def with_mentions(self, mentions: int) -> Workspace:
        """Beside this one, with another number of mentions."""
        return Workspace(self._parent, replace(self.sizes, mentions=mentions), self.progress)

    @cached_property
    def arrays(self) -> Path:
        """A folder of preprocessed ``.npy`` arrays, as the reference reads them."""
        made = self.folder / "arrays"
        if not made.exists():
            unfinished = self.folder / "arrays.part"
            remove(unfinished)
            s = self.sizes
            write_sample(
                unfinished,
                layout="preprocessed",
                mentions=s.mentions,
                entities=s.entities,
                candidates=s.candidates,
                text_width=s.text_width,
                image_width=s.image_width,
                mention_tokens=s.mention_tokens,
                entity_tokens=s.entity_tokens,
                regions=s.regions,
                progress=self.progress,
            )
            unfinished.rename(made)
        return made

    def store_path(
        self,
        *,
        dtype: FeatureDtype = "float16",
        compression: Compression = DEFAULT_COMPRESSION,
    ) -> Path:
        """A store of these arrays."""
        target = self.folder / f"{dtype}-{compression}.h5"
        if not target.exists():
            options = IngestOptions(dtype=dtype, compression=compression)
            ingest(self.arrays, target, options=options, progress=self.progress)
        return target

    def store(self) -> Store:
        """The store as ``drin-fs ingest`` makes it, open."""
        return featurestore.open(self.store_path())

    def place(self, name: str) -> Path:
        """Where an alternative keeps its copy; it is made again whenever it is asked for."""
        path = self.folder / name
        remove(path)
        return path
