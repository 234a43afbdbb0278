"""Where the recorded datasets are, and how the tests of --text online ingest them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from featurestore.options import IngestOptions

GOLDEN = Path(__file__).parent / "golden"
BERT = GOLDEN / "encoders" / "bert"
RAW = GOLDEN / "pipeline" / "raw"

#: Features as they are computed: float32, and with what the encoder leaves at padding.
TINY = IngestOptions(
    text_encoder=str(BERT),
    image_encoder=str(GOLDEN / "encoders" / "resnet"),
    clip=str(GOLDEN / "encoders" / "clip"),
    detector="none",
    device="cpu",
    dtype="float32",
    padding="keep",
)
TEXT_ONLY = replace(TINY, image_encoder="none", clip="none")
