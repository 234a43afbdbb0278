"""The parts of a model card that hold figures, and what these figures do not say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from featurestore import Store
from linker.markdown import bullets, escaped, table
from linker.report_words import first_stage_words

#: Splits that a card has figures of, in its order.
SPLITS = ("valid", "test")

#: What the protocols and denominators mean, in a sentence.
_PROTOCOLS: Mapping[str, str] = {
    "strict": "the model sees the retrieved candidates only, as a real linker does",
    "paper": "the gold entity is one more candidate of the forward pass, as in the published figures",
    "full-kb": "all entities of the store are ranked",
    "two-stage": "a first stage retrieves among all entities of the store, and the model ranks these",
}
_DENOMINATORS: Mapping[str, str] = {
    "all": "all mentions; a gold that was not retrieved counts as an error",
    "retrieved": "the mentions whose gold was retrieved",
}


def figures_section(store: Store, summary: Mapping[str, Any]) -> str:
    """A row a split, and what one has to know to read it."""
    present = [split for split in SPLITS if summary.get(split)]
    names = list(dict.fromkeys(name for split in present for name in figures_of(summary, split)))
    rows = [
        (
            split,
            *(_cell(name, summary[split].get(name)) for name in names),
            f"{summary[split]['mentions']:,}",
            f"{summary[split]['retrieved']:,}",
        )
        for split in present
    ]
    header = ("split", *map(heading, names), "mentions", "gold retrieved")
    protocol, denominator = str(summary["protocol"]), str(summary["denominator"])
    lines = [
        f"protocol {escaped(protocol)}: {_PROTOCOLS.get(protocol, 'unknown')}",
        f"a gold that ties with others has its {escaped(summary['tie_rule'])} rank",
        f"denominator {escaped(denominator)}: {_DENOMINATORS.get(denominator, 'unknown')}",
    ]
    lines += [
        f"the {split} split was not scored"
        for split in SPLITS
        if split not in present and store.mentions.splits.get(split)
    ]
    parts = ["## Figures", "Hits and MRR in %.", table(header, rows, numbers=True), bullets(lines)]
    return "\n\n".join(parts)


def limits_section(summary: Mapping[str, Any]) -> str:
    """What the figures do not say."""
    lines = []
    if summary["protocol"] == "paper":
        lines.append(
            "Under protocol paper the model sees the gold among the candidates, also where it was "
            "not retrieved: the answer may leak, and figures are not those of a real linker."
        )
        slots = summary.get("empty_gold_slots")
        if isinstance(slots, Mapping) and any(slots.values()):
            counts = ", ".join(f"{escaped(name)} {count:,}" for name, count in slots.items())
            lines.append(f"Mentions whose gold the store does not hold: {counts}.")
    lines += _ceiling(summary)
    lines.append(
        f"Ties are counted by the {escaped(summary['tie_rule'])} rank; other rules differ."
    )
    if summary["seed"] is not None:
        lines.append("The figures are of one seed: compare models by several (drin-fs report).")
    return "\n\n".join(["## Limits", bullets(lines)])


def _ceiling(summary: Mapping[str, Any]) -> list[str]:
    """How many golds can be found at all; nothing where all entities are ranked."""
    shares = [
        f"{100 * summary[split]['retrieved'] / summary[split]['mentions']:.1f} % of {split}"
        for split in SPLITS
        if summary.get(split) and summary[split]["mentions"]
    ]
    if summary["protocol"] == "two-stage":
        return [
            "The first stage is the ceiling: a gold that it misses counts as an error, whatever the "
            f"model does. It was {escaped(first_stage_words(summary.get('first_stage')))}."
        ]
    if summary["protocol"] == "full-kb" or not shares:
        return []
    return [
        f"Candidates are the ceiling: {', '.join(shares)} have their gold among them, and no model "
        "that ranks candidates finds the others."
    ]


def figures_of(summary: Mapping[str, Any], split: str) -> dict[str, float]:
    """Name → figure that there is: hits@k by growing k, MRR, mean rank, recall of a first stage."""
    values = summary[split]
    hits = sorted(
        (name for name in values if re.fullmatch(r"hits@\d+", name)), key=lambda n: int(n[5:])
    )
    recalls = [name for name in values if re.fullmatch(r"recall@\d+", name)]
    names = [*hits, "mrr", "mean_rank", *recalls]
    return {name: values[name] for name in names if values.get(name) is not None}


def heading(name: str) -> str:
    """A figure as a reader calls it."""
    return {"mrr": "MRR", "mean_rank": "mean rank"}.get(name, name)


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1f}" if name == "mean_rank" else f"{100 * value:.1f}"
