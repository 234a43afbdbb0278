"""Where the recorded datasets and tiny encoders are, and how tests ingest them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from featurestore.options import IngestOptions

GOLDEN = Path(__file__).parent / "golden"
ENCODERS = GOLDEN / "encoders"
PIPELINE = GOLDEN / "pipeline"
RAW = PIPELINE / "raw"
PREPROCESSED = PIPELINE / "preprocessed"

#: The tiny encoders, and no detector.
TINY = IngestOptions(
    text_encoder=str(ENCODERS / "bert"),
    image_encoder=str(ENCODERS / "resnet"),
    clip=str(ENCODERS / "clip"),
    detector="none",
    device="cpu",
)

#: Features as they are computed: float32, and with what the encoder leaves at padding.
EXACT = replace(TINY, dtype="float32", padding="keep")

TEXT_ONLY = replace(EXACT, image_encoder="none", clip="none")
