"""Writes ``docs/cli.md`` from the commands themselves: ``python -m tests.cli_docs``."""

from __future__ import annotations

from pathlib import Path

import click

from cli.main import COMMANDS, EXIT_STATUS, cli

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
    root = click.Context(cli, info_name="drin-fs")
    commands = {name: entry.load(name) for name, entry in COMMANDS.items()}
    contents = [
        f"- [`{name}`](#drin-fs-{name}) {entry.summary}" for name, entry in COMMANDS.items()
    ]
    sections = [_section(name, command, root) for name, command in commands.items()]
    return "\n".join([_HEAD, *contents, *sections]) + "\n"


def _section(name: str, command: click.Command, root: click.Context) -> str:
    context = click.Context(command, info_name=name, parent=root)
    usage = " ".join(["drin-fs", name, *command.collect_usage_pieces(context)])
    parts = [f"\n## drin-fs {name}", f"```\n{usage}\n```"]
    parts += [_paragraph(text) for text in (command.help or "").split("\n\n")]
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
