"""The sample dataset: complete layouts, equal bytes, the troubles that its summary counts."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from featurestore.errors import ConfigError, SourceError
from featurestore.progress import Stage
from featurestore.sources import sample_words
from featurestore.sources.sample import SampleSummary, write_sample
from featurestore.sources.sample_files import ArrayFile
from featurestore.sources.sample_plan import plan_world
from featurestore.sources.sample_world import SPLITS, World
from featurestore.sources.wikimel import RawWikimel

SMALL: dict[str, Any] = {"mentions": 80, "entities": 40, "candidates": 8}


@pytest.fixture(scope="module")
def wikimel(tmp_path_factory: pytest.TempPathFactory) -> SampleSummary:
    return write_sample(tmp_path_factory.mktemp("sample") / "wikimel", **SMALL)


@pytest.fixture(scope="module")
def wikidiverse(tmp_path_factory: pytest.TempPathFactory) -> SampleSummary:
    folder = tmp_path_factory.mktemp("sample") / "wikidiverse"
    return write_sample(folder, dataset="wikidiverse", **SMALL)


@pytest.fixture(scope="module", params=["wikimel", "wikidiverse"])
def arrays(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> SampleSummary:
    """A preprocessed sample of each dataset, every size another number."""
    return write_sample(
        tmp_path_factory.mktemp("sample") / "arrays",
        dataset=request.param,
        layout="preprocessed",
        text_width=24,
        image_width=20,
        mention_tokens=30,
        entity_tokens=42,
        regions=9,
        mention_objects=4,
        entity_objects=2,
        **SMALL,
    )


def tree(root: Path) -> dict[str, str]:
    """Every file below ``root`` → digest."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


def read(root: str, name: str) -> Any:
    return json.loads(Path(root, name).read_text(encoding="utf-8"))


def load(summary: SampleSummary, name: str) -> np.ndarray:
    return np.load(Path(summary.root, f"{name}.npy"), allow_pickle=False)


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


@given(st.integers(1, 200_000))
def test_names_of_any_number_of_groups_differ(count: int) -> None:
    step = max(1, count // 200)
    found = [sample_words.name(index, count) for index in range(0, count, step)]
    assert len(set(found)) == len(found)
    assert all(name.istitle() for name in found)


# raw WikiMEL ------------------------------------------------------------------------------------


def test_raw_wikimel_has_every_file(wikimel: SampleSummary) -> None:
    root = Path(wikimel.root)
    pictures = {path.relative_to(root).as_posix() for path in root.glob("*/*/*.*g")}
    boxes = {f"mention-object-{kind}_{split}" for kind in ("box", "score") for split in SPLITS}
    boxes |= {"entity-object-box_all", "entity-object-score_all"}
    text = {
        "candidates/qid2ne.json", "candidates/ne2qid.json",
        "candidates/top100/candidates-answer.tsv",
        "entities/qid2abs.json", "entities/qid2brief.json", "entities/qid-entity.tsv",
        *(f"mentions/WIKIMEL_{split}.json" for split in SPLITS),
        *(f"boxes/{name}.npy" for name in boxes),
    }  # fmt: skip
    encoders = {name for name in tree(root) if name.startswith("encoders/")}
    assert {name.split("/")[1] for name in encoders} == {"bert", "resnet", "clip"}
    assert set(tree(root)) == text | pictures | encoders
    assert {Path(name).parent.name for name in pictures} == {"KVQAimgs", "cleaned-images"}


def test_raw_wikimel_is_read_with_the_troubles_that_were_planted(wikimel: SampleSummary) -> None:
    raw = RawWikimel.open(Path(wikimel.root))
    dropped = sum(len(ids) for ids in raw.dropped.values())
    assert dropped == wikimel.troubles["mentions not in their sentence"] == 1
    assert len(raw.mentions) == 80 - dropped
    assert raw.mentions.candidates.shape == (80 - dropped, wikimel.candidates)
    assert (raw.mentions.gold >= 0).all()
    missed = (raw.mentions.answer == wikimel.candidates).sum()
    assert 0 <= wikimel.troubles["golds not among the candidates"] - missed <= dropped
    assert raw.entities.descriptions.count("") == wikimel.troubles["entities without description"]
    assert raw.entities.image_paths.count("") == wikimel.troubles["entity pictures missing"]


def test_one_wikimel_mention_stands_beyond_128_tokens(wikimel: SampleSummary) -> None:
    mentions = RawWikimel.open(Path(wikimel.root)).mentions
    before = [
        len(sample_words.tokenize(sentence[:start]))
        for sentence, start in zip(mentions.sentences, mentions.char_start, strict=True)
    ]
    assert sum(count > 128 for count in before) == wikimel.troubles["mentions beyond 128 tokens"]
    assert sorted(before)[-2] < 32


def test_recorded_boxes_fit_the_mentions_that_are_kept(wikimel: SampleSummary) -> None:
    raw = RawWikimel.open(Path(wikimel.root))
    for split, rows in raw.mentions.splits.items():
        boxes = load(wikimel, f"boxes/mention-object-box_{split}")
        scores = load(wikimel, f"boxes/mention-object-score_{split}")
        assert boxes.shape == (len(rows), 3, 4)
        assert (boxes[..., 2:] > boxes[..., :2]).all()
        assert 0 <= boxes.min() <= boxes.max() <= 224
        assert (np.diff(scores, axis=1) <= 0).all()
        for row, best in zip(rows, scores[:, 0], strict=True):
            path = raw.mentions.image_paths[row]
            usable = bool(path) and state_of(Path(wikimel.root, path)) == "ok"
            assert (best > 0) == usable


def state_of(path: Path) -> str:
    """How ``schema.IMAGE_STATUS`` calls the picture at ``path``."""
    try:
        with Image.open(path) as picture:
            picture.load()
            return "ok" if min(picture.size) >= 50 else "too small"
    except FileNotFoundError:
        return "missing"
    except OSError:
        return "broken"


def test_the_summary_counts_the_pictures_that_cannot_be_used(wikimel: SampleSummary) -> None:
    for kind, folder in (("mention", "mentions/KVQAimgs"), ("entity", "entities/cleaned-images")):
        states = [state_of(path) for path in Path(wikimel.root, folder).iterdir()]
        for state in ("broken", "too small"):
            assert states.count(state) == wikimel.troubles[f"{kind} pictures {state}"] == 1
        assert wikimel.troubles[f"{kind} pictures missing"] >= 1
    suffixes = {path.suffix for path in Path(wikimel.root).rglob("*/cleaned-images/*")}
    assert suffixes == {".jpg", ".png"}


def test_some_mentions_share_a_picture(wikimel: SampleSummary) -> None:
    ids = [mention for split in SPLITS for mention in read_mentions(wikimel, split)]
    assert len({mention.split("-")[0] for mention in ids}) < len(set(ids)) == 80


def read_mentions(summary: SampleSummary, split: str) -> Any:
    return read(summary.root, f"mentions/WIKIMEL_{split}.json")


# raw WikiDiverse --------------------------------------------------------------------------------


def items_of(summary: SampleSummary) -> list[list[Any]]:
    return [
        item
        for split in SPLITS
        for item in read(summary.root, f"candidates/{split}_w_10cands.json")
    ]


def digest(url: str) -> str:
    return hashlib.md5(url.rsplit("/", 1)[-1].encode(), usedforsecurity=False).hexdigest()


def test_raw_wikidiverse_has_every_file(wikidiverse: SampleSummary) -> None:
    names = {name for name in tree(Path(wikidiverse.root)) if not name.startswith("encoders/")}
    images = {name for name in names if name.startswith("images/")}
    assert names - images == {
        *(f"candidates/{split}_w_10cands.json" for split in SPLITS),
        *(f"entities/entity2brief_{split}.json" for split in SPLITS),
        *(f"mentions/{split}.json" for split in SPLITS),
        "entities/wikipedia_entity2imgs.tsv",
        "entities/wikipedia_entity2desc_filtered.tsv",
    }
    assert len(images) > 100


def test_wikidiverse_items_are_laid_out_as_in_the_release(wikidiverse: SampleSummary) -> None:
    items = items_of(wikidiverse)
    assert len(items) == 80
    for item in items:
        sentence, url, mention, kind, left, right, gold, candidates, topic, start, end = item
        assert sentence[start:end] == mention
        assert " ".join([*left, mention]) == sentence[:end]
        assert "".join(right) == sentence[end:].replace(" ", "")
        assert url.startswith("https://upload.wikimedia.org/")
        assert kind in {"Person", "Location", "Organization", "Misc"}
        assert topic
        assert gold == "NIL" or "https://en.wikipedia.org/wiki/" in gold
        assert len(candidates) <= 8
    lengths = [len(item[7]) for item in items]
    short = wikidiverse.troubles["short candidate lists"]
    assert sum(length < 8 for length in lengths) == short == 8
    assert lengths.count(0) == 1
    bare = read(wikidiverse.root, "mentions/valid.json")
    full = read(wikidiverse.root, "candidates/valid_w_10cands.json")
    assert bare == [[*item[:7], *item[8:]] for item in full]


def test_wikidiverse_gold_urls_are_as_dirty_as_said(wikidiverse: SampleSummary) -> None:
    golds = [item[6] for item in items_of(wikidiverse)]
    wiki = "https://en.wikipedia.org/wiki/"
    found = {
        "NIL": golds.count("NIL"),
        "hhttps": sum(gold.startswith("hhttps") for gold in golds),
        "bracket": sum(gold.endswith("]") for gold in golds),
        "lower": sum(gold.removeprefix(wiki)[0].islower() for gold in golds if wiki in gold),
        "spaces": sum("%20" in gold for gold in golds),
    }
    found["lower"] -= found["hhttps"]
    assert found == {name: wikidiverse.troubles[f"gold URLs, {name}"] for name in found}
    assert set(found.values()) == {1}


def test_wikidiverse_titles_hold_slashes_accents_and_encoded_marks(
    wikidiverse: SampleSummary,
) -> None:
    urls = {url for item in items_of(wikidiverse) for url in item[7]}
    titles = {unquote(url.rsplit("/", 1)[-1]) for url in urls}
    assert any("%2F" in url for url in urls)
    assert "2)" in titles  # what is left of a title whose slash is not encoded
    assert any(not title.isascii() for title in titles)
    assert all(("%28" in url) or url.endswith("2%29") for url in urls)
    briefs = {
        name
        for split in SPLITS
        for name in read(wikidiverse.root, f"entities/entity2brief_{split}.json")
    }
    assert len(titles - briefs) == 2  # that one, and the entity without a brief


def test_wikidiverse_pictures_lie_under_the_digest_of_their_url(
    wikidiverse: SampleSummary,
) -> None:
    images = Path(wikidiverse.root, "images")
    files = {path.stem: path for path in images.iterdir()}
    lines = Path(wikidiverse.root, "entities/wikipedia_entity2imgs.tsv").read_text("utf-8")
    header, *rows = lines.splitlines()
    assert header == "entity@@@@images"
    listed = [row.split("@@@@")[1].split("[AND]") for row in rows]
    urls = {item[1] for item in items_of(wikidiverse)} | {url for row in listed for url in row}
    found = {url: files[digest(url)] for url in urls if digest(url) in files}
    assert len(found) == len(files)
    drawings = [url for url in found if url.endswith(".svg")]
    assert drawings
    assert {found[url].suffix for url in drawings} == {".png"}
    several = [[state_of(found[url]) for url in row] for row in listed if len(row) > 1]
    assert several == [["too small", "ok"]]


# preprocessed -----------------------------------------------------------------------------------


def test_arrays_have_the_names_shapes_and_types_of_the_release(arrays: SampleSummary) -> None:
    expected: dict[str, tuple[tuple[int, ...], str]] = {}
    for split in SPLITS:
        n = arrays.mentions[split]
        mention = {
            "mention-text-raw": ((n,), "U"),
            "start-pos": ((n,), "i8"),
            "end-pos": ((n,), "i8"),
            "answer": ((n,), "i8"),
            "mention-text-feature": ((n, 30, 24), "f4"),
            "mention-text-mask": ((n, 30), "i8"),
            "mention-image-feature": ((n, 9, 20), "f4"),
            "mention-object-feature": ((n, 4, 20), "f4"),
            "mention-object-score": ((n, 4), "f4"),
            "similarity-miet": ((n, 9), "f4"),
            "similarity-eimt": ((n, 9), "f4"),
        }
        if arrays.dataset == "wikimel":
            mention["entity-name-raw"] = ((9 * n,), "U")
        else:
            mention |= {
                "mention-image-path": ((n,), "U"),
                "entity-attr-raw": ((9 * n,), "U"),
                "entity-image-path": ((9 * n,), "U"),
                "entity-attr-feature": ((9 * n, 24), "f4"),
                "entity-image-feature": ((9 * n, 1, 20), "f4"),
                "entity-object-feature": ((9 * n, 2, 20), "f4"),
                "entity-object-score": ((9 * n, 2), "f4"),
            }
        expected |= {f"{name}_{split}": form for name, form in mention.items()}
    if arrays.dataset == "wikimel":
        expected |= {
            "entity-attr-feature": ((40, 42, 24), "f4"),
            "entity-attr-mask": ((40, 42), "i8"),
            "entity-image-feature_all": ((40, 1, 20), "f4"),
            "entity-object-feature_all": ((40, 2, 20), "f4"),
            "entity-object-score_all": ((40, 2), "f4"),
        }
        assert read(arrays.root, "qid2idx.json") == {f"Q{100 + 37 * row}": row for row in range(40)}
    found = {
        path.stem: (array.shape, array.dtype.str.strip("<")[: 1 if array.dtype.kind == "U" else 2])
        for path in Path(arrays.root).glob("*.npy")
        for array in [np.load(path, allow_pickle=False)]
    }
    assert found == expected
    assert arrays.files == {"wikimel": 42, "wikidiverse": 54}[arrays.dataset]


def test_masks_are_ragged_and_hold_the_mention(arrays: SampleSummary) -> None:
    names = [f"mention-text-mask_{split}" for split in SPLITS]
    if arrays.dataset == "wikimel":
        names.append("entity-attr-mask")
    for name in names:
        mask = load(arrays, name)
        counts = mask.sum(1)
        assert (mask == (np.arange(mask.shape[1]) < counts[:, None])).all()
        assert len(set(counts)) > 3
    for split in SPLITS:
        start, end = load(arrays, f"start-pos_{split}"), load(arrays, f"end-pos_{split}")
        counts = load(arrays, f"mention-text-mask_{split}").sum(1)
        assert (start >= 0).all()
        assert (end > start).all()
        assert (end + 1 < counts).all()  # tokens [start+1, end+1), then at least [SEP]


def test_features_are_finite_and_scores_fall_to_zero_where_nothing_is_found(
    arrays: SampleSummary,
) -> None:
    for path in Path(arrays.root).glob("*-feature*.npy"):
        assert np.isfinite(np.load(path)).all()
    scores = np.concatenate([load(arrays, f"mention-object-score_{split}") for split in SPLITS])
    assert (np.diff(scores, axis=1) <= 0).all()
    assert 0 < (scores == 0).mean() < 1
    assert 0 <= scores.min() <= scores.max() <= 1


def test_the_gold_slot_repeats_the_answer(arrays: SampleSummary) -> None:
    missed = 0
    for split in SPLITS:
        n = arrays.mentions[split]
        answer = load(arrays, f"answer_{split}")
        names = "entity-name-raw" if arrays.dataset == "wikimel" else "entity-attr-raw"
        slots = load(arrays, f"{names}_{split}").reshape(n, 9)
        found = answer < 8
        missed += int((~found).sum())
        rows = np.flatnonzero(found)
        assert (slots[rows, answer[rows]] == slots[rows, 8]).all()
        assert not (slots[~found, :8] == slots[~found, 8:]).any()
        for kind in ("miet", "eimt"):
            values = load(arrays, f"similarity-{kind}_{split}")
            assert (values[rows, answer[rows]] == values[rows, 8]).all()
            assert np.abs(values).max() <= 100
    assert missed == arrays.troubles["golds not among the candidates"] > 0


def test_a_repeated_entity_has_equal_rows_everywhere(tmp_path: Path) -> None:
    summary = write_sample(tmp_path, dataset="wikidiverse", layout="preprocessed", **SMALL)
    seen: dict[tuple[str, str], bytes] = {}
    for split in SPLITS:
        texts = load(summary, f"entity-attr-raw_{split}")
        paths = load(summary, f"entity-image-path_{split}")
        features = [
            load(summary, f"entity-{part}_{split}")
            for part in ("attr-feature", "image-feature", "object-feature", "object-score")
        ]
        for row, key in enumerate(zip(texts.tolist(), paths.tolist(), strict=True)):
            value = b"".join(feature[row].tobytes() for feature in features)
            assert seen.setdefault(key, value) == value
    texts_seen = {text for text, _ in seen}
    assert {"", "NIL"} < texts_seen
    assert summary.troubles["golds that are NIL"] == 1
    assert len(seen) <= summary.entities + 2
    assert max(map(len, texts_seen)) <= 512


def test_writing_arrays_takes_far_less_memory_than_they_hold(tmp_path: Path) -> None:
    sizes: dict[str, Any] = {
        "entities": 600,
        "text_width": 256,
        "image_width": 512,
        "entity_tokens": 64,
    }
    tracemalloc.start()
    try:
        summary = write_sample(tmp_path, layout="preprocessed", mentions=40, **sizes)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert summary.bytes > 40e6
    assert peak < 6e6


def test_arrays_are_written_without_torch_and_pillow(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from featurestore.sources.sample import write_sample;"
        f"write_sample(Path({str(tmp_path)!r}), layout='preprocessed', mentions=20);"
        "print([name for name in ('torch', 'PIL', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.decode().strip() == "[]"


@given(st.data())
def test_a_file_written_in_blocks_is_the_file_that_numpy_saves(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    dtype = data.draw(st.sampled_from(["<f4", "<i8", "<U5"]))
    shape = tuple(data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=3)))
    values = np.arange(np.prod(shape, dtype=int)).astype(dtype).reshape(shape)
    cuts = sorted(data.draw(st.lists(st.integers(0, shape[0]), max_size=3)))
    folder = tmp_path_factory.mktemp("blocks")
    with ArrayFile(folder / "blocks.npy", shape, dtype) as file:
        for block in np.split(values, cuts):
            file.append(block)
    np.save(folder / "once.npy", values)
    assert (folder / "blocks.npy").read_bytes() == (folder / "once.npy").read_bytes()


def test_a_file_with_too_few_rows_or_rows_of_another_shape_is_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="1 rows written of 2"),
        ArrayFile(tmp_path / "short.npy", (2, 3), "<f4") as file,
    ):
        file.append(np.zeros((1, 3)))
    with (
        pytest.raises(ValueError, match=r"rows of \(4,\), not \(3,\)"),
        ArrayFile(tmp_path / "wide.npy", (2, 3), "<f4") as file,
    ):
        file.append(np.zeros((1, 4)))


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
