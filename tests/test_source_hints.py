"""Errors of datasets and of building them say what to do next, all of them."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

import featurestore
from featurestore.construct.title_table import existing
from featurestore.errors import SourceError
from featurestore.sources.arrays import KINDS, Header

PACKAGE = Path(featurestore.__file__).parent
FILES = sorted(path for name in ("sources", "construct") for path in (PACKAGE / name).glob("*.py"))


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def error_classes() -> set[str]:
    """Names of DrinFsError and of all classes of ours that derive from it, here or in errors.py."""
    names = {"DrinFsError"}
    classes = [
        node
        for path in (*FILES, PACKAGE / "errors.py")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ClassDef)
    ]
    for _ in classes:  # each round finds the next generation
        names |= {
            node.name for node in classes if {ast.unparse(base) for base in node.bases} & names
        }
    return names


ERRORS = error_classes()


def hintless(tree: ast.Module) -> list[str]:
    """Errors that are made without a hint, or with one that may be empty, as ``line: code``."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ERRORS:
            hints = [each.value for each in node.keywords if each.arg == "hint"]
            if not hints or (isinstance(hints[0], ast.Constant) and not hints[0].value):
                found.append(f"{node.lineno}: {ast.unparse(node)}")
        if isinstance(node, ast.arguments):
            pairs = zip(node.kwonlyargs, node.kw_defaults, strict=True)
            found += [
                f"{arg.lineno}: {arg.arg}=…" for arg, value in pairs if arg.arg == "hint" and value
            ]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_error_says_what_to_do_next(path: Path) -> None:
    assert hintless(tree_of(path)) == []


def test_the_check_finds_what_it_is_for() -> None:
    assert {"SourceError", "WriteError", "ConfigError", "WikiError"} <= ERRORS
    assert len(FILES) > 80
    code = """
def f(*, hint=""):
    raise SourceError("gone", where="x")
    raise errors.WriteError("full", hint="")
    raise ConfigError("no", hint=hint)
    raise ValueError("not ours")
"""
    assert hintless(ast.parse(code)) == [
        "2: hint=…",
        "3: SourceError('gone', where='x')",
        "4: errors.WriteError('full', hint='')",
    ]


@pytest.mark.parametrize("holds", KINDS)
def test_an_array_of_another_kind_is_told_what_it_should_hold(holds: str) -> None:
    header = Header("x.npy", (3, 4), np.dtype("V2"), False, 80)
    with pytest.raises(SourceError, match=f"where {holds} belongs") as caught:
        header.check(holds=holds)
    assert caught.value.hint.startswith("save it again as an array of ")


@pytest.mark.parametrize(
    ("what", "hint"), [("titles", "drin-fs build titles"), ("mentions", "drin-fs build mentions")]
)
def test_a_file_that_is_absent_is_told_what_makes_it(what: str, hint: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=f"there is no file of {what}") as caught:
        existing(tmp_path / "absent", what)
    assert hint in caught.value.hint
