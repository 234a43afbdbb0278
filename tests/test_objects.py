"""Objects: boxes from a detector or a recording, cut out of the picture at its own size."""

from __future__ import annotations

import urllib.error
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign

from featurestore.encoders.images import FRAME, ImageEncoder, default_picture
from featurestore.encoders.loading import EncoderInfo, Runtime
from featurestore.encoders.objects import (
    NO_BOX,
    RecordedBoxes,
    TorchvisionDetector,
    cut_out,
    encode_objects,
    stack_boxes,
)
from featurestore.errors import EncoderError

ENCODERS = Path(__file__).parent / "golden" / "encoders"
INFO = EncoderInfo("detector", "for tests", "", {}, {}, {})


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """The models are tiny: more threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class TinyBackbone(nn.Sequential):
    """One convolution, so that detection takes milliseconds."""

    out_channels = 4

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 4, 8, stride=8))


@pytest.fixture(scope="module")
def detector() -> TorchvisionDetector:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = FasterRCNN(
            TinyBackbone(),
            num_classes=2,
            min_size=FRAME,
            max_size=FRAME,
            rpn_anchor_generator=AnchorGenerator(((64,),), ((1.0,),)),
            box_roi_pool=MultiScaleRoIAlign(["0"], output_size=2, sampling_ratio=1),
            box_score_thresh=0.0,
            box_detections_per_img=5,
        )
    return TorchvisionDetector(model=model, runtime=Runtime.choose("cpu", "float32"), info=INFO)


class TestDetector:
    def test_boxes_lie_in_the_frame_best_first(self, detector: TorchvisionDetector) -> None:
        pictures = [default_picture(), Image.linear_gradient("L").convert("RGB")]
        found = detector.detect(pictures, keys=["a", "b"], keep=4)
        assert (found.boxes.shape, found.scores.shape) == ((2, 4, 4), (2, 4))
        assert (np.diff(found.scores, axis=1) <= 0).all()
        assert (found.scores[:, 0] > 0).all()
        assert (found.boxes >= 0).all()
        assert (found.boxes <= FRAME).all()
        assert (found.boxes[..., 2:] > found.boxes[..., :2]).all()

    def test_boxes_are_of_the_frame_whatever_the_picture_s_size(
        self, detector: TorchvisionDetector
    ) -> None:
        small = Image.new("RGB", (60, 90), (1, 200, 3))
        large = Image.new("RGB", (600, 300), (1, 200, 3))
        found = detector.detect([small, large], keys=["a", "b"], keep=3)
        np.testing.assert_allclose(found.boxes[0], found.boxes[1], atol=1e-3)

    def test_what_is_not_found_is_the_missing_box(self, detector: TorchvisionDetector) -> None:
        found = detector.detect([default_picture()], keys=["a"], keep=9)
        assert (found.boxes[0, 5:] == NO_BOX).all()
        assert (found.scores[0, 5:] == 0).all()
        assert (found.scores[0, :5] > 0).all()

    def test_unknown_name_lists_the_choices(self) -> None:
        with pytest.raises(EncoderError, match="unknown detector 'yolo'") as caught:
            TorchvisionDetector.load("yolo")  # type: ignore[arg-type]
        assert caught.value.hint == "fasterrcnn, maskrcnn"

    def test_weights_that_cannot_be_downloaded(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        def no_network(*_: object, **__: object) -> None:
            raise urllib.error.URLError("no route")

        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        monkeypatch.setattr(torch.hub, "urlopen", no_network)
        with pytest.raises(EncoderError, match=r"cannot be downloaded.*no route") as caught:
            TorchvisionDetector.load("fasterrcnn", device="cpu")
        assert "give a file with its weights" in caught.value.hint

    def test_absent_weight_file(self, tmp_path: Path) -> None:
        with pytest.raises(EncoderError, match="weights is missing") as caught:
            TorchvisionDetector.load("fasterrcnn", weights=str(tmp_path / "absent.pth"))
        assert caught.value.where == str(tmp_path / "absent.pth")

    @pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
    def test_a_file_that_holds_no_weights(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"weights{suffix}"
        path.write_bytes(b"no weights at all")
        with pytest.raises(EncoderError, match="holds no plain weights"):
            TorchvisionDetector.load("fasterrcnn", weights=str(path), device="cpu")

    def test_weights_of_another_network(self, tmp_path: Path) -> None:
        path = tmp_path / "weights.pth"
        torch.save({"layer": torch.zeros(1)}, path)
        with pytest.raises(EncoderError, match="do not fit the detector") as caught:
            TorchvisionDetector.load("fasterrcnn", weights=str(path), device="cpu")
        assert "fasterrcnn_resnet50_fpn" in caught.value.hint


class TestRecordedBoxes:
    RECORDED = RecordedBoxes(
        found={
            "a.jpg": ([[1, 2, 30, 40], [5, 6, 70, 80]], [0.9, 0.5]),
            "": ([[0, 0, 9, 9]], [0.8]),
        },
        info=INFO,
    )

    def test_boxes_are_replayed_by_key(self) -> None:
        found = self.RECORDED.detect([], keys=["", "a.jpg"], keep=2)
        assert found.boxes.tolist() == [
            [[0, 0, 9, 9], list(NO_BOX)],
            [[1, 2, 30, 40], [5, 6, 70, 80]],
        ]
        np.testing.assert_allclose(found.scores, [[0.8, 0], [0.9, 0.5]])

    def test_fewer_may_be_kept(self) -> None:
        found = self.RECORDED.detect([], keys=["a.jpg"], keep=1)
        assert found.boxes.tolist() == [[[1, 2, 30, 40]]]

    def test_an_unknown_key_is_named(self) -> None:
        with pytest.raises(EncoderError, match=r"no boxes are recorded for 'b\.jpg'"):
            self.RECORDED.detect([], keys=["a.jpg", "b.jpg"], keep=1)


class TestCutOut:
    def test_the_box_is_scaled_to_the_picture_s_own_size(self) -> None:
        picture = Image.new("RGB", (448, 112))
        picture.paste((255, 0, 0), (20, 10, 40, 30))
        part = cut_out(picture, [10, 20, 20, 60])
        assert part.size == (20, 20)
        assert part.getextrema() == ((255, 255), (0, 0), (0, 0))

    @given(
        box=st.tuples(*[st.floats(-10, 240)] * 4),
        size=st.tuples(st.integers(1, 500), st.integers(1, 500)),
    )
    def test_any_box_leaves_a_part_of_the_picture(
        self, box: tuple[float, ...], size: tuple[int, int]
    ) -> None:
        part = cut_out(Image.new("L", size, 255), box)
        assert 1 <= part.width <= size[0]
        assert 1 <= part.height <= size[1]
        assert part.getextrema() == (255, 255)  # nothing from outside, which would be black

    def test_equal_boxes_give_equal_features_in_their_places(self) -> None:
        encoder = ImageEncoder.load(str(ENCODERS / "resnet"), device="cpu")
        picture = Image.linear_gradient("L").convert("RGB")
        boxes = stack_boxes([([[0, 0, 200, 20]], [0.5]), ([[0, 150, 90, 224]], [0.7])], 3).boxes
        objects = encode_objects(encoder, [picture, picture], boxes)
        for row in range(2):
            for place in range(3):
                alone = encoder.encode_pooled([cut_out(picture, boxes[row, place])])[0]
                np.testing.assert_allclose(objects[row, place], alone, atol=1e-6)
        assert (objects[0, 1] == objects[0, 2]).all()
        assert np.abs(objects[0, 0] - objects[1, 0]).max() > 1e-3
