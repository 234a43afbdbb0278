"""What goes in comes out: any dtype and compression, ragged lengths, any order, 100,000 rows."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import featurestore
from featurestore.codecs import COMPRESSIONS, Compression
from featurestore.verify import verify
from featurestore.writer import FeatureDtype, StoreWriter

S, D = 5, 4


class Columns:
    """Values of a table of entities, made from a seed, and a store that holds them."""

    def __init__(self, rows: int, seed: int, *, full: bool = False) -> None:
        self.random = np.random.default_rng(seed)
        self.rows = rows
        self.counts = np.full(rows, S) if full else self.random.integers(0, S + 1, rows)
        # multiples of 1/8 are float16 without a loss
        self.tokens = self.random.integers(-800, 800, (rows, S, D)).astype(np.float32) / 8
        self.mean = self.random.integers(-800, 800, (rows, D)).astype(np.float32) / 8
        self.boxes = self.random.random((rows, 2, 4), np.float32)
        self.status = self.random.integers(0, 5, rows).astype(np.uint8)
        self.texts = ["é" * int(n) for n in self.random.integers(0, 4, rows)]

    def write(
        self, path: Path, *, compression: Compression, dtype: FeatureDtype, block: int
    ) -> None:
        """Write rows in an order of their own, a block at a time."""
        order = self.random.permutation(self.rows)
        with StoreWriter.create(path, compression=compression, dtype=dtype) as writer:
            writer.table("entities", [f"Q{row}" for row in range(self.rows)])
            writer.table("mentions", [])
            writer.splits({"train": range(0)})
            writer.text("entities/title", self.texts)
            writer.column("entities/image_status", self.status)
            boxes = writer.growing_column("entities/object_boxes", (2, 4))
            counts = writer.growing_column("entities/token_count")
            records = writer.feature("entities/text_tokens", (S, D))
            views = writer.feature("entities/text_mean", (D,))
            for first in range(0, self.rows, block):
                rows = order[first : first + block]
                real = [self.tokens[row, : self.counts[row]] for row in rows]
                records.write(rows, real)
                views.write(rows, self.mean[rows])
                boxes.write(rows, self.boxes[rows])
                counts.write(rows, self.counts[rows])
                writer.finished()
            writer.publish(dataset="round", provenance={})

    def check(self, path: Path, *, dtype: FeatureDtype) -> None:
        """Compare what is read, in an order of its own and with repetitions, with what was written."""
        wanted = self.random.integers(0, max(self.rows, 1), min(self.rows * 2, 500))
        with featurestore.open(path, verify_reads=True) as store:
            table = store.entities
            tokens = table.gather("text_tokens", wanted)
            for row, found in zip(wanted.tolist(), tokens, strict=True):
                count = self.counts[row]
                assert np.array_equal(found[:count], self.tokens[row, :count])
                assert not found[count:].any()
            assert tokens.dtype == np.dtype(dtype)
            assert np.array_equal(table.gather("text_mean", wanted), self.mean[wanted])
            assert np.array_equal(table.gather("object_boxes", wanted), self.boxes[wanted])
            assert np.array_equal(table.gather("image_status", wanted), self.status[wanted])
            assert table.gather("title", wanted) == [self.texts[row] for row in wanted.tolist()]
            assert table.find([f"Q{row}" for row in wanted.tolist()]).tolist() == wanted.tolist()


@given(
    rows=st.integers(0, 40),
    compression=st.sampled_from(COMPRESSIONS),
    dtype=st.sampled_from(["float16", "float32"]),
    block=st.integers(1, 50),
    seed=st.integers(0, 99),
)
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
def test_rows_written_in_any_order_come_back_in_any_order(
    tmp_path_factory: pytest.TempPathFactory,
    rows: int,
    compression: Compression,
    dtype: FeatureDtype,
    block: int,
    seed: int,
) -> None:
    path = tmp_path_factory.mktemp("round") / "s.h5"
    columns = Columns(rows, seed)
    columns.write(path, compression=compression, dtype=dtype, block=block)
    columns.check(path, dtype=dtype)
    with h5py.File(path) as file:
        assert np.array_equal(file["entities/text_mean"][()], columns.mean)
        if rows and compression != "none":
            assert file["entities/text_tokens"].id.get_num_chunks() == rows


@pytest.mark.parametrize("compression", ["lz4-fast", "none"])
def test_a_hundred_thousand_rows(tmp_path: Path, compression: Compression) -> None:
    columns = Columns(100_000, 0)
    columns.write(tmp_path / "s.h5", compression=compression, dtype="float16", block=30_011)
    columns.check(tmp_path / "s.h5", dtype="float16")
    what = {problem.what for problem in verify(tmp_path / "s.h5", "full").problems}
    assert what == {"is missing, and every store must have it"}  # mentions have no candidates here


def test_records_that_fill_their_place_come_back_whole(tmp_path: Path) -> None:
    columns = Columns(30, 1, full=True)
    columns.write(tmp_path / "s.h5", compression="zstd", dtype="float32", block=7)
    columns.check(tmp_path / "s.h5", dtype="float32")
