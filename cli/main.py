"""The command line: names the commands, loads the one asked for, turns what went wrong into a message.

Importing this module loads neither HDF5 nor torch, so that ``drin-fs --help`` answers at once.

Exit status: 0 ok, 1 failure, 2 usage, 3 data problem, 130 interrupted. As diff(1) does, ``diff`` also
exits with 1 where nothing failed but the stores differ.
"""

from __future__ import annotations

import os
import platform
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from importlib.metadata import version

import rich_click as click

from cli.lazy import EXIT_STATUS, Command, LazyGroup

COMMANDS: dict[str, Command] = {
    "sample": Command("cli.sample", "Write a small made-up dataset to try everything on.", "encode"),
    "build": Command("cli.build", "Make a dataset of your own: titles, candidates, images.", "construct"),
    "ingest": Command("cli.ingest", "Turn a dataset into one store file.", "encode"),
    "assemble": Command("cli.assemble", "Make one store of the shards of an ingest.", "encode"),
    "inspect": Command("cli.inspect", "Look into a store: fields, splits, rows, neighbours, errors."),
    "fetch": Command("cli.fetch", "Copy a store from a web server or object store.", "remote"),
    "audit": Command("cli.audit", "Look for what makes results wrong or misleading."),
    "diff": Command("cli.diff", "Compare two stores: fields, ids, texts, values."),
    "verify": Command("cli.verify", "Look for damage and contradictions in a store."),
    "repair": Command("cli.repair", "Make the damaged rows of a store again from its source.", "encode"),
    "repack": Command("cli.repack", "Write a store anew: shards, dtype, compression, fewer fields."),
    "export": Command("cli.export", "Write a store as the release's .npy files, JSON lines or parquet."),
    "train": Command("cli.train", "Train a model from a store.", "train"),
    "grid": Command("cli.grid", "Train and score a grid of models, options and seeds.", "train"),
    "ablate": Command("cli.ablate", "Take parts of DRIN away, one at a time, and compare.", "train"),
    "tune": Command("cli.tune", "Search for the options under which a model does best.", "train"),
    "evaluate": Command("cli.evaluate", "Score a trained run or an untrained model on a split.", "train"),
    "link": Command("cli.link", "Link mentions of your own with a trained model.", "encode"),
    "report": Command("cli.report", "Put runs side by side in one table, with statistics."),
    "unpack": Command("cli.unpack", "Verify and unpack the released archives."),
    "pack": Command("cli.pack", "Disguise archives as .mp4 files, as the release's are."),
}  # fmt: skip

#: Optional dependencies (``setup.cfg``, ``options.extras_require``) → the modules they bring.
EXTRAS: dict[str, tuple[str, ...]] = {
    "train": ("torch", "lightning", "torchmetrics", "safetensors", "matplotlib", "tensorboard"),
    "encode": ("torch", "torchvision", "transformers", "PIL", "safetensors"),
    "tune": ("optuna",),
    "construct": ("rapidfuzz", "orjson", "zstandard", "isal", "httpx2", "stamina", "PIL"),
    "faiss": ("faiss",),
    "export": ("pyarrow",),
    "web": ("starlette", "uvicorn"),
    "remote": ("fsspec", "aiohttp", "s3fs", "stamina"),
    "wandb": ("wandb",),
    "mlflow": ("mlflow",),
    "ray": ("ray",),
}


class Commands(LazyGroup):
    entries = COMMANDS


#: Blank lines between the paragraphs of a help text; every command inherits it.
HELP_STYLE = {"text_paragraph_linebreaks": "\n\n", "padding_helptext_first_line": (0, 0, 1, 0)}


@click.group(cls=Commands, epilog=EXIT_STATUS, context_settings={"rich_help_config": HELP_STYLE})
@click.version_option(version("drin-fs"), message="drin-fs %(version)s")
def cli() -> None:
    """Ingest a multimodal entity linking dataset once, then train, evaluate and browse from disk.

    Example, from nothing to a trained model:
        $ drin-fs sample demo/arrays --layout preprocessed
        $ drin-fs ingest demo/arrays -o demo/store.h5
        $ drin-fs inspect demo/store.h5
        $ drin-fs train demo/store.h5

    Every command tells its options with --help; commands that report take --json.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        arguments: what follows the program's name; from the command line by default.

    Returns:
        The exit status, see :data:`cli.lazy.EXIT_STATUS`.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(
            stream, "reconfigure"
        ):  # an old terminal cannot show every letter: no reason to fail
            stream.reconfigure(errors="backslashreplace")
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminated)  # what a scheduler sends before it kills
    try:
        try:
            status = cli.main(given, prog_name="drin-fs", standalone_mode=False)
        finally:
            _end_of_remote()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (KeyboardInterrupt, click.Abort):
        sys.stderr.write("interrupted\n")
        return 130
    except click.ClickException as error:
        return _usage(error)
    except Exception as error:
        return _failure(error, given)
    return status if isinstance(status, int) else 0


def _end_of_remote() -> None:
    """What was read over a network, if anything was."""
    if "featurestore.remote" in sys.modules:
        from cli.traffic import show_traffic

        show_traffic()


def _terminated(number: int, frame: object) -> None:
    """Be ended as by Ctrl-C: what is finished is kept."""
    raise KeyboardInterrupt


def _usage(error: click.ClickException) -> int:
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "drin-fs"
    _complain(error.format_message(), hint=f"{path} --help")
    return error.exit_code


def _failure(error: Exception, arguments: list[str]) -> int:
    """Say what went wrong, and give the exit status that belongs to it."""
    command = next((word for word in arguments if word in COMMANDS), "")
    if isinstance(error, ModuleNotFoundError) and (extra := _extra_with(error, command)):
        module = (error.name or "").partition(".")[0]
        _complain(
            f"drin-fs {command} needs {module}, which is not installed",
            hint=f'pip install "drin-fs[{extra}]"',
        )
        return 1
    from featurestore.errors import DrinFsError

    if isinstance(error, DrinFsError):
        _complain(error.what, where=error.where, hint=error.hint)
        return error.exit_code
    traceback.print_exception(error)
    _complain(
        f"drin-fs {version('drin-fs')} did not expect this ({type(error).__name__})",
        hint="please report it, with the lines above; "
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()}",
    )
    return 1


def _extra_with(error: ModuleNotFoundError, command: str) -> str | None:
    """The extra that brings the module that is missing; the command's own one first."""
    module = (error.name or "").partition(".")[0]
    own = COMMANDS[command].extra if command else ""
    names = sorted(EXTRAS, key=lambda name: name != own)
    return next((name for name in names if module in EXTRAS[name]), None)


def _complain(what: str, *, where: str = "", hint: str = "") -> None:
    """``error: what / where: … / next: …`` on stderr, in the same form for every kind of error."""
    from rich.text import Text

    from cli.console import clean, stderr

    message = Text.assemble(("error: ", "bold red"))
    message.append("\n".join(map(clean, what.splitlines())))
    for label, text in (("where", where), ("next", hint)):
        if text:
            message.append(f"\n  {label + ':':<6} ", "dim")
            message.append(clean(text))
    stderr().print(message, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
