"""Writes ``docs/cli.md`` from the commands themselves: ``python -m tests.cli_docs``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from cli.lazy import EXIT_STATUS, LazyGroup
from cli.main import cli

PAGE = Path(__file__).parent.parent / "docs" / "cli.md"

_HEAD = f"""\
# Commands

Written by `python -m tests.cli_docs`; a test fails when it is out of date. `--help` says the same.

{EXIT_STATUS}
Data goes to stdout, progress and errors to stderr; `NO_COLOR` is respected; output that does not go to
a terminal is plain and never cut. Commands that report take `--json`.
"""


def cli_page() -> str:
    """The text that ``docs/cli.md`` must have."""
    context = click.Context(cli, info_name="drin-fs")
    return "\n".join([_HEAD, *_contents(cli, context), *_sections(cli, context)]) + "\n"


def _contents(group: LazyGroup, context: click.Context, indent: str = "") -> Iterator[str]:
    """A line a command; those of a group stand below it."""
    for name, entry in group.entries.items():
        path = f"{context.command_path} {name}"
        yield f"{indent}- [`{name}`](#{path.replace(' ', '-')}) {entry.summary}"
        command = entry.load(name)
        if isinstance(command, LazyGroup):
            below = click.Context(command, info_name=name, parent=context)
            yield from _contents(command, below, indent + "  ")


def _sections(group: LazyGroup, context: click.Context) -> Iterator[str]:
    for name, entry in group.entries.items():
        command = entry.load(name)
        below = click.Context(command, info_name=name, parent=context)
        yield _section(command, below)
        if isinstance(command, LazyGroup):
            yield from _sections(command, below)


def _section(command: click.Command, context: click.Context) -> str:
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    parts = [f"\n## {context.command_path}", f"```\n{usage}\n```"]
    parts += [_paragraph(text) for text in (command.help or "").split("\n\n")]
    if any(isinstance(parameter, click.Option) for parameter in command.params):
        parts.append(_options(command, context))
    if command.epilog != EXIT_STATUS:
        parts.append(command.epilog or "")
    return "\n\n".join(parts)


def _paragraph(text: str) -> str:
    """Markdown of one paragraph of a help text; indented lines below a heading are commands."""
    first, *rest = text.splitlines()
    if not any(line.startswith("    ") for line in rest):
        return text
    commands = "\n".join(line.strip().removeprefix("$ ") for line in rest)
    return f"{first}\n\n```sh\n{commands}\n```"


def _options(command: click.Command, context: click.Context) -> str:
    rows = ["| option | default | meaning |", "|---|---|---|"]
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            rows.append(_option(parameter, context))
    return "\n".join(rows)


def _option(option: click.Option, context: click.Context) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    value = "" if option.is_flag else f" `{option.make_metavar(context)}`"
    default = f"`{option.default}`" if option.show_default else ""
    cells = (names + value, "required" if option.required else default, option.help or "")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    PAGE.write_text(cli_page(), encoding="utf-8")
