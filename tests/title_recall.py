"""What titles alone find: ``python -m tests.title_recall DIR [TITLES]``, DIR a raw WikiMEL folder.

Prints recall@1, @10 and @100 of :class:`featurestore.candidates.TitleIndex` for each split, beside
those of the candidate file, and the time. TITLES makes the knowledge base that large, with names
made of first and last words of its titles: for the time, since the recall then says nothing.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featurestore.candidates import TitleIndex
from featurestore.sources.wikimel import RawWikimel

CUTS = (1, 10, 100)


def main(root: Path, size: int) -> None:
    data = RawWikimel.open(root)
    titles = enlarged(data.entities.titles, size)
    started = time.perf_counter()
    index = TitleIndex.build(titles)
    print(f"{len(index)} titles indexed in {time.perf_counter() - started:.2f} s")
    for split, rows in data.mentions.splits.items():
        span = slice(rows.start, rows.stop)
        gold = data.mentions.gold[span]
        started = time.perf_counter()
        found = index.top(data.mentions.mentions[span], max(CUTS))
        seconds = time.perf_counter() - started
        print(f"{split}: {len(rows)} mentions in {seconds:.2f} s")
        print(f"  titles          {recalls(found, gold)}")
        print(f"  candidate file  {recalls(data.mentions.candidates[span], gold)}")


def enlarged(titles: list[str], size: int) -> list[str]:
    """``titles`` and, up to ``size``, the first words of one with the last word of another."""
    words = [title.split() for title in titles]
    made = (
        " ".join([*words[n % len(words)][:-1], words[(n * 7 + n // len(words)) % len(words)][-1]])
        for n in range(max(0, size - len(titles)))
    )
    return [*titles, *made]


def recalls(candidates: NDArray[np.int32], gold: NDArray[np.int32]) -> str:
    hits = (candidates == gold[:, None]) & (gold[:, None] >= 0)
    return "  ".join(f"recall@{k} {hits[:, :k].any(axis=1).mean():.2%}" for k in CUTS)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
