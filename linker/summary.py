"""The figures of a run or of an evaluation as plain values, each with what it depends on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from linker.config import MetricsConfig, TrainConfig
from linker.matching import Match
from linker.models import model_class
from linker.ranks import Metrics, Ranks, summarise


def split_metrics(ranks: Ranks, config: MetricsConfig) -> Metrics:
    """The figures of a split under the configured rules."""
    return summarise(ranks, ks=config.ks, ties=config.tie_rule, denominator=config.denominator)


def figures(metrics: Metrics) -> dict[str, float | int | None]:
    """``hits@k`` …, ``mrr``, ``mean_rank`` (None where a counted gold has no rank), and counts."""
    return {
        **{f"hits@{k}": value for k, value in metrics.hits.items()},
        "mrr": metrics.mrr,
        "mean_rank": metrics.mean_rank,
        "mentions": metrics.mentions,
        "retrieved": metrics.retrieved,
    }


def conditions(config: TrainConfig, match: Match) -> dict[str, Any]:
    """What one has to know to read the figures; a model that learns nothing has options, no seed.

    Of one that learns, ``changed`` holds the options that are not the defaults.
    """
    values: dict[str, Any] = {
        "model": match.name,
        "text": config.text.words,
        "protocol": config.protocol,
        "candidates": config.candidates,
        "tie_rule": config.metrics.tie_rule,
        "denominator": config.metrics.denominator,
        "seed": config.seed if match.learns else None,
    }
    if not match.learns:
        values["options"] = match.config.model_dump(mode="json")
    else:
        changed = match.config.model_dump(mode="json", exclude_defaults=True)
        values["changed"] = {key: value for key, value in changed.items() if key != "edges"}
    if model_class(match.name)[0].edge_fields:
        values["edges"] = list(match.edges)
        values["edges_off"] = dict(match.edges_off)
    return values


def store_line(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Which store, in short."""
    return {key: identity[key] for key in ("path", "fingerprint", "dataset", "sentences")}
