"""What answers of the APIs are in the manifest, and the other way round."""

from __future__ import annotations

import sqlite3
from typing import Any

from featurestore.construct.halving import API
from featurestore.construct.wiki_facts import FileFacts, ItemFacts


def ending(problem: str) -> tuple[str, str]:
    """State and reason: what the API could not do may be done later, other problems stay."""
    return ("failed" if problem.startswith(API) else "bare"), problem


def said_of(row: sqlite3.Row, item: ItemFacts) -> dict[str, Any]:
    """What Wikidata says of an entity, as the manifest keeps it."""
    return {
        "label": item.label or row["label"],
        "description": item.description or row["description"],
        "image": item.image or row["image"],
        "item_known": not item.problem.startswith(API),
    }


def picture_state(problem: str) -> str:
    """Of a picture that was asked about: what the API could not do may be done later."""
    if not problem:
        return "known"
    return "failed" if problem.startswith(API) else "refused"


def facts_of(row: sqlite3.Row) -> FileFacts:
    """What the manifest knows of a picture, as the rule wants it."""
    return FileFacts(
        asked=row["name"],
        problem=row["reason"] if row["state"] == "refused" else "",
        mime=row["mime"],
        media_type=row["media_type"],
        width=row["width"],
        height=row["height"],
        is_free=bool(row["is_free"]),
    )
