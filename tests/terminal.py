"""What a view looks like on a terminal."""

from __future__ import annotations

import io

from rich.console import Console, RenderableType


def shown(view: RenderableType, *, width: int) -> str:
    """The lines of a view on a terminal of this width, without colours."""
    file = io.StringIO()
    Console(file=file, width=width, force_terminal=True, color_system=None).print(view)
    return file.getvalue()
