"""Loading an encoder: what is said when it cannot work, and what is remembered of it when it does."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from featurestore.encoders.clip import ClipEncoder
from featurestore.encoders.images import ImageEncoder
from featurestore.encoders.loading import Runtime
from featurestore.encoders.text import TextEncoder
from featurestore.errors import EncoderError

ENCODERS = Path(__file__).parent / "golden" / "encoders"

LOADERS: dict[str, Callable[[str], object]] = {
    "text encoder": lambda name: TextEncoder.load(name, device="cpu"),
    "image encoder": lambda name: ImageEncoder.load(name, device="cpu"),
    "CLIP model": lambda name: ClipEncoder.load(name, device="cpu"),
}


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    """The text encoder's folder, free to be damaged."""
    return Path(shutil.copytree(ENCODERS / "bert", tmp_path / "bert"))


def drop_weights(folder: Path, prefix: str) -> None:
    weights = load_file(folder / "model.safetensors")
    kept = {key: value for key, value in weights.items() if not key.startswith(prefix)}
    assert len(kept) < len(weights)
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("kind", LOADERS)
class TestNothingThere:
    def test_unknown_name_without_network(self, kind: str) -> None:
        with pytest.raises(EncoderError, match=f"the {kind} cannot be loaded") as caught:
            LOADERS[kind]("drin-fs/no-such-model")
        assert caught.value.where == "drin-fs/no-such-model"
        assert "without a network" in caught.value.hint

    def test_absent_folder(self, kind: str, tmp_path: Path) -> None:
        with pytest.raises(EncoderError, match="no such folder") as caught:
            LOADERS[kind](str(tmp_path / "absent"))
        assert caught.value.where == str(tmp_path / "absent")

    def test_empty_folder(self, kind: str, tmp_path: Path) -> None:
        with pytest.raises(EncoderError, match=f"the {kind} cannot be loaded") as caught:
            LOADERS[kind](str(tmp_path))
        assert "config.json" in caught.value.hint


@pytest.mark.parametrize(
    ("kind", "model", "message"),
    [
        ("text encoder", "resnet", "ResNetModel is not a text encoder"),
        ("text encoder", "clip", "CLIPModel is not a text encoder"),
        ("image encoder", "bert", "BertModel is not an image encoder"),
        ("image encoder", "clip", "CLIPModel is not an image encoder"),
        ("CLIP model", "bert", "BertModel is not a CLIP model"),
        ("CLIP model", "resnet", "ResNetModel is not a CLIP model"),
    ],
)
def test_a_model_of_another_type_is_refused_by_name(kind: str, model: str, message: str) -> None:
    with pytest.raises(EncoderError, match=message) as caught:
        LOADERS[kind](str(ENCODERS / model))
    assert caught.value.where == str(ENCODERS / model)


class TestDamage:
    def test_missing_weights_are_not_filled_with_random_ones(self, bert: Path) -> None:
        drop_weights(bert, "encoder.layer.1.output")
        with pytest.raises(EncoderError, match=r"lacks 4 weights, first 'encoder\.layer\.1"):
            TextEncoder.load(str(bert), device="cpu")

    def test_a_checkpoint_without_pooler_has_no_pooled_output(self, bert: Path) -> None:
        drop_weights(bert, "pooler.")
        encoder = TextEncoder.load(str(bert), device="cpu")
        assert not encoder.has_pooler
        (batch,) = encoder.encode(["Java"], keep=8)
        assert batch.pooled is None

    def test_weights_cut_off(self, bert: Path) -> None:
        weights = bert / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:5000])
        with pytest.raises(EncoderError, match="the text encoder cannot be loaded"):
            TextEncoder.load(str(bert), device="cpu")

    def test_missing_tokenizer(self, bert: Path) -> None:
        for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
            (bert / name).unlink()
        with pytest.raises(
            EncoderError, match="tokenizer of the text encoder has 5 tokens, the model 700"
        ):
            TextEncoder.load(str(bert), device="cpu")

    def test_missing_image_processor(self, tmp_path: Path) -> None:
        folder = Path(shutil.copytree(ENCODERS / "resnet", tmp_path / "resnet"))
        (folder / "preprocessor_config.json").unlink()
        with pytest.raises(EncoderError, match="the image encoder cannot be loaded"):
            ImageEncoder.load(str(folder), device="cpu")

    def test_max_tokens_too_small(self) -> None:
        with pytest.raises(EncoderError, match="max_tokens 2 leaves no token"):
            TextEncoder.load(str(ENCODERS / "bert"), device="cpu", max_tokens=2)


class TestRuntime:
    def test_auto_falls_back_to_the_cpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        assert Runtime.choose("auto", "float32").device.type == "cpu"

    def test_cuda_without_gpu_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(EncoderError, match="torch finds no GPU"):
            Runtime.choose("cuda", "float32")

    def test_unknown_names_list_the_choices(self) -> None:
        with pytest.raises(EncoderError, match="unknown device 'tpu'") as caught:
            Runtime.choose("tpu", "float32")  # type: ignore[arg-type]
        assert caught.value.hint == "auto, cpu or cuda"
        with pytest.raises(EncoderError, match="unknown dtype 'float16'"):
            Runtime.choose("cpu", "float16")  # type: ignore[arg-type]


def test_info_identifies_the_files_and_survives_json() -> None:
    info = TextEncoder.load(str(ENCODERS / "bert"), device="cpu").info
    weights = (ENCODERS / "bert" / "model.safetensors").read_bytes()
    assert info.files["model.safetensors"] == hashlib.sha256(weights).hexdigest()
    assert set(info.files) >= {"config.json", "tokenizer.json"}
    assert info.options == {"dtype": "float32", "max_tokens": 64}
    assert info.libraries["torch"] == torch.__version__.split("+")[0]
    assert json.loads(json.dumps(info.as_json()))["kind"] == "text"


def test_loading_leaves_the_progress_bars_of_the_library_as_they_were() -> None:
    from transformers.utils import logging

    assert logging.is_progress_bar_enabled()
    TextEncoder.load(str(ENCODERS / "bert"), device="cpu")
    assert logging.is_progress_bar_enabled()
