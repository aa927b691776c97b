"""`tenuto config`: the settings in effect."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import click

from tenuto.cli.display import display_of
from tenuto.cli.group import Command

__all__ = ["command"]


@click.command("config", cls=Command)
@click.pass_context
def command(context: click.Context) -> None:
    """Print the settings in effect as JSON: files and environment merged, secrets hidden."""
    from tenuto._base.config import masked
    from tenuto._base.masking import mask
    from tenuto.configuration import config

    text = json.dumps(masked(config), indent=2, default=plain, ensure_ascii=False)
    display_of(context).result(mask(text))


def plain(value: Any) -> Any:
    """Return what JSON has for a value of the settings: durations are seconds."""
    return value.total_seconds() if isinstance(value, timedelta) else str(value)
