"""What the tests of the audit share: running one check, and mentions that repeat each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import featurestore
from featurestore.audit import CHECKS, Finding
from featurestore.audit.look import Look
from featurestore.progress import Silent
from tests.tiny_store import SIZES, write_tiny_store

K = SIZES["K"]


def found_by(check: str, path: Path) -> list[Finding]:
    with featurestore.open(path) as store:
        return list(CHECKS[check](Look(store, Silent())))


def found_in(check: str, tmp_path: Path, **options: Any) -> list[Finding]:
    """What a check finds in the tiny store, made with these options."""
    return found_by(check, write_tiny_store(tmp_path / "s.h5", **options).path)


def one(findings: list[Finding], word: str) -> Finding:
    """The only finding that says a word."""
    (found,) = [finding for finding in findings if word in finding.what]
    return found


def repeating() -> dict[str, Any]:
    """Mentions 0 and 1 of train are one, 5 (valid), 7 and 8 (test) as well; 6 has another gold."""
    sentences = [f"sentence {row}" for row in range(10)]
    names, gold = [f"n{row}" for row in range(10)], np.zeros(10, np.int32)
    for row in (1, 5, 6, 7, 8):
        sentences[row], names[row] = sentences[0], names[0]
    gold[6] = 1
    return {
        "mentions/sentence": sentences,
        "mentions/mention": names,
        "mentions/gold": gold,
        "mentions/answer": np.full(10, K, np.int32),
        "mentions/candidates": np.full((10, K), 7, np.int32),
        "mentions/char_start": np.zeros(10, np.int32),
        "mentions/char_end": np.full(10, 2, np.int32),
    }


def protocol(*, mentions: int, answer: np.ndarray, **columns: np.ndarray) -> dict[str, Any]:
    """Candidates 1 … K for every mention, the gold at ``answer``."""
    candidates = np.tile(np.arange(1, K + 1, dtype=np.int32), (mentions, 1))
    gold = np.where(answer < K, candidates[np.arange(mentions), np.minimum(answer, K - 1)], 0)
    return {
        "mentions/candidates": candidates,
        "mentions/gold": gold.astype(np.int32),
        "mentions/answer": answer.astype(np.int32),
        **{f"mentions/{name}": column for name, column in columns.items()},
    }
