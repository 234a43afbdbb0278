"""The names of what is measured once and planned with: one place that both sides read."""

from __future__ import annotations

from enum import StrEnum


class Cost(StrEnum):
    """A stage and what it is counted by; in files of figures, the name of a row."""

    READ_ENTITY = "read raw: an entity"
    READ_MENTION = "read raw: a mention"
    BERT_ENTITY = "encode text, BERT-base: an entity"
    BERT_MENTION = "encode text, BERT-base: a mention"
    MINILM_ENTITY = "encode text, MiniLM-L6: an entity"
    MINILM_MENTION = "encode text, MiniLM-L6: a mention"
    OPEN_PICTURE = "open, decode, resize: a picture"
    RESNET = "ResNet-152: a picture"
    DETECTOR = "Faster R-CNN: a picture"
    CLIP_ENTITY = "CLIP ViT-B/32: an entity's text"
    CLIP_MENTION = "CLIP ViT-B/32: a mention's text"
    CLIP_PICTURE = "CLIP ViT-B/32: a picture"
    WRITE_ENTITY_TEXT = "derive and write: an entity's tokens and views"
    WRITE_ENTITY_PICTURE = "derive and write: an entity's picture views"
    WRITE_MENTION_TEXT = "derive and write: a mention's tokens and views"
    WRITE_MENTION_PICTURE = "derive and write: a mention's regions and views"
    IDS = "ids and their index: an entity"
    PUBLISH = "publish, checksums: a GB"
    READ_DISK = "read from disk, one byte after the other: a GB"
    COPY = "copy and sync, as assembling does: a GB"
    FUZZY = "candidates, fuzzy: a mention and a title"
    NGRAM = "candidates, ngram: a mention and a title"
    BM25 = "candidates, bm25: a mention and a title"
    NGRAM_INDEX = "candidates, ngram: indexing a title"
    TRAIN = "train DRIN, float32: a mention"
    TRAIN_BF16 = "train DRIN, bf16-mixed: a mention"
    READ_BATCH = "read a batch for DRIN: a mention"
    EVALUATE = "evaluate DRIN: a mention"
    FULL_KB_TEXT = "full-kb, text: a mention and an entity"
    FULL_KB_DRIN = "full-kb, DRIN: a mention and an entity"
    ENCODERS = "memory of all encoders: a worker"
    TRAINING = "memory of training DRIN: a process"


#: Not measured where a package is not installed.
OPTIONAL = frozenset({Cost.MINILM_ENTITY, Cost.MINILM_MENTION})
