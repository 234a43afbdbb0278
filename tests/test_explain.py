"""The edges of a trained DRIN for one mention: what the layers read, and how it is shown."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import featurestore
from cli.main import main
from cli.render_parts import bar
from cli.render_row import mention_view
from cli.render_run import edges_view
from featurestore.describe import describe_mention
from featurestore.errors import ConfigError, UnknownId
from featurestore.options import IngestOptions
from featurestore.static_edges import static_edges
from linker.config_text import read_config
from linker.explain import EdgeReader, EdgeWeights, edge_weights
from linker.recorded import RecordedRun
from linker.run_folder import RunError
from linker.train import train
from linker.verdicts import judge_mention
from tests.golden_for_tests import RAW, TEXT_ONLY
from tests.recorded_for_tests import recorded_run
from tests.runs_for_tests import QUICK, QuickRun
from tests.snapshots import check_snapshot
from tests.stores_for_tests import planted_store
from tests.terminal import shown
from tests.test_inspect import WITHOUT_TORCH
from tests.tiny_store import SIZES, TinyStore, write_tiny_store

EDGES = ("tt", "ti", "it", "ii")
ROW = 140


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted_store(tmp_path_factory.mktemp("store") / "s.h5")


@pytest.fixture(scope="module")
def run_of(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Trains a DRIN with some options for an epoch."""

    def trained(protocol: str = "strict", **options: Any) -> Path:
        run = tmp_path_factory.mktemp("runs") / "drin"
        model = {"name": "drin", **options}
        config = {**QUICK, "epochs": 1, "model": model, "protocol": protocol}
        train(store, read_config(config), run=run)
        return run

    return trained


def weights_of(run: Path, store: Path, row: int = ROW) -> EdgeWeights:
    with featurestore.open(store) as opened:
        return edge_weights(run, opened, row)


# the very numbers ---------------------------------------------------------------------------------


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / max(np.linalg.norm(one) * np.linalg.norm(other), 1e-8))


def naive_first(store: Path, row: int) -> np.ndarray:
    """(K, 4) the first edges of a mention, a pair at a time, from the fields of the store."""
    with featurestore.open(store) as opened:
        mention = opened.mentions[row]
        edges = []
        for place, entity in enumerate(mention["candidates"]):
            other = opened.entities[int(entity)]
            scores = np.outer(mention["object_scores"], other["object_scores"]).astype(np.float64)
            cosines = [
                [_cosine(np.float64(a), np.float64(b)) for b in other["objects"]]
                for a in mention["objects"]
            ]
            edges.append(
                [
                    _cosine(np.float64(mention["text_span"]), np.float64(other["text_cls"])),
                    mention["sim_text_image"][place] / 100,
                    mention["sim_image_text"][place] / 100,
                    (scores * cosines).sum() / (scores.sum() + 1e-9),
                ]
            )
    return np.array(edges)


def test_the_edges_of_a_store_are_those_that_the_first_layer_reads(store: Path) -> None:
    with featurestore.open(store) as opened:
        for row in (0, ROW):
            found = static_edges(opened, row)
            assert found.known == EDGES
            np.testing.assert_allclose(found.weights[:-1], naive_first(store, row), atol=1e-6)
            gold = int(opened.mentions[row]["answer"])
            slot, same = found.weights[-1, [0, 3]], found.weights[gold, [0, 3]]
            np.testing.assert_allclose(slot, same, atol=1e-6)


def test_edges_that_a_store_cannot_tell_are_none(tmp_path: Path) -> None:
    without = {"entities/text_cls", "entities/text_pooled", "mentions/sim_text_image"}
    lists = np.full((10, SIZES["K"]), -1, np.int32)
    lists[:, 0] = 3
    change = {"mentions/candidates": lists, "mentions/answer": np.full(10, SIZES["K"], np.int32)}
    tiny = write_tiny_store(tmp_path / "s.h5", without=without, change=change)
    with featurestore.open(tiny.path) as opened:
        found = static_edges(opened, 2)
    assert found.known == ("it", "ii")
    assert np.isnan(found.weights[1:-1]).all()  # empty places
    assert np.isfinite(found.weights[0, 2:]).all()


def naive_second(run: Path, store: Path, row: int, first: np.ndarray, *, vector: bool) -> Any:
    """(K, 4, channels) the edges after one layer, by the formulas of ``linker.models.drin``."""
    weights = {
        name: value.double()
        for name, value in load_file(run / "checkpoints/best.safetensors").items()
    }

    def linear(name: str, x: Any) -> Tensor:
        return weights[f"{name}.weight"] @ torch.tensor(np.float64(x)) + weights[f"{name}.bias"]

    with featurestore.open(store) as opened:
        mention = opened.mentions[row]
        mt, mi = (
            linear("mention_text", mention["text_span"]),
            linear("images.mi", mention["image_mean"]),
        )
        found = []
        for place, entity in enumerate(mention["candidates"]):
            other = opened.entities[int(entity)]
            et = linear("entity_text", other["text_mean"])
            ei = linear("images.ei", other["image_pooled"])
            pair = []
            for edge, (m, v) in enumerate(((mt, et), (mt, ei), (mi, et), (mi, ei))):
                f, g = linear("graph.0.w_u", m), linear("graph.0.w_v", v)
                e = first[place, edge]
                inner = (
                    linear("graph.0.w_m", torch.cat([f, g]) + e) if vector else (f * g).mean() + e
                )
                pair.append(torch.sigmoid(inner).reshape(-1).numpy())
            found.append(pair)
    return np.array(found)


@pytest.mark.parametrize("kind", ["scalar", "vector"])
def test_the_edges_are_those_of_the_formulas(
    store: Path, run_of: Callable[..., Path], kind: str
) -> None:
    run = run_of(edge_kind=kind, layers=3)
    found = weights_of(run, store)
    assert (found.weights.shape, found.edges, found.edge_kind) == ((3, 6, 4), EDGES, kind)
    first = naive_first(store, ROW)
    np.testing.assert_allclose(found.weights[0], first, atol=2e-6)
    second = naive_second(run, store, ROW, first, vector=kind == "vector")
    np.testing.assert_allclose(found.weights[1], second.mean(axis=2), atol=2e-6)
    np.testing.assert_allclose(found.deviations[1], second.std(axis=2), atol=2e-6)
    assert bool(found.deviations[1].max() > 1e-3) is (kind == "vector")
    assert not found.deviations[0].any()
    np.testing.assert_array_equal(found.of("it", layer=2), found.weights[1, :, 2])


def test_edges_that_a_layer_does_not_read_are_none(
    store: Path, run_of: Callable[..., Path]
) -> None:
    found = weights_of(run_of(), store)
    assert np.isnan(found.weights).any(axis=1).tolist() == [
        [False, False, False, False],
        [False, False, False, True],  # ii joins two vertices that the score does not read any more
    ]
    found = weights_of(run_of(edges=["tt", "it"]), store)
    assert np.isnan(found.weights).all(axis=1).tolist() == 2 * [[False, True, False, True]]


def test_static_edges_stay_as_they_are(store: Path, run_of: Callable[..., Path]) -> None:
    found = weights_of(run_of(edge_update="static"), store)
    assert found.edge_update == "static"
    np.testing.assert_array_equal(found.weights[0, :, :3], found.weights[1, :, :3])


def test_the_gold_slot_of_protocol_paper_is_one_more_candidate(
    store: Path, run_of: Callable[..., Path]
) -> None:
    run = run_of(protocol="paper")
    found = weights_of(run, store)
    assert (found.protocol, found.retrieved, found.weights.shape) == ("paper", 6, (2, 7, 4))
    with featurestore.open(store) as opened:
        answer = int(opened.mentions[ROW]["answer"])
        assert answer < 6
        one = describe_mention(opened, ROW)
    np.testing.assert_allclose(found.weights[0, 6, 0], found.weights[0, answer, 0], rtol=1e-6)
    assert shown(edges_view(found, one), width=100)


def test_the_scores_beside_the_edges_are_those_of_the_run(quick: QuickRun) -> None:
    with featurestore.open(quick.store) as opened:
        reader = EdgeReader(quick.folder, opened)
        for row in (136, ROW, 175):
            found = reader.weights(row)
            recorded = judge_mention(opened, quick.folder, row).scores
            np.testing.assert_allclose(found.scores, recorded, atol=1e-5)
            alone = edge_weights(RecordedRun(quick.folder), opened, row)
            np.testing.assert_array_equal(found.weights, alone.weights)


def test_looking_leaves_no_watch_on_the_network_and_no_trace_in_random_numbers(
    quick: QuickRun,
) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    with featurestore.open(quick.store) as opened:
        reader = EdgeReader(quick.folder, opened)
        reader.weights(ROW)
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(module._forward_pre_hooks for module in reader._network.modules())


def test_a_run_that_encodes_its_texts_itself_has_edges_too(
    store_of: Callable[[Path, IngestOptions], Path], tmp_path: Path
) -> None:
    store = store_of(RAW / "wikimel", TEXT_ONLY)
    online = {
        "model": {"name": "drin"},
        "epochs": 1,
        "batch_size": 8,
        "metrics": {"ks": [1]},
        "text": {"source": "online"},
    }
    train(store, read_config(online), run=tmp_path / "run")
    with featurestore.open(store) as opened:
        row = opened.mentions.split("test").start
        found = edge_weights(tmp_path / "run", opened, row)
        mention = opened.mentions[row]
        cls = opened.entities.gather("text_cls", mention["candidates"]).astype(np.float64)
        span = np.float64(mention["text_span"])
        recorded = judge_mention(opened, tmp_path / "run", row).scores
    wanted = [_cosine(span, other) for other in cls]
    np.testing.assert_allclose(found.of("tt", layer=1), wanted, atol=5e-3)  # stored as float16
    assert np.isnan(found.of("ii", layer=1)).all()
    np.testing.assert_allclose(found.scores, recorded, atol=1e-5)


# refusals -----------------------------------------------------------------------------------------


def test_a_model_without_edges_is_refused(tiny: TinyStore, tmp_path: Path) -> None:
    run = recorded_run(tmp_path / "run", tiny.path, {})
    with pytest.raises(ConfigError, match="model text has no edges") as raised:
        weights_of(run.path, tiny.path, 0)
    assert "drin" in raised.value.hint


def test_other_stores_and_rows_are_refused(quick: QuickRun, tmp_path: Path) -> None:
    other = planted_store(tmp_path / "other.h5", groups=11)
    with pytest.raises(RunError, match="not the store the run was trained from"):
        weights_of(quick.folder, other)
    with pytest.raises(UnknownId, match="row 400 is outside the table"):
        weights_of(quick.folder, quick.store, 400)


# shown --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, ""),
        (1, "█████"),
        (0.5, "██▌"),
        (-1, ""),
        (2, "█████"),
        (0.01, ""),
        (0.03, "▏"),
        (0.2, "█"),
    ],
)
def test_bars_are_as_long_as_their_share(share: float, text: str) -> None:
    assert bar(share, 5) == text


def made_up(width: int, **changes: Any) -> EdgeWeights:
    """Edges of four candidates and the gold slot, the same everywhere."""
    shape = (2, width, 4)
    weights = np.linspace(-0.4, 0.8, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    weights[1, :, 3] = np.nan
    values: dict[str, Any] = {
        "run": "runs/drin",
        "model": "drin",
        "protocol": "strict",
        "row": 3,
        "edges": EDGES,
        "edge_kind": "scalar",
        "edge_update": "dynamic",
        "retrieved": SIZES["K"],
        "scores": np.zeros(width, np.float32),
        "weights": weights,
        "deviations": np.zeros(shape, np.float32),
    }
    return EdgeWeights(**(values | changes))


@pytest.mark.parametrize("width", [80, 120])
def test_the_views_of_a_mention_with_runs_and_edges(tmp_path: Path, width: int) -> None:
    answer = np.full(10, 2, np.int32)
    candidates = np.tile(np.array([4, 5, 6, 7], np.int32), (10, 1))
    change = {
        "mentions/answer": answer,
        "mentions/gold": np.full(10, 6, np.int32),
        "mentions/candidates": candidates,
    }
    tiny = write_tiny_store(tmp_path / "s.h5", change=change)
    scores = np.array([[0.5, np.nan, 0.25, 0.5]] * 3, np.float32)
    one = recorded_run(tmp_path / "drin", tiny.path, {"test": scores}, model="drin")
    two = recorded_run(tmp_path / "clip", tiny.path, {"test": -scores}, model="clip")
    with featurestore.open(tiny.path) as store:
        verdicts = [judge_mention(store, run.path, 8) for run in (one, two)]
        mention = describe_mention(store, 8, top=2, order=verdicts[0].order)
    text = shown(mention_view(mention, verdicts), width=width)
    edges = shown(edges_view(made_up(SIZES["K"]), mention), width=width)
    text = text[: text.index("Fields of this row")]  # its numbers are tested elsewhere
    check_snapshot(f"mention-of-runs-{width}", text + edges)


def test_vector_and_static_edges_are_described(store: Path) -> None:
    with featurestore.open(store) as opened:
        mention = describe_mention(opened, ROW)
    text = shown(edges_view(made_up(6, edge_kind="vector", retrieved=6), mention), width=120)
    assert "Mean over the channels of each edge." in text
    assert "layer 2 of 2 reads, as layer 1 left them" in text
    text = shown(edges_view(made_up(6, edge_update="static", retrieved=6), mention), width=120)
    assert "layer 2 of 2 reads, from the store" in text


# the command --------------------------------------------------------------------------------------


def test_the_command_shows_a_mention_with_runs_and_edges(
    quick: QuickRun, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["inspect", str(quick.store), "--mention", "m140", "--run", str(quick.folder)]
    assert main([*arguments, "--edges", "--top", "3"]) == 0
    text = capsys.readouterr().out
    assert "Candidates, best of drin first" in text
    assert "Edges that layer 1 of 2 reads, from the store" in text
    assert main([*arguments, "--edges", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    with featurestore.open(quick.store) as opened:
        verdict = judge_mention(opened, quick.folder, 140)
        wanted = edge_weights(quick.folder, opened, 140)
        plain = describe_mention(opened, 140)
    (run,), (edges,) = printed["runs"], printed["edges"]
    assert [line["rank"] - 1 for line in printed["candidates"][:6]] == verdict.order
    assert (run["right"], run["rank"]) == (verdict.right, verdict.rank)
    assert run["scores"] == pytest.approx(verdict.scores.tolist())
    assert np.array(edges["weights"], np.float32)[0] == pytest.approx(wanted.weights[0])
    assert edges["weights"][1][0][3] is None
    assert printed["sentence"] == plain.sentence


def test_a_run_is_shown_where_torch_is_not_installed_and_its_edges_say_what_they_need(
    quick: QuickRun,
) -> None:
    command = [sys.executable, "-c", WITHOUT_TORCH, "inspect", str(quick.store)]
    command += ["--mention", "m140", "--run", str(quick.folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "run drin" in done.stdout
    done = subprocess.run(
        [*command, "--edges"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert 'pip install "drin-fs[train]"' in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--run", "r"], "--run goes with --mention"),
        (["--edges"], "--edges needs --run RUN"),
        (["--edges", "--entity", "0", "--run", "r"], "--entity and --edges: give one of them"),
        (["--edges", "--run", "r", "--mention", "0", "--split", "x"], "not with --mention"),
        (["--plot", "x.png"], "--plot goes with --edges"),
        (["--edges", "--run", "r", "--run", "s", "--plot", "x.png"], "edges of one --run"),
        (["--mention", "0", "--edges"], "--edges needs --run RUN"),
        (["--split", "valid"], "--split goes with --errors"),
        (["--errors", "r", "--mention", "0"], "--mention and --errors: give one of them"),
        (["--errors", "r", "--run", "r"], "--run goes with --mention"),
    ],
)
def test_options_that_do_not_go_together_are_usage_errors(
    tiny: TinyStore, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["inspect", str(tiny.path), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_mention_that_no_run_scored_is_said(
    quick: QuickRun, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(quick.store), "--mention", "0", "--run", str(quick.folder)]) == 3
    assert "--split train --record" in capsys.readouterr().err
