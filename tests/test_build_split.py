"""Splits: a partition, whole documents, the same from every seed, and stable when rows come."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Group

from cli.build.split import split_view
from cli.main import main
from featurestore.construct.split import SplitBy, build_split, parse_shares
from featurestore.errors import ConfigError, SourceError, WriteError
from featurestore.schema import SPLITS
from tests.snapshots import check_snapshot
from tests.terminal import shown


def item(number: int, document: str = "", gold: str = "", **more: Any) -> dict[str, Any]:
    named = {"document": document} if document else {}
    return {
        "id": f"m{number}", "sentence": f"Mention {number}.", "mentions": "Mention",
        "span": [0, 7], "answer": gold, "picture": "", **named, **more,
    }  # fmt: skip


def write(root: Path, items: Sequence[dict[str, Any]]) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(each) + "\n" for each in items)
    (root / "mentions.jsonl").write_text(text)
    return root


def divided(root: Path) -> dict[str, list[str]]:
    return {
        split: list(json.loads((root / "mentions" / f"WIKIMEL_{split}.json").read_text()))
        for split in SPLITS
    }


def split_of(root: Path) -> dict[str, str]:
    return {mention: split for split, ids in divided(root).items() for mention in ids}


# properties -------------------------------------------------------------------------------------


@settings(max_examples=80)
@given(
    documents=st.lists(st.integers(0, 30), min_size=3, max_size=80).filter(
        lambda drawn: len(set(drawn)) > 2
    ),
    shares=st.sampled_from([(70, 15, 15), (0.7, 0.1, 0.2), (1, 0, 0), (1, 1, 0), (5, 0, 1)]),
    seed=st.integers(0, 5),
    by=st.sampled_from(["document", "entity", "mention"]),
)
def test_a_split_is_a_partition_that_divides_no_group(
    tmp_path_factory: pytest.TempPathFactory,
    documents: list[int],
    shares: tuple[float, ...],
    seed: int,
    by: SplitBy,
) -> None:
    items = [item(n, f"d{each}", f"Q{each % 7 + 1}") for n, each in enumerate(documents)]
    if by == "entity" and len({each["answer"] for each in items}) < 3:
        return
    root = write(tmp_path_factory.mktemp("split"), items)
    summary = build_split(root, shares=shares, seed=seed, by=by)
    found = divided(root)
    ids = [mention for mentions in found.values() for mention in mentions]
    assert sorted(ids) == sorted(each["id"] for each in items)
    order = {each["id"]: n for n, each in enumerate(items)}
    for split, share in zip(SPLITS, shares, strict=True):
        assert bool(found[split]) == (share > 0)
        assert found[split] == sorted(found[split], key=order.__getitem__)
        assert summary.splits[split].mentions == len(found[split])
    where = split_of(root)
    key = {"document": "document", "entity": "answer", "mention": "id"}[by]
    places = defaultdict(set)
    for each in items:
        places[each[key]].add(where[each["id"]])
    assert {len(splits) for splits in places.values()} == {1}
    assert summary.groups == len(places)
    if by == "document":
        assert [each.documents for each in summary.overlap.values()] == [0, 0]
    if by == "entity":
        assert [each.golds for each in summary.overlap.values()] == [0, 0]
    largest = max(sum(each[key] == value for each in items) for value in places)
    if min(shares) > 0:
        wanted = shares[0] / sum(shares) * len(items)
        assert abs(len(found["train"]) - wanted) <= 2 * largest


def test_equal_seeds_divide_equally_and_others_do_not(tmp_path: Path) -> None:
    items = [item(n, f"d{n // 2}") for n in range(60)]
    first, again, other = (write(tmp_path / name, items) for name in "abc")
    build_split(first)
    build_split(again)
    build_split(other, seed=1)
    assert split_of(first) == split_of(again) != split_of(other)
    backwards = write(tmp_path / "d", items[::-1])
    build_split(backwards)
    assert split_of(backwards) == split_of(first)


@pytest.mark.parametrize("seed", range(5))
def test_added_rows_move_few(tmp_path: Path, seed: int) -> None:
    """Only documents beside a cut may move: never from train to test or back."""
    items = [item(n, f"d{n}") for n in range(2200)]
    before, after = write(tmp_path / "a", items[:2000]), write(tmp_path / "b", items)
    build_split(before, seed=seed)
    build_split(after, seed=seed)
    old, new = split_of(before), split_of(after)
    moved = [mention for mention in old if old[mention] != new[mention]]
    assert len(moved) < 60  # of 2,000; dividing anew would move about 900
    assert {frozenset((old[mention], new[mention])) for mention in moved} <= {
        frozenset(("train", "valid")), frozenset(("valid", "test"))
    }  # fmt: skip


# the report -------------------------------------------------------------------------------------


def test_the_report_counts_what_splits_share_as_a_plain_count_does(tmp_path: Path) -> None:
    items = [
        item(n, f"d{n // 3}", f"Q{n * n % 11}" if n % 4 else "", mentions=f"Name {n % 13}".upper()
             if n % 2 else f"Name {n % 13}", picture=f"{n % 17}.jpg" if n % 5 else "",
             sentence=f"Sentence {n % 29}")
        for n in range(90)
    ]  # fmt: skip
    root = write(tmp_path, items)
    summary = build_split(root, seed=2)
    where = split_of(root)
    rows = {s: [each for each in items if where[each["id"]] == s] for s in SPLITS}

    def values(split: str, key: str) -> set[str]:
        return {each[key].casefold() for each in rows[split] if each[key]}

    for split in ("valid", "test"):
        found, size = summary.overlap[split], summary.splits[split]
        golds = [each["answer"] for each in rows[split] if each["answer"]]
        assert found.with_gold == len(golds)
        assert found.golds == sum(gold.casefold() in values("train", "answer") for gold in golds)
        assert found.unseen == pytest.approx(1 - found.golds / len(golds))
        assert found.of_entities == size.entities == len(set(golds))
        assert found.entities == len(values(split, "answer") & values("train", "answer"))
        assert found.surfaces == sum(
            each["mentions"].casefold() in values("train", "mentions") for each in rows[split]
        )
        assert found.sentences == len(values(split, "sentence") & values("train", "sentence"))
        assert found.pictures == len(values(split, "picture") & values("train", "picture"))
        assert size.without_gold == len(rows[split]) - len(golds)
        assert size.documents == len(values(split, "document"))
    assert found.sentences > 0
    assert found.pictures > 0
    assert summary.documents_named == 90


def test_the_sentence_counts_as_the_document_of_a_mention_that_names_none(tmp_path: Path) -> None:
    items = [{**item(n), "sentence": f"Sentence {n % 6}"} for n in range(30)]
    summary = build_split(write(tmp_path, items))
    assert (summary.groups, summary.documents_named) == (6, 0)
    assert [each.sentences for each in summary.overlap.values()] == [0, 0]


# files ------------------------------------------------------------------------------------------


def test_a_folder_without_mentions_jsonl_is_divided_anew(tmp_path: Path) -> None:
    root = write(tmp_path, [item(n) for n in range(30)])
    build_split(root)
    (root / "mentions.jsonl").unlink()
    first = split_of(root)
    with pytest.raises(WriteError, match=r"WIKIMEL_train\.json exists") as caught:
        build_split(root, seed=1)
    assert "--overwrite" in caught.value.hint
    build_split(root, seed=1, overwrite=True)
    assert split_of(root) != first
    assert split_of(root).keys() == first.keys()
    build_split(root, overwrite=True)
    assert split_of(root) == first
    assert [path.name for path in root.iterdir()] == ["mentions"]


@pytest.mark.parametrize(
    "shares", ["", "1,2", "1,2,3,4", "a,b,c", "0,1,1", "1,-1,1", "nan,1,1", "inf,1,1"]
)
def test_shares_that_divide_nothing_are_refused(shares: str) -> None:
    with pytest.raises(ConfigError, match="cannot divide mentions"):
        parse_shares(shares)


def test_too_few_groups_and_malformed_files_are_refused(tmp_path: Path) -> None:
    root = write(tmp_path / "a", [item(n, f"d{n % 2}") for n in range(9)])
    with pytest.raises(SourceError, match="3 splits need as many groups, by document there are 2"):
        build_split(root)
    build_split(root, shares=(1, 1, 0))
    assert not divided(root)["test"]
    twice = write(tmp_path / "b", [item(1), item(2), item(1)])
    with pytest.raises(SourceError, match="'m1' stands twice"):
        build_split(twice)
    with pytest.raises(SourceError, match=r"no mentions\.jsonl"):
        build_split(tmp_path / "c")
    with pytest.raises(SourceError, match="no mention is there"):
        build_split(write(tmp_path / "d", []))
    (tmp_path / "d" / "mentions.jsonl").write_text('{"id": 3}\n')
    with pytest.raises(SourceError) as caught:
        build_split(tmp_path / "d")
    assert caught.value.where.endswith("mentions.jsonl:1")
    assert not (tmp_path / "d" / "mentions").exists()


# the command ------------------------------------------------------------------------------------


def test_the_command_reports_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write(tmp_path / "own", [item(n, f"d{n}", "Q1") for n in range(20)])
    arguments = ["build", "split", str(root), "--shares", "50,25,25", "--json"]
    assert main(arguments) == 0
    summary = json.loads(capsys.readouterr().out)
    assert [each["mentions"] for each in summary["splits"].values()] == [10, 5, 5]
    assert summary["overlap"]["test"]["unseen"] == 0
    assert main(arguments) == 1
    assert main([*arguments, "--overwrite", "--by", "entity"]) == 3
    assert "by entity there are 1" in capsys.readouterr().err
    assert main(["build", "split", str(root), "--shares", "1"]) == 2


@pytest.mark.parametrize("width", [80, 120])
def test_view(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.chdir(tmp_path)
    items = [item(n, f"d{n // 3}" if n % 3 else "", f"Q{n % 19}") for n in range(120)]
    summary = build_split(write(Path("own"), items))
    check_snapshot(f"build-split-{width}", shown(Group(*split_view(summary)), width=width))
