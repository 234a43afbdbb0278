"""Searches that are interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import linker.tune_trial as tune_trial
from linker.train import train
from tests.runs_for_tests import Recording


@contextmanager
def interrupted_in_the_third_trial(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A block that interrupts a search on the planted store in the second epoch of its third training."""

    def stopped(*arguments: Any, **options: Any) -> dict[str, Any]:
        if Path(options["run"]).name == "trial-0002":
            options["progress"] = Recording(interrupt_after=96 + 40 + 50)
        return train(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(tune_trial, "train", stopped)
        with pytest.raises(KeyboardInterrupt):
            yield
