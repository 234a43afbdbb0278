"""The registry of checks. To add one: write a function that looks and yields findings, name it here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from featurestore.audit.entities import duplicate_entities, missing_descriptions
from featurestore.audit.features import identical_features, not_finite, zero_rows
from featurestore.audit.finding import Finding
from featurestore.audit.look import Look
from featurestore.audit.mentions import (
    cut_spans,
    repeated_mentions,
    shared_mentions,
    shared_sentences,
)
from featurestore.audit.pictures import missing_pictures, picture_files, similar_pictures
from featurestore.audit.protocol import (
    candidate_lists,
    candidate_recall,
    gold_place,
    golds,
    title_leak,
)

#: A check: looks at a store, yields what it found. Its docstring's first line says what it looks for.
Check: TypeAlias = Callable[[Look], Iterator[Finding]]

CHECKS: Mapping[str, Check] = {
    "not-finite": not_finite,
    "zero-rows": zero_rows,
    "identical-features": identical_features,
    "missing-pictures": missing_pictures,
    "missing-descriptions": missing_descriptions,
    "duplicate-entities": duplicate_entities,
    "cut-spans": cut_spans,
    "repeated-mentions": repeated_mentions,
    "shared-mentions": shared_mentions,
    "shared-sentences": shared_sentences,
    "picture-files": picture_files,
    "similar-pictures": similar_pictures,
    "candidate-recall": candidate_recall,
    "gold-place": gold_place,
    "golds": golds,
    "candidate-lists": candidate_lists,
    "title-leak": title_leak,
}
