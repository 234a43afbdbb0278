"""Small archives as the release's downloads bring them, and trees of files to compare."""

from __future__ import annotations

import hashlib
import io
import random
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from featurestore.sources import archive


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


FILES = {
    "wikimel/mention_text.npy": noise(3000),
    "wikimel/zeros.npy": bytes(200_000),
    "wikimel/pictures/Zoë_№ 1.jpg": noise(70_000, 1),
    "empty": b"",
}


def write_tar(path: Path, files: Mapping[str, bytes], *infos: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for info in infos:
            tar.addfile(info)
    return path


def disguised(paths: Sequence[Path]) -> list[Path]:
    """The files as a download would bring them, in a folder of their own."""
    folder = paths[0].parent / "downloads"
    archive.pack(paths, folder)
    return [folder / f"{path.name}.mp4" for path in paths]


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def sums(paths: Sequence[Path]) -> dict[str, str]:
    return {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in paths}
