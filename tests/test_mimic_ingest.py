"""MIMIC's layout ingested, the detector's ablation by name, and mixed splits noticed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import featurestore
from cli.main import main
from featurestore.errors import ConfigError
from featurestore.ingest import IngestSummary, ingest, recognise
from featurestore.options import IngestOptions
from featurestore.sources.sample import SampleSummary, write_sample
from featurestore.summary import sentences_digest, summarise
from linker.recorded import RecordedRun
from linker.report_rows import read_table
from linker.run_folder import RunError
from linker.store_identity import check_same_store, store_identity
from tests.reported_for_tests import ranks, reported_run
from tests.sample_for_tests import SMALL, tree

SPLITS = ("train", "valid", "test")


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleSummary:
    return write_sample(tmp_path_factory.mktemp("sample") / "mimic", layout="mimic", **SMALL)


@pytest.fixture(scope="module")
def ingested(
    sample: SampleSummary, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, IngestSummary]:
    target = tmp_path_factory.mktemp("mimic") / "store.h5"
    encoders = sample.encoders
    options = IngestOptions(
        text_encoder=encoders["bert"],
        image_encoder=encoders["resnet"],
        clip=encoders["clip"],
        detector="none",
        candidates=8,
        device="cpu",
    )
    return target, ingest(sample.root, target, options=options)


def text_only(source: str, target: Path, **options: Any) -> Path:
    """A store without any feature."""
    nothing = IngestOptions(
        text_encoder="none", image_encoder="none", clip="none", detector="none", **options
    )
    ingest(source, target, options=nothing)
    return target


def test_a_title_rule_is_said_to_have_no_effect(sample: SampleSummary, tmp_path: Path) -> None:
    store = text_only(sample.root, tmp_path / "s.h5", title_match="normalised", candidates=8)
    note = "not every option is for mimic wikimel: --title-match had no effect"
    with featurestore.open(store) as opened:
        assert opened.provenance["notes"][0] == note


class TestStore:
    def test_every_field_of_a_raw_dataset_is_there(
        self, ingested: tuple[Path, IngestSummary]
    ) -> None:
        with featurestore.open(ingested[0]) as store:
            assert (store.dataset, store.provenance["source"]["layout"]) == ("wikimel", "mimic")
            assert store.provenance["options"]["candidates"] == 8
            for name in ("text_tokens", "text_mean", "image_pooled", "clip_text", "clip_image"):
                assert name in store.entities
            for name in ("text_span", "image_mean", "sim_image_text", "sim_text_image"):
                assert name in store.mentions

    def test_what_was_planted_is_counted(
        self, sample: SampleSummary, ingested: tuple[Path, IngestSummary]
    ) -> None:
        _, summary = ingested
        assert sum(summary.dropped.values()) == sample.troubles["mentions not in their sentence"]
        assert summary.candidates == 8
        pictures = summary.pictures
        for kind, one in (("entities", "entity"), ("mentions", "mention")):
            assert pictures[kind]["broken"] == sample.troubles[f"{one} pictures broken"]
            assert pictures[kind]["missing"] == sample.troubles[f"{one} pictures missing"]
        said = " ".join(summary.notes)
        assert "golds that are NIL: 1" in said
        assert "golds outside the knowledge base: 1" in said

    def test_the_titles_find_the_golds(self, ingested: tuple[Path, IngestSummary]) -> None:
        with featurestore.open(ingested[0]) as store:
            retrieved = sum(split.retrieved for split in summarise(store).splits)
            assert retrieved >= len(store.mentions) - 2  # all but the NIL one and the stray

    def test_equal_arguments_write_equal_samples(
        self, sample: SampleSummary, tmp_path: Path
    ) -> None:
        write_sample(tmp_path / "again", layout="mimic", **SMALL)
        assert tree(tmp_path / "again") == tree(Path(sample.root))

    def test_a_sample_of_wikidiverse_has_the_names_of_its_release(self, tmp_path: Path) -> None:
        write_sample(tmp_path / "it", dataset="wikidiverse", layout="mimic", **SMALL)
        assert recognise(tmp_path / "it") == ("wikidiverse", "mimic")
        assert (tmp_path / "it" / "wiki_diverse_dev.json").is_file()

    def test_another_dataset_is_refused(self, sample: SampleSummary) -> None:
        with pytest.raises(ConfigError, match="the folder holds mimic wikimel"):
            recognise(Path(sample.root), "richpediamel")


class TestSentences:
    """The digest by which splits are told apart."""

    def test_order_ids_and_layout_do_not_count(self, sample: SampleSummary, tmp_path: Path) -> None:
        one = text_only(sample.root, tmp_path / "one.h5")
        for path in Path(sample.root).glob("WIKIMEL_*.json"):
            items = json.loads(path.read_text())[::-1]
            named = [{**item, "id": f"{path.stem}{n}"} for n, item in enumerate(items)]
            (tmp_path / path.name).write_text(json.dumps(named))
        (tmp_path / "kb_entity.json").write_bytes(
            (Path(sample.root) / "kb_entity.json").read_bytes()
        )
        other = text_only(str(tmp_path), tmp_path / "other.h5")
        with featurestore.open(one) as first, featurestore.open(other) as second:
            assert first.fingerprint != second.fingerprint
            assert first.mentions.ids([0]) != second.mentions.ids([0])
            for split in SPLITS:
                assert self._digest(first, split) == self._digest(second, split)
            assert self._digest(first, "valid") != self._digest(first, "test")

    def test_how_often_a_sentence_stands_counts(
        self, sample: SampleSummary, tmp_path: Path
    ) -> None:
        with featurestore.open(text_only(sample.root, tmp_path / "one.h5")) as store:
            rows = store.mentions.split("test")
            fewer = sentences_digest(store.mentions, range(rows.start, rows.stop - 1))
            assert fewer != self._digest(store, "test")
            assert sentences_digest(store.mentions, range(0)) == sentences_digest(
                store.mentions, range(5, 5)
            )

    def test_inspect_shows_it(
        self, ingested: tuple[Path, IngestSummary], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["inspect", str(ingested[0]), "--json"]) == 0
        shown = json.loads(capsys.readouterr().out)["splits"]
        with featurestore.open(ingested[0]) as store:
            assert {s["name"]: s["sentences"] for s in shown} == {
                split: self._digest(store, split) for split in SPLITS
            }

    def test_a_report_refuses_runs_on_other_sentences(
        self, sample: SampleSummary, tmp_path: Path
    ) -> None:
        whole = self._run(text_only(sample.root, tmp_path / "whole.h5"), tmp_path / "whole")
        part = self._run(text_only(sample.root, tmp_path / "part.h5", limit=5), tmp_path / "part")
        with pytest.raises(
            ConfigError, match=r"test split \(by its sentences\) is \w+ in .*whole, \w+ in .*part"
        ):
            read_table([whole, part])
        assert read_table([whole, part], mixed=True).differing == ("fingerprint",)

    def test_a_run_on_another_store_hears_of_it(
        self, sample: SampleSummary, tmp_path: Path
    ) -> None:
        whole = text_only(sample.root, tmp_path / "whole.h5")
        with featurestore.open(whole) as store:
            recorded = store_identity(store)
        with (
            featurestore.open(text_only(sample.root, tmp_path / "part.h5", limit=5)) as part,
            pytest.raises(RunError, match="other sentences in train; other sentences in valid"),
        ):
            check_same_store(recorded, part, hint="")

    def _digest(self, store: featurestore.Store, split: str) -> str:
        return sentences_digest(store.mentions, store.mentions.split(split))

    def _run(self, store: Path, folder: Path) -> RecordedRun:
        """As a run on this store would leave it."""
        with featurestore.open(store) as opened:
            identity = store_identity(opened)
        reported_run(folder, {"test": ranks(np.ones(identity["splits"]["test"]))}, store=identity)
        return RecordedRun(folder)


class TestAblation:
    """``--ablate mask_rcnn`` on the command line."""

    @pytest.mark.parametrize("more", [[], ["--detector", "maskrcnn"]])
    def test_it_is_the_other_detector(
        self, more: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[str] = []

        def record(source: Path, output: Path, *, options: IngestOptions, **_: object) -> None:
            asked.append(options.detector)
            raise ConfigError("enough")

        monkeypatch.setattr(featurestore.ingest, "ingest", record)
        arguments = ["ingest", str(tmp_path), "-o", str(tmp_path / "s.h5"), "--ablate", "mask_rcnn"]
        assert main([*arguments, *more]) == 2
        assert asked == ["maskrcnn"]

    @pytest.mark.parametrize(
        ("more", "what"),
        [
            (["--detector", "fasterrcnn"], "--ablate mask_rcnn and --detector fasterrcnn"),
            (["--detector", "none"], "--ablate mask_rcnn and --detector none"),
            (["--boxes", "boxes"], "--ablate mask_rcnn and --boxes"),
        ],
    )
    def test_another_origin_of_the_objects_is_refused(
        self, more: list[str], what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        arguments = ["ingest", str(tmp_path), "-o", str(tmp_path / "s.h5"), "--ablate", "mask_rcnn"]
        assert main([*arguments, *more]) == 2
        assert what in capsys.readouterr().err
