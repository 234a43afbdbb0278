"""The encoders of one ingest, loaded together before anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from featurestore.encoders.clip import ClipEncoder
from featurestore.encoders.images import ImageEncoder
from featurestore.encoders.objects import Detector, TorchvisionDetector
from featurestore.encoders.text import TextEncoder
from featurestore.options import IngestOptions


@dataclass(frozen=True)
class Encoders:
    """The encoders of one ingest; ``None`` leaves their fields out."""

    text: TextEncoder | None
    image: ImageEncoder | None
    detector: Detector | None
    clip: ClipEncoder | None

    @classmethod
    def load(cls, options: IngestOptions, *, recorded: Detector | None = None) -> Encoders:
        """Load what the options name, before anything is written.

        Args:
            options: names, folders, ``none``; where they run.
            recorded: a detector that replays boxes, in place of the one that the options name.

        Raises:
            EncoderError: one of them cannot be loaded.
        """
        device, dtype = options.device, options.encoder_dtype
        text = image = detector = clip = None
        if options.text_encoder != "none":
            text = TextEncoder.load(options.text_encoder, device=device, dtype=dtype)
        if options.image_encoder != "none":
            image = ImageEncoder.load(options.image_encoder, device=device, dtype=dtype)
            detector = recorded or _detector(options)  # what its boxes enclose goes through image
        if options.clip != "none":
            clip = ClipEncoder.load(options.clip, device=device, dtype=dtype)
        return cls(text=text, image=image, detector=detector, clip=clip)

    def describe(self) -> dict[str, Any]:
        """Which encoders these are, for the store's provenance; ``None`` where there is none."""
        parts = {
            "text": self.text,
            "image": self.image,
            "detector": self.detector,
            "clip": self.clip,
        }
        return {name: part.info.as_json() if part else None for name, part in parts.items()}


def _detector(options: IngestOptions) -> Detector | None:
    if options.detector == "none":
        return None
    return TorchvisionDetector.load(
        options.detector, weights=options.detector_weights or "DEFAULT", device=options.device
    )
