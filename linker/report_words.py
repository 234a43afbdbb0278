"""Words and digits that every table of figures has in common. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

#: What figures must share to be compared, and the words a caption has for it.
CONDITIONS: Mapping[str, str] = {
    "protocol": "protocol",
    "tie_rule": "ties",
    "denominator": "mentions",
}

#: The protocols under which all entities of a store are ranked, behind a first stage or not.
ALL_ENTITIES = ("full-kb", "two-stage")

#: The splits that a summary may hold, in the order of the rows.
SPLITS = ("valid", "test")

#: Headers of columns whose keys are longer than their figures: 80 characters hold a whole table.
_HEADERS: Mapping[str, str] = {"mean_rank": "MR", "mrr": "MRR", "mentions": "n"}


def header(name: str) -> str:
    """What stands above a column."""
    return _HEADERS.get(name, name)


def model_label(summary: Mapping[str, Any]) -> str:
    """``text``, ``drin (tt it)`` with the edges that are on, ``clip (sum)`` with its options.

    Options of a trained model that are not the defaults stand there too, so that an ablation is not
    taken for the whole model. An encoder inside training is named behind.
    """
    words = [str(option) for option in summary.get("options", {}).values()]
    if "edges" in summary:
        words = [*summary["edges"]] or ["no edges"]
    words += [f"{key}={value}" for key, value in summary.get("changed", {}).items()]
    name = f"{summary['model']} ({' '.join(words)})" if words else str(summary["model"])
    text = summary.get("text", "stored")
    return name if text == "stored" else f"{name}, text {text}"


def figure_names(splits: Sequence[Mapping[str, Any]]) -> list[str]:
    """hits@k by growing k, then MRR, the mean rank where there is one, the recall of a first stage."""
    ranked = any(values.get("mean_rank") is not None for values in splits)
    hits, recalls = _numbered("hits@", splits), _numbered("recall@", splits)
    return [*hits, "mrr", *(["mean_rank"] if ranked else []), *recalls]


def _numbered(start: str, splits: Sequence[Mapping[str, Any]]) -> list[str]:
    """The figures whose names begin so and end with a number, by that."""
    names = {name for values in splits for name in values if name.startswith(start)}
    return sorted(names, key=lambda name: int(name.removeprefix(start)))


def first_stage_words(about: Mapping[str, Any] | None) -> str:
    """``ivf on text_span:text_mean, 1,000 retrieved, 8 of 137 lists``; nothing without a first stage."""
    if not about:
        return ""
    words = f"{about['method']} on {about['vectors']}, {about['retrieve']:,} retrieved"
    if "lists" in about:
        words += f", {about['probe']:,} of {about['lists']:,} lists"
    return words


def figure_text(name: str, value: float | None) -> str:
    """Hits and MRR in %, the mean rank as it is; ``–`` for none."""
    return "–" if value is None else f"{shown_value(name, value):.1f}"


def shown_value(name: str, value: float) -> float:
    """The number that a table shows, before it is rounded."""
    return value if name == "mean_rank" else 100 * value


def listed(words: Iterable[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
