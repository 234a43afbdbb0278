"""A store on the command line: a file of this machine, or a URL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

if TYPE_CHECKING:
    from featurestore.place import Place


class StorePlace(click.ParamType):
    """A path, or a URL for commands that read small parts of a store."""

    name = "path|url"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Place:
        if isinstance(value, Path):
            return value
        from featurestore.place import place_of

        return place_of(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[Any]:
        return click.Path().shell_complete(ctx, param, incomplete)
