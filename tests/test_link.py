"""Linking new mentions: one of the store gets its own scores again; answers are what they say."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import featurestore
from cli.main import main
from featurestore.encoders.suite import Encoders
from featurestore.errors import FieldMissing, UnknownId
from featurestore.ingest import ingest
from featurestore.options import IngestOptions
from linker.link import EncoderChoice, Linker, MentionInput
from linker.link_encoders import load_encoders, parts_for
from tests.golden_for_tests import ENCODERS, PREPROCESSED, RAW
from tests.link_for_tests import (
    evaluated,
    scores_by_position,
    stored_mention,
    with_recorded_boxes,
    write_run,
)

#: Models that between them read every mention field there is.
MODELS: dict[str, dict[str, Any]] = {
    "drin": {"name": "drin"},
    "drin-transformer": {
        "name": "drin",
        "mention_text": "transformer",
        "transformer_layers": 1,
        "transformer_heads": 4,
    },
    "drin-text": {"name": "drin", "edges": ["tt"]},
    "ghmfc": {"name": "ghmfc", "heads": 4},
    "ghmfc-padded": {"name": "ghmfc", "heads": 4, "maximum": "padded"},
    "ghmfc-span": {"name": "ghmfc", "heads": 4, "attention": "text", "pooling": "span"},
    # thresholds that every picture passes: otherwise random weights read none
    "melhi": {"name": "melhi", "text_threshold": -1, "image_threshold": -1},
    "text": {"name": "text"},
}

BLIND = EncoderChoice(detector="none")


@pytest.fixture(scope="module")
def stores(golden_stores: Callable[..., Path]) -> dict[str, Path]:
    """Both recorded datasets, float32."""
    return {dataset: golden_stores(dataset) for dataset in ("wikimel", "wikidiverse")}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of recorded arrays: without titles, CLIP embeddings and the names of encoders."""
    store = tmp_path_factory.mktemp("recorded") / "recorded.h5"
    ingest(PREPROCESSED / "wikimel", store, options=IngestOptions())
    return store


@pytest.fixture(scope="module")
def drin(stores: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of DRIN with all edges on WikiMEL."""
    folder = tmp_path_factory.mktemp("runs") / "drin"
    write_run(folder, stores["wikimel"], MODELS["drin"])
    assert "edges: [tt, ti, it, ii]" in (folder / "config.yaml").read_text()
    return folder


@pytest.fixture(scope="module")
def linker(drin: Path):
    with Linker.from_run(drin, encoders=BLIND) as opened:
        yield opened


@pytest.fixture
def run_of(tmp_path: Path) -> Callable[..., Path]:
    def write(store: Path, model: str, **settings: Any) -> Path:
        return write_run(tmp_path / "run", store, MODELS[model], **settings)

    return write


def all_encoders(store: featurestore.Store, root: Path) -> Encoders:
    encoders, _ = load_encoders(store, ("text", "image", "clip"), choice=BLIND, device="cpu")
    return with_recorded_boxes(store, root, encoders)


def scores_of_stored(run: Path, store: Path, root: Path, split: str) -> tuple[Any, Any]:
    """(linked, evaluated) scores of every mention of a split."""
    with featurestore.open(store) as opened:
        rows = list(opened.mentions.split(split))
        mentions = [stored_mention(opened, row, root) for row in rows]
        encoders = all_encoders(opened, root)
    with Linker.from_run(run, encoders=encoders) as opened_linker:
        linked = scores_by_position(opened_linker.link(mentions, top=100))
    return linked, evaluated(run, rows)


# the same scores as evaluation ------------------------------------------------------------------


@pytest.mark.parametrize("dataset", ["wikimel", "wikidiverse"])
@pytest.mark.parametrize("model", MODELS)
def test_a_mention_of_the_store_gets_its_own_scores_again(
    model: str, dataset: str, stores: dict[str, Path], run_of: Callable[..., Path]
) -> None:
    run = run_of(stores[dataset], model)
    linked, expected = scores_of_stored(run, stores[dataset], RAW / dataset, "test")
    assert np.ptp(expected, axis=1).min() > 1e-3  # the candidates can be told apart
    np.testing.assert_allclose(linked, expected, atol=1e-4)


def test_with_padding_kept_in_the_store_too(
    golden_stores: Callable[..., Path], run_of: Callable[..., Path]
) -> None:
    store = golden_stores("wikimel", padding="keep")
    run = run_of(store, "ghmfc-padded")
    linked, expected = scores_of_stored(run, store, RAW / "wikimel", "test")
    np.testing.assert_allclose(linked, expected, atol=1e-4)


def test_features_are_rounded_as_the_store_has_them(
    golden_stores: Callable[..., Path], run_of: Callable[..., Path]
) -> None:
    """In float16 the text model, which reads no similarity, still gets its scores to 1e-5."""
    store = golden_stores("wikimel", dtype="float16")
    run = run_of(store, "text")
    linked, expected = scores_of_stored(run, store, RAW / "wikimel", "test")
    # where the encoder's noise turns a rounding over, one value in 24 moves by 2**-11 of itself
    assert np.median(np.abs(linked - expected)) < 1e-6
    np.testing.assert_allclose(linked, expected, atol=5e-4)


def test_similarities_from_a_float16_store_move_scores_a_little(
    golden_stores: Callable[..., Path], run_of: Callable[..., Path]
) -> None:
    store = golden_stores("wikimel", dtype="float16")
    run = run_of(store, "drin")
    linked, expected = scores_of_stored(run, store, RAW / "wikimel", "test")
    np.testing.assert_allclose(linked, expected, atol=2e-3)


def test_scores_do_not_depend_on_who_else_is_asked_for(
    linker: Linker, stores: dict[str, Path]
) -> None:
    with featurestore.open(stores["wikimel"]) as store:
        mentions = [stored_mention(store, row, RAW / "wikimel") for row in range(8)]
    few = [
        replace(each, candidates=list(each.candidates or ())[: 2 + n])
        for n, each in enumerate(mentions)
    ]
    together = linker.link([*mentions, *few], top=100)
    for mention, linked in zip([*mentions, *few], together, strict=True):
        (alone,) = linker.link([mention], top=100)
        assert [a.id for a in alone.answers] == [a.id for a in linked.answers]
        np.testing.assert_allclose(
            [a.score for a in alone.answers], [a.score for a in linked.answers], atol=1e-5
        )


def test_damaged_weights_are_named_and_not_used(
    drin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(drin, tmp_path / "run"))
    weights = run / "checkpoints/best.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    command = ["link", str(run), "--detector", "none", "--sentence", "A [[mention]]."]
    assert main(command) == 3
    assert capsys.readouterr().err == (
        "error: damaged weights, or not ours (the content does not have the digest that the header "
        f"names)\n  where: {weights}\n"
        "  next:  put the file back from a copy, or train the run again with --overwrite\n"
    )


def test_linking_is_strict_whatever_the_run_was_trained_with(
    stores: dict[str, Path], run_of: Callable[..., Path]
) -> None:
    run = run_of(stores["wikimel"], "drin", protocol="paper")
    linked, expected = scores_of_stored(run, stores["wikimel"], RAW / "wikimel", "test")
    np.testing.assert_allclose(linked, expected, atol=1e-4)
    with Linker.from_run(run, encoders=BLIND) as linker:
        assert any("trained under protocol paper" in note for note in linker.notes)


# answers ----------------------------------------------------------------------------------------


def test_an_answer_names_its_entity_and_its_places(linker: Linker) -> None:
    mention = MentionInput.marked(
        "The capital of [[Georgia]] is old.", candidates=["Georgia (country)"]
    )
    (linked,) = linker.link([mention])
    (answer,) = linked.answers
    entity = linker.store.entities[answer.id]
    assert (answer.title, answer.description) == (entity["title"], entity["description"])
    assert answer.title == "Georgia (country)"
    assert (answer.rank, answer.position, linked.candidates) == (1, 1, 1)
    json.dumps(linked.as_dict())


def test_answers_are_ranked_and_cut(linker: Linker) -> None:
    mention = MentionInput.marked("[[Georgia]] plays France.")
    (all_,) = linker.link([mention], top=100)
    (three,) = linker.link([mention], top=3)
    assert three.answers == all_.answers[:3]
    assert [a.rank for a in all_.answers] == list(range(1, all_.candidates + 1))
    assert sorted(a.position for a in all_.answers) == list(range(1, all_.candidates + 1))
    scores = [a.score for a in all_.answers]
    assert scores == sorted(scores, reverse=True)


def test_candidates_are_found_by_title(linker: Linker) -> None:
    (linked,) = linker.link([MentionInput.marked("[[Georgia]] plays France.")], top=100)
    first = sorted(linked.answers, key=lambda answer: answer.position)[:2]
    assert {answer.title for answer in first} == {"Georgia (country)", "Georgia (U.S. state)"}


def test_so_many_candidates_as_asked_for(drin: Path) -> None:
    with Linker.from_run(drin, encoders=BLIND, candidates=2) as linker:
        (linked,) = linker.link([MentionInput.marked("[[Georgia]] plays France.")], top=100)
    assert linked.candidates == len(linked.answers) == 2


def test_a_run_that_saw_short_lists_finds_as_many(
    run_of: Callable[..., Path], stores: dict[str, Path]
) -> None:
    run = run_of(stores["wikimel"], "drin", candidates=2)
    with Linker.from_run(run, encoders=BLIND) as opened:
        (linked,) = opened.link([MentionInput.marked("Then [[Michael Jordan]] scored.")])
    assert linked.candidates == 2
    with Linker.from_run(run, encoders=BLIND, candidates=3) as opened:
        (linked,) = opened.link([MentionInput.marked("Then [[Michael Jordan]] scored.")])
    assert linked.candidates == 3


def test_a_mention_like_no_title_has_no_answer_and_says_so(linker: Linker) -> None:
    nobody, somebody = linker.link(
        [MentionInput.marked("Then [[≈≈]] won."), MentionInput.marked("[[Georgia]] won.")]
    )
    assert nobody.answers == ()
    assert nobody.notes == ("no title is like the mention: there are no candidates",)
    assert somebody.answers
    assert linker.link([]) == []


def test_a_mention_behind_the_last_token_says_so(linker: Linker) -> None:
    (linked,) = linker.link([MentionInput.marked("word " * 60 + "[[Georgia]]")])
    assert linked.notes == ("no token that is read belongs to the mention: [CLS] stands for it",)


def test_a_candidate_that_is_no_entity_names_the_place(linker: Linker) -> None:
    mention = MentionInput.marked("[[x]]", candidates=["Georgia (contry)"], where="in.jsonl:7")
    with pytest.raises(UnknownId, match="'Georgia \\(contry\\)' is no entity") as caught:
        linker.link([mention])
    assert caught.value.where == "in.jsonl:7"


# pictures ---------------------------------------------------------------------------------------


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    noise = np.random.default_rng(1).integers(0, 255, (120, 90, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def pictures_of(linker: Linker, *images: Any) -> tuple[list[str], list[tuple[float, ...]]]:
    mention = MentionInput.marked("[[Georgia]] plays France.")
    linked = linker.link([replace(mention, image=image) for image in images])
    scores = [tuple(round(a.score, 5) for a in each.answers) for each in linked]
    return [each.picture for each in linked], scores


def test_a_picture_that_cannot_be_used_is_said_and_replaced_as_at_ingest(
    linker: Linker, photo: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    Image.new("RGB", (40, 60)).save(tmp_path / "small.png")
    words, scores = pictures_of(
        linker,
        photo,
        None,
        tmp_path / "absent.jpg",
        tmp_path / "broken.jpg",
        tmp_path / "small.png",
        tmp_path,  # a folder: the system does not let us read it
    )
    assert words == ["ok", "not given", "missing", "broken", "too small", "broken"]
    assert len(set(scores[1:])) == 1
    assert scores[0] != scores[1]


def test_a_picture_may_be_a_path_a_string_or_open(linker: Linker, photo: Path) -> None:
    with Image.open(photo) as picture:
        words, scores = pictures_of(linker, photo, str(photo), picture)
    assert words == ["ok"] * 3
    assert len(set(scores)) == 1


def test_a_model_that_reads_no_pictures_opens_none(
    stores: dict[str, Path], run_of: Callable[..., Path], tmp_path: Path
) -> None:
    with Linker.from_run(run_of(stores["wikimel"], "text")) as linker:
        assert linker.notes == []
        assert pictures_of(linker, tmp_path / "absent.jpg")[0] == ["not read"]


# stores -----------------------------------------------------------------------------------------


def test_a_store_without_embeddings_of_its_entities_cannot_serve_similarities(
    recorded: Path, run_of: Callable[..., Path]
) -> None:
    run = run_of(recorded, "drin")
    choice = EncoderChoice(
        text=str(ENCODERS / "bert"),
        image=str(ENCODERS / "resnet"),
        clip=str(ENCODERS / "clip"),
        detector="none",
    )
    with pytest.raises(FieldMissing, match="no entities/clip_text") as caught:
        Linker.from_run(run, encoders=choice)
    assert "without edges ti and it" in caught.value.hint


def test_a_store_whose_ids_are_no_names_wants_candidates(
    recorded: Path, run_of: Callable[..., Path]
) -> None:
    choice = EncoderChoice(text=str(ENCODERS / "bert"))
    with Linker.from_run(run_of(recorded, "text"), encoders=choice) as linker:
        mention = MentionInput.marked("[[Georgia]] won.")
        with pytest.raises(FieldMissing, match="no titles to find candidates by"):
            linker.link([mention])
        ids = linker.store.entities.ids([3, 5])
        (linked,) = linker.link([replace(mention, candidates=ids)])
        assert {answer.id for answer in linked.answers} == set(ids)
        assert linked.answers[0].title is None


def test_only_the_encoders_of_the_fields_that_are_read_are_needed() -> None:
    assert parts_for({"text_span", "token_count"}) == {"text"}
    assert parts_for({"text_span", "image_mean"}) == {"text", "image"}
    assert parts_for({"objects", "object_scores"}) == {"image", "detector"}
    assert parts_for({"sim_image_text"}) == {"clip"}
