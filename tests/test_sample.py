"""The sample dataset: equal bytes, what is refused, and the plan behind both layouts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.main import main
from featurestore.errors import ConfigError, SourceError, WriteError
from featurestore.progress import Stage
from featurestore.sources import sample_words
from featurestore.sources.sample import write_sample
from featurestore.sources.sample_plan import plan_world
from featurestore.sources.sample_world import SPLITS, World
from tests.sample_for_tests import SMALL, tree


def world(**changes: Any) -> World:
    sizes = {**SMALL, "mention_tokens": 32, "entity_tokens": 48, "short_lists": False, "seed": 0}
    return plan_world(**{**sizes, **changes})


# equal bytes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["raw", "preprocessed"])
@pytest.mark.parametrize("dataset", ["wikimel", "wikidiverse"])
def test_equal_arguments_write_equal_bytes_and_another_seed_does_not(
    tmp_path: Path, dataset: Any, layout: Any
) -> None:
    sizes: dict[str, Any] = {"mentions": 30, "entities": 20, "candidates": 6}
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_sample(tmp_path / name, dataset=dataset, layout=layout, seed=seed, **sizes)
    first, again, other = (tree(tmp_path / name) for name in "abc")
    assert first == again
    assert len(set(first.values()) & set(other.values())) < 0.5 * len(first)


# what is refused --------------------------------------------------------------------------------


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(SourceError, match="not empty") as caught:
        write_sample(tmp_path, layout="preprocessed", **SMALL)
    assert str(tmp_path) in str(caught.value)
    assert "name a new folder" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    summary = write_sample(tmp_path, layout="preprocessed", **SMALL)
    assert summary.files == len(list(tmp_path.iterdir())) == 42
    assert summary.bytes == sum(path.stat().st_size for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"mentions": 19}, "mentions"),
        ({"candidates": 3}, "candidates"),
        ({"entities": 17, "candidates": 10}, "entities"),
        ({"mention_tokens": 23}, "mention_tokens"),
        ({"entity_tokens": 39}, "entity_tokens"),
        ({"text_width": 30}, "text_width"),
        ({"image_width": 12}, "image_width"),
        ({"layout": "raw", "regions": 36}, "regions"),
        ({"layout": "raw", "dataset": "wikidiverse", "candidates": 11}, "candidates"),
    ],
)
def test_numbers_that_leave_no_room_are_named(
    tmp_path: Path, options: dict[str, Any], name: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{name} is ") as caught:
        write_sample(tmp_path / "new", **{"layout": "preprocessed", **options})
    assert caught.value.where == name
    assert not (tmp_path / "new").exists()


def test_arrays_are_written_without_torch_and_pillow(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from featurestore.sources.sample import write_sample;"
        f"write_sample(Path({str(tmp_path)!r}), layout='preprocessed', mentions=20);"
        "print([name for name in ('torch', 'PIL', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.decode().strip() == "[]"


# the plan ---------------------------------------------------------------------------------------


def test_namesakes_share_a_name_but_no_kind_and_no_colour() -> None:
    made = world(entities=120)
    for group in np.unique(made.group):
        rows = np.flatnonzero(made.group == group).tolist()
        assert len({made.name(row) for row in rows}) == 1
        assert len(set(made.kind[rows])) == len(rows)
        assert len(set(made.theme[rows, :2].flat)) == 2 * len(rows)
    assert len({made.title(row) for row in range(120)}) == 120


def test_candidates_are_the_namesakes_and_then_others_none_twice() -> None:
    made = world(mentions=200, entities=60)
    for row, gold in enumerate(made.gold):
        candidates = made.candidates[row]
        namesakes = set(np.flatnonzero(made.group == made.group[gold]))
        retrieved = gold in candidates
        assert len(set(candidates)) == len(candidates)
        assert namesakes - set(candidates) == (set() if retrieved else {gold})
        assert made.answer[row] == (list(candidates).index(gold) if retrieved else 8)
    assert 0 < (made.answer == 8).sum() < 20


def test_every_entity_is_gold_equally_often_and_splits_are_70_15_15() -> None:
    made = world(mentions=300, entities=100)
    assert set(np.bincount(made.gold)) == {3}
    assert [len(made.rows_of(split)) for split in SPLITS] == [210, 45, 45]


def test_a_sentence_uses_its_topic_exactly_where_it_is_telling() -> None:
    made = world(mentions=200)
    for row, gold in enumerate(made.gold):
        words = set(made.sentence(row).lower().replace(",", "").rstrip(".").split())
        topic = set(sample_words.TOPICS[made.kind_of(gold)])
        assert bool(words & topic) == made.telling[row]
        assert not words & {*sample_words.COLOURS, *sample_words.SHAPES, *sample_words.KINDS}


@pytest.mark.parametrize("tokens", [24, 32, 128])
def test_a_sentence_fits_its_tokens_and_holds_its_name(tokens: int) -> None:
    made = world(mentions=200, mention_tokens=tokens)
    for row, gold in enumerate(made.gold):
        sentence = made.sentence(row)
        assert sentence.count(made.name(gold)) == 1
        assert len(sample_words.tokenize(sentence)) <= tokens - 2


def test_no_word_stands_in_two_lists() -> None:
    lists = [
        *(words for words in sample_words.TOPICS.values()),
        *(sample_words.NEUTRAL, sample_words.KINDS, tuple(sample_words.COLOURS)),
        *(sample_words.PATTERNS, sample_words.SHAPES),
        tuple(word for word in sample_words.quiet_words() if word.islower()),
    ]
    every = [word for words in lists for word in words]
    assert sorted(set(every)) == sorted(every)


@given(st.integers(1, 200_000))
def test_names_of_any_number_of_groups_differ(count: int) -> None:
    step = max(1, count // 200)
    found = [sample_words.name(index, count) for index in range(0, count, step)]
    assert len(set(found)) == len(found)
    assert all(name.istitle() for name in found)


# progress ---------------------------------------------------------------------------------------


class Recorder:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.stages: dict[str, list[int]] = {}  # name → total, done
        self._running = ""

    @contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Stage]:
        self.stages[name] = [total, 0]
        self._running = name
        yield self

    def advance(self, amount: int) -> None:
        self.stages[self._running][1] += amount

    def note(self, text: str) -> None:
        pass


def test_progress_reaches_the_end_of_every_stage(tmp_path: Path) -> None:
    recorder = Recorder()
    write_sample(tmp_path, dataset="wikidiverse", layout="preprocessed", progress=recorder, **SMALL)
    assert list(recorder.stages) == [
        stage for split in SPLITS for stage in (f"{split} mentions", f"{split} slots")
    ]
    assert all(total == done > 0 for total, done in recorder.stages.values())


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="cannot be written"):
        write_sample(tmp_path / "file" / "x", layout="preprocessed", mentions=20, entities=20)
    with pytest.raises(SourceError, match="a file, not a folder"):
        write_sample(tmp_path / "file", layout="preprocessed", mentions=20, entities=20)


def test_the_next_command_fits_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["sample", "demo/raw", "--mentions", "40", "--entities", "40"]) == 0
    lines = capsys.readouterr().out.partition("next\n")[2].splitlines()
    assert all(line.endswith(" \\") for line in lines[:-1])
    assert max(map(len, lines)) <= 80
