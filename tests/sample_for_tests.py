"""What the tests of the sample share: a small size, and reading what was written."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from featurestore.sources.sample import SampleSummary

SMALL: dict[str, Any] = {"mentions": 80, "entities": 40, "candidates": 8}


def tree(root: Path) -> dict[str, str]:
    """Every file below ``root`` → digest."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


def read(root: str, name: str) -> Any:
    return json.loads(Path(root, name).read_text(encoding="utf-8"))


def load(summary: SampleSummary, name: str) -> np.ndarray:
    return np.load(Path(summary.root, f"{name}.npy"), allow_pickle=False)


def state_of(path: Path) -> str:
    """How ``schema.IMAGE_STATUS`` calls the picture at ``path``."""
    try:
        with Image.open(path) as picture:
            picture.load()
            return "ok" if min(picture.size) >= 50 else "too small"
    except FileNotFoundError:
        return "missing"
    except OSError:
        return "broken"
