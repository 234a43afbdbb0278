"""Pictures in batches, and the image encoder's features of regions and of the whole."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers import AutoImageProcessor, BaseImageProcessor, PreTrainedModel

from featurestore.encoders.loading import (
    DeviceName,
    DtypeName,
    EncoderInfo,
    Runtime,
    describe,
    load_model,
    loading,
)
from featurestore.encoders.opening import open_picture
from featurestore.encoders.seen import Seen, look
from featurestore.encoders.small import small_jpeg
from featurestore.errors import EncoderError

#: Side of the square that pictures are brought to before the encoder and the detector.
FRAME = 224

#: The default picture, 224×224 of this grey, reproduces the recorded features of absent pictures.
DEFAULT_COLOUR = (128, 128, 128)


def default_picture() -> Image.Image:
    """What is encoded in place of an absent picture."""
    return Image.new("RGB", (FRAME, FRAME), DEFAULT_COLOUR)


class PictureBatch(NamedTuple):
    """Opened pictures; where one is absent, the default picture."""

    pictures: list[Image.Image]
    status: NDArray[np.uint8]  # (b,) codes of schema.IMAGE_STATUS
    seen: NDArray[np.int64]  # (b, 3) what tells each file from another (featurestore.encoders.seen)
    thumbnails: list[bytes]  # JPEGs; nothing where the picture is absent, or none were asked for


class _Opened(NamedTuple):
    picture: Image.Image | None
    status: int
    seen: Seen
    thumbnail: bytes


def read_pictures(
    paths: Iterable[Path | None],
    *,
    batch_size: int = 64,
    batch_pixels: int = 2**26,
    workers: int = 2,
    thumbnails: bool = False,
) -> Iterator[PictureBatch]:
    """Open ``paths`` in order, a batch at a time, decoding ahead in threads.

    Args:
        batch_size: pictures in a batch, at most.
        batch_pixels: a batch ends early at this many pixels (2**26 are 200 MB).
        workers: decoding threads; each is at most two pictures ahead.
        thumbnails: make them, too.
    """
    batch: list[_Opened] = []
    pixels = 0
    for opened in _opened_ahead(paths, workers, thumbnails):
        batch.append(opened)
        picture = opened.picture
        pixels += picture.width * picture.height if picture else FRAME * FRAME
        if len(batch) == batch_size or pixels >= batch_pixels:
            yield _picture_batch(batch)
            batch, pixels = [], 0
    if batch:
        yield _picture_batch(batch)


def _opened_ahead(
    paths: Iterable[Path | None], workers: int, thumbnails: bool
) -> Iterator[_Opened]:
    ahead: deque[Future[_Opened]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for path in paths:
            ahead.append(pool.submit(_open, path, thumbnails))
            if len(ahead) > 2 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _open(path: Path | None, with_thumbnail: bool) -> _Opened:
    seen = look(path)  # first: a file that is replaced between the two is another one later on
    picture, status = open_picture(path)
    thumbnail = small_jpeg(picture) if picture is not None and with_thumbnail else b""
    return _Opened(picture, status, seen, thumbnail)


def _picture_batch(opened: list[_Opened]) -> PictureBatch:
    return PictureBatch(
        [each.picture or default_picture() for each in opened],
        np.array([each.status for each in opened], np.uint8),
        np.array([each.seen for each in opened], np.int64),
        [each.thumbnail for each in opened],
    )


class ImageFeatures(NamedTuple):
    """Features of b pictures."""

    regions: NDArray[np.float32]  # (b, R, V) last hidden state, regions row by row of the map
    pooled: NDArray[np.float32]  # (b, V)


class ImageEncoder:
    """An image model and its own image processor."""

    def __init__(
        self,
        *,
        model: PreTrainedModel,
        processor: BaseImageProcessor,
        runtime: Runtime,
        info: EncoderInfo,
        batch_size: int = 64,
    ) -> None:
        self._model = runtime.place(model)
        self._processor = processor
        self._runtime = runtime
        self._batch_size = batch_size
        self.info = info
        probe = self.encode([default_picture()])
        self.regions: int = probe.regions.shape[1]
        self.width: int = probe.regions.shape[2]

    @classmethod
    def load(
        cls, name: str, *, device: DeviceName = "auto", dtype: DtypeName = "float32"
    ) -> ImageEncoder:
        """An image model from a folder or the Hugging Face hub, such as ``microsoft/resnet-152``.

        Raises:
            EncoderError: it cannot be loaded, reads no pictures, or has no pooled output.
        """
        runtime = Runtime.choose(device, dtype)
        model, _ = load_model(name, kind="image encoder")
        if getattr(model, "main_input_name", "") != "pixel_values" or hasattr(model, "text_model"):
            raise EncoderError(f"{type(model).__name__} is not an image encoder", where=name)
        with loading(name, kind="image encoder"):
            processor = AutoImageProcessor.from_pretrained(name, backend="torchvision")
        info = describe("image", name, model, {"dtype": dtype, "frame": FRAME})
        return cls(model=model, processor=processor, runtime=runtime, info=info)

    def encode(self, pictures: Sequence[Image.Image]) -> ImageFeatures:
        """Region and pooled features of a batch of RGB pictures of any size."""
        parts = [
            (self._regions(state, pixels).float().cpu().numpy(), pooled.float().cpu().numpy())
            for state, pooled, pixels in self._forward(pictures)
        ]
        return ImageFeatures(*(np.concatenate(each) for each in zip(*parts, strict=True)))

    def encode_pooled(self, pictures: Sequence[Image.Image]) -> NDArray[np.float32]:
        """The pooled features (b, V) alone."""
        parts = [pooled.float().cpu().numpy() for _, pooled, _ in self._forward(pictures)]
        return np.concatenate(parts)

    def _forward(self, pictures: Sequence[Image.Image]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Last hidden state, pooled output (b, V) and pixels, at most ``batch_size`` at a time."""
        for begin in range(0, len(pictures), self._batch_size):
            frames = [to_frame(each) for each in pictures[begin : begin + self._batch_size]]
            pixels = self._processor(images=frames, return_tensors="pt")["pixel_values"]
            with self._runtime.inference():
                output = self._model(pixel_values=pixels.to(self._runtime.device))
            pooled = getattr(output, "pooler_output", None)
            if pooled is None:
                raise EncoderError(
                    f"{type(self._model).__name__} has no pooled output", where=self.info.name
                )
            yield output.last_hidden_state, pooled.flatten(1), pixels

    def _regions(self, state: Tensor, pixels: Tensor) -> Tensor:
        """(b, R, V) from a map (b, V, h, w), or from the patch tokens of a transformer.

        A transformer puts its extra tokens ([CLS], registers) before the patches.
        """
        if state.ndim == 4:
            return state.flatten(2).transpose(1, 2)
        patch = self._model.config.patch_size
        patches = (pixels.shape[2] // patch) * (pixels.shape[3] // patch)
        return state[:, -patches:]


def to_frame(picture: Image.Image) -> Image.Image:
    """The picture as 224×224, bicubic, its proportions not kept (DATASETS.md)."""
    return picture.resize((FRAME, FRAME), Image.Resampling.BICUBIC)
