"""``drin-fs audit``: every check together, the command, and what a terminal shows."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import featurestore
from cli.main import main
from cli.render_audit import audit_view
from featurestore.audit import CHECKS, SEVERITIES, audit
from featurestore.schema import FIELDS
from tests.audit_for_tests import K, protocol, repeating
from tests.hdf5_edits import edited
from tests.snapshots import check_snapshot
from tests.terminal import shown
from tests.tiny_store import SIZES, TinyStore, write_tiny_store


def test_every_check_says_what_it_looks_for_and_runs_without_optional_fields(
    tmp_path: Path,
) -> None:
    without = {field.path for field in FIELDS if field.made_by}
    without |= {"entities/image_status", "mentions/image_status"}
    tiny = write_tiny_store(tmp_path / "s.h5", without=without)
    with featurestore.open(tiny.path) as store:
        found = audit(store)
    assert all((check.__doc__ or "").strip() for check in CHECKS.values())
    assert {f.check for f in found.findings if f.skipped} == {
        "missing-pictures", "missing-descriptions", "duplicate-entities", "cut-spans",
        "picture-files", "similar-pictures", "title-leak",
    }  # fmt: skip
    assert set(found.checks) == set(CHECKS)


def test_a_store_without_rows_has_nothing_to_find(tmp_path: Path) -> None:
    tiny = write_tiny_store(tmp_path / "s.h5", entities=0, mentions=(0, 0, 0))
    with featurestore.open(tiny.path) as store:
        assert [f for f in audit(store).findings if not f.skipped] == []


def test_findings_stand_worst_first_and_are_counted(tmp_path: Path) -> None:
    tiny = write_tiny_store(tmp_path / "s.h5", change=repeating())
    with edited(tiny.path) as file:
        file["mentions/text_span"][3, 1] = np.nan
    with featurestore.open(tiny.path) as store:
        found = audit(store)
    places = [SEVERITIES.index(f.severity) for f in found.findings]
    assert places == sorted(places)
    seen = [f.severity for f in found.findings if not f.skipped]
    assert found.severities == {severity: seen.count(severity) for severity in SEVERITIES}
    assert found.severities["error"] >= 1
    assert all(len(f.examples) <= 5 for f in found.findings)
    assert all(f.what and f.why and f.check in CHECKS for f in found.findings)


def clean_change() -> dict[str, Any]:
    answer = np.arange(10) % K
    counts = np.full(10, SIZES["T"], np.int32)
    return protocol(mentions=10, answer=answer) | {
        "mentions/token_count": counts,
        "mentions/text_tokens": [np.ones((SIZES["T"], SIZES["D"]), np.float32)] * 10,
        "mentions/image_status": np.zeros(10, np.uint8),
        "entities/image_status": np.zeros(8, np.uint8),
        "entities/image_path": [f"entity-{row}.jpg" for row in range(8)],
    }


def test_strict_exits_with_3_on_warnings_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write_tiny_store(tmp_path / "good.h5", change=clean_change()).path
    bad = write_tiny_store(tmp_path / "bad.h5", change=repeating()).path
    assert main(["audit", str(good), "--strict", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["severities"]["error"], found["severities"]["warning"]) == (0, 0)
    assert main(["audit", str(bad), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["severities"]["warning"] > 0
    assert main(["audit", str(bad), "--strict"]) == 3
    captured = capsys.readouterr()
    assert "shared-mentions" in captured.out
    assert "error" not in captured.err


def test_no_store_is_a_data_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", str(tmp_path / "no.h5")]) == 3
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("width", [80, 140])
def test_what_the_terminal_shows(tmp_path: Path, width: int) -> None:
    tiny = write_tiny_store(tmp_path / "s.h5", change=repeating())
    with featurestore.open(tiny.path) as store:
        views = audit_view(replace(audit(store), store="tiny.h5"))
    check_snapshot(f"audit-{width}", "".join(shown(view, width=width) for view in views))


def test_ids_of_a_store_are_shown_and_not_obeyed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change = repeating() | {"mentions/id": [f"\x1b[31m{row}\u202e" for row in range(10)]}
    tiny = write_tiny_store(tmp_path / "s.h5", change=change)
    assert main(["audit", str(tiny.path)]) == 0
    out = capsys.readouterr().out
    assert "\\x1b[31m0\\u202e" in out
    assert not set("\x1b\u202e") & set(out)


def test_audit_and_diff_work_where_torch_and_pillow_are_not_installed(
    tiny: TinyStore,
) -> None:
    script = (
        "import sys\n"
        "for name in ('torch', 'transformers', 'PIL'): sys.modules[name] = None\n"
        "from cli.main import main\n"
        "sys.exit(main(['audit', sys.argv[1]]) or main(['diff', sys.argv[1], sys.argv[1]]))"
    )
    command = [sys.executable, "-c", script, str(tiny.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "the same" in done.stdout
