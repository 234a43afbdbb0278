"""Where an encoder that a store recorded is now.

Ingest records a folder or file as it was given, and beside it the folder that ingest ran in, because
a relative path means something else anywhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from featurestore import Store
from featurestore.errors import EncoderError


def recorded_encoder(part: str, recorded: Mapping[str, Any], store: Store, *, hint: str) -> str:
    """Name on the Hugging Face hub, or path of the folder, of an encoder that made the store.

    Only what was a folder at ingest has digests of its files, so that a folder that is gone is not
    asked of the hub.

    Args:
        part: which encoder, for the message: "text", "image", "clip".
        recorded: what the store says of it.
        hint: how to say where it is now.

    Raises:
        EncoderError: it was a folder, and is neither here nor where it was; names both places.
    """
    name = str(recorded["name"])
    if not recorded.get("files"):
        return name
    what = f"the {part} encoder that made the store is not where it was"
    return recorded_path(name, store, is_there=Path.is_dir, what=what, hint=hint)


def recorded_path(
    name: str, store: Store, *, is_there: Callable[[Path], bool], what: str, hint: str
) -> str:
    """A path that ingest was given: as it is, else below the folder that ingest ran in.

    Args:
        is_there: whether a path is what is looked for.
        what, hint: of the error.

    Raises:
        EncoderError: it is in neither place; names both.
    """
    places = [Path.cwd() / name]
    ran_in = (store.provenance.get("run") or {}).get("working_folder")
    if ran_in is not None:  # stores made before this was recorded do not say it
        places.append(Path(ran_in) / name)
    for place in places:
        if is_there(place):
            return name if place == places[0] else str(place)
    looked_at = " and ".join(dict.fromkeys(map(str, places)))
    raise EncoderError(what, where=looked_at, hint=hint)
