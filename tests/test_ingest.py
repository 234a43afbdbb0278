"""Ingest end to end on the recorded datasets: right arrays, clear errors, nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

import featurestore
from featurestore.encoders.raw import READS
from featurestore.errors import ConfigError, EncoderError, SourceError, WriteError
from featurestore.ingest import ingest, recognise
from featurestore.options import IngestOptions
from featurestore.progress import Silent
from featurestore.sources.mimic import RawMimic
from featurestore.sources.wikidiverse import RawWikidiverse
from featurestore.sources.wikimel import RawWikimel
from tests import golden_for_tests, pipeline_parity
from tests.golden_for_tests import ENCODERS, PIPELINE, PREPROCESSED, TINY

RAW = golden_for_tests.RAW / "wikimel"
WIKIMEL, WIKIDIVERSE = PREPROCESSED / "wikimel", PREPROCESSED / "wikidiverse"


@pytest.fixture
def dataset(tmp_path: Path):
    """Copies a recorded dataset to where a test may damage it."""

    def copy(source: Path) -> Path:
        target = tmp_path / "dataset"
        shutil.copytree(source, target)
        for path in target.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        return target

    return copy


def test_raw_and_preprocessed_datasets_become_the_recorded_arrays(capsys: pytest.CaptureFixture):
    ok = pipeline_parity.run(
        PIPELINE / "raw", PIPELINE / "preprocessed", PIPELINE / "boxes", ENCODERS
    )
    assert ok, capsys.readouterr().out


def test_parity_fails_on_a_changed_recording(dataset, tmp_path: Path, capsys):
    recorded = dataset(WIKIMEL)
    store = tmp_path / "store.h5"
    ingest(recorded, store, options=IngestOptions(dtype="float32", padding="keep"))
    path = recorded / "mention-image-feature_valid.npy"
    array = np.load(path)
    array[2, 3, 4] += 0.01
    np.save(path, array)
    verdicts = {name: ok for name, _, _, ok in pipeline_parity.compare(store, recorded, 1e-4)}
    assert [name for name, ok in verdicts.items() if not ok] == ["mention-image-feature_valid"]


def test_float16_store_keeps_every_feature_within_its_bound(tmp_path: Path):
    ingest(WIKIMEL, tmp_path / "half.h5")
    ingest(WIKIMEL, tmp_path / "full.h5", options=IngestOptions(dtype="float32"))
    with (
        featurestore.open(tmp_path / "half.h5") as half,
        featurestore.open(tmp_path / "full.h5") as full,
    ):
        rows = np.arange(len(full.mentions))
        for name in ("text_tokens", "image_regions", "text_span", "objects"):
            exact = full.mentions.gather(name, rows)
            error = half.mentions.gather(name, rows).astype(np.float32) - exact
            assert half.mentions.stored(name).dtype == np.float16
            assert np.linalg.norm(error) <= 1e-3 * np.linalg.norm(exact)


def test_repeated_wikidiverse_entities_are_stored_once(tmp_path: Path):
    summary = ingest(WIKIDIVERSE, tmp_path / "store.h5")
    assert summary.entities == 25
    assert "264 candidate slots hold 25 distinct entities, stored once" in summary.notes
    with featurestore.open(tmp_path / "store.h5") as store:
        texts = list(store.entities.texts("text"))
        assert len(set(texts)) == 25
        raw = np.load(WIKIDIVERSE / "entity-attr-raw_valid.npy").reshape(-1, 11)
        rows = store.mentions.split("valid")
        for row, slots in zip(rows, raw, strict=True):
            mention = store.mentions[row]
            slots_of = [*mention["candidates"], mention["gold"]]
            assert [texts[entity] for entity in slots_of] == list(slots)


def test_a_repetition_that_differs_is_counted_and_shown(dataset, tmp_path: Path):
    source = dataset(WIKIDIVERSE)
    path = source / "entity-attr-feature_test.npy"
    array = np.load(path)
    array[7] += 0.5
    np.save(path, array)
    summary = ingest(source, tmp_path / "store.h5")
    assert any("1 repeated rows differ" in note and "0.5" in note for note in summary.notes)


@pytest.mark.parametrize("source", [RAW, WIKIMEL, WIKIDIVERSE])
def test_limit_keeps_the_first_mentions_and_the_entities_they_refer_to(source, tmp_path: Path):
    ingest(source, tmp_path / "few.h5", options=limited(2))
    ingest(source, tmp_path / "all.h5", options=TINY)
    with (
        featurestore.open(tmp_path / "few.h5") as few,
        featurestore.open(tmp_path / "all.h5") as every,
    ):
        assert {name: len(rows) for name, rows in few.mentions.splits.items()} == {
            "train": 2,
            "valid": 2,
            "test": 2,
        }
        for split, rows in few.mentions.splits.items():
            for mine, theirs in zip(rows, every.mentions.split(split), strict=False):
                a, b = few.mentions[mine], every.mentions[theirs]
                assert a["sentence"] == b["sentence"]
                assert few.entities.ids(a["candidates"]) == every.entities.ids(b["candidates"])
                np.testing.assert_allclose(a["sim_image_text"], b["sim_image_text"], atol=2e-4)
        used = np.unique(
            np.append(few.mentions.view("candidates").reshape(-1), few.mentions.view("gold"))
        )
        assert used.tolist() == list(range(len(few.entities)))


def limited(count: int) -> IngestOptions:
    return replace(TINY, limit=count)


def test_an_encoder_set_to_none_leaves_its_fields_out(tmp_path: Path):
    options = replace(TINY, image_encoder="none", clip="none")
    ingest(RAW, tmp_path / "text.h5", options=options)
    with featurestore.open(tmp_path / "text.h5") as store:
        assert "text_span" in store.mentions
        assert "image_mean" not in store.mentions
        assert "sim_image_text" not in store.mentions
        with pytest.raises(featurestore.DrinFsError, match="--image-encoder"):
            store.mentions.gather("image_mean", [0])


def test_raw_summary_counts_what_was_dropped_and_what_is_missing(tmp_path: Path):
    summary = ingest(RAW, tmp_path / "store.h5", options=TINY)
    assert summary.layout == "raw"
    assert summary.mentions == {"train": 14, "valid": 5, "test": 4}
    assert summary.dropped == {"train": 0, "valid": 0, "test": 1}
    assert summary.pictures["entities"]["missing"] == 1
    assert summary.pictures["entities"]["broken"] == 1
    assert summary.pictures["entities"]["too small"] == 1
    assert summary.recall["valid"]["recall@12"] == 1.0
    assert set(summary.seconds) >= {"open", "entity text", "mentions pictures", "publish"}
    assert json.loads(json.dumps(summary.as_dict()))["entities"] == 24


def test_the_same_source_and_options_give_the_same_fingerprint(tmp_path: Path):
    prints = {
        ingest(WIKIMEL, tmp_path / f"{name}.h5", options=options).fingerprint
        for name, options in (("a", IngestOptions()), ("b", IngestOptions()))
    }
    assert len(prints) == 1
    other = ingest(WIKIMEL, tmp_path / "c.h5", options=IngestOptions(dtype="float32"))
    assert other.fingerprint not in prints


# what can be wrong with a source ----------------------------------------------------------------


def refused(source: Path, target: Path, options: IngestOptions = TINY) -> str:
    """The message of an ingest that must fail and leave nothing but finished parts."""
    before = {*target.parent.iterdir(), target.with_name(f".{target.name}.ingest")}
    with pytest.raises(SourceError) as caught:
        ingest(source, target, options=options)
    assert set(target.parent.iterdir()) <= before
    return str(caught.value)


def test_a_missing_file_is_named(dataset, tmp_path: Path):
    source = dataset(WIKIMEL)
    (source / "entity-image-feature_all.npy").unlink()
    message = refused(source, tmp_path / "store.h5")
    assert "missing" in message
    assert "entity-image-feature_all.npy" in message


def test_a_truncated_array_is_named(dataset, tmp_path: Path):
    source = dataset(WIKIMEL)
    path = source / "mention-text-feature_train.npy"
    path.write_bytes(path.read_bytes()[:-100])
    message = refused(source, tmp_path / "store.h5")
    assert "not a complete .npy array" in message
    assert path.name in message


def test_a_pickled_array_is_refused(dataset, tmp_path: Path):
    source = dataset(WIKIMEL)
    path = source / "answer_test.npy"
    np.save(path, np.array([{}, {}, {}, {}], object), allow_pickle=True)
    assert "answer_test.npy" in refused(source, tmp_path / "store.h5")


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("mention-text-feature_valid", (3, 1, 2)),
        ("mention-image-feature_valid", (3, 0, 0)),
        ("similarity-miet_valid", (3, 4)),
        ("mention-object-score_valid", (3, 0)),
    ],
)
def test_a_value_that_is_not_finite_is_named_by_file_and_row(name, place, dataset, tmp_path: Path):
    source = dataset(WIKIMEL)
    array = np.load(source / f"{name}.npy")
    array[place] = np.nan
    np.save(source / f"{name}.npy", array)
    message = refused(source, tmp_path / "store.h5")
    assert "NaN" in message
    assert f"{name}.npy[3]" in message


def test_a_mask_with_holes_is_named_by_file_and_row(dataset, tmp_path: Path):
    source = dataset(WIKIMEL)
    path = source / "mention-text-mask_test.npy"
    mask = np.load(path)
    mask[2, 4] = 0
    np.save(path, mask)
    assert "mention-text-mask_test.npy[2]" in refused(source, tmp_path / "store.h5")


def test_an_entity_name_without_a_row_is_named(dataset, tmp_path: Path):
    source = dataset(WIKIMEL)
    path = source / "entity-name-raw_valid.npy"
    names = np.load(path).astype("<U8")
    names[17] = "Q999999"
    np.save(path, names)
    message = refused(source, tmp_path / "store.h5")
    assert "Q999999" in message
    assert "entity-name-raw_valid.npy[17]" in message


def test_a_raw_candidate_without_entity_is_named_by_file_and_line(dataset, tmp_path: Path):
    source = dataset(RAW)
    path = source / "candidates" / "top100" / "candidates-answer.tsv"
    lines = path.read_text().splitlines()
    lines[1] = lines[1].replace("Q914", "Q914914")
    path.write_text("\n".join(lines))
    message = refused(source, tmp_path / "store.h5")
    assert "Q914914" in message
    assert "candidates-answer.tsv, line 2" in message


def test_an_unknown_encoder_is_named_before_anything_is_written(tmp_path: Path):
    options = replace(TINY, text_encoder="no-such-model-anywhere")
    with pytest.raises(EncoderError, match="no-such-model-anywhere"):
        ingest(RAW, tmp_path / "store.h5", options=options)
    assert not list(tmp_path.iterdir())


def test_a_folder_of_neither_layout_is_refused_and_a_nested_one_suggested():
    with pytest.raises(SourceError, match=r"did you mean .*wikimel"):
        recognise(PIPELINE / "raw")
    with pytest.raises(ConfigError, match="--dataset wikidiverse"):
        recognise(WIKIMEL, "wikidiverse")


def test_an_existing_target_is_kept_unless_overwrite_is_asked_for(tmp_path: Path):
    target = tmp_path / "store.h5"
    ingest(WIKIMEL, target)
    before = target.read_bytes()
    with pytest.raises(WriteError, match="--overwrite"):
        ingest(WIKIDIVERSE, target)
    assert target.read_bytes() == before
    assert ingest(WIKIDIVERSE, target, overwrite=True).dataset == "wikidiverse"


# what can happen to a process -------------------------------------------------------------------


def command(source: Path, target: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "cli.main", "ingest", str(source), "-o", str(target), *options]


def environment() -> dict[str, str]:
    return {**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}


def test_a_killed_ingest_leaves_nothing_at_the_target_and_the_next_one_succeeds(tmp_path: Path):
    target = tmp_path / "store.h5"
    for delay in (0.3, 0.8, 1.1, 1.4):
        process = subprocess.Popen(
            command(WIKIMEL, target, "--compression", "gzip"),
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if target.exists():  # it was quicker: then the store is complete
            featurestore.open(target).close()
            target.unlink()
    ingest(WIKIMEL, target)
    assert [path.name for path in tmp_path.iterdir()] == ["store.h5"]


def test_a_full_disk_is_said_and_leaves_nothing_at_the_target(tmp_path: Path):
    target = tmp_path / "store.h5"
    limited_size = (
        "import resource, signal, sys;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000));"
        "from cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", limited_size, *command(WIKIMEL, target)[3:]],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1, result.stderr
    assert "the disk is full or a size limit was reached" in result.stderr
    assert "it goes on where it stopped" in result.stderr
    assert not target.exists()
    ingest(WIKIMEL, target)


def test_options_that_only_raw_data_needs_are_said_to_have_no_effect(tmp_path: Path):
    summary = ingest(WIKIMEL, tmp_path / "s.h5", options=replace(IngestOptions(), clip="nosuch"))
    assert summary.notes[0].endswith("--clip had no effect")
    assert not ingest(WIKIMEL, tmp_path / "t.h5").notes


@pytest.mark.parametrize(
    ("dataset", "ignored"),
    [("wikimel", "--title-match, --candidates"), ("wikidiverse", "--candidates")],
)
def test_options_for_another_raw_dataset_are_said_to_have_no_effect(
    dataset: str, ignored: str, tmp_path: Path
):
    nothing = IngestOptions(
        text_encoder="none", image_encoder="none", clip="none", detector="none", device="cpu"
    )
    said: list[str] = []

    class Told(Silent):
        def note(self, text: str) -> None:
            said.append(text)

    chosen = replace(nothing, candidates=7, title_match="normalised")
    summary = ingest(RAW.parent / dataset, tmp_path / "s.h5", options=chosen, progress=Told())
    note = f"not every option is for raw {dataset}: {ignored} had no effect"
    assert f"WARNING: {note}" in said
    assert summary.notes[0] == note
    with featurestore.open(tmp_path / "s.h5") as store:
        assert store.provenance["notes"][0] == note
        assert store.provenance["options"]["candidates"] == 100
    plain = ingest(RAW.parent / dataset, tmp_path / "t.h5", options=nothing)
    assert not [text for text in plain.notes if "no effect" in text]


def test_every_option_is_read_by_some_dataset():
    own = [*RawWikimel.reads, *RawWikidiverse.reads, *RawMimic.reads]
    assert {"dataset", *READS, *own} == set(asdict(IngestOptions()))


def test_the_folder_of_an_ingest_is_recorded_and_no_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "there").mkdir()
    fingerprints = set()
    for folder in (tmp_path, tmp_path / "there"):
        monkeypatch.chdir(folder)
        fingerprints.add(ingest(WIKIMEL, "s.h5").fingerprint)
        with featurestore.open(folder / "s.h5") as store:
            assert store.provenance["run"]["working_folder"] == str(folder)
    assert len(fingerprints) == 1


def test_a_truncated_array_is_named_with_the_row_where_it_ends(dataset, tmp_path: Path):
    source = dataset(WIKIMEL)
    path = source / "mention-text-feature_train.npy"
    path.write_bytes(path.read_bytes()[: -32 * 24 * 4 * 2 - 7])
    assert "cut off in row 11" in refused(source, tmp_path / "store.h5")


def test_an_array_of_another_type_is_named(dataset, tmp_path: Path):
    source = dataset(WIKIMEL)
    path = source / "answer_train.npy"
    np.save(path, np.load(path) + 0.5)
    message = refused(source, tmp_path / "store.h5")
    assert "float64 where integers belongs" in message
    assert path.name in message
