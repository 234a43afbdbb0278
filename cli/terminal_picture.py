"""A thumbnail on a terminal: as pixels where it knows Sixel or Kitty's protocol, else as half blocks."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from cli.console import stdout
from featurestore.table import Table
from featurestore.thumbnails import SIDE, thumbnail

if TYPE_CHECKING:
    from PIL import Image

#: Columns of a picture (chosen here: half of a narrow terminal, and enough to recognise a face).
_COLUMNS = 40

_INSTALL = 'to see pictures here: pip install "drin-fs[pictures]"'


def picture_view(table: Table, row: int) -> list[RenderableType]:
    """The thumbnail of a row, for a terminal; nothing where there is none, or no terminal."""
    if not stdout().is_terminal or stdout().no_color:
        return []
    jpeg = thumbnail(table, row)
    if jpeg is None:
        return []
    try:
        from textual_image.renderable import Image as TerminalImage
    except ImportError:
        return [Text(_INSTALL, "dim")]
    picture = decoded(jpeg)
    if picture is None:
        return [Text("the thumbnail is damaged", "red")]
    columns = max(1, round(_COLUMNS * picture.width / SIDE))
    return [Group(TerminalImage(picture, width=columns, height="auto"))]


def decoded(jpeg: bytes) -> Image.Image | None:
    """The picture of a thumbnail; None for what is no thumbnail of ours, whatever it claims to be."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(jpeg), formats=["JPEG"])
            if max(picture.size) > SIDE:
                return None
            return picture.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
