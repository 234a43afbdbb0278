"""Runs in the browser: what they got wrong, two side by side, scores and edges of candidates."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import unquote

import numpy as np
import pytest

import featurestore
from cli.web import edge_process
from cli.web.edge_process import Edges
from cli.web.runs import open_runs
from featurestore.errors import ConfigError, DrinFsError, UnknownId
from linker.run_folder import RunError
from tests.edges_for_tests import answer_at_once
from tests.tiny_store import TinyStore
from tests.web_for_tests import Reply, Server, serving

if TYPE_CHECKING:
    from tests.runs_for_tests import QuickRun


@pytest.fixture(scope="module")
def judged(quick: QuickRun, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A store with a run of drin, and a copy of the run with other ranks."""
    other = tmp_path_factory.mktemp("runs") / "other"
    shutil.copytree(quick.folder, other)
    file = other / "ranks" / "test.csv"
    head, *lines = file.read_text().splitlines()
    changed = [
        re.sub(r",1,1,1,1$", ",1,3,3,3", line) if i % 3 else line for i, line in enumerate(lines)
    ]
    file.write_text("\n".join([head, *changed]) + "\n")
    with serving(quick.store, [quick.folder, other]) as running:
        yield running


def ranks_of(server: Server, name: str) -> dict[str, float]:
    run = next(run for run in server.site.runs if run.name == name)
    lines = (run.recorded.path / "ranks" / "test.csv").read_text().splitlines()[1:]
    return {line.split(",")[0]: float(line.split(",")[3] or "inf") for line in lines}


def ids_on(reply: Reply) -> list[str]:
    found = re.findall(r'class="main" href="/mention/([^"?]*)', reply.text)
    return [unquote(key) for key in found]


def test_what_a_run_got_wrong_is_listed(judged: Server) -> None:
    wrong = [key for key, rank in ranks_of(judged, "drin").items() if rank > 1]
    assert 0 < len(wrong) < 40
    assert ids_on(judged.ask("/mentions?wrong=drin&split=test")) == wrong


def test_two_runs_are_compared_as_a_plain_loop_does(judged: Server) -> None:
    first, second = ranks_of(judged, "drin"), ranks_of(judged, "other")
    kinds = {
        "": [key for key in first if (first[key] == 1) != (second[key] == 1)],
        "a": [key for key in first if first[key] == 1 < second[key]],
        "b": [key for key in first if second[key] == 1 < first[key]],
        "both": [key for key in first if first[key] == 1 == second[key]],
        "neither": [key for key in first if first[key] > 1 < second[key]],
    }
    assert len(kinds["a"]) > 5
    for show, keys in kinds.items():
        reply = judged.ask(f"/compare?a=drin&b=other&split=test&show={show}")
        assert ids_on(reply) == keys
    for kind in ("both", "a", "b", "neither"):
        assert re.search(rf'show={kind}#list"[^>]*>{len(kinds[kind])}<', reply.text)
    assert judged.ask("/compare?a=drin&b=nobody").status == 400
    assert judged.ask("/compare?show=some").status == 400


def test_candidates_have_scores_and_edges_and_can_be_ordered_by_a_run(judged: Server) -> None:
    from linker.explain import edge_weights
    from linker.verdicts import judge_mention

    store, run = judged.site.store, judged.site.runs[0]
    row = store.mentions.split("test").start
    key = store.mentions.ids([row])[0]
    reply = judged.until(f"/mention/{key}?by=drin", gone="data-pending")
    verdict = judge_mention(store, run.recorded.path, row)
    table = reply.text.split('class="candidates"')[1].split("</table>")[0]
    lists = store.mentions[row]["candidates"]
    expected = store.entities.ids(lists[verdict.order])
    assert re.findall(r'href="/entity/(Q\d+)"', table)[: len(expected)] == expected
    best = float(verdict.scores[verdict.order[0]])
    assert f'<b>1</b> <span class="bar-number">{best:.3f}</span>' in table
    weights = edge_weights(run.recorded.path, store, row)
    first = weights.weights[0, verdict.order[0]]
    cell = table.split('td class="layers"')[1].split("</td>")[0]
    shown = re.findall(
        r'<abbr title="[^"]*">(\w+)</abbr><span class="layer"><span class="bar-number">([^<]*)',
        cell,
    )
    assert shown == [
        (name, f"{value:.2f}") for name, value in zip(weights.edges, first, strict=True)
    ]


def test_the_map_marks_what_a_run_got_wrong(judged: Server) -> None:
    points = json.loads(judged.ask("/map.json?run=drin").body)["points"]
    wrong = {unquote(point[4]) for point in points if point[2] == "wrong"}
    run = judged.site.runs[0]
    rows = np.flatnonzero(run.wrong)
    assert wrong == {f"/mention/{key}" for key in judged.site.store.mentions.ids(rows)}
    assert judged.ask("/map?run=nobody").status == 400


def test_a_run_of_another_store_is_refused(quick: QuickRun, tiny: TinyStore) -> None:
    with featurestore.open(tiny.path) as store, pytest.raises(RunError, match="not the store"):
        open_runs(store, [quick.folder])
    with featurestore.open(quick.store) as store, pytest.raises(ConfigError, match="twice"):
        open_runs(store, [quick.folder, quick.folder / ".." / quick.folder.name])


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ModuleNotFoundError("no", name="torch"), 'pip install "drin-fs[train]"'),
        (RunError("weights of another network"), "No edges: weights of another network"),
    ],
)
def test_a_page_without_edges_says_why(
    judged: Server, error: Exception, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(judged.site, "edges", fail)
    reply = judged.ask("/mention/m0")
    assert reply.status == 200
    assert said in reply.page.words
    assert "data-pending" not in reply.text


def test_a_process_that_died_is_started_again(
    judged: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge_process, "_answer", answer_at_once)  # without loading torch
    run = judged.site.runs[0]
    edges = Edges(judged.site.store.path)
    try:
        before = edges.of(run, 3)
        edges._process.kill()  # type: ignore[union-attr]
        edges._process.join()  # type: ignore[union-attr]
        with pytest.raises(DrinFsError, match="the process that computes edges ended"):
            edges.of(run, 3)
        after = edges.of(run, 3)
    finally:
        edges.close()
    assert (before.row, after.row) == (3, 3)
    assert before.run != after.run  # of another process
    with pytest.raises(DrinFsError, match="ended"):
        edges.of(run, 3)


def test_an_error_over_there_is_one_here(judged: Server) -> None:
    edges = Edges(judged.site.store.path)
    try:
        with pytest.raises(UnknownId, match="row 1000000 is outside the table"):
            edges.of(judged.site.runs[0], 10**6)
        assert edges.of(judged.site.runs[0], 0).retrieved > 1
    finally:
        edges.close()
