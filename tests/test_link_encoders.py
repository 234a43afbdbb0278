"""Which encoders link loads: those that made the store, and no others unless asked for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import featurestore
from featurestore.encoders.objects import NO_BOX
from featurestore.errors import EncoderError
from featurestore.ingest import ingest
from featurestore.options import IngestOptions
from linker.link_encoders import BlindDetector, EncoderChoice, Part, load_encoders
from tests.golden_for_tests import ENCODERS, PREPROCESSED, RAW


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A store whose text encoder was moved after the ingest, and where that is now."""
    folder = tmp_path_factory.mktemp("moved")
    shutil.copytree(ENCODERS / "bert", folder / "then")
    store = folder / "store.h5"
    options = IngestOptions(
        text_encoder=str(folder / "then"), image_encoder="none", clip="none", device="cpu"
    )
    ingest(RAW / "wikimel", store, options=options)
    (folder / "then").rename(folder / "now")
    return store, folder / "now"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store from recorded arrays, which names no encoders."""
    store = tmp_path_factory.mktemp("recorded") / "store.h5"
    ingest(PREPROCESSED / "wikimel", store)
    return store


def load(store: Path, *needed: Part, **choice: Any) -> tuple[Any, list[str]]:
    with featurestore.open(store) as opened:
        return load_encoders(opened, needed, choice=EncoderChoice(**choice), device="cpu")


def test_an_encoder_that_was_moved_is_asked_for(moved: tuple[Path, Path]) -> None:
    store, now = moved
    with pytest.raises(EncoderError, match="not where it was") as caught:
        load(store, "text")
    assert caught.value.where == str(now.with_name("then"))
    assert caught.value.hint == (
        "say where it is now: --text-encoder FOLDER (Python: encoders=EncoderChoice(text=FOLDER))"
    )
    encoders, notes = load(store, "text", text=str(now))
    assert encoders.text is not None
    assert (encoders.image, encoders.clip, encoders.detector, notes) == (None, None, None, [])


@pytest.fixture
def relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an ingest that was given its encoder relative to it; we are elsewhere now."""
    folder, elsewhere = tmp_path / "then", tmp_path / "elsewhere"
    shutil.copytree(ENCODERS / "bert", folder / "encoders" / "bert")
    elsewhere.mkdir()
    options = IngestOptions(
        text_encoder="encoders/bert", image_encoder="none", clip="none", device="cpu"
    )
    monkeypatch.chdir(folder)
    ingest(RAW / "wikimel", "store.h5", options=options)
    monkeypatch.chdir(elsewhere)
    return folder


def test_a_relative_name_counts_from_the_folder_of_the_ingest(relative: Path) -> None:
    encoders, notes = load(relative / "store.h5", "text")
    assert encoders.text.info.name == str(relative / "encoders" / "bert")
    assert notes == []


def test_where_a_relative_name_was_looked_for_is_said(relative: Path, tmp_path: Path) -> None:
    (relative / "encoders").rename(relative / "gone")
    with pytest.raises(EncoderError, match="not where it was") as caught:
        load(relative / "store.h5", "text")
    here, then = tmp_path / "elsewhere" / "encoders" / "bert", relative / "encoders" / "bert"
    assert caught.value.where == f"{here} and {then}"


def test_a_store_that_does_not_say_where_it_was_made_is_looked_up_here(
    relative: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with featurestore.open(relative / "store.h5") as store:
        provenance = {key: value for key, value in store.provenance.items() if key != "run"}
    monkeypatch.setattr(featurestore.Store, "provenance", provenance)
    with pytest.raises(EncoderError, match="not where it was") as caught:
        load(relative / "store.h5", "text")
    assert caught.value.where == str(Path.cwd() / "encoders" / "bert")
    monkeypatch.chdir(relative)
    assert load(relative / "store.h5", "text")[0].text.info.name == "encoders/bert"


def test_a_hub_name_is_no_path_to_look_for(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    was = {"kind": "text", "name": "nobody/nosuch", "revision": "abc", "files": {}, "options": {}}
    monkeypatch.setattr(featurestore.Store, "provenance", {"encoders": {"text": was}})
    with pytest.raises(EncoderError, match="cannot be loaded") as caught:
        load(recorded, "text")
    assert caught.value.where == "nobody/nosuch"


def test_weights_of_a_detector_that_are_gone_are_asked_for(
    recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    was = {"kind": "detector", "name": "fasterrcnn_resnet50_fpn", "files": {"w.pth": "0"}}
    provenance = {
        "encoders": {"detector": was},
        "options": {"detector_weights": "w.pth"},
        "run": {"working_folder": "/nowhere"},
    }
    monkeypatch.setattr(featurestore.Store, "provenance", provenance)
    with pytest.raises(EncoderError, match="not where they were") as caught:
        load(recorded, "detector")
    assert caught.value.where == f"{Path.cwd() / 'w.pth'} and /nowhere/w.pth"
    assert "--detector-weights FILE" in caught.value.hint


def test_another_encoder_is_refused_unless_asked_for(
    moved: tuple[Path, Path], tmp_path: Path
) -> None:
    store, now = moved
    other = Path(shutil.copytree(now, tmp_path / "other"))
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"layer_norm_eps": 1e-3}))
    with pytest.raises(EncoderError, match=r"config\.json is another file") as caught:
        load(store, "text", text=str(other))
    assert str(other) in caught.value.where
    assert "--other-encoder" in caught.value.hint
    _, notes = load(store, "text", text=str(other), other=True)
    assert [str(other) in note and "config.json" in note for note in notes] == [True]


def test_an_encoder_of_another_width_is_refused_in_any_case(
    moved: tuple[Path, Path], tmp_path: Path
) -> None:
    store, now = moved
    from transformers import AutoConfig, AutoModel

    wider = Path(shutil.copytree(now, tmp_path / "wider"))
    config = AutoConfig.from_pretrained(now, hidden_size=48)
    AutoModel.from_config(config).save_pretrained(wider)
    with pytest.raises(EncoderError, match="48 wide, the store's 24"):
        load(store, "text", text=str(wider), other=True)


def test_a_store_that_names_none_wants_a_name_and_a_warning_follows(recorded: Path) -> None:
    with pytest.raises(EncoderError, match="does not say which text encoder") as caught:
        load(recorded, "text")
    assert "--text-encoder NAME|FOLDER" in caught.value.hint
    _, notes = load(recorded, "text", text=str(ENCODERS / "bert"))
    assert [("names none" in note, "the very one" in note) for note in notes] == [(True, True)]


def test_without_a_detector_a_picture_shows_no_object(recorded: Path) -> None:
    with pytest.raises(EncoderError, match="does not say which detector") as caught:
        load(recorded, "image", "detector", image=str(ENCODERS / "resnet"))
    assert "--detector none" in caught.value.hint
    encoders, notes = load(
        recorded, "image", "detector", image=str(ENCODERS / "resnet"), detector="none"
    )
    assert isinstance(encoders.detector, BlindDetector)
    assert notes[-1] == "no detector: pictures count as showing no object"
    boxes = BlindDetector().detect([Image.new("RGB", (60, 60))] * 2, keys=["a", "b"], keep=3)
    assert boxes.scores.tolist() == [[0, 0, 0]] * 2
    np.testing.assert_array_equal(boxes.boxes, np.tile(np.float32(NO_BOX), (2, 3, 1)))


def test_recorded_boxes_know_nothing_of_new_pictures(
    recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes = {"kind": "detector", "name": "recorded boxes", "revision": "", "files": {"a": "0"}}
    monkeypatch.setattr(featurestore.Store, "provenance", {"encoders": {"detector": boxes}})
    with pytest.raises(EncoderError, match="know nothing of a new picture"):
        load(recorded, "image", "detector", image=str(ENCODERS / "resnet"))


@pytest.mark.parametrize(
    ("then", "message"),
    [
        ({"revision": "abc", "files": {}}, "that one was not files on disk, this one is"),
        ({"revision": "", "files": {"config.json": "0"}}, "config.json is another file"),
    ],
)
def test_what_cannot_be_compared_is_another(
    then: dict[str, Any], message: str, recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    was = {"kind": "text", "name": "bert-base-cased", "options": {}} | then
    monkeypatch.setattr(featurestore.Store, "provenance", {"encoders": {"text": was}})
    with pytest.raises(EncoderError, match=message):
        load(recorded, "text", text=str(ENCODERS / "bert"))
