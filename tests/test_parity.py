"""The comparison with recordings: it passes where it should, and it can fail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests import naive_drin as drin
from tests import naive_ghmfc as ghmfc
from tests import naive_melhi as melhi
from tests import parity
from tests.naive_parts import Naive, Sizes, write_recording


def lines_of(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """The printed lines by recording, without the header."""
    return {line.split()[0]: line for line in capsys.readouterr().out.splitlines()[1:]}


def test_the_recordings_of_the_reference_implementation_are_matched(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert parity.main([]) == 0
    lines = lines_of(capsys)
    variants = {
        "drin": "noedges none static transformer vector wikidiverse wikimel",
        "ghmfc": "linear maxpool text text-extract transformer wikidiverse wikimel",
        "melhi": "wikidiverse",
    }
    assert sorted(lines) == [f"{name}-{v}" for name, vs in variants.items() for v in vs.split()]
    assert all(line.endswith("  ok") for line in lines.values())


def other_drin(seed: int, variant: drin.Variant, **sizes: int) -> Naive:
    return drin.naive_drin(sizes=Sizes(**sizes), variant=variant, seed=seed)


def other_ghmfc(seed: int, variant: ghmfc.Variant, **sizes: int) -> Naive:
    return ghmfc.naive_ghmfc(sizes=Sizes(**sizes), variant=variant, seed=seed)


def other_melhi(seed: int, variant: melhi.Variant, **sizes: int) -> Naive:
    return melhi.naive_melhi(sizes=Sizes(**sizes), variant=variant, seed=seed)


def other_recordings() -> dict[str, Naive]:
    of = drin.Variant
    none = of(mention_text="none", entity_text="none")
    recordings = {
        "drin-wikimel": other_drin(
            0, of(tokens=True), B=3, C=4, D=12, V=9, H=10, R=2, T=9, S=6, Om=2, Oe=2
        ),
        "drin-wikidiverse-b": other_drin(1, of(layers=3), B=2, C=9, D=8, V=5, H=20, R=9, T=15),
        "drin-static": other_drin(2, of(edge_update="static", layers=3), C=3, H=8),
        "drin-vector": other_drin(3, of(edge_kind="vector", layers=1), B=4, V=7, H=6),
        "drin-noedges": other_drin(4, of(enabled=(1, 0, 1, 0), tokens=True), B=1, C=5, H=24),
        "drin-transformer": other_drin(
            5,
            of(mention_text="transformer"),
            B=3,
            D=8,
            H=8,
            T=10,
            feedforward=5,
            transformer_layers=3,
        ),
        "drin-none": other_drin(6, none, B=6, D=24, H=24),
    }
    of = ghmfc.Variant
    recordings |= {
        "ghmfc-wikidiverse": other_ghmfc(7, of(), B=3, C=4, D=12, V=8, R=9, T=15),
        "ghmfc-wikimel": other_ghmfc(8, of(tokens=True), C=3, D=8, V=20, H=10, R=1),
        "ghmfc-maxpool": other_ghmfc(9, of(tokens=True, entity_maximum=True), B=2, V=16),
        "ghmfc-text": other_ghmfc(10, of(attention="text"), B=6, D=24, V=7, H=24, R=2),
        "ghmfc-text-extract": other_ghmfc(11, of(attention="text", pooling="span"), T=20, V=16),
        "ghmfc-linear": other_ghmfc(12, of(mention="linear", tokens=True), D=5, H=9, V=3),
        "ghmfc-none": other_ghmfc(13, of(mention="none"), D=11, H=11),
        "ghmfc-transformer": other_ghmfc(
            14, of(mention="transformer"), D=8, H=8, feedforward=5, transformer_layers=3
        ),
        "ghmfc-transformer-extract": other_ghmfc(15, of(mention="transformer", pooling="span")),
    }
    recordings |= {
        "melhi-wikidiverse": other_melhi(16, melhi.Variant(), B=7, C=4, D=9, V=11, H=5, R=3, T=17),
        "melhi-wikimel": other_melhi(17, melhi.Variant(tokens=True), D=8, V=6, H=12, S=5),
    }
    return recordings


def test_recordings_of_other_seeds_and_sizes_are_matched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recordings = other_recordings()
    for name, naive in recordings.items():
        write_recording(tmp_path / f"{name}.npz", naive)
    assert parity.main([str(tmp_path)]) == 0
    lines = lines_of(capsys)
    assert sorted(lines) == sorted(recordings)
    assert all(line.endswith("  ok") for line in lines.values())


def shift(key: str, share: float) -> Callable[[dict[str, np.ndarray]], None]:
    """A change of one array's first value by a share of the largest."""

    def change(arrays: dict[str, np.ndarray]) -> None:
        array = arrays[key].copy()
        array.flat[0] += share * np.abs(array).max()
        arrays[key] = array

    return change


def drop(key: str) -> Callable[[dict[str, np.ndarray]], None]:
    def change(arrays: dict[str, np.ndarray]) -> None:
        del arrays[key]

    return change


def add(key: str, array: np.ndarray) -> Callable[[dict[str, np.ndarray]], None]:
    def change(arrays: dict[str, np.ndarray]) -> None:
        arrays[key] = array

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (shift("out/scores", 1e-4), ""),
        (shift("out/loss", 1e-4), ""),
        (shift("grad/gcn_layers.0.w_v.bias", 1e-3), ""),
        (shift("grad/vertex_encoder.entity_image_linear.weight", 1e-3), ""),
        (shift("param/gcn_layers.1.layer_norm.bias", 1e-2), ""),
        (add("grad/gcn_layers.1.w_v.bias", np.full(16, 1e-3, np.float32)), ""),
        (add("out/scores", np.full((5, 7), np.nan, np.float32)), ""),
        (shift("out/top3", 0.5), "top3 was recorded as"),
        (drop("param/gcn_layers.0.w_u.bias"), "not recorded: graph.0.w_u.bias"),
        (add("param/gcn_gate.weight", np.zeros(3)), "no counterpart is known for the weight"),
        (drop("in/mention_image"), "KeyError: 'mention_image'"),
    ],
)
def test_a_difference_is_a_failure(
    change: Callable[[dict[str, np.ndarray]], None],
    reason: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with np.load(parity.DEFAULT_DIRECTORY / "drin-wikimel.npz") as recording:
        arrays = dict(recording)
    change(arrays)
    np.savez(tmp_path / "drin-wikimel.npz", **arrays)
    assert parity.main([str(tmp_path)]) == 1
    before, failed, after = lines_of(capsys)["drin-wikimel"].partition("FAIL")
    assert failed
    assert reason in after
    assert before.split()[0] == "drin-wikimel"


def test_a_model_that_is_not_registered_fails_and_the_others_still_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = (parity.DEFAULT_DIRECTORY / "drin-none.npz").read_bytes()
    for name in ("blink-x", "drin-none", "text-x"):
        (tmp_path / f"{name}.npz").write_bytes(recording)
    (tmp_path / "drin-broken.npz").write_bytes(recording[:1000])
    assert parity.main([str(tmp_path)]) == 1
    lines = lines_of(capsys)
    assert "FAIL  there is no model 'blink'; the models are" in lines["blink-x"]
    assert "FAIL  tests/parity_models.py does not know how text was recorded" in lines["text-x"]
    assert "FAIL  BadZipFile" in lines["drin-broken"]
    assert lines["drin-none"].endswith("  ok")


@pytest.mark.parametrize("folder", ["empty", "absent"])
def test_a_folder_without_recordings_is_a_failure(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert parity.main([str(tmp_path / folder)]) == 1
    assert "no recording (*.npz) in" in capsys.readouterr().err


def test_more_than_one_folder_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert parity.main(["a", "b"]) == 2
    assert capsys.readouterr().err == "usage: python -m tests.parity [DIR]\n"
