"""What the encoders share: where and how precisely they run, loading them, saying which they are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from safetensors import SafetensorError
from transformers import (
    AutoModel,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from featurestore.errors import EncoderError

DeviceName = Literal["auto", "cpu", "cuda"]
DtypeName = Literal["float32", "bfloat16"]

ModelT = TypeVar("ModelT", bound=torch.nn.Module)

#: Files of a model folder that decide what the encoder computes.
_MODEL_FILES = (".safetensors", ".bin", ".json", ".txt", ".model")

#: Libraries whose version may change a feature.
_LIBRARIES = ("torch", "transformers", "tokenizers", "torchvision", "pillow")

#: What ``from_pretrained`` raises for an unknown name, a damaged file or an unfit model.
_LOADING_ERRORS = (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError)


@dataclass(frozen=True, slots=True)
class EncoderInfo:
    """Which encoder made a feature; goes into the store's attributes."""

    kind: str  # "text", "image", "detector", "clip"
    name: str  # as given: a name on the Hugging Face hub, a folder, a torchvision model
    revision: str  # commit on the hub; "" for what was loaded from disk
    files: dict[str, str]  # sha256 of each file of a local model, hexadecimal
    options: dict[str, str | int]  # what else decides the result: dtype, token limit
    libraries: dict[str, str]  # name → version

    def as_json(self) -> dict[str, Any]:
        """The same as plain values that JSON can hold."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Runtime:
    """Where an encoder runs and in which precision."""

    device: torch.device
    dtype: DtypeName

    @classmethod
    def choose(cls, device: DeviceName, dtype: DtypeName) -> Runtime:
        """``auto`` takes the GPU where there is one.

        Raises:
            EncoderError: an unknown name, or ``cuda`` on a machine without a usable GPU.
        """
        if dtype not in ("float32", "bfloat16"):
            raise EncoderError(f"unknown dtype {dtype!r}", hint="float32 or bfloat16")
        if device not in ("auto", "cpu", "cuda"):
            raise EncoderError(f"unknown device {device!r}", hint="auto, cpu or cuda")
        has_gpu = device != "cpu" and torch.cuda.is_available()
        if device == "cuda" and not has_gpu:
            raise EncoderError(
                "device 'cuda' was asked for, torch finds no GPU", hint="auto or cpu"
            )
        return cls(torch.device("cuda" if has_gpu else "cpu"), dtype)

    def place(self, model: ModelT) -> ModelT:
        """``model`` on the device."""
        return model.to(self.device)

    @contextmanager
    def inference(self) -> Iterator[None]:
        """No gradients; with bfloat16, matrix products and convolutions run in it.

        Weights, normalisation and sums of residuals stay in float32 (autocast): casting the whole
        model would round every layer's output instead. PyTorch's TF32 settings are left alone.
        """
        low = self.dtype == "bfloat16"
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=low):
            yield


def use_threads(count: int | None) -> None:
    """Have torch compute with so many threads on the CPU; None leaves it at its own choice.

    The last bits of a float32 product can depend on it: a sum is cut into as many parts.
    """
    if count is not None:
        torch.set_num_threads(count)


def threads_used() -> int:
    return torch.get_num_threads()


def load_model(name: str, *, kind: str, may_lack: str = "") -> tuple[PreTrainedModel, list[str]]:
    """A pretrained model in float32, in evaluation mode, on the CPU.

    Args:
        name: a folder, or a name on the Hugging Face hub.
        kind: what it is to be, for messages: "text encoder", "image encoder", …
        may_lack: prefix of weights that the caller can do without.

    Returns:
        The model and the names of the absent weights that begin with ``may_lack``.

    Raises:
        EncoderError: nothing loadable there, or weights are missing, which the library would
            otherwise fill with random numbers.
    """
    with loading(name, kind=kind):
        model, report = AutoModel.from_pretrained(
            name, dtype=torch.float32, output_loading_info=True
        )
    absent = sorted(report["missing_keys"])
    lacking = [key for key in absent if not (may_lack and key.startswith(may_lack))]
    if lacking:
        raise EncoderError(
            f"the {kind} lacks {len(lacking)} weights, first {lacking[0]!r}",
            where=name,
            hint="take the checkpoint of the whole model",
        )
    return model.eval(), absent


def load_tokenizer(name: str, *, kind: str, vocabulary: int) -> PreTrainedTokenizerBase:
    """The tokenizer of the model ``name``, whose embedding table has ``vocabulary`` rows.

    Raises:
        EncoderError: there is none, or it does not fit. For a folder without tokenizer files the
            library returns one that takes every word for unknown.
    """
    with loading(name, kind=kind):
        tokenizer = AutoTokenizer.from_pretrained(name)
    words = len(tokenizer)
    if not len(tokenizer.all_special_ids) < words <= vocabulary:
        raise EncoderError(
            f"the tokenizer of the {kind} has {words} tokens, the model {vocabulary}",
            where=name,
            hint="put the model's own tokenizer files beside its weights",
        )
    return tokenizer


@contextmanager
def loading(name: str, *, kind: str) -> Iterator[None]:
    """Turns what ``from_pretrained`` raises into an EncoderError; no progress bars meanwhile."""
    looks_local = name.startswith((".", "/", "~")) or Path(name).exists()
    if looks_local and not Path(name).is_dir():
        raise EncoderError(f"no such folder with a {kind}", where=name)
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    except _LOADING_ERRORS as error:
        raise EncoderError(
            f"the {kind} cannot be loaded: {str(error).strip().splitlines()[0]}",
            where=name,
            hint="it needs config.json, weights and its tokenizer or image processor files"
            if looks_local
            else "check the name; without a network, give the folder of a downloaded model",
        ) from error
    finally:
        if bars:
            transformers_logging.enable_progress_bar()


def describe(
    kind: str, name: str, model: PreTrainedModel, options: dict[str, str | int]
) -> EncoderInfo:
    """Name, revision or file hashes, options and library versions of a loaded encoder."""
    revision = getattr(model.config, "_commit_hash", None) or ""
    folder = Path(name)
    files = (
        sorted(path for path in folder.iterdir() if path.suffix in _MODEL_FILES)
        if folder.is_dir()
        else []
    )
    return EncoderInfo(kind, name, revision, sha256_of(files), options, library_versions())


def sha256_of(files: list[Path]) -> dict[str, str]:
    """File name → sha256 in hexadecimal, as ``sha256sum`` prints it."""
    digests = {}
    for path in files:
        with path.open("rb") as file:
            digests[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


def library_versions() -> dict[str, str]:
    return {name: version(name) for name in _LIBRARIES}
