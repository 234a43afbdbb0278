"""``ingest --entity-text``: what the encoders read of an entity, in the store and in its provenance."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import featurestore
from cli.main import main
from featurestore.derive import token_mean
from featurestore.encoders.text import TextEncoder
from featurestore.errors import ConfigError, WriteError
from featurestore.ingest import ingest
from featurestore.options import EntityText
from featurestore.sources.entity_texts import with_texts
from featurestore.sources.rawtables import RawEntities
from tests.golden_for_tests import ENCODERS, PREPROCESSED, RAW, TEXT_ONLY, TINY

FIELDS = {"attr": "text", "name": "title", "brief": "description"}


def entities(descriptions: list[str]) -> RawEntities:
    count = len(descriptions)
    return RawEntities(
        ids=[f"Q{n}" for n in range(count)],
        titles=[f"title {n}" for n in range(count)],
        descriptions=descriptions,
        texts=[f"text {n}" for n in range(count)],
        image_choices=[()] * count,
    )


def test_each_form_has_its_text() -> None:
    notes: list[str] = []
    plain = entities(["a", "", "b"])
    assert with_texts(plain, "attr", notes) is plain
    assert with_texts(plain, "name", notes).texts == plain.titles
    assert notes == []
    assert with_texts(plain, "brief", notes).texts == ["a", "title 1", "b"]
    assert notes == ["1 of 3 entities are read by their title: no description"]


def test_descriptions_that_nobody_has_are_refused() -> None:
    with pytest.raises(ConfigError, match="no entity of the dataset has a description"):
        with_texts(entities(["", ""]), "brief", [])


@pytest.mark.parametrize("dataset", ["wikimel", "wikidiverse"])
@pytest.mark.parametrize("form", ["name", "brief"])
def test_the_store_holds_what_was_read(dataset: str, form: EntityText, tmp_path: Path) -> None:
    options = replace(TEXT_ONLY, entity_text=form)
    ingest(RAW / dataset, tmp_path / "s.h5", options=options)
    with featurestore.open(tmp_path / "s.h5") as store:
        table = store.entities
        titles, chosen = table.texts("title"), table.texts(FIELDS[form])
        texts = [text or title for text, title in zip(chosen, titles, strict=True)]
        assert list(table.texts("text")) == texts
        assert store.provenance["options"]["entity_text"] == form
        encoder = TextEncoder.load(str(ENCODERS / "bert"), device="cpu")
        (batch,) = encoder.encode(texts, keep=64, window=len(texts))
        if "text_mean" in table:
            own = batch.split()
            wanted = [
                token_mean(each[:count]) for each, count in zip(own, batch.counts, strict=True)
            ]
            found = table.gather("text_mean", np.arange(len(table)))
        else:
            assert batch.pooled is not None
            wanted, found = list(batch.pooled), table.gather("text_pooled", np.arange(len(table)))
        np.testing.assert_allclose(found, np.stack(wanted), atol=1e-5)


def test_clip_reads_the_same_text(tmp_path: Path) -> None:
    stores = {}
    for form in ("attr", "name"):
        path = tmp_path / f"{form}.h5"
        ingest(RAW / "wikimel", path, options=replace(TINY, dtype="float32", entity_text=form))
        with featurestore.open(path) as store:
            rows = np.arange(len(store.entities))
            stores[form] = {
                name: store.entities.gather(name, rows) for name in ("clip_text", "clip_image")
            }
    assert not np.array_equal(stores["attr"]["clip_text"], stores["name"]["clip_text"])
    assert np.array_equal(stores["attr"]["clip_image"], stores["name"]["clip_image"])


def test_another_text_is_another_ingest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was begun with one text is not gone on with another."""

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("featurestore.writer.StoreWriter.publish", stop)
        with pytest.raises(KeyboardInterrupt):
            ingest(RAW / "wikimel", tmp_path / "s.h5", options=TEXT_ONLY, part_seconds=0)
    with pytest.raises(WriteError, match=r"options.entity_text was attr, is name"):
        ingest(RAW / "wikimel", tmp_path / "s.h5", options=replace(TEXT_ONLY, entity_text="name"))


def test_the_command_takes_it_and_recorded_features_do_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encoders = ["--text-encoder", str(ENCODERS / "bert"), "--entity-text", "name", "--json"]
    none = ["--image-encoder", "none", "--clip", "none"]
    target = str(tmp_path / "s.h5")
    assert main(["ingest", str(RAW / "wikimel"), "-o", target, *encoders, *none]) == 0
    assert json.loads(capsys.readouterr().out)["layout"] == "raw"
    assert main(["inspect", target]) == 0
    assert "entity_text name" in capsys.readouterr().out
    recorded = str(PREPROCESSED / "wikimel")
    arrays = ["ingest", recorded, "-o", str(tmp_path / "t.h5"), "--entity-text", "name", "--json"]
    assert main(arrays) == 0
    notes = json.loads(capsys.readouterr().out)["notes"]
    assert notes[0].endswith("--entity-text had no effect")
