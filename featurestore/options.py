"""What an ingest can be told; defaults are those of the release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from featurestore.codecs import DEFAULT_COMPRESSION, Compression

FeatureDtype = Literal["float16", "float32"]
DeviceName = Literal["auto", "cpu", "cuda"]
DetectorName = Literal["fasterrcnn", "maskrcnn", "none"]
TitleMatch = Literal["exact", "normalised"]
Padding = Literal["auto", "drop", "keep"]
Thumbnails = Literal["jpeg", "none"]
EntityText = Literal["attr", "name", "brief"]


@dataclass(frozen=True, kw_only=True)
class IngestOptions:
    """Everything that decides what a store holds. Encoders are a name, a folder, or ``none``.

    Defaults are those of the release (DATASETS.md, "What the raw form is turned into").
    """

    dataset: str | None = None  # None = recognised
    text_encoder: str = "bert-base-cased"
    image_encoder: str = "microsoft/resnet-152"
    clip: str = "openai/clip-vit-base-patch32"
    detector: DetectorName = "fasterrcnn"
    detector_weights: str | None = None  # a file, where the detector's own cannot be fetched
    boxes: Path | None = None  # recorded boxes in place of a detector
    dtype: FeatureDtype = "float16"
    compression: Compression = DEFAULT_COMPRESSION
    device: DeviceName = "auto"
    encoder_dtype: Literal["float32", "bfloat16"] = "float32"
    padding: Padding = "auto"  # features at padded positions; see keeps_padding
    entity_text: EntityText = "attr"  # what encoders read of an entity; raw data only
    mention_tokens: int = 128  # T
    entity_tokens: int = 64  # S
    mention_objects: int = 3
    entity_objects: int = 1
    thumbnails: Thumbnails = "jpeg"  # small pictures to browse; raw data only
    title_match: TitleMatch = "exact"  # raw WikiDiverse: when a gold is a candidate
    candidates: int = 100  # MIMIC's layout, which has none: so many are made for each mention
    limit: int | None = None

    def plain(self) -> dict[str, Any]:
        """The options as JSON can hold them."""
        return {
            key: str(value) if isinstance(value, Path) else value
            for key, value in asdict(self).items()
        }

    def objects_of(self, table: str) -> int:
        """Objects that are kept of each picture of a table."""
        return self.entity_objects if table == "entities" else self.mention_objects

    def keeps_padding(self, layout: str) -> bool:
        """Whether what stands at padded positions is stored, for an exact way back to ``.npy``.

        ``auto``: where every other number is exact too, in a float32 store of recorded arrays.
        """
        if self.padding == "auto":
            return layout == "preprocessed" and self.dtype == "float32"
        return self.padding == "keep"


def options_from(plain: Mapping[str, Any]) -> IngestOptions:
    """The options that :meth:`IngestOptions.plain` gave."""
    boxes = plain.get("boxes")
    return IngestOptions(**{**plain, "boxes": None if boxes is None else Path(boxes)})


def recorded_option(provenance: Mapping[str, Any], name: str) -> Any:
    """An option of the ingest that made a store; the default where the store does not say."""
    return provenance.get("options", {}).get(name, getattr(IngestOptions(), name))
