"""What ``--text online`` refuses, and what it says to do instead."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import featurestore
from featurestore import Store
from featurestore.errors import ConfigError, DataError, EncoderError, FieldMissing
from featurestore.ingest import ingest
from featurestore.options import IngestOptions
from linker.config_text import read_config
from linker.job import prepare_job
from tests.golden_for_tests import ENCODERS, EXACT, PREPROCESSED, RAW, TEXT_ONLY

ONLINE: dict[str, Any] = {"text": {"source": "online"}}


@pytest.fixture(scope="module")
def preprocessed(store_of: Callable[[Path, IngestOptions], Path]) -> Path:
    """A store of recorded arrays, which names no encoders and has token places only."""
    return store_of(PREPROCESSED / "wikidiverse", EXACT)


def refused(store: Store, error: type[Exception], **values: Any) -> str:
    with pytest.raises(error) as caught:
        prepare_job(store, read_config(values))
    return str(caught.value)


def test_finetune_and_entity_text_need_online() -> None:
    with pytest.raises(ConfigError, match="--finetune needs --text online"):
        read_config({"text": {"finetune": True}})
    with pytest.raises(ConfigError, match="--entity-text name needs --text online"):
        read_config({"text": {"entity": "name"}})


def test_a_store_that_does_not_name_its_encoder(preprocessed: Path) -> None:
    with featurestore.open(preprocessed) as store:
        text = refused(store, ConfigError, **ONLINE)
        assert "does not say which text encoder made it" in text
        assert "--set text.encoder=" in text


def test_a_store_without_descriptions(preprocessed: Path) -> None:
    with featurestore.open(preprocessed) as store:
        text = {"source": "online", "encoder": str(ENCODERS / "bert"), "entity": "brief"}
        assert "no entities/description" in refused(store, FieldMissing, text=text)


def test_an_encoder_that_is_not_where_it_was(tmp_path: Path) -> None:
    bert = shutil.copytree(ENCODERS / "bert", tmp_path / "bert")
    target = tmp_path / "store.h5"
    options = replace(TEXT_ONLY, text_encoder=str(bert))
    ingest(RAW / "wikimel", target, options=options)
    online = {**ONLINE, "model": {"name": "text"}}
    with featurestore.open(target) as store:
        (bert / "config.json").write_text((bert / "config.json").read_text() + "\n")
        text = refused(store, EncoderError, **online)
        assert "not the text encoder that the store was made with: config.json" in text
        chosen = {"source": "online", "encoder": str(bert)}
        assert prepare_job(store, read_config({**online, "text": chosen})).online
        shutil.rmtree(bert)
        text = refused(store, EncoderError, **online)
        assert "the text encoder that made the store is not where it was" in text
        assert "--set text.encoder=FOLDER" in text


def test_a_relative_name_counts_from_the_folder_of_the_ingest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bert = Path(shutil.copytree(ENCODERS / "bert", tmp_path / "then" / "raw" / "encoders" / "bert"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    name = "raw/encoders/bert"
    monkeypatch.chdir(tmp_path / "then")
    ingest(RAW / "wikimel", "store.h5", options=replace(TEXT_ONLY, text_encoder=name))
    online = {**ONLINE, "model": {"name": "text"}}
    with featurestore.open(tmp_path / "then" / "store.h5") as store:
        job = prepare_job(store, read_config(online))
        assert job.config.text.encoder == name
        monkeypatch.chdir(elsewhere)
        for config in (read_config(online), job.config):  # a new run, and the one from before
            assert prepare_job(store, config).config.text.encoder == str(bert)
        shutil.rmtree(bert)
        text = refused(store, EncoderError, **online)
        assert "the text encoder that made the store is not where it was" in text
        assert f"where: {elsewhere / name} and {bert}" in text
        assert "--set text.encoder=FOLDER" in text


def test_another_tokenizer_for_recorded_spans(preprocessed: Path, tmp_path: Path) -> None:
    other = shutil.copytree(ENCODERS / "bert", tmp_path / "other")
    for path in other.iterdir():
        path.chmod(0o644)
    (other / "tokenizer.json").unlink(missing_ok=True)
    words = (other / "vocab.txt").read_text().splitlines()
    renamed = [w if len(w) < 4 or w.startswith("[") else f"§{i}" for i, w in enumerate(words)]
    (other / "vocab.txt").write_text("".join(f"{word}\n" for word in renamed))
    with featurestore.open(preprocessed) as store:
        text = {"source": "online", "encoder": str(other)}
        message = refused(store, DataError, text=text, model={"name": "text"})
        assert "::/mentions/token_count[0]" in message


def test_a_pooled_vector_of_an_encoder_without_a_pooler(
    store_of: Callable[[Path, IngestOptions], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import linker.online as online

    load = online.load_text_model
    monkeypatch.setattr(online, "load_text_model", lambda *a, **k: (*load(*a, **k)[:2], False))
    with featurestore.open(store_of(RAW / "wikidiverse", EXACT)) as store:
        text = refused(store, EncoderError, **ONLINE)
        assert "--set entity_pooling=mean" in text
        assert prepare_job(store, read_config({**ONLINE, "entity_pooling": "mean"})).online
