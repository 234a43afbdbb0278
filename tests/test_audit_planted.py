"""The sample with problems: audit finds each that was planted, and none where none was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import featurestore
from featurestore.audit import CHECKS, Audit, Finding, audit
from featurestore.errors import ConfigError
from featurestore.ingest import ingest
from featurestore.options import IngestOptions
from featurestore.sources.sample import PROBLEMS_NEED, SampleSummary, write_sample
from tests.sample_for_tests import SMALL, read, tree

SIZE: dict[str, Any] = {"mentions": PROBLEMS_NEED, "entities": 60, "candidates": 8}


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SampleSummary]:
    root = tmp_path_factory.mktemp("samples")
    return {
        name: write_sample(root / name, problems=name == "bad", **SIZE) for name in ("good", "bad")
    }


@pytest.fixture(scope="module")
def stores(samples: dict[str, SampleSummary]) -> dict[str, Path]:
    """The samples as stores with text features: spans and identical features need them."""
    paths = {}
    for name, sample in samples.items():
        paths[name] = Path(f"{sample.root}.h5")
        options = IngestOptions(
            text_encoder=sample.encoders["bert"], image_encoder="none", clip="none",
            detector="none",
        )  # fmt: skip
        ingest(Path(sample.root), paths[name], options=options)
    return paths


@pytest.fixture(scope="module")
def audits(stores: dict[str, Path]) -> dict[str, Audit]:
    found = {}
    for name, path in stores.items():
        with featurestore.open(path) as store:
            found[name] = audit(store)
    return found


def warnings(found: Audit, check: str) -> list[Finding]:
    return [f for f in found.findings if f.check == check and f.severity == "warning"]


def test_every_planted_problem_is_one_that_a_check_looks_for(
    samples: dict[str, SampleSummary],
) -> None:
    planted = {problem.partition(": ")[0] for problem in samples["bad"].troubles}
    assert planted & set(CHECKS) == {
        "duplicate-entities", "title-leak", "shared-sentences", "candidate-recall", "gold-place",
        "golds", "candidate-lists", "shared-mentions", "repeated-mentions", "cut-spans",
        "picture-files", "similar-pictures",
    }  # fmt: skip
    assert not planted & {p.partition(": ")[0] for p in samples["good"].troubles} & set(CHECKS)


@pytest.mark.parametrize(
    ("check", "word", "count"),
    [
        ("identical-features", "text_mean", 2),
        ("duplicate-entities", "title and description", 2),
        ("cut-spans", "in part", 1),
        ("cut-spans", "no token is left", 1),
        ("repeated-mentions", "mentions of test", 2),
        ("shared-sentences", "all sentences of valid stand in train", None),
        ("picture-files", "mentions of test", 1),
        ("candidate-recall", "mentions of valid, without exception", None),
        ("candidate-recall", "mentions of test do not have their gold", None),
        ("gold-place", "golds of valid stand at place 1", None),
        ("golds", "not in the entity table", 1),
        ("candidate-lists", "more than once", 2),
        ("candidate-lists", "no other entity", 1),
        ("title-leak", "mentions of valid are their gold's title, but for case, all", None),
    ],
)
def test_each_planted_problem_is_found_and_only_there(
    audits: dict[str, Audit], check: str, word: str, count: int | None
) -> None:
    (found,) = [f for f in warnings(audits["bad"], check) if word in f.what]
    before = sum(f.count for f in warnings(audits["good"], check) if word in f.what)
    if count is None:
        assert before == 0
    else:
        assert found.count == before + count


def test_the_planted_mention_of_train_and_test_is_named(
    samples: dict[str, SampleSummary], stores: dict[str, Path], audits: dict[str, Audit]
) -> None:
    """Others may happen to be equal: the sample has few words."""
    good, bad = (read(sample.root, "mentions/WIKIMEL_test.json") for sample in samples.values())
    with featurestore.open(stores["bad"]) as store:
        train = set(store.mentions.gather("sentence", store.mentions.split("train")))
    copied = {
        mention
        for mention, item in bad.items()
        if item["sentence"] in train and item["sentence"] != good.get(mention, {}).get("sentence")
    }
    assert len(copied) == 1
    (found,) = warnings(audits["bad"], "shared-mentions")
    assert copied & {example.split(" = ")[1] for example in found.examples}


def test_a_title_in_capitals_is_noted(audits: dict[str, Audit]) -> None:
    (found,) = [
        f
        for f in audits["bad"].findings
        if f.check == "duplicate-entities" and f.severity == "note"
    ]
    assert found.count == 4  # and the two of one description
    assert not [f for f in audits["good"].findings if f.check == "duplicate-entities"]


def test_planted_pictures_look_as_entities_do(
    samples: dict[str, SampleSummary], stores: dict[str, Path], audits: dict[str, Audit]
) -> None:
    good, bad = (tree(Path(sample.root)) for sample in samples.values())
    planted = {path for path in bad if "KVQAimgs" in path and good.get(path) != bad[path]}
    assert len(planted) == 3  # named as an entity's, a copy, a smaller one
    with featurestore.open(stores["bad"]) as store:
        test = store.mentions.split("test")
        paths = store.mentions.gather("image_path", test)
        rows = [row for row, path in zip(test, paths, strict=True) if path in planted]
        ids = store.mentions.ids(rows)
    (found,) = [f for f in warnings(audits["bad"], "similar-pictures") if " of test " in f.what]
    (before,) = [f for f in warnings(audits["good"], "similar-pictures") if " of test " in f.what]
    named = {example.split(" ~ ")[0] for example in found.examples}
    assert set(ids) <= named
    assert not set(ids) & {example.split(" ~ ")[0] for example in before.examples}
    assert "none for 2" in found.what


def test_equal_arguments_plant_equal_problems(
    samples: dict[str, SampleSummary], tmp_path: Path
) -> None:
    write_sample(tmp_path / "again", problems=True, **SIZE)
    assert tree(tmp_path / "again") == tree(Path(samples["bad"].root))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dataset": "wikidiverse"}, "not planted in raw wikidiverse"),
        ({"layout": "preprocessed"}, "not planted in preprocessed wikimel"),
        ({}, "needs at least 700"),
    ],
)
def test_where_problems_cannot_be_planted_that_is_said(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        write_sample(tmp_path / "x", problems=True, **{**SMALL, **options})
    assert not (tmp_path / "x").exists()
