"""The encoders that made a store, loaded again for mentions that are not in it.

A network understands the features of the encoders it was trained with and no others, so what is
loaded is compared with what the store recorded at ingest: sha256 of every file of a folder, or the
revision on the Hugging Face hub.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from featurestore import Store
from featurestore.encoders.clip import ClipEncoder
from featurestore.encoders.images import ImageEncoder
from featurestore.encoders.loading import DeviceName, EncoderInfo, library_versions
from featurestore.encoders.objects import Boxes, Detector, TorchvisionDetector, stack_boxes
from featurestore.encoders.suite import Encoders
from featurestore.encoders.text import TextEncoder
from featurestore.errors import EncoderError
from featurestore.options import recorded_option
from featurestore.schema import BY_PATH
from linker.encoder_places import recorded_encoder, recorded_path

Part = Literal["text", "image", "detector", "clip"]

#: The option that names each encoder, which the schema gives as the maker of its fields.
OPTIONS: Mapping[Part, str] = {
    "text": "--text-encoder",
    "image": "--image-encoder",
    "detector": "--detector",
    "clip": "--clip",
}

#: Names of torchvision's detectors as they are recorded → as they are chosen.
_DETECTORS: Mapping[str, Literal["fasterrcnn", "maskrcnn"]] = {
    "fasterrcnn_resnet50_fpn": "fasterrcnn",
    "maskrcnn_resnet50_fpn": "maskrcnn",
}


@dataclass(frozen=True, kw_only=True)
class EncoderChoice:
    """Which encoders to load; None = the one that the store recorded, where it was then.

    Args:
        text, image, clip: a folder, or a name on the Hugging Face hub; ``none``, as at ingest: there
            is none, and a model that reads its features is refused.
        detector: ``none`` = as if it found no object in any picture.
        detector_weights: a file, where the detector's own weights cannot be fetched.
        other: take an encoder that is not, or not known to be, the recorded one.
    """

    text: str | None = None
    image: str | None = None
    clip: str | None = None
    detector: Literal["fasterrcnn", "maskrcnn", "none"] | None = None
    detector_weights: str | None = None
    other: bool = False


class BlindDetector:
    """Finds no object in any picture; what stands for absent objects is that of ingest."""

    def __init__(self) -> None:
        self.info = EncoderInfo("detector", "none", "", {}, {}, library_versions())

    def detect(self, pictures: Sequence[Image.Image], *, keys: Sequence[str], keep: int) -> Boxes:
        """``keep`` empty places for each picture."""
        nothing = (np.empty((0, 4), np.float32), np.empty(0, np.float32))
        return stack_boxes([nothing] * len(pictures), keep)


def parts_for(fields: Collection[str]) -> frozenset[Part]:
    """The encoders that make these fields of the mention table."""
    makers = {BY_PATH[f"mentions/{field}"].made_by for field in fields}
    needed: set[Part] = {part for part, option in OPTIONS.items() if option in makers}
    if "detector" in needed:
        needed.add("image")  # what the boxes enclose goes through it
    return frozenset(needed)


def load_encoders(
    store: Store, needed: Collection[Part], *, choice: EncoderChoice, device: DeviceName
) -> tuple[Encoders, list[str]]:
    """The needed encoders, and a note on each that is not known to be the store's.

    Raises:
        EncoderError: the store records none and none is named, it is not where it was, it cannot be
            loaded, it is another one, or ``none`` was chosen for it.
    """
    recorded = store.provenance.get("encoders") or {}
    loaded: dict[Part, Any] = dict.fromkeys(OPTIONS)
    notes = []
    for part in OPTIONS:
        if part in needed:
            loaded[part] = _load(part, recorded.get(part), choice, device, store)
            notes += _compared(part, recorded.get(part), loaded[part].info, choice, store)
    encoders = Encoders(**loaded)
    _check_widths(encoders, store)
    return encoders, notes


def _load(
    part: Part,
    recorded: Mapping[str, Any] | None,
    choice: EncoderChoice,
    device: DeviceName,
    store: Store,
) -> Any:
    options = (recorded or {}).get("options", {})
    dtype = options.get("dtype", "float32")
    if part == "detector":
        return _detector(recorded, choice, device, store)
    name = _name(part, getattr(choice, part), recorded, store)
    if part == "text":
        limit = options.get("max_tokens")
        return TextEncoder.load(name, device=device, dtype=dtype, max_tokens=limit)
    if part == "image":
        return ImageEncoder.load(name, device=device, dtype=dtype)
    return ClipEncoder.load(name, device=device, dtype=dtype)


def _name(part: Part, given: str | None, recorded: Mapping[str, Any] | None, store: Store) -> str:
    """Name or folder of an encoder: as given, else as recorded."""
    option = OPTIONS[part]
    if given == "none":  # the word that leaves it out at ingest, never a name on the hub
        raise EncoderError(
            f"the run's model reads features of the {part} encoder, which {option} none leaves out",
            where=f"{option} none",
            hint=f"leave {option} out to take the one that made the store, or name a folder (one called "
            "none: ./none)",
        )
    if given is not None:
        return given
    if recorded is None:
        raise EncoderError(
            f"the store does not say which {part} encoder made its features",
            where=str(store.path),
            hint=f"name it: {option} NAME|FOLDER; scores are right only if it is the very one",
        )
    hint = f"say where it is now: {option} FOLDER (Python: encoders=EncoderChoice({part}=FOLDER))"
    return recorded_encoder(part, recorded, store, hint=hint)


def _detector(
    recorded: Mapping[str, Any] | None, choice: EncoderChoice, device: DeviceName, store: Store
) -> Detector:
    if choice.detector == "none":
        return BlindDetector()
    name = choice.detector
    if name is None:
        name = _DETECTORS.get((recorded or {}).get("name", ""))
    if name is None:
        raise EncoderError(
            "the store's objects come from recorded boxes, which know nothing of a new picture"
            if recorded
            else "the store does not say which detector found its objects",
            where=str(store.path),
            hint="name a detector: --detector fasterrcnn|maskrcnn with --other-encoder, or "
            "--detector none: as if it found no object "
            '(Python: encoders=EncoderChoice(detector="none"))',
        )
    weights = choice.detector_weights or _recorded_weights(store)
    return TorchvisionDetector.load(name, weights=weights or "DEFAULT", device=device)


def _recorded_weights(store: Store) -> str | None:
    """The file of the detector's weights that ingest was given; None = the detector's own."""
    recorded = recorded_option(store.provenance, "detector_weights")
    if recorded is None:
        return None
    return recorded_path(
        recorded,
        store,
        is_there=Path.is_file,
        what="the detector's weights that made the store are not where they were",
        hint="say where they are now: --detector-weights FILE "
        "(Python: encoders=EncoderChoice(detector_weights=FILE))",
    )


def _compared(
    part: Part,
    recorded: Mapping[str, Any] | None,
    found: EncoderInfo,
    choice: EncoderChoice,
    store: Store,
) -> list[str]:
    """A note where the encoder is not known to be the recorded one.

    Raises:
        EncoderError: it is not, and that was not asked for.
    """
    if part == "detector" and choice.detector == "none":
        return ["no detector: pictures count as showing no object"]
    if recorded is None:
        return [
            f"{found.name} was taken for the {part} encoder of the store, which names none: "
            "scores are right only if it is the very one"
        ]
    difference = _difference(recorded, found)
    if not difference:
        return []
    if not choice.other:
        raise EncoderError(
            f"not the {part} encoder that made the store: {difference}",
            where=f"{found.name} (the store's: {recorded['name']}, {store.path})",
            hint=f"give the right one with {OPTIONS[part]}, or --other-encoder",
        )
    return [f"{found.name} is not the {part} encoder that made the store: {difference}"]


def _difference(recorded: Mapping[str, Any], found: EncoderInfo) -> str:
    """In words, in what two encoders are not known to be the same; empty = they are."""
    if recorded["files"] and found.files:
        if recorded["kind"] == "detector":  # one file, whatever its name
            same = set(recorded["files"].values()) == set(found.files.values())
            return "" if same else "other weights"
        files = sorted(recorded["files"].items() ^ found.files.items())
        return f"{files[0][0]} is another file, or only one has it" if files else ""
    if recorded["files"]:
        return "that one was files on disk, this one is not"
    if found.files:
        return "that one was not files on disk, this one is"
    if (recorded["name"], recorded["revision"]) == (found.name, found.revision):
        return ""
    was, is_ = recorded["revision"] or "unknown", found.revision or "unknown"
    return f"{recorded['name']} in revision {was}, now {found.name} in revision {is_}"


def _check_widths(encoders: Encoders, store: Store) -> None:
    """The features must be as wide as the store's, or the network cannot read them."""
    widths = (
        (encoders.text, "text", "mentions/text_span"),
        (encoders.image, "image", "mentions/image_mean"),
        (encoders.clip, "clip", "entities/clip_text"),
    )
    for encoder, part, path in widths:
        if encoder is None or not store.has(path) or encoder.width == store.width(path):
            continue
        raise EncoderError(
            f"the {part} encoder's features are {encoder.width} wide, the store's "
            f"{store.width(path)}",
            where=f"{encoder.info.name}, {store.path}::/{path}",
            hint="give the encoder that made the store",
        )
