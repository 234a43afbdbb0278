"""Batches that an API refuses: what is to blame is found by halving them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from featurestore.construct.wiki_errors import ApiError

Answer = TypeVar("Answer")


def answers(
    names: Sequence[str],
    ask: Callable[[Sequence[str]], list[Answer]],
    failed: Callable[[str, str], Answer],
) -> list[Answer]:
    """An answer for each name.

    Args:
        ask: the answers about several names, in their order.
        failed: the answer about a name that the API refuses even alone, from name and problem.
    """
    if not names:
        return []
    try:
        return ask(names)
    except ApiError as error:
        if len(names) == 1:
            return [failed(names[0], f"{API}{error.code}")]
    middle = len(names) // 2
    return [*answers(names[:middle], ask, failed), *answers(names[middle:], ask, failed)]


#: What problems begin with that the API had: asked again, it may have none.
API = "api: "
