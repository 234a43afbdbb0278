"""A crawl among servers that misbehave: every case of the table in ``docs/build-images.md``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.wiki_faults import API, ENTITIES, PICTURES, Case, Outcome, run


@pytest.mark.parametrize("case", [*API, *PICTURES], ids=lambda case: case.name)
def test_a_fault_ends_as_the_table_says_and_nobody_else_suffers(case: Case, tmp_path: Path) -> None:
    assert run(case, tmp_path) == Outcome(
        outcome=case.outcome,
        pictures=case.pictures,
        more_calls=case.more_calls,
        others=ENTITIES - 1,
        too_early=0,
    )
