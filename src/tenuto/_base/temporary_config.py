"""Settings changed for the time of a block."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tenuto import configuration
from tenuto._base.collections import as_nested_dict
from tenuto._base.context import context
from tenuto.configuration import Config

__all__ = ["set_temporary_config"]


@contextmanager
def set_temporary_config(temp_config: Mapping[str, Any]) -> Iterator[Config]:
    """
    Change settings inside the block, here and in the context's `config`; everything is restored on leaving.

    Args:
        temp_config: dotted keys, `{"flows.checkpointing": True}`; sections are created as needed.
            `logging.level` takes effect at once.
    """
    changed = [configuration.config]
    inherited = context.get("config")
    if isinstance(inherited, Config) and inherited is not configuration.config:
        changed.append(inherited)
    before = [as_nested_dict(settings, dict) for settings in changed]
    logger = logging.getLogger("tenuto")
    level = logger.level
    try:
        for settings in changed:
            for key, value in temp_config.items():
                _set(settings, key, value)
        if "logging.level" in temp_config:
            logger.setLevel(temp_config["logging.level"])
        yield configuration.config
    finally:
        for settings, saved in zip(changed, before, strict=True):
            _restore(settings, saved)
        if "logging.level" in temp_config:
            logger.setLevel(level)


def _set(settings: Config, dotted: str, value: Any) -> None:
    *sections, key = dotted.split(".")
    for section in sections:
        if not isinstance(settings.get(section), Config):
            settings[section] = {}
        settings = settings[section]
    settings[key] = value


def _restore(settings: Config, saved: Mapping[str, Any]) -> None:
    """Give back old content in place: sections that somebody holds a reference to stay the live ones."""
    for key in [key for key in settings if key not in saved]:
        del settings[key]
    for key, value in saved.items():
        section = settings.get(key)
        if isinstance(section, Config) and isinstance(value, Mapping):
            _restore(section, value)
        else:
            settings[key] = value
