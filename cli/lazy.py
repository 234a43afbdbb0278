"""Groups of commands that are named at once and imported only when they are run."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from importlib import import_module
from inspect import cleandoc
from typing import ClassVar

import rich_click as click

EXIT_STATUS = "Exit status: 0 ok, 1 failure, 2 usage, 3 data problem, 130 interrupted."


@dataclass(frozen=True, slots=True)
class Command:
    """Where a command is, and what the list of commands says about it.

    ``extra``: the optional dependencies it needs, as in ``pip install "drin-fs[extra]"``.
    """

    module: str
    summary: str
    extra: str = ""

    def load(self, name: str) -> click.Command:
        """The command itself; its module is imported now."""
        command: click.Command = getattr(import_module(self.module), name)
        command.help = _set_examples(command.help or "")
        command.epilog = command.epilog or EXIT_STATUS
        return command


def _set_examples(text: str) -> str:
    r"""A help text whose ``\b`` paragraphs (lines as they stand) are set below their first line.

    rich-click keeps the lines of both forms; around ``\b`` it leaves several lines empty.
    """
    paragraphs = cleandoc(text).split("\n\n")
    for place, paragraph in enumerate(paragraphs):
        if paragraph.startswith("\b\n"):
            first, *rest = paragraph.removeprefix("\b\n").rstrip().splitlines()
            paragraphs[place] = "\n    ".join([first, *map(str.strip, rest)])
    return "\n\n".join(paragraphs)


class LazyGroup(click.RichGroup):
    """A group that imports a command only when it is run or its own help is asked for."""

    entries: ClassVar[dict[str, Command]]  # by name, in the order of the help

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A stand-in that knows the command's name and summary."""
        if cmd_name not in self.entries:
            return None
        return click.RichCommand(name=cmd_name, help=self.entries[cmd_name].summary)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the arguments name.

        Raises:
            click.UsageError: there is none; names the nearest.
        """
        name = args[0]
        if name in self.entries:
            return name, self.entries[name].load(name), args[1:]
        if name.startswith("-"):
            return super().resolve_command(ctx, args)
        near = difflib.get_close_matches(name, self.entries, n=1, cutoff=0.5)
        meant = f"did you mean {near[0]!r}?" if near else f"commands: {', '.join(self.entries)}"
        raise click.UsageError(f"no command {name!r}; {meant}", ctx)
