"""The report: every section says what the store and the runs say."""

from __future__ import annotations

from base64 import b64decode
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import featurestore
from cli.console import count, figure, percent, size
from cli.report_html.gallery import MENTIONS, TOP
from cli.report_html.runs import hits
from cli.report_html.write import Written, write_report
from featurestore.audit import audit
from featurestore.coverage import coverage
from featurestore.progress import Silent
from featurestore.schema import IMAGE_STATUS
from linker.mistakes import mistakes
from linker.recorded import RecordedRun
from tests.recorded_for_tests import recorded_run
from tests.report_for_tests import Node, points, read_report, section
from tests.tiny_store import SIZES, TinyStore, write_tiny_store

ENTITIES, SPLITS = 40, (30, 9, 12)
K = SIZES["K"]
FIGURES: dict[str, float | None] = {
    "hits@1": 0.25,
    "hits@5": 0.5,
    "hits@10": 0.625,
    "hits@20": 0.75,
    "mrr": 0.375,
}
FIGURES |= {"mean_rank": None, "mentions": SPLITS[2], "retrieved": 9}


@dataclass(frozen=True)
class Case:
    tiny: TinyStore
    runs: tuple[Path, ...]
    page: Node
    text: str
    written: Written

    def __getitem__(self, key: str) -> Node:
        return section(self.page, key)


def made(tiny: TinyStore, runs: tuple[Path, ...] = ()) -> Case:
    target = tiny.path.with_suffix(".html")
    with featurestore.open(tiny.path) as store:
        written = write_report(store, target, runs=runs, overwrite=True, progress=Silent())
    text = target.read_text(encoding="utf-8")
    return Case(tiny, runs, read_report(text), text, written)


def planted() -> dict[str, Any]:
    """Pictures that are JPEGs by their first bytes, rows that are zero or equal, missing texts."""
    change: dict[str, Any] = {}
    for table, rows in (("entities", ENTITIES), ("mentions", sum(SPLITS))):
        jpegs = [b"\xff\xd8\xff" + bytes([row]) * (row % 5) for row in range(rows)]
        jpegs[1::4] = [b""] * len(jpegs[1::4])
        change[f"{table}/thumbnail"] = [np.frombuffer(jpeg, np.uint8) for jpeg in jpegs]
        change[f"{table}/thumbnail_size"] = np.array([len(jpeg) for jpeg in jpegs], np.int32)
    vectors = np.random.default_rng(8).standard_normal((ENTITIES, SIZES["D"])).astype(np.float32)
    vectors[[3, 4]], vectors[11] = 0, vectors[10]
    change["entities/text_mean"] = vectors
    change["entities/description"] = [
        "" if row in (2, 5, 6) else "words" for row in range(ENTITIES)
    ]
    return change


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("report")
    tiny = write_tiny_store(folder / "s.h5", entities=ENTITIES, mentions=SPLITS, change=planted())
    rng = np.random.default_rng(3)
    runs = []
    for name in ("one", "two"):
        scores = {
            split: rng.random((len(tiny.splits[split]), K)).astype(np.float32)
            for split in ("valid", "test")
        }
        runs.append(recorded_run(folder / name, tiny.path, scores, test=FIGURES).path)
    return made(tiny, tuple(runs))


def answers(case: Case, split: str) -> np.ndarray:
    rows = case.tiny.splits[split]
    return case.tiny.values["mentions/answer"][rows.start : rows.stop]


# the sections -----------------------------------------------------------------------------------


def test_every_section_stands_in_the_contents(case: Case) -> None:
    keys = [str(node.attributes["id"]) for node in case.page.all("section")]
    assert keys == list(case.written.sections)
    links = [node.attributes["href"] for node in case.page.all("nav")[0].all("a")]
    assert links == [f"#{key}" for key in keys]
    assert keys[3:5] == ["runs", "errors"]


def test_the_overview_counts_what_the_store_holds(case: Case) -> None:
    tiles = [node.words for node in case["overview"].all("li")]
    golds = sum(int((answers(case, split) < K).sum()) for split in case.tiny.splits)
    assert tiles[:4] == [
        f"{sum(SPLITS)}mentions",
        f"{ENTITIES}entities",
        f"{K}candidates a mention",
        f"{percent(golds, sum(SPLITS))}golds among them",
    ]
    assert tiles[4].startswith(size(case.tiny.path.stat().st_size))


def test_the_splits_have_their_recall(case: Case) -> None:
    for name, *cells in case["overview"].table("Splits"):
        found = answers(case, name)
        at = [f"{100 * (found < k).mean():.1f}" for k in (1, K)]
        assert cells == [str(len(found)), str((found < K).sum()), *at]


def test_the_recall_curve_is_drawn_through_the_shares(case: Case) -> None:
    drawing = case["coverage"].all("svg", "chart")[0]
    lines = [
        path for path in drawing.all("path") if "line" in str(path.attributes["class"]).split()
    ]
    drawn = np.array([[y for _, y in points(path)] for path in lines])
    recall = np.array(
        [[(answers(case, split) < k).mean() for k in range(1, K + 1)] for split in case.tiny.splits]
    )
    slope, start = np.polyfit(recall.ravel(), drawn.ravel(), 1)
    assert slope < 0  # up is more
    assert np.abs(slope * recall + start - drawn).max() < 0.1
    words = drawing.all("desc")[0].words
    assert f"test: {100 * recall[2, 0]:.1f} % at 1, {100 * recall[2, -1]:.1f} % at {K}" in words


def test_pictures_are_counted_by_split(case: Case) -> None:
    bars = case["coverage"].all("div", "coverage")
    rows = {f"{name} mentions": ("mentions", rows) for name, rows in case.tiny.splits.items()}
    rows["entities"] = ("entities", range(ENTITIES))
    assert [bar.all("h3")[0].words for bar in bars] == list(rows)
    for bar, (table, part) in zip(bars, rows.values(), strict=True):
        codes = case.tiny.values[f"{table}/image_status"][part.start : part.stop]
        expected = [
            f"{word} {number} {percent(number, len(part))}"
            for code, word in enumerate(IMAGE_STATUS)
            if (number := int((codes == code).sum()))
        ]
        assert [item.words for item in bar.all("li")] == expected
        widths = [float(str(piece.attributes["width"])) for piece in bar.all("rect")]
        assert sum(widths) == pytest.approx(100, abs=0.1)


def test_rows_without_a_text_are_counted(case: Case) -> None:
    rows = case["coverage"].table("Rows that have a text")
    (cells,) = [row for row in rows if row[0].startswith("entities/description")]
    assert cells[2:] == [str(ENTITIES - 3), percent(ENTITIES - 3, ENTITIES)]


def test_the_audit_is_that_of_the_store(case: Case) -> None:
    with featurestore.open(case.tiny.path) as store:
        found = [each for each in audit(store).findings if not each.skipped]
    items = case["audit"].all("li")
    assert found
    for finding, item in zip(found, items, strict=False):
        assert f"{finding.severity} {finding.what}" in item.words
        assert f"{count(finding.count)} of {count(finding.of)}" in item.words
        assert all(example in item.words for example in finding.examples)


def test_features_are_described(case: Case) -> None:
    vectors = case.tiny.values["entities/text_mean"]
    rows = {row[0]: row[1:] for row in case["fields"].table("How long")}
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    of_means = [*map(figure, (lengths.min(), lengths.max())), "2", "40", "40 of 40"]
    assert rows["entities/text_mean"][1:] == of_means
    whole = {row[0]: row[1:] for row in case["fields"].table("Values")}
    assert whole["entities/text_mean"][3:6] == ["2", "0", "2"]  # equal: 4 = 3, 11 = 10
    assert whole["entities/text_mean"][0] == "40"


def test_every_field_is_listed(case: Case) -> None:
    for table in ("entities", "mentions"):
        heading = f"Fields of {table}"
        children = case["fields"].children
        (place,) = [
            at
            for at, node in enumerate(children)
            if isinstance(node, Node) and node.words == heading
        ]
        listed = children[place + 1]
        assert isinstance(listed, Node)
        names = {path.split("/")[1] for path in case.tiny.values if path.startswith(table)}
        assert {row[0] for row in listed.rows()} == names


# the map ----------------------------------------------------------------------------------------


def test_the_points_of_the_map_are_those_of_the_store(case: Case) -> None:
    (drawing,) = case["map"].all("svg")
    drawn = {
        str(path.attributes["class"]).split()[1]: np.array(points(path))
        for path in drawing.all("path", "dots")
    }
    wrong = np.isin(np.arange(sum(SPLITS)), wrong_rows(case, 0))
    features = [case.tiny.values[f"{table}/clip_text"] for table in ("entities", "mentions")]
    both = np.concatenate(features).astype(np.float64)
    centred = both - both.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    flat = centred @ axes[:2].T
    entities, mentions = flat[:ENTITIES], flat[ENTITIES:]
    expected = np.concatenate([entities, mentions[~wrong], mentions[wrong]])
    found = np.concatenate([drawn["entity"], drawn["mention"], drawn["wrong"]])
    assert [len(drawn["entity"]), len(drawn["wrong"])] == [ENTITIES, wrong.sum()]
    pairs = np.linalg.norm(expected[:, None] - expected, axis=-1)
    shown = np.linalg.norm(found[:, None] - found, axis=-1)
    scale = shown.max() / pairs.max()
    assert np.abs(shown - scale * pairs).max() < 0.5
    names = [item.words for item in case["map"].all("ol", "landmarks")[0].all("li")]
    titles = case.tiny.values["entities/title"]
    rings = [
        (float(str(ring.attributes["cx"])), float(str(ring.attributes["cy"])))
        for ring in drawing.all("circle")
    ]
    assert len(set(names)) == 16
    for name, ring in zip(names, rings, strict=True):
        assert np.abs(drawn["entity"][titles.index(name)] - ring).max() < 0.1


# the gallery ------------------------------------------------------------------------------------


def test_sampled_mentions_stand_with_their_candidates(case: Case) -> None:
    values, cards = case.tiny.values, case["mentions"].all("article")
    ids = [card.all("code")[0].words for card in cards]
    rows = [values["mentions/id"].index(key) for key in ids]
    assert len(set(rows)) == len(rows)
    assert Counter(split_of(case, row) for row in rows) == dict.fromkeys(
        case.tiny.splits, MENTIONS // 3
    )
    for card, row in zip(cards, rows, strict=True):
        assert card.all("p", "words")[0].words == values["mentions/sentence"][row]
        assert card.all("mark")[0].words == values["mentions/mention"][row]
        titles = [values["entities/title"][at] for at in values["mentions/candidates"][row][:TOP]]
        gold = values["entities/title"][values["mentions/gold"][row]]
        shown = [item.all("bdi")[0].words for item in card.all("li")]
        assert shown == titles + ([gold] if values["mentions/answer"][row] == K else [])
        places = [item.all("span", "place")[0].words for item in card.all("li")]
        assert places == [*"1234"[:K], "–"][: len(shown)]
        marked = [item.all("bdi")[0].words for item in card.all("li", "gold")]
        assert marked == [gold]


def test_pictures_stand_in_the_file(case: Case) -> None:
    values = case.tiny.values
    for card in case["mentions"].all("article"):
        row = values["mentions/id"].index(card.all("code")[0].words)
        (about,) = card.all("div", "about-mention")
        jpeg = values["mentions/thumbnail"][row].tobytes()
        assert [picture_in(node) for node in about.all("img")] == ([jpeg] if jpeg else [])
        assert ("no picture" in about.words) == (not jpeg)
        for item, entity in zip(card.all("li"), values["mentions/candidates"][row], strict=False):
            jpeg = values["entities/thumbnail"][entity].tobytes()
            assert [picture_in(node) for node in item.all("img")] == ([jpeg] if jpeg else [])


def picture_in(node: Node) -> bytes:
    kind, _, data = str(node.attributes["src"]).partition(",")
    assert kind == "data:image/jpeg;base64"
    assert node.attributes["alt"]
    return b64decode(data, validate=True)


def split_of(case: Case, row: int) -> str:
    return next(name for name, rows in case.tiny.splits.items() if row in rows)


# runs -------------------------------------------------------------------------------------------


def wrong_rows(case: Case, run: int) -> list[int]:
    recorded = RecordedRun(case.runs[run])
    return [
        case.tiny.splits[split][place]
        for split in ("valid", "test")
        for place in np.flatnonzero(recorded.ranks(split).expected > 1).tolist()
    ]


def test_runs_stand_side_by_side(case: Case) -> None:
    rows = case["runs"].table("Hits and MRR")
    assert [row[:3] for row in rows] == [
        [split, run, "text"] for split in ("valid", "test") for run in ("one", "two")
    ]
    assert rows[0][3:9] == ["–"] * 6  # the summary has no figures of valid
    assert rows[2][3:9] == ["25.0", "50.0", "62.5", "75.0", "37.5", "–"]
    for run, row in enumerate(rows[2:]):
        wrong = [at for at in wrong_rows(case, run) if at in case.tiny.splits["test"]]
        assert row[9] == f"{len(wrong)} of {SPLITS[2]}"


def test_pairs_of_runs_are_compared_mention_by_mention(case: Case) -> None:
    test = set(case.tiny.splits["test"])
    one, two = (test - set(wrong_rows(case, run)) for run in (0, 1))
    numbers = [len(one & two), len(one - two), len(two - one), len(test - one - two)]
    rows = case["runs"].table("one and two")
    assert [row[2] for row in rows] == list(map(str, numbers))
    assert [row[3] for row in rows] == [percent(number, len(test)) for number in numbers]


def test_no_curve_is_above_what_was_retrieved(case: Case) -> None:
    (drawing,) = case["runs"].all("svg", "chart")
    lines = [
        path for path in drawing.all("path") if "line" in str(path.attributes["class"]).split()
    ]
    *curves, limit = [[y for _, y in points(path)] for path in lines]
    assert len(curves) == 2
    for curve in curves:
        assert np.all(np.diff(curve) <= 0)
        assert curve[-1] == pytest.approx(limit[-1], abs=0.11)  # among K candidates all are ranked


@given(
    hnp.arrays(np.float32, st.integers(0, 30), elements=st.sampled_from([1, 1.5, 2, 3, 7, np.inf])),
    st.integers(1, 9),
)
def test_hits_are_those_of_a_naive_count(ranks: np.ndarray, most: int) -> None:
    naive = [sum(rank <= k for rank in ranks) / max(len(ranks), 1) for k in range(1, most + 1)]
    np.testing.assert_allclose(hits(ranks, most), naive)


def test_mistakes_are_grouped_as_elsewhere(case: Case) -> None:
    with featurestore.open(case.tiny.path) as store:
        found = mistakes(store, case.runs[1], split="test", limit=3)
    part = case["errors"].all("div", "errors")[1]
    assert f"{found.wrong} of {found.mentions} mentions wrong" in part.words
    rows = [[row[0], row[2], row[4]] for row in part.table("Why")]
    assert rows == [[group.words, str(group.count), str(group.holds)] for group in found.groups]
    shown = [[item.all("code")[0].words for item in each.all("li")] for each in part.all("ul")]
    groups = [group.mistakes for group in found.groups if group.mistakes]
    assert shown == [[mistake.mention for mistake in group] for group in groups]


def test_runs_that_were_measured_otherwise_are_told_apart(case: Case, tmp_path: Path) -> None:
    scores = {"test": np.random.default_rng(0).random((SPLITS[2], K)).astype(np.float32)}
    other = recorded_run(tmp_path / "other", case.tiny.path, scores, denominator="retrieved")
    page = made(case.tiny, (case.runs[0], other.path))
    assert "do not compare their figures" in page["runs"].words
    assert "do not compare their figures" not in case["runs"].words


# what is there ----------------------------------------------------------------------------------


def test_coverage_is_that_of_a_naive_count(case: Case) -> None:
    with featurestore.open(case.tiny.path) as store:
        found = coverage(store)
    for split in found.splits:
        naive = [int((answers(case, split.name) < k).sum()) for k in range(1, K + 1)]
        assert split.found.tolist() == naive
    for text in found.texts:
        assert text.filled == sum(map(bool, case.tiny.values[text.path]))
        assert text.of == len(case.tiny.values[text.path])
