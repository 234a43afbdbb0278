"""DRIN's edges over a split: equal to those of its mentions one by one, by every group."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import featurestore
from cli.main import main
from cli.render_edges import summary_view
from featurestore.errors import ConfigError, UnknownId
from featurestore.options import IngestOptions
from linker.config_text import read_config
from linker.edge_summary import PARTS, EdgeGroup, EdgeSummary, EdgeSums
from linker.explain import EdgeReader, summarise_edges
from linker.mention_groups import mention_groupings
from linker.train import train
from tests.golden_for_tests import RAW, TEXT_ONLY
from tests.recorded_for_tests import recorded_run
from tests.runs_for_tests import QUICK, QuickRun
from tests.snapshots import check_snapshot
from tests.stores_for_tests import planted_store
from tests.terminal import shown

#: Pictures of the planted entities: some missing, some not known.
_STATUS = np.arange(36, dtype=np.uint8) % 5


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted_store(
        tmp_path_factory.mktemp("store") / "s.h5",
        also={
            "entities/image_status": _STATUS,
            "mentions/image_status": np.arange(176, dtype=np.uint8) % 2,
        },
        topics=[f"topic {place % 3}" for place in range(176)],
    )


@pytest.fixture(scope="module")
def run_of(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    def trained(protocol: str = "strict", batch_size: int = 16, **options: Any) -> Path:
        run = tmp_path_factory.mktemp("runs") / "drin"
        model = {"name": "drin", **options}
        config = {**QUICK, "epochs": 1, "model": model, "protocol": protocol}
        train(store, read_config({**config, "batch_size": batch_size}), run=run)
        return run

    return trained


def one_by_one(
    run: Path, store: Path, rows: range, keep: Callable[[int, np.ndarray, int], bool]
) -> dict[str, np.ndarray]:
    """Part → (pairs, L, 4) the edges of the mentions that ``keep`` lets through, a mention at a time."""
    found: dict[str, list[np.ndarray]] = {part: [] for part in PARTS}
    with featurestore.open(store) as opened:
        reader = EdgeReader(run, opened)
        for row in rows:
            mention = opened.mentions[row]
            each = reader.weights(row)
            answer = int(mention["answer"])
            if not keep(row, each.scores[: each.retrieved], answer):
                continue
            entities = [*mention["candidates"], mention["gold"]][: len(each.scores)]
            for place, entity in enumerate(entities):
                if entity < 0:
                    continue
                part = "gold" if place == answer < each.retrieved else "others"
                part = "gold slot" if place == each.retrieved else part
                found[part].append(each.weights[:, place])
    return {part: np.array(values, np.float64) for part, values in found.items() if values}


def assert_equal_to(group: EdgeGroup, wanted: dict[str, np.ndarray]) -> None:
    for number, part in enumerate(PARTS):
        if part not in wanted:
            assert not group.pairs[:, :, number].any()
            continue
        values = wanted[part]
        read = ~np.isnan(values).all(axis=0)
        np.testing.assert_array_equal(group.pairs[:, :, number], len(values) * read)
        for found, wished in (
            (group.means, values.mean(axis=0)),
            (group.deviations, values.std(axis=0)),
        ):
            np.testing.assert_allclose(found[:, :, number], wished, atol=2e-6)


def group_of(found: EdgeSummary, key: str, name: str) -> EdgeGroup:
    (grouping,) = (each for each in found.groupings if each.key == key)
    (group,) = (each for each in grouping.groups if each.name == name)
    return group


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"batch_size": 7, "edge_kind": "vector", "layers": 3},
        {"protocol": "paper"},
        {"edges": ["tt", "it"], "edge_update": "static"},
    ],
    ids=["plain", "vector", "paper", "static"],
)
def test_means_are_those_of_the_mentions_one_by_one(
    store: Path, run_of: Callable[..., Path], options: dict[str, Any]
) -> None:
    run = run_of(**options)
    with featurestore.open(store) as opened:
        found = summarise_edges(run, opened)
        rows = opened.mentions.split("test")
        gold = opened.mentions.gather("gold", np.arange(176))

    def right(_: int, scores: np.ndarray, answer: int) -> bool:
        ties = (scores == scores[answer]).sum() if answer < len(scores) else 2
        return answer < len(scores) and ties == 1 and int(scores.argmax()) == answer

    for key, name, keep in (
        ("all", "all mentions", lambda *_: True),
        ("verdict", "right", right),
        ("verdict", "wrong", lambda *mention: not right(*mention)),
        ("mention_picture", "missing", lambda row, *_: row % 2 == 1),
        ("gold_picture", "present", lambda row, *_: gold[row] >= 0 and _STATUS[gold[row]] == 0),
        ("gold_picture", "gold not in the store", lambda row, *_: gold[row] < 0),
        ("topic", "topic 2", lambda row, *_: row % 3 == 2),
    ):
        assert_equal_to(group_of(found, key, name), one_by_one(run, store, rows, keep))
    assert found.right == group_of(found, "verdict", "right").mentions
    for grouping in found.groupings:
        assert sum(group.mentions for group in grouping.groups) == found.mentions == 40


def test_an_error_counts_each_mention_as_one_draw() -> None:
    """Of mentions with the same number of pairs: the deviation of their means, over the root of them."""
    rng = np.random.default_rng(3)
    weights = rng.normal(rng.normal(size=(50, 1, 1, 1)), 0.1, (50, 2, 5, 4)).astype(np.float32)
    sums = EdgeSums([("all", "all", ("all",))])
    for part in np.array_split(np.arange(50), 7):
        sums.add(
            weights[part],
            answer=np.zeros(len(part), np.int64),
            retrieved=5,
            filled=np.ones((len(part), 5), bool),
            codes=[np.zeros(len(part), np.int64)],
        )
    ((group,),) = (each.groups for each in sums.groupings())
    means = weights[:, :, 1:].mean(axis=2, dtype=np.float64)
    wanted = means.std(axis=0, ddof=1) / np.sqrt(50)
    np.testing.assert_allclose(group.errors[:, :, 1], wanted, rtol=1e-6)
    assert (group.sources[:, :, 1] == 50).all()
    assert np.isnan(group.errors[:, :, 2]).all()  # no gold slot


def test_a_run_that_encodes_its_texts_itself_is_summed_up_too(
    store_of: Callable[[Path, IngestOptions], Path], tmp_path: Path
) -> None:
    store = store_of(RAW / "wikimel", TEXT_ONLY)
    online = {"model": {"name": "drin"}, "epochs": 1, "batch_size": 8, "metrics": {"ks": [1]}}
    train(store, read_config({**online, "text": {"source": "online"}}), run=tmp_path / "run")
    with featurestore.open(store) as opened:
        found = summarise_edges(tmp_path / "run", opened)
        rows = opened.mentions.split("test")
    wanted = one_by_one(tmp_path / "run", store, rows, lambda *_: True)
    assert_equal_to(group_of(found, "all", "all mentions"), wanted)


def test_what_cannot_be_summed_up_is_refused(quick: QuickRun, tmp_path: Path) -> None:
    plain = recorded_run(tmp_path / "text", quick.store, {})
    with featurestore.open(quick.store) as opened:
        with pytest.raises(UnknownId, match="no split 'dev'"):
            summarise_edges(quick.folder, opened, split="dev")
        with pytest.raises(ConfigError, match="model text has no edges"):
            summarise_edges(plain.path, opened)


# groups of mentions -------------------------------------------------------------------------------


def test_groupings_say_what_the_store_cannot_tell(quick: QuickRun) -> None:
    with featurestore.open(quick.store) as opened:
        found = mention_groupings(opened, "test")
    assert found.groupings == ()
    assert list(found.not_known) == ["mention_picture", "gold_picture", "topic"]
    assert "mentions/topic" in found.not_known["topic"]


def test_rare_topics_are_one_group_and_empty_ones_are_none(tmp_path: Path) -> None:
    topics = ["a", "a", "a", "b", "b", " "] + [f"rare {place % 9}" for place in range(34)]
    store = planted_store(tmp_path / "s.h5", topics=[*("x",) * 136, *topics])
    with featurestore.open(store) as opened:
        (found,) = mention_groupings(opened, "test", most_topics=7).groupings
        assert found.names[:3] == ("rare 0", "rare 1", "rare 2")
        assert found.names[-1] == "5 rarer topics"
        assert sum(found.counts.values()) == 40
        (whole,) = mention_groupings(opened, "test").groupings
    assert whole.counts["(no topic)"] == 1
    assert (whole.counts["a"], whole.counts["b"], whole.counts["rare 8"]) == (3, 2, 3)
    assert "x" not in whole.names
    blank = planted_store(tmp_path / "blank.h5", topics=[" "] * 176)
    with featurestore.open(blank) as opened:
        assert "is empty" in mention_groupings(opened, "test").not_known["topic"]


# shown --------------------------------------------------------------------------------------------


def made_up() -> EdgeSummary:
    """The numbers of a network do not depend on the machine here."""
    sums = EdgeSums(
        [("all", "all mentions", ("all mentions",)), ("topic", "topic", ("\x1b[1mA", "B"))]
    )
    weights = np.linspace(-0.4, 0.9, 6 * 2 * 5 * 4, dtype=np.float32).reshape(6, 2, 5, 4)
    weights[:, 1, :, 3] = np.nan
    sums.add(
        weights,
        answer=np.array([0, 1, 2, 3, 4, 5]),
        retrieved=5,
        filled=np.ones((6, 5), bool),
        codes=[np.zeros(6, np.int64), np.array([0, 0, 0, 0, 1, 1])],
    )
    return EdgeSummary(
        run="runs/drin", name="drin", model="drin", protocol="strict", tie_rule="expected",
        split="test", mentions=6, right=4, layers=2, edges=("tt", "ti", "it", "ii"), parts=PARTS,
        edge_kind="scalar", edge_update="dynamic", groupings=sums.groupings(),
        not_known={"mention_picture": "the store has no mentions/image_status"},
    )  # fmt: skip


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_looks_as_it_did(width: int) -> None:
    text = shown(summary_view(made_up()), width=width)
    check_snapshot(f"edges-{width}", text)
    assert "…" not in text
    assert "\x1b" not in text


def test_the_command_shows_edges_over_a_split(
    quick: QuickRun, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["inspect", str(quick.store), "--run", str(quick.folder), "--edges"]
    assert main([*arguments, "--split", "valid"]) == 0
    assert "40 mentions of valid" in capsys.readouterr().out
    assert main([*arguments, "--json"]) == 0
    (printed,) = json.loads(capsys.readouterr().out)["edges"]
    with featurestore.open(quick.store) as opened:
        wanted = summarise_edges(quick.folder, opened)
    assert printed["split"] == "test"
    (first, *_) = printed["groupings"]
    means = np.array(first["groups"][0]["means"], float)
    np.testing.assert_allclose(means, group_of(wanted, "all", "all mentions").means, atol=1e-6)
