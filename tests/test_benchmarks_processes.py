"""The benchmark of several processes: the same losses, and what the loader of one more takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import processes
from benchmarks.data import TINY, Workspace
from benchmarks.processes import Reading, Watched, largest_difference, reading_takes
from featurestore.progress import Silent

EPOCH = {"epoch": 1.0, "train_loss": 0.5, "valid_mrr": 0.25, "mentions_per_s": 10.0}


def test_losses_and_figures_are_compared_and_the_clock_is_not() -> None:
    other = {**EPOCH, "train_loss": 0.5001, "mentions_per_s": 99.0}
    assert largest_difference([EPOCH], [EPOCH]) == 0
    assert largest_difference([EPOCH], [other]) == pytest.approx(1e-4)


@pytest.mark.parametrize(("loss", "state"), [(0.5, "PASS"), (0.51, "short")])
def test_a_report_says_whether_losses_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: float, state: str
) -> None:
    def trained(workspace: Workspace, store: Path, count: int) -> Watched:
        history = [{**EPOCH, "train_loss": loss if count > 1 else 0.5}]
        return Watched(first=2_000_000, extra=1_000_000, history=history)

    def loader(workspace: Workspace, store: Path, count: int) -> Reading | None:
        reading = reading_takes(str(store), batch_size=8, processes=count)
        assert reading is not None
        assert 0 < reading.batch < 1_000_000
        return Reading(grown=reading.batch + 101_000_000, batch=reading.batch)

    monkeypatch.setattr(processes, "_trained", trained)
    monkeypatch.setattr(processes, "_loader", loader)
    report = processes.measure(Workspace(tmp_path, TINY, Silent()))
    assert [row.name for row in report.rows] == ["1 process", "2 processes"]
    assert [target.state for target in report.targets] == [state, "short"]
    assert report.rows[1].figures["its loader MB"] == 101
