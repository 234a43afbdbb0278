"""``--model``: a name, or nothing for the list of models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import rich_click as click

from cli.console import show, show_json

Command = TypeVar("Command", bound=Callable[..., Any])


def model_option(help_text: str) -> Callable[[Command], Command]:
    """``--model [NAME]``; without a name its value is empty, and ``None`` where it is not given."""
    return click.option("--model", metavar="[NAME]", is_flag=False, flag_value="", help=help_text)


def show_models(*, as_json: bool) -> None:
    """Print the list of models."""
    from linker.models import list_models
    from linker.report import models_table

    models = list_models()
    show_json(models) if as_json else show(models_table(models))
