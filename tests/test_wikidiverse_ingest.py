"""Raw WikiDiverse ingested: which picture an entity gets, what is stored of its text, what is said."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

import featurestore
from featurestore.encoders import images
from featurestore.errors import EncoderError, SourceError
from featurestore.export import release_arrays
from featurestore.ingest import IngestSummary, ingest, recognise
from featurestore.schema import IMAGE_STATUS
from featurestore.sources.sample import write_sample
from featurestore.sources.titles import picture_stem
from featurestore.sources.wikidiverse import RawWikidiverse
from featurestore.store import Store
from tests import golden_for_tests, pipeline_parity
from tests.golden_for_tests import ENCODERS, PIPELINE, PREPROCESSED, TINY

RAW = golden_for_tests.RAW / "wikidiverse"
RECORDED = PREPROCESSED / "wikidiverse"
PICTURES_ONLY = replace(TINY, text_encoder="none", clip="none")
NOTHING = replace(PICTURES_ONLY, image_encoder="none")


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, IngestSummary]:
    """The golden dataset as a store, and what was said."""
    target = tmp_path_factory.mktemp("wikidiverse") / "store.h5"
    return target, ingest(RAW, target, options=TINY)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The golden folder, free to be damaged."""
    return Path(shutil.copytree(RAW, tmp_path / "wikidiverse"))


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    """The recorded boxes and scores in one folder."""
    return pipeline_parity.with_scores(
        PIPELINE / "boxes" / "wikidiverse", RECORDED, tmp_path / "boxes"
    )


def picture_of(store: Store, title: str) -> tuple[str, str]:
    """Picture file and status of an entity."""
    entity = store.entities[title]
    return entity["image_path"], IMAGE_STATUS[entity["image_status"]]


def file_of(name: str, suffix: str = "jpg") -> str:
    return f"images/{picture_stem(name)}.{suffix}"


def exported(store: Store, name: str) -> np.ndarray:
    (array,) = [each for each in release_arrays(store) if each.name == name]
    return np.concatenate(list(array.blocks()))


def test_it_is_recognised() -> None:
    assert recognise(RAW) == ("wikidiverse", "raw")


class TestPictures:
    def test_the_first_usable_one_is_taken(self, ingested: tuple[Path, IngestSummary]) -> None:
        with featurestore.open(ingested[0]) as store:
            # a broken first file, and one of 40×32 pixels
            assert picture_of(store, "Jordan_River") == (file_of("Jordan_River_1.jpg"), "ok")
            second = file_of("Python_%28programming_language%29_1.jpg")
            assert picture_of(store, "Python_(programming_language)") == (second, "ok")
        assert ingested[1].counts["entity pictures that are not the first listed"] == 2

    def test_without_a_usable_one_the_first_file_and_its_fault_are_recorded(
        self, ingested: tuple[Path, IngestSummary]
    ) -> None:
        with featurestore.open(ingested[0]) as store:
            broken = file_of("Crane_%28machine%29_0.jpg")
            assert picture_of(store, "Crane_(machine)") == (broken, "broken")
            assert picture_of(store, "Mercury_(element)") == ("", "missing")
            assert picture_of(store, "__nil__") == ("", "missing")

    def test_unusable_ones_share_the_default_features(
        self, ingested: tuple[Path, IngestSummary]
    ) -> None:
        with featurestore.open(ingested[0]) as store:
            rows = store.entities.rows(["Crane_(machine)", "Mercury_(element)", "__nil__", "Java"])
            for field in ("image_pooled", "clip_image"):
                broken, missing, padding, own = store.entities.gather(field, rows)
                np.testing.assert_array_equal(broken, missing)
                np.testing.assert_array_equal(broken, padding)
                assert (broken != own).any()

    def test_each_file_is_opened_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        opened: Counter[str] = Counter()
        open_picture = images.open_picture

        def counting(path: Path | None) -> object:
            assert path is not None
            opened[path.name] += 1
            return open_picture(path)

        monkeypatch.setattr(images, "open_picture", counting)
        ingest(RAW, tmp_path / "store.h5", options=NOTHING)
        assert set(opened.values()) == {1}
        named = RawWikidiverse.open(RAW)
        files = {file for files in named.entities.image_choices for file in files}
        files |= {path for path in named.mentions.image_paths if path}
        assert {f"images/{name}" for name in opened} == files

    def test_a_fallback_may_be_another_entitys_picture(self, copy: Path, tmp_path: Path) -> None:
        path = copy / "entities" / "wikipedia_entity2imgs.tsv"
        text = path.read_text(encoding="utf-8")
        shared = text.replace(
            "Crane_%28machine%29_0.jpg", "Crane_%28machine%29_0.jpg[AND]x/Java_0.jpg"
        )
        path.write_text(shared, encoding="utf-8")
        ingest(copy, tmp_path / "store.h5", options=PICTURES_ONLY)
        with featurestore.open(tmp_path / "store.h5") as store:
            assert picture_of(store, "Crane_(machine)") == (file_of("Java_0.jpg"), "ok")
            crane, java = store.entities.gather(
                "image_pooled", store.entities.rows(["Crane_(machine)", "Java"])
            )
            np.testing.assert_array_equal(crane, java)

    def test_when_every_file_is_bad_the_first_ones_fault_stands(
        self, copy: Path, tmp_path: Path
    ) -> None:
        (copy / file_of("Jordan_River_1.jpg")).write_bytes(
            (copy / file_of("Python_%28programming_language%29_0.jpg")).read_bytes()
        )
        summary = ingest(copy, tmp_path / "store.h5", options=NOTHING)
        with featurestore.open(tmp_path / "store.h5") as store:
            assert picture_of(store, "Jordan_River") == (file_of("Jordan_River_0.jpg"), "broken")
        assert summary.counts["entity pictures that are not the first listed"] == 1

    def test_export_gives_the_names_of_the_release(
        self, ingested: tuple[Path, IngestSummary]
    ) -> None:
        with featurestore.open(ingested[0]) as store:
            for name in ("entity-image-path_train", "mention-image-path_test"):
                expected = np.load(RECORDED / f"{name}.npy")
                np.testing.assert_array_equal(exported(store, name), expected)


class TestText:
    def test_entities_have_a_pooled_vector_and_no_tokens(
        self, ingested: tuple[Path, IngestSummary]
    ) -> None:
        with featurestore.open(ingested[0]) as store:
            assert "text_pooled" in store.entities
            assert not {"text_tokens", "text_cls", "text_mean"} & set(store.entities.fields)

    def test_topic_type_and_description_are_stored(
        self, ingested: tuple[Path, IngestSummary]
    ) -> None:
        with featurestore.open(ingested[0]) as store:
            mention = store.mentions["train-0"]
            assert (mention["topic"], mention["entity_type"]) == ("science", "Misc")
            assert mention["sentence"][mention["char_start"] : mention["char_end"]] == "Crane"
            assert store.entities["Java_(programming_language)"]["description"].startswith(
                "Java is"
            )

    def test_an_encoder_without_pooler_is_refused_before_anything_is_written(
        self, tmp_path: Path
    ) -> None:
        bert = Path(shutil.copytree(ENCODERS / "bert", tmp_path / "bert"))
        weights = load_file(bert / "model.safetensors")
        kept = {name: value for name, value in weights.items() if "pooler" not in name}
        save_file(kept, bert / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(EncoderError, match="no pooler") as caught:
            ingest(RAW, tmp_path / "store.h5", options=replace(TINY, text_encoder=str(bert)))
        assert str(bert) in str(caught.value)
        assert "--text-encoder none" in str(caught.value)
        assert [path.name for path in tmp_path.iterdir()] == ["bert"]


class TestProvenance:
    @pytest.mark.parametrize("rule", ["exact", "normalised"])
    def test_both_counts_of_golds_are_kept_whichever_rule_is_used(
        self, copy: Path, tmp_path: Path, rule: str
    ) -> None:
        path = copy / "candidates" / "valid_w_10cands.json"
        items = json.loads(path.read_text(encoding="utf-8"))
        items[0][6] = "https://en.wikipedia.org/wiki/jordan"
        path.write_text(json.dumps(items), encoding="utf-8")
        options = replace(NOTHING, title_match=rule)  # type: ignore[arg-type]
        summary = ingest(copy, tmp_path / "store.h5", options=options)
        assert summary.recall["valid"]["recall@10"] == (0.6 if rule == "exact" else 0.8)
        with featurestore.open(tmp_path / "store.h5") as store:
            made = store.provenance
        for counts in (summary.counts, made["counts"]):
            assert counts["golds found by exact titles"] == 21
            assert counts["golds found by normalised titles"] == 22
        for notes in (summary.notes, made["notes"]):
            assert any(f"(+1); {rule} titles are used" in note for note in notes)
        assert made["options"]["title_match"] == rule

    def test_a_changed_text_file_changes_the_source_fingerprint(
        self, copy: Path, tmp_path: Path
    ) -> None:
        prints = []
        for name in ("a", "b"):
            ingest(copy, tmp_path / f"{name}.h5", options=NOTHING)
            with featurestore.open(tmp_path / f"{name}.h5") as store:
                prints.append(store.provenance["source"]["fingerprint"])
            with (copy / "entities" / "wikipedia_entity2desc_filtered.tsv").open("a") as file:
                file.write("DC@@@@Direct current.\n")
        assert prints[0] != prints[1]


class TestRecordedBoxes:
    def test_they_replace_a_detector(self, boxes: Path, tmp_path: Path) -> None:
        ingest(RAW, tmp_path / "store.h5", options=replace(TINY, boxes=boxes))
        with featurestore.open(tmp_path / "store.h5") as store:
            scores = exported(store, "entity-object-score_valid")
        np.testing.assert_array_equal(scores, np.load(RECORDED / "entity-object-score_valid.npy"))

    def test_those_of_another_number_of_mentions_are_refused(
        self, boxes: Path, tmp_path: Path
    ) -> None:
        options = replace(PICTURES_ONLY, boxes=boxes, limit=2)
        with pytest.raises(SourceError, match="14 rows of boxes where the dataset has 2") as caught:
            ingest(RAW, tmp_path / "store.h5", options=options)
        assert "mention-object-box_train.npy" in str(caught.value)
        assert "--limit" in str(caught.value)


def test_limit_keeps_the_first_mentions_and_the_entities_they_refer_to(
    ingested: tuple[Path, IngestSummary], tmp_path: Path
) -> None:
    ingest(RAW, tmp_path / "few.h5", options=replace(TINY, limit=2))
    with featurestore.open(tmp_path / "few.h5") as few, featurestore.open(ingested[0]) as every:
        assert [len(rows) for rows in few.mentions.splits.values()] == [2, 2, 2]
        for split, rows in few.mentions.splits.items():
            for mine, theirs in zip(rows, every.mentions.split(split), strict=False):
                a, b = few.mentions[mine], every.mentions[theirs]
                assert a["sentence"] == b["sentence"]
                assert few.entities.ids(a["candidates"]) == every.entities.ids(b["candidates"])
                np.testing.assert_allclose(a["sim_image_text"], b["sim_image_text"], atol=2e-4)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sample") / "raw"
    write_sample(root, dataset="wikidiverse", layout="raw", mentions=60, entities=24)
    return root


class TestSample:
    def test_it_is_ingested_with_its_own_encoders(self, sample: Path, tmp_path: Path) -> None:
        encoders = sample / "encoders"
        options = replace(
            TINY,
            text_encoder=str(encoders / "bert"),
            image_encoder=str(encoders / "resnet"),
            clip=str(encoders / "clip"),
        )
        summary = ingest(sample, tmp_path / "store.h5", options=options)
        assert sum(summary.mentions.values()) == 60
        assert summary.candidates == 10
        assert set(summary.pictures["entities"]) >= {"ok", "missing", "broken"}
        assert summary.counts["golds that are NIL"] == 1
        assert summary.counts["entity pictures that are not the first listed"] == 1  # too small
        with featurestore.open(tmp_path / "store.h5") as store:
            assert store.entities["__nil__"]["text"] == ""
            assert np.isfinite(store.mentions.view("sim_text_image")).all()

    def test_its_odd_golds_are_found_by_normalised_titles(
        self, sample: Path, tmp_path: Path
    ) -> None:
        exact = ingest(sample, tmp_path / "exact.h5", options=NOTHING)
        options = replace(NOTHING, title_match="normalised")
        normal = ingest(sample, tmp_path / "normalised.h5", options=options)
        assert exact.counts == normal.counts | {
            key: exact.counts[key] for key in ("golds without brief", "golds without picture file")
        }
        found = [exact.counts[f"golds found by {rule} titles"] for rule in ("exact", "normalised")]
        assert found[0] < found[1]
        # a lower-case and an encoded-blank spelling have no page of their own then
        assert exact.entities == normal.entities + 2
