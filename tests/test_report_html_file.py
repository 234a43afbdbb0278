"""The report as a file: it needs nothing else, obeys no text of a store, and is there whole or not."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import types
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import featurestore
from cli.main import main
from featurestore.schema import FEATURE, FIELDS
from tests.recorded_for_tests import recorded_run
from tests.report_for_tests import Node, points, read_report, section
from tests.test_inspect import WITHOUT_TORCH
from tests.tiny_store import SIZES, TinyStore, write_tiny_store

SCRIPT = "\"><script>alert(1)</script><img src=x onerror=alert(2)>'&lt;</style></svg>"
HOSTILE = [
    SCRIPT,
    "abc\u202egpj.exe\u2066",
    "x" * 10_000,
    "\x00\x1b[31m\r\n",
    "&amp;<!--",
    "é\u200d",
]

#: What a report may consist of: nothing that runs, loads or sends.
TAGS = frozenset(
    re.findall(
        r"\w+",
        "html head meta title style body header footer main nav section article div p span h1 h2 h3 h4 "
        "a ul ol li dl dt dd b i bdi mark code table caption thead tbody tr th td figure figcaption img "
        "svg desc path rect circle text",
    )
)


def report(store: Path, *options: object, code: int = 0) -> Node:
    target = store.with_suffix(".html")
    arguments = ["inspect", store, "--html", target, "--overwrite", *options]
    assert main([str(argument) for argument in arguments]) == code
    text = target.read_text(encoding="utf-8")
    page = read_report(text)
    assert_needs_nothing(page)
    return page


def assert_needs_nothing(page: Node) -> None:
    """No script, no address of anything but the page itself and pictures in it."""
    keys = {node.attributes.get("id") for node in page.every()}
    for node in page.every():
        assert node.tag in TAGS, node.tag
        assert not [name for name in node.attributes if name.startswith("on") or name == "style"]
        for name in ("src", "href", "action", "srcset", "data", "xlink:href"):
            address = node.attributes.get(name)
            if node.tag == "img" and name == "src":
                assert re.fullmatch(r"data:image/jpeg;base64,[A-Za-z0-9+/]+=*", address or "")
            elif address is not None:
                assert address.startswith("#")
                assert address[1:] in keys
    (style,) = page.all("style")
    assert not re.search(r"url\(|@import|https?:", style.words)
    policy = next(
        str(node.attributes["content"])
        for node in page.all("meta")
        if node.attributes.get("http-equiv") == "Content-Security-Policy"
    )
    digest = b64encode(sha256(style.words.encode()).digest()).decode()
    rules = [rule.strip() for rule in policy.split(";")]
    assert rules[:3] == ["default-src 'none'", f"style-src 'sha256-{digest}'", "img-src data:"]


def assert_named(page: Node) -> None:
    """Every drawing says what it shows, or stands beside words that do."""
    ids = {node.attributes["id"]: node for node in page.every() if "id" in node.attributes}
    for drawing in page.all("svg"):
        if drawing.attributes.get("role") == "img":
            names = str(drawing.attributes.get("aria-labelledby", "")).split()
            assert drawing.attributes.get("aria-label") or all(ids[key].words for key in names)
        else:
            assert drawing.attributes["aria-hidden"] == "true"
    assert all(image.attributes["alt"] for image in page.all("img"))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[TinyStore, Path]:
    folder = tmp_path_factory.mktemp("hostile")
    change: dict[str, Any] = {
        f"{table}/{name}": [HOSTILE[(i + shift) % len(HOSTILE)] for i in range(20)]
        for table, names in {
            "entities": ("title", "description", "text", "image_path"),
            "mentions": ("sentence", "mention", "topic", "entity_type", "image_path"),
        }.items()
        for shift, name in enumerate(names)
    }
    change["mentions/char_start"] = np.tile([-5, 0, 9_990, 2**31 - 1], 5).astype(np.int32)
    change["mentions/char_end"] = np.tile([3, -1, 10_001, 2**31 - 1], 5).astype(np.int32)
    change["mentions/sim_image_text"] = np.full((20, 5), np.inf, np.float32)
    for table in ("entities", "mentions"):
        change[f"{table}/id"] = [f"{text}{table}{i}" for i, text in enumerate((HOSTILE * 4)[:20])]
        svg = np.frombuffer(b"<svg onload=alert(1)>", np.uint8)
        change[f"{table}/thumbnail"] = [svg] * 20
        change[f"{table}/thumbnail_size"] = np.full(20, len(svg), np.int32)
    tiny = write_tiny_store(folder / "s.h5", entities=20, mentions=(6, 4, 10), change=change)
    scores = np.random.default_rng(1).random((10, SIZES["K"])).astype(np.float32)
    run = recorded_run(folder / "<img src=x onerror=1>", tiny.path, {"test": scores})
    return tiny, run.path


def test_hostile_texts_are_shown_and_not_obeyed(hostile: tuple[TinyStore, Path]) -> None:
    tiny, run = hostile
    page = report(tiny.path, "--run", run)
    assert_named(page)
    words = page.words
    assert SCRIPT in section(page, "mentions").words
    assert SCRIPT in section(page, "errors").words
    assert "abc\\u202egpj.exe\\u2066" in words
    assert run.name in section(page, "runs").words
    assert not set("\u202e\u2066\x00\x1b") & set(tiny.path.with_suffix(".html").read_text("utf-8"))
    assert "x" * 600 not in words  # cut
    assert not page.all("img")  # these thumbnails are no JPEGs
    assert "no JPEG" in section(page, "mentions").words


def test_a_report_without_runs_has_no_sections_of_runs(tiny: TinyStore, tmp_path: Path) -> None:
    own = write_tiny_store(tmp_path / "s.h5")
    page = report(own.path)
    keys = [node.attributes["id"] for node in page.all("section")]
    assert keys == ["overview", "coverage", "audit", "map", "mentions", "fields", "origin"]
    assert_named(page)


def test_a_store_of_texts_alone_has_a_report(tmp_path: Path) -> None:
    without = {
        field.path
        for field in FIELDS
        if field.dtype == FEATURE or "image" in field.name or "thumbnail" in field.name
    } | {"mentions/sim_text_image", "entities/title", "mentions/char_start", "mentions/char_end"}
    own = write_tiny_store(tmp_path / "s.h5", without=without)
    page = report(own.path)
    assert section(page, "map").words.startswith("MapMentions and entities have no features")
    assert "no features" in section(page, "fields").words
    assert "does not say which rows have pictures" in section(page, "coverage").words
    assert [card.all("code")[0].words for card in page.all("article")] == [
        f"m{i}-0" for i in range(10)
    ]
    assert not page.all("img")


@pytest.mark.parametrize("mentions", [(0, 0, 0), (0, 0, 3), (1, 0, 0)])
@pytest.mark.parametrize("entities", [1, 3])
def test_empty_splits_have_a_report(
    tmp_path: Path, entities: int, mentions: tuple[int, int, int]
) -> None:
    own = write_tiny_store(tmp_path / "s.h5", entities=entities, mentions=mentions)
    page = report(own.path)
    assert len(page.all("article")) == sum(mentions)
    rows = section(page, "overview").table("Splits")
    assert [row[1] for row in rows] == list(map(str, mentions))


def test_a_run_of_an_empty_split_is_compared_on_another(tmp_path: Path) -> None:
    own = write_tiny_store(tmp_path / "s.h5", mentions=(2, 3, 0))
    rng = np.random.default_rng(0)
    scores = {
        split: rng.random((number, SIZES["K"])).astype(np.float32)
        for split, number in (("valid", 3), ("test", 0))
    }
    run = recorded_run(tmp_path / "run", own.path, scores)
    page = report(own.path, "--run", run.path)
    assert "hits@k in valid" in section(page, "runs").words


def test_a_run_without_scores_says_how_to_get_them(tmp_path: Path) -> None:
    own = write_tiny_store(tmp_path / "s.h5")
    scores = np.random.default_rng(0).random((3, SIZES["K"])).astype(np.float32)
    run = recorded_run(tmp_path / "run", own.path, {"test": scores})
    run.scores("test").unlink()
    page = report(own.path, "--run", run.path)
    assert "--split test --record" in section(page, "errors").words


# UMAP -------------------------------------------------------------------------------------------


def test_umap_draws_a_second_map_of_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = write_tiny_store(tmp_path / "s.h5", entities=12, mentions=(10, 2, 3))
    seen: dict[str, Any] = {}

    class Umap:
        def __init__(self, **options: Any) -> None:
            seen.update(options)

        def fit_transform(self, features: np.ndarray) -> np.ndarray:
            seen["features"] = features
            return np.stack([np.arange(len(features)), np.zeros(len(features))], axis=1)

    module = types.ModuleType("umap")
    module.UMAP = Umap  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "umap", module)
    page = report(own.path)
    expected = [own.values[f"{table}/clip_text"] for table in ("mentions", "entities")]
    np.testing.assert_array_equal(seen["features"], np.concatenate(expected))
    assert (seen["random_state"], seen["n_neighbors"]) == (0, 15)
    first, second = section(page, "map").all("svg")
    assert first.all("title")[0].words.startswith("Principal axes")
    drawn = [at for path in second.all("path", "dots")[::-1] for at in points(path)]
    along = np.array([x for x, _ in drawn])  # mentions, then entities, as they were handed over
    assert np.ptp(np.diff(along)) < 0.3
    assert len(drawn) == 27


def test_without_umap_the_report_says_what_would_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    page = report(write_tiny_store(tmp_path / "s.h5").path)
    assert len(section(page, "map").all("svg")) == 1
    assert "umap-learn" in section(page, "map").words


# the command ------------------------------------------------------------------------------------


def test_json_says_what_was_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own, target = write_tiny_store(tmp_path / "s.h5"), tmp_path / "r.html"
    assert main(["inspect", str(own.path), "--html", str(target), "--json"]) == 0
    out, err = capsys.readouterr()
    written = json.loads(out)
    assert written["path"] == str(target)
    assert written["bytes"] == target.stat().st_size
    assert written["sections"][:2] == ["overview", "coverage"]
    assert (written["runs"], written["seed"]) == ([], 0)
    assert "sections" in err  # the progress


def test_torch_and_pillow_are_not_needed(tmp_path: Path) -> None:
    own, target = write_tiny_store(tmp_path / "s.h5"), tmp_path / "r.html"
    scores = np.random.default_rng(0).random((3, SIZES["K"])).astype(np.float32)
    run = recorded_run(tmp_path / "run", own.path, {"test": scores})
    arguments = ["inspect", own.path, "--html", target, "--run", run.path]
    program = WITHOUT_TORCH.replace('"PIL")', '"PIL", "starlette", "uvicorn", "umap")')
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert read_report(target.read_text("utf-8")).all("section")


def test_a_report_is_replaced_only_where_that_was_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, target = write_tiny_store(tmp_path / "s.h5"), tmp_path / "r.html"
    command = ["inspect", str(own.path), "--html", str(target)]
    assert main(command) == 0
    target.write_text("<!doctype html>old")
    assert main(command) == 1
    assert "pass --overwrite" in capsys.readouterr().err
    assert target.read_text() == "<!doctype html>old"
    assert main([*command, "--overwrite"]) == 0
    assert read_report(target.read_text("utf-8")).all("section")


def test_what_is_no_report_is_never_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = write_tiny_store(tmp_path / "s.h5")
    before = own.path.read_bytes()
    assert main(["inspect", str(own.path), "--html", str(own.path), "--overwrite"]) == 1
    assert "is no HTML page" in capsys.readouterr().err
    assert own.path.read_bytes() == before


@pytest.mark.parametrize(
    ("place", "message"),
    [("absent/r.html", "the target folder does not exist"), ("", "the target is a folder")],
)
def test_a_place_that_cannot_be_is_refused_before_any_work(
    tmp_path: Path, place: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    own = write_tiny_store(tmp_path / "s.h5")
    assert main(["inspect", str(own.path), "--html", str(tmp_path / place)]) == 1
    assert message in capsys.readouterr().err


def test_an_interrupted_report_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, target = write_tiny_store(tmp_path / "s.h5"), tmp_path / "r.html"
    target.write_text("<!doctype html>old")

    def interrupted(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("featurestore.target.sync_path", interrupted)
    assert main(["inspect", str(own.path), "--html", str(target), "--overwrite"]) == 130
    assert target.read_text() == "<!doctype html>old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.html", "s.h5"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--overwrite"], "--overwrite goes with --html"),
        (["--html", "r.html", "--split", "test"], "--split goes with --errors"),
        (["--html", "r.html", "--entity", "3"], "give one of them"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    tiny: TinyStore, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(tiny.path), *options]) == 2
    assert message in capsys.readouterr().err


def test_the_same_store_gives_the_same_report(tmp_path: Path) -> None:
    own = write_tiny_store(tmp_path / "s.h5", entities=30, mentions=(40, 20, 20))
    report(own.path)
    first = own.path.with_suffix(".html").read_text("utf-8")
    report(own.path)
    day = r"\d{4}-\d\d-\d\d</p>"
    assert re.sub(day, "", own.path.with_suffix(".html").read_text("utf-8")) == re.sub(
        day, "", first
    )
    with featurestore.open(own.path) as store:
        assert store.fingerprint[:12] in first
