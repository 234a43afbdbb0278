"""What of the networks is compiled where it can be (docs/decisions/native.md)."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

from featurestore.native import LEVELS, compiled

#: Of ``kernels_interface`` in ``_pairs.c``: another number when a function takes other arguments.
_INTERFACE = 1


@cache
def compiled_kernels() -> ctypes.CDLL | None:
    """The library of ``_pairs.c`` and ``_activation.c``."""
    return compiled(Path(__file__).parents[1], "kernels", interface=_INTERFACE)


def kernels_name() -> str:
    """The kernels that this processor uses: they add up in another order than torch does."""
    library = compiled_kernels()
    if library is None:
        return LEVELS[0]
    pairs = LEVELS[library.pairs_level()]
    return pairs if library.activation_level() or pairs == LEVELS[0] else f"{pairs}, no activation"
