"""Thumbnails: kept at ingest, one for every picture that can be used, small enough for their place."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageChops

import featurestore
from featurestore.codecs import COMPRESSIONS
from featurestore.encoders.opening import open_picture
from featurestore.encoders.small import small_jpeg
from featurestore.ingest import ingest
from featurestore.options import IngestOptions
from featurestore.schema import TABLES
from featurestore.sources.pictures import STATUS_CODE
from featurestore.thumbnails import ROOM, SIDE, thumbnail
from featurestore.verify import verify
from tests.golden_for_tests import PREPROCESSED, RAW, TINY

NO_ENCODERS = IngestOptions(text_encoder="none", image_encoder="none", clip="none", detector="none")


def opened(jpeg: bytes) -> Image.Image:
    return Image.open(io.BytesIO(jpeg))


@pytest.mark.parametrize("dataset", ["wikimel", "wikidiverse"])
def test_every_picture_that_can_be_used_has_its_own(dataset: str, tmp_path: Path) -> None:
    ingest(RAW / dataset, tmp_path / "s.h5", options=TINY)
    seen = 0
    with featurestore.open(tmp_path / "s.h5") as store:
        for name in TABLES:
            table = store.table(name)
            status, paths = table.view("image_status"), list(table.texts("image_path"))
            for row in range(len(table)):
                jpeg = thumbnail(table, row)
                assert (jpeg is not None) == (status[row] == STATUS_CODE["ok"])
                if jpeg is not None:
                    picture, _ = open_picture(next((RAW / dataset).rglob(paths[row])))
                    assert picture is not None
                    assert jpeg == small_jpeg(picture)
                    seen += 1
    assert seen > 20


@pytest.mark.parametrize("size", [(160, 50), (800, 600), (300, 3000), (50, 50), (161, 160)])
def test_it_is_the_picture_made_smaller(size: tuple[int, int]) -> None:
    across = np.linspace(0, 255, size[0], dtype=np.uint8)
    down = np.linspace(255, 0, size[1], dtype=np.uint8)
    red, green = np.broadcast_to(across, size[::-1]), np.broadcast_to(down[:, None], size[::-1])
    picture = Image.fromarray(np.stack([red, green, red // 2], axis=2), "RGB")
    small = opened(small_jpeg(picture))
    scale = min(1.0, SIDE / max(size))
    assert small.size == tuple(max(1, round(side * scale)) for side in size)
    assert small.format == "JPEG"
    difference = ImageChops.difference(small, picture.resize(small.size, Image.Resampling.BICUBIC))
    assert np.asarray(difference).mean() < 3


def test_noise_is_kept_too() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    jpeg = small_jpeg(Image.fromarray(noise))
    assert len(jpeg) <= ROOM
    assert opened(jpeg).size == (SIDE, SIDE)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_they_are_compressed_whatever_the_features_are(compression: str, tmp_path: Path) -> None:
    options = replace(NO_ENCODERS, compression=compression)
    ingest(RAW / "wikimel", tmp_path / "s.h5", options=options)
    assert verify(tmp_path / "s.h5", "full").problems == []
    with featurestore.open(tmp_path / "s.h5") as store:
        for table in (store.entities, store.mentions):
            sizes = int(table.view("thumbnail_size").sum())
            assert sizes > 0
            assert table.stored("thumbnail").stored_bytes < 1.3 * sizes + 200 * len(table)


def test_they_can_be_left_out(tmp_path: Path) -> None:
    ingest(RAW / "wikimel", tmp_path / "s.h5", options=replace(NO_ENCODERS, thumbnails="none"))
    with featurestore.open(tmp_path / "s.h5") as store:
        assert not store.has("mentions/thumbnail")
        assert thumbnail(store.mentions, 0) is None


def test_recorded_arrays_have_none(tmp_path: Path) -> None:
    summary = ingest(PREPROCESSED / "wikimel", tmp_path / "s.h5")
    assert summary.notes == []
    with featurestore.open(tmp_path / "s.h5") as store:
        assert not store.has("entities/thumbnail")
