"""The frame of the command line: what it loads, how it fails, and that its pages are up to date."""

from __future__ import annotations

import configparser
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import click
import pytest

import featurestore
from cli import main as cli_module
from cli.build import STEPS
from cli.lazy import EXIT_STATUS, Command
from cli.main import COMMANDS, EXTRAS, main
from featurestore.errors import ConfigError, DrinFsError, SourceError, StoreError, WriteError
from featurestore.schema import FIELDS
from tests import cli_docs, schema_docs
from tests.tiny_store import TinyStore

ROOT = Path(__file__).parent.parent


def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The program in its own process."""
    plain = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    return subprocess.run(
        [sys.executable, "-m", "cli", *map(str, arguments)],
        capture_output=True, text=True, timeout=60, env=plain | environment, check=False,
    )  # fmt: skip


def loaded_by(statement: str) -> set[str]:
    """Top-level modules that a statement leaves loaded."""
    script = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    return {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}


# what is loaded ---------------------------------------------------------------------------------


def test_help_loads_no_library_of_ours() -> None:
    loaded = loaded_by("from cli.main import main; main(['--help'])")
    assert loaded.isdisjoint({"torch", "transformers", "h5py", "numpy", "featurestore", "linker"})


def test_no_command_loads_torch_before_it_runs() -> None:
    load = (
        "from cli.build import STEPS\nfrom cli.main import COMMANDS\n"
        "for name, entry in [*COMMANDS.items(), *STEPS.items()]: entry.load(name)"
    )
    assert loaded_by(load).isdisjoint({"torch", "transformers", "lightning", "torchvision"})


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"drin-fs {featurestore.__version__}\n"
    assert featurestore.__version__ == setup["metadata"]["version"]


# help -------------------------------------------------------------------------------------------


#: What is typed after ``drin-fs`` → the command, those of groups included.
PATHS: dict[str, Command] = {
    **COMMANDS,
    **{f"build {name}": entry for name, entry in STEPS.items()},
}


@pytest.mark.parametrize("path", PATHS)
def test_every_command_has_a_summary_an_example_and_says_how_it_exits(
    path: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERMINAL_WIDTH", "100")
    assert main([*path.split(), "--help"]) == 0
    text = capsys.readouterr().out
    summary = (PATHS[path].load(path.split()[-1]).help or "").splitlines()[0]
    assert re.fullmatch(r"[A-Z].{10,}\.", summary)
    assert summary in text
    assert re.search(rf"Examples?: *\n +\$ drin-fs {path} ", text)
    assert EXIT_STATUS in text


@pytest.mark.parametrize("path", PATHS)
def test_every_option_has_help(path: str) -> None:
    name = path.split()[-1]
    command = PATHS[path].load(name)
    assert command.name == name
    silent = [p.name for p in command.params if isinstance(p, click.Option) and not p.help]
    assert silent == []


def test_help_lists_every_command_with_its_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for name, entry in COMMANDS.items():
        assert re.search(rf"{name} +{re.escape(entry.summary)}", text)
    assert EXIT_STATUS in text


def test_no_arguments_show_the_help() -> None:
    done = run()
    assert "Usage: drin-fs" in done.stdout + done.stderr


# usage errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message", "page"),
    [
        (["inspct"], "no command 'inspct'; did you mean 'inspect'?", "drin-fs --help"),
        (["zzz"], "no command 'zzz'; commands: sample, build,", "drin-fs --help"),
        (["inspect"], "Missing argument 'STORE'", "drin-fs inspect --help"),
        (["inspect", "x", "--jsno"], "No such option", "drin-fs inspect --help"),
        (["inspect", "x", "--top", "-1"], "-1 is not in the range", "drin-fs inspect --help"),
        (["--verzion"], "No such option", "drin-fs --help"),
    ],
)
def test_a_usage_error_names_the_help_page_and_exits_with_2(
    arguments: list[str], message: str, page: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert message in captured.err
    assert captured.err.endswith(f"\n  next:  {page}\n")


# errors of a command ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Failing(Command):
    """A command that raises."""

    error: BaseException = field(default_factory=RuntimeError)

    def load(self, name: str) -> click.Command:
        @click.command()
        def fail() -> None:
            raise self.error

        return fail


def main_raising(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, *, extra: str = "encode"
) -> int:
    monkeypatch.setitem(COMMANDS, "fail", Failing("", "Fails.", extra, error))
    return main(["fail"])


@pytest.mark.parametrize(
    ("kind", "status"),
    [(DrinFsError, 1), (WriteError, 1), (ConfigError, 2), (SourceError, 3), (StoreError, 3)],
)
def test_an_expected_error_is_three_lines_and_its_exit_status(
    kind: type[DrinFsError],
    status: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    where = "a/long/path/" * 20 + "s.h5::/entities/id[3]"
    assert main_raising(kind("it broke", where=where, hint="mend it"), monkeypatch) == status
    captured = capsys.readouterr()
    assert captured.err == f"error: it broke\n  where: {where}\n  next:  mend it\n"
    assert captured.out == ""


def test_an_error_without_place_or_advice_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main_raising(DrinFsError("it [bold]broke[/] \x1b[31m"), monkeypatch) == 1
    assert capsys.readouterr().err == "error: it [bold]broke[/] \\x1b[31m\n"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_an_interrupt_is_130(
    error: BaseException, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main_raising(error, monkeypatch) == 130
    assert capsys.readouterr().err.strip() == "interrupted"


@pytest.mark.parametrize(
    ("module", "extra", "advised"),
    [("torch", "train", "train"), ("torch", "encode", "encode"), ("lightning.pytorch", "", "train"),
     ("transformers", "train", "encode"), ("PIL", "", "encode")],
)  # fmt: skip
def test_a_missing_optional_library_names_what_to_install(
    module: str,
    extra: str,
    advised: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    error = ModuleNotFoundError(f"No module named {module!r}", name=module)
    assert main_raising(error, monkeypatch, extra=extra) == 1
    assert capsys.readouterr().err == (
        f"error: drin-fs fail needs {module.partition('.')[0]}, which is not installed\n"
        f'  next:  pip install "drin-fs[{advised}]"\n'
    )


@pytest.mark.parametrize(
    "error", [ValueError("odd"), ModuleNotFoundError("No module named 'odd'", name="odd")]
)
def test_an_unexpected_error_keeps_its_traceback_and_asks_for_a_report(
    error: Exception, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main_raising(error, monkeypatch) == 1
    text = capsys.readouterr().err
    assert text.startswith("Traceback")
    assert "raise self.error" in text
    assert "odd" in text
    first, last = text.splitlines()[-2:]
    assert (
        first == f"error: drin-fs {version('drin-fs')} did not expect this ({type(error).__name__})"
    )
    assert "please report it" in last


def test_the_extras_are_those_of_the_package() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    offered = setup["options.extras_require"]
    for extra, modules in EXTRAS.items():
        packages = {re.split(r"[>=<\[]", line)[0].lower() for line in offered[extra].split()}
        named = {"PIL": "pillow", "faiss": "faiss-cpu"}
        assert {named.get(module, module) for module in modules} == packages
    assert {entry.extra for entry in COMMANDS.values()} <= {"", *EXTRAS}


def test_a_reader_that_goes_away_is_no_noise(tiny: TinyStore) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "inspect", str(tiny.path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process.stderr as errors:
        assert errors.read() == b""
    assert process.wait(60) == 1


def test_what_the_terminal_cannot_show_is_written_out(tiny: TinyStore) -> None:
    done = run("inspect", tiny.path, "--entity", "Q103", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert "Title \\u2116 3 \\xe9" in done.stdout


# colour -----------------------------------------------------------------------------------------

COLOUR = re.compile("\x1b\\[[0-9;]*3[0-9]m")


@pytest.mark.parametrize(
    "arguments", [["inspect", "STORE"], ["inspect", "STORE", "--mention", "9999"]]
)
def test_colours_are_for_terminals_and_obey_no_color(tiny: TinyStore, arguments: list[str]) -> None:
    command = [str(tiny.path) if word == "STORE" else word for word in arguments]

    def output(**environment: str) -> str:
        done = run(*command, **environment)
        return done.stdout + done.stderr

    assert "\x1b" not in output()
    assert COLOUR.search(output(FORCE_COLOR="1", TERM="xterm-256color"))
    assert not COLOUR.search(output(FORCE_COLOR="1", TERM="xterm-256color", NO_COLOR="1"))


# sample -----------------------------------------------------------------------------------------

SMALL = ("--layout", "preprocessed", "--mentions", "20", "--entities", "20", "--candidates", "5",
         "--regions", "4")  # fmt: skip


def test_sample_writes_a_dataset_that_can_be_ingested_and_inspected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, store = tmp_path / "arrays", tmp_path / "store.h5"
    assert main(["sample", str(folder), *SMALL, "--dataset", "wikidiverse", "--json"]) == 0
    captured = capsys.readouterr()
    summary = json.loads(captured.out)
    assert (summary["dataset"], summary["layout"]) == ("wikidiverse", "preprocessed")
    assert sum(summary["mentions"].values()) == 20
    assert "mentions" in captured.err  # progress
    assert main(["ingest", str(folder), "-o", str(store), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["candidates"] == 5
    assert main(["inspect", str(store)]) == 0
    assert "wikidiverse" in capsys.readouterr().out


def test_sample_says_what_it_wrote_and_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "my arrays"
    assert main(["sample", str(folder), *SMALL, "--seed", "3"]) == 0
    text = capsys.readouterr().out
    assert "preprocessed wikimel, seed 3" in text
    assert f"$ drin-fs ingest '{folder}' -o '{folder}.h5'" in text


@pytest.mark.parametrize(
    ("arguments", "status"), [((), 3), (("--mentions", "1"), 2), (("--candidates", "-4"), 2)]
)
def test_sample_refuses_what_cannot_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], status: int
) -> None:
    if status == 3:
        (tmp_path / "precious.txt").touch()
    assert main(["sample", str(tmp_path), "--layout", "preprocessed", *arguments]) == status
    assert capsys.readouterr().err.startswith("error: ")


# pages ------------------------------------------------------------------------------------------


def test_the_page_of_commands_is_up_to_date() -> None:
    assert cli_docs.PAGE.read_text(encoding="utf-8") == cli_docs.cli_page(), (
        "run: python -m tests.cli_docs"
    )


def test_the_page_of_the_format_holds_the_fields_of_the_schema() -> None:
    page = schema_docs.PAGE.read_text(encoding="utf-8")
    assert schema_docs.between_markers(page) == schema_docs.field_tables(), (
        "run: python -m tests.schema_docs"
    )


def test_the_page_of_the_format_explains_every_axis_and_layout() -> None:
    before, after = schema_docs.PAGE.read_text(encoding="utf-8").split(schema_docs.BEGIN)
    for one in FIELDS:
        assert f"**{one.layout}" in after.replace("column, view", "column**, **view")
        for axis in set(one.axes) - {"4"}:
            assert re.search(rf"^\| [A-Z, ]*\b{axis}\b[A-Z, ]* \|", before, re.MULTILINE), axis


def test_the_entry_point_of_the_package_is_this_program() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    scripts = setup["options.entry_points"]["console_scripts"]
    assert scripts.split() == ["drin-fs", "=", f"{cli_module.__name__}:main"]
