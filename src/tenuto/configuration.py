"""
Settings: built-in defaults, then the user's file, the backend file, the project's file and the environment.

`config` is read once, when this module is imported. The server does not use it (it has settings of its own);
user code reads and may assign it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tenuto._base.collections import dict_to_flatdict, merge_dicts
from tenuto._base.config import Config, ConfigKeyError
from tenuto._base.interpolation import (
    ENV_PREFIX,
    environment_name,
    interpolate_config,
    interpolate_env_vars,
    prefixes_of,
    string_to_type,
)
from tenuto.exceptions import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "Config",
    "ConfigKeyError",
    "config",
    "create_user_config",
    "home_path",
    "interpolate_config",
    "interpolate_env_vars",
    "load_configuration",
    "load_default_config",
    "load_toml",
    "process_task_defaults",
    "string_to_type",
    "to_environment_variables",
    "validate_config",
]

DEFAULTS_PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "defaults.toml")
PROJECT_FILE = "tenuto.toml"


def load_default_config() -> Config:
    """Return the settings as this process would read them now."""
    home = _home_from_environment()
    user_path = _setting_from_environment("USER_CONFIG_PATH") or os.path.join(home, "config.toml")
    backend_path = _setting_from_environment("BACKEND_CONFIG_PATH") or os.path.join(home, "backend.toml")
    return load_configuration(
        DEFAULTS_PATH,
        user_config_path=user_path,
        backend_config_path=backend_path,
        env_var_prefix=ENV_PREFIX,
        project_config_path=PROJECT_FILE,
    )


def load_configuration(
    path: str | os.PathLike[str],
    user_config_path: str | os.PathLike[str] | None = None,
    backend_config_path: str | os.PathLike[str] | None = None,
    env_var_prefix: str | None = None,
    *,
    project_config_path: str | os.PathLike[str] | None = None,
) -> Config:
    """
    Return the settings of several files, later ones winning: `path`, user, backend, project, environment.

    Args:
        path: must exist; the others are left out when they do not.
        env_var_prefix: variables `PREFIX__SECTION__KEY` win over every file. With the package's own prefix
            those of the compatible one are read too, below them.

    Raises:
        ConfigurationError: if a file cannot be read or is not TOML.
        ValueError: if a key has the name of a dictionary method.
    """
    settings: dict[str, Any] = load_toml(path)
    for optional in (user_config_path, backend_config_path, project_config_path):
        expanded = interpolate_env_vars(os.fspath(optional)) if optional else ""
        if expanded and os.path.isfile(expanded):
            added = load_toml(expanded)
            _check_sections(settings, added, expanded)
            settings = merge_dicts(settings, added)
    loaded = interpolate_config(settings, env_var_prefix=env_var_prefix)
    validate_config(loaded)
    return process_task_defaults(loaded)


def load_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """
    Return the content of a TOML file; `~` and environment variables in its path are expanded.

    Raises:
        ConfigurationError: if it cannot be read or is not TOML.
    """
    import tomllib

    full = os.path.expanduser(os.path.expandvars(os.fspath(path)))
    try:
        with open(full, "rb") as file:
            return tomllib.load(file)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(full, f"it is not TOML ({error})") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(full, "it is not UTF-8 text") from error
    except OSError as error:
        raise ConfigurationError(full, error.strerror or str(error)) from error


def validate_config(config: Mapping[str, Any]) -> None:
    """
    Refuse keys that attribute access could never reach.

    Raises:
        ValueError: for a key, at any depth, with the name of a dictionary method.
    """
    for key, value in config.items():
        if isinstance(key, str) and hasattr(dict, key):
            raise ValueError(f'Invalid config key: "{key}"')
        if isinstance(value, Mapping):
            validate_config(value)


def process_task_defaults(config: Config) -> Config:
    """
    Make `tasks.defaults` what `Task` takes: an int, a timedelta or None, a timeout in seconds or None.

    Raises:
        ValueError: if one of them is not a number.
    """
    defaults = config.setdefault("tasks", {}).setdefault("defaults", {})
    for key in ("max_retries", "retry_delay", "timeout"):
        value = defaults.get(key)
        if value is not None and not isinstance(value, int | float | timedelta):
            raise ValueError(f"The setting tasks.defaults.{key} must be false or a number, not {value!r}.")
    defaults.max_retries = defaults.get("max_retries") or 0
    delay = defaults.get("retry_delay") or None
    if isinstance(delay, int | float):
        delay = timedelta(seconds=delay)
    defaults.retry_delay = delay
    defaults.timeout = defaults.get("timeout") or None
    return config


def create_user_config(dest_path: str | os.PathLike[str], source_path: str = "DEFAULT") -> None:
    """
    Write a user configuration file to start from: a copy of `source_path`, or of the built-in settings.

    Raises:
        ValueError: if `dest_path` exists.
    """
    destination = os.path.expanduser(os.path.expandvars(os.fspath(dest_path)))
    with open(DEFAULTS_PATH if source_path == "DEFAULT" else source_path, encoding="utf-8") as source:
        text = source.read()
    os.makedirs(os.path.dirname(destination) or ".", exist_ok=True)
    try:
        with open(destination, "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ValueError(f"The file {destination!r} exists already; it is not overwritten.") from None


def to_environment_variables(
    config: Mapping[str, Any], include: Iterable[str] | None = None, prefix: str = ENV_PREFIX
) -> dict[str, str]:
    """
    Return settings as variables for another process: `PREFIX__SECTION__KEY` -> text.

    Args:
        include: dotted keys of the settings to take; None takes all. An unknown one raises ConfigKeyError.
    """
    flat = dict_to_flatdict(config)
    wanted = {".".join(map(str, path)): (path, value) for path, value in flat.items()}
    for key in include if include is not None else ():
        if key not in wanted:
            raise ConfigKeyError(f"There is no setting {key!r}.")
    chosen = wanted.values() if include is None else [wanted[key] for key in include]
    return {
        environment_name(path, prefix.upper()): str(value)
        for path, value in chosen
        if not isinstance(value, Mapping)
    }


def home_path() -> Path:
    """Return the home folder, which need not exist yet."""
    from pathlib import Path  # a large module, and most runs use paths as texts only

    return Path(config.home_dir)


def _setting_from_environment(name: str) -> str:
    for prefix in reversed(prefixes_of(ENV_PREFIX)):
        if value := os.environ.get(f"{prefix}__{name}"):
            return value
    return ""


def _home_from_environment() -> str:
    return str(interpolate_env_vars(_setting_from_environment("HOME_DIR") or "~/.tenuto"))


def _check_sections(settings: Mapping[str, Any], added: Mapping[str, Any], file: str, at: str = "") -> None:
    """Raise ConfigurationError if a file has one value where there is a section."""
    for key, value in added.items():
        known = settings.get(key)
        if isinstance(known, Mapping) and known:
            if not isinstance(value, Mapping):
                raise ConfigurationError(file, f"{at + key!r} is a section of settings, not a setting")
            _check_sections(known, value, file, f"{at}{key}.")


config: Config = load_default_config()
