"""Objects: boxes that a detector finds in a picture, and the image encoder's features of each.

Boxes are x0 y0 x1 y1 in the 224×224 frame, best score first. Where a detector finds fewer than asked
for, the box is ``NO_BOX`` with score 0 (DATASETS.md): it is cut out and encoded like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Literal, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import detection
from torchvision.transforms.functional import pil_to_tensor

from featurestore.encoders.images import FRAME, ImageEncoder, to_frame
from featurestore.encoders.loading import (
    DeviceName,
    EncoderInfo,
    Runtime,
    library_versions,
    sha256_of,
)
from featurestore.errors import EncoderError

DetectorName = Literal["fasterrcnn", "maskrcnn"]

#: Box of an object that was not found.
NO_BOX = (0.0, 0.0, 50.0, 50.0)

_BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "fasterrcnn": detection.fasterrcnn_resnet50_fpn,
    "maskrcnn": detection.maskrcnn_resnet50_fpn,
}


class Boxes(NamedTuple):
    """Objects of b pictures."""

    boxes: NDArray[np.float32]  # (b, O, 4) pixels of the frame
    scores: NDArray[np.float32]  # (b, O) probability, falling; 0 = no such object


class Detector(Protocol):
    """Finds objects; ``keys`` name the pictures for a detector that only remembers."""

    info: EncoderInfo

    def detect(
        self, pictures: Sequence[Image.Image], *, keys: Sequence[str], keep: int
    ) -> Boxes: ...


class TorchvisionDetector:
    """A detection network of torchvision. Always float32: its box arithmetic needs it."""

    def __init__(self, *, model: nn.Module, runtime: Runtime, info: EncoderInfo) -> None:
        self._model = runtime.place(model.eval())
        self._runtime = runtime
        self.info = info

    @classmethod
    def load(
        cls, name: DetectorName, *, weights: str = "DEFAULT", device: DeviceName = "auto"
    ) -> TorchvisionDetector:
        """ResNet-50-FPN of torchvision, trained on COCO.

        Args:
            weights: ``DEFAULT`` (downloaded once by torchvision), or a .pth or .safetensors file
                with the state of that network.

        Raises:
            EncoderError: an unknown name, weights that cannot be downloaded or do not fit.
        """
        if name not in _BUILDERS:
            raise EncoderError(f"unknown detector {name!r}", hint=", ".join(_BUILDERS))
        build = _BUILDERS[name]
        info = EncoderInfo(
            kind="detector",
            name=f"{name}_resnet50_fpn",
            revision="COCO_V1" if weights == "DEFAULT" else "",
            files={} if weights == "DEFAULT" else sha256_of([_weight_file(weights)]),
            options={"frame": FRAME},
            libraries=library_versions(),
        )
        model = _downloaded(build) if weights == "DEFAULT" else _from_file(build, Path(weights))
        return cls(model=model, runtime=Runtime.choose(device, "float32"), info=info)

    def detect(self, pictures: Sequence[Image.Image], *, keys: Sequence[str], keep: int) -> Boxes:
        """The ``keep`` best boxes of each picture; ``keys`` are not looked at."""
        frames = [
            pil_to_tensor(to_frame(each)).to(self._runtime.device).float() / 255
            for each in pictures
        ]
        with self._runtime.inference():
            found = self._model(frames)
        return stack_boxes([_best(each, keep) for each in found], keep)


class RecordedBoxes:
    """Replays boxes that a detector found earlier."""

    def __init__(
        self, *, found: Mapping[str, tuple[ArrayLike, ArrayLike]], info: EncoderInfo
    ) -> None:
        """``found``: key of a picture → boxes (n, 4) and scores (n,), best first."""
        self._found = found
        self.info = info

    def detect(self, pictures: Sequence[Image.Image], *, keys: Sequence[str], keep: int) -> Boxes:
        """What was recorded under ``keys``, cut or filled up to ``keep``; no picture is looked at.

        Raises:
            EncoderError: nothing is recorded for a key.
        """
        absent = [key for key in keys if key not in self._found]
        if absent:
            raise EncoderError(f"no boxes are recorded for {absent[0]!r}", where=self.info.name)
        return stack_boxes([self._found[key] for key in keys], keep)


def encode_objects(
    encoder: ImageEncoder, pictures: Sequence[Image.Image], boxes: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Pooled features (b, O, V) of what ``boxes`` (b, O, 4) enclose; equal boxes are encoded once."""
    cuts: list[Image.Image] = []
    place: list[NDArray[np.intp]] = []
    for picture, own in zip(pictures, boxes, strict=True):
        distinct, inverse = np.unique(own, axis=0, return_inverse=True)
        place.append(len(cuts) + inverse.reshape(-1))
        cuts += [cut_out(picture, box) for box in distinct]
    return encoder.encode_pooled(cuts)[np.stack(place)]


def cut_out(picture: Image.Image, box: ArrayLike) -> Image.Image:
    """The part of ``picture`` inside ``box``, which is scaled from the frame to the picture's size.

    Corners are rounded to whole pixels; at least one pixel is left of a box that vanishes so.
    """
    x0, y0, x1, y1 = np.asarray(box, np.float64) / FRAME
    left, right = _whole_pixels(x0, x1, picture.width)
    top, bottom = _whole_pixels(y0, y1, picture.height)
    return picture.crop((left, top, right, bottom))


def _whole_pixels(low: float, high: float, size: int) -> tuple[int, int]:
    """[low, high) in [0, 1] as pixels of a side of ``size``, inside it and not empty."""
    first = min(max(round(low * size), 0), size - 1)
    return first, max(min(round(high * size), size), first + 1)


def stack_boxes(found: Sequence[tuple[ArrayLike, ArrayLike]], keep: int) -> Boxes:
    """Boxes (n, 4) and scores (n,) of each picture, cut or filled up to ``keep``."""
    boxes = np.tile(np.array(NO_BOX, np.float32), (len(found), keep, 1))
    scores = np.zeros((len(found), keep), np.float32)
    for row, (own_boxes, own_scores) in enumerate(found):
        count = min(len(np.asarray(own_scores)), keep)
        boxes[row, :count] = np.asarray(own_boxes)[:count]
        scores[row, :count] = np.asarray(own_scores)[:count]
    return Boxes(boxes, scores)


def _best(found: dict[str, Tensor], keep: int) -> tuple[ArrayLike, ArrayLike]:
    best = torch.argsort(found["scores"], descending=True, stable=True)[:keep]
    return found["boxes"][best].cpu().numpy(), found["scores"][best].cpu().numpy()


def _downloaded(build: Callable[..., nn.Module]) -> nn.Module:
    try:
        return build(weights="DEFAULT")
    except (OSError, RuntimeError) as error:  # no network; a damaged download
        raise EncoderError(
            f"the detector's weights cannot be downloaded: {error}",
            where=build.__name__,
            hint="give a file with its weights (--detector-weights), or choose --detector none",
        ) from error


def _weight_file(name: str) -> Path:
    path = Path(name)
    if not path.is_file():
        raise EncoderError("the file with the detector's weights is missing", where=name)
    return path


def _from_file(build: Callable[..., nn.Module], path: Path) -> nn.Module:
    """The network with the state in ``path``, which is read without running code from it."""
    hint = f"a state dict of torchvision's {build.__name__} is needed"
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, ValueError, EOFError, UnpicklingError, SafetensorError) as error:
        raise EncoderError("the file holds no plain weights", where=str(path), hint=hint) from error
    model = build(weights=None, weights_backbone=None)
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError) as error:
        raise EncoderError(
            f"the weights do not fit the detector: {str(error).splitlines()[0]}",
            where=str(path),
            hint=hint,
        ) from error
    return model
