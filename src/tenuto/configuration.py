"""
Settings: built-in defaults, then the user's file, the backend file, the project's file and the environment.

`config` is read once, when this module is imported. The server does not use it (it has settings of its own); user
code reads and may assign it.
"""

import os
import re
import warnings
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

from tenuto._base.collections import CompoundKey, DotDict, dict_to_flatdict, flatdict_to_dict, merge_dicts
from tenuto.exceptions import ConfigurationError

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

T = TypeVar("T")

DEFAULTS_PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "defaults.toml")
PROJECT_FILE = "tenuto.toml"
ENV_PREFIX = "TENUTO"
# Read below our own prefix, so that what was set up for flows of the older API still counts.
COMPATIBLE_ENV_PREFIX = "PREFECT"
MASK = "****"

_INTERPOLATION_DEPTH_MAX = 10
_INTERPOLATION = re.compile(r"\$\{([^{}]*)\}")
_SECRET_KEY = re.compile(r"(key|token|password|secret)$", re.IGNORECASE)
# A text can only be a Python literal if it begins like one; everything else need not be parsed.
_LITERAL_START = re.compile(r"""[ \t]*(?:[0-9+\-.(\[{'"]|[bBuUrR]{1,2}['"]|None\b)""")


class ConfigKeyError(AttributeError, KeyError):
    """A setting that does not exist; caught as AttributeError and as KeyError."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class Config(DotDict):
    """
    Nested settings with attribute access. Mappings put into it become `Config`s too; `update` merges them.

    Values of secrets are not shown when it is printed.

    Raises:
        ConfigKeyError: for a key that does not exist.
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise ConfigKeyError(f"{type(self).__name__!r} object has no attribute {name!r}") from None

    def __missing__(self, key: str) -> Any:
        raise ConfigKeyError(f"There is no setting {key!r} here.")

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, self._converted(key, value))

    def setdefault(self, key: str, default: Any = None) -> Any:
        if key not in self:
            self[key] = default
        return self[key]

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set keys; where both old and new value are mappings, merge them."""
        for key, value in dict(*args, **kwargs).items():
            old = self.get(key)
            if isinstance(old, Config) and isinstance(value, Mapping):
                old.update(value)
            else:
                self[key] = value

    def copy(self) -> "Config":
        return type(self)(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {_masked(self)}>"

    def _converted(self, key: str, value: Any) -> Any:
        kind = _SecretConfig if key == "secrets" or isinstance(self, _SecretConfig) else Config
        if isinstance(value, Mapping) and not isinstance(value, kind):
            return kind(value)
        return value


class _SecretConfig(Config):
    """Settings of which no value is ever shown."""


def _masked(settings: Config) -> dict[str, Any]:
    hide = isinstance(settings, _SecretConfig)
    shown: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Config):
            shown[key] = _masked(value)
        elif hide or (value and _SECRET_KEY.search(key)):
            shown[key] = MASK
        else:
            shown[key] = value
    return shown


# ---------------------------------------------------------------------------------------------------- loading


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
        env_var_prefix: variables `PREFIX__SECTION__KEY` win over every file. With the package's own prefix those
            of the compatible one are read too, below them.

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


def interpolate_config(settings: Mapping[str, Any], env_var_prefix: str | None = None) -> Config:
    """Return `settings` with the environment on top, texts typed, and `${section.key}` replaced."""
    typed = {path: _typed(value) for path, value in dict_to_flatdict(settings).items()}
    for prefix in _prefixes(env_var_prefix):
        for path, text in _environment(prefix):
            _put(typed, path, _typed(text))
    for _ in range(_INTERPOLATION_DEPTH_MAX):
        referring = {path: value for path, value in typed.items() if _refers(value)}
        if not referring:
            break
        typed.update({path: _replaced(value, typed) for path, value in referring.items()})
    return flatdict_to_dict(typed, dct_class=Config)


def interpolate_env_vars(env_var: T) -> T:
    """Return a text with `$VAR`, `${VAR}` and a leading `~` expanded, repeatedly; other values as they are."""
    if not isinstance(env_var, str):
        return env_var
    text: str = env_var
    for _ in range(_INTERPOLATION_DEPTH_MAX):
        expanded = os.path.expanduser(os.path.expandvars(text))
        if expanded == text:
            break
        text = expanded
    return cast(T, text)


def string_to_type(val: str) -> Any:
    """Return what a text means: `true`/`false` in any case, a Python literal if it is one, else the text."""
    lower = val.strip().lower()
    if lower in ("true", "false"):
        return lower == "true"
    if not _LITERAL_START.match(val):
        return val
    import ast

    try:
        with warnings.catch_warnings():
            # "1if" and unknown escapes make the parser warn about a text that is simply not a literal.
            warnings.simplefilter("ignore")
            value = ast.literal_eval(val)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return val
    return val if value is ... else value


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
        if value is not None and not isinstance(value, (int, float, timedelta)):
            raise ValueError(f"The setting tasks.defaults.{key} must be false or a number, not {value!r}.")
    defaults.max_retries = defaults.get("max_retries") or 0
    delay = defaults.get("retry_delay") or None
    if isinstance(delay, (int, float)):
        delay = timedelta(seconds=delay)
    defaults.retry_delay = delay
    defaults.timeout = defaults.get("timeout") or None
    return config


def create_user_config(dest_path: str | os.PathLike[str], source_path: str = "DEFAULT") -> None:
    """
    Write a user configuration file to start from: a copy of `source_path`, by default of the built-in settings.

    Raises:
        ValueError: if `dest_path` exists.
    """
    destination = Path(os.path.expanduser(os.path.expandvars(os.fspath(dest_path))))
    text = Path(DEFAULTS_PATH if source_path == "DEFAULT" else source_path).read_text(encoding="utf-8")
    destination.parent.mkdir(parents=True, exist_ok=True)
    try:
        with destination.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ValueError(f"The file {str(destination)!r} exists already; it is not overwritten.") from None


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
        "__".join([prefix.upper(), *_environment_parts(path)]): str(value)
        for path, value in chosen
        if not isinstance(value, Mapping)
    }


def home_path() -> Path:
    """Return the home folder, which need not exist yet."""
    return Path(config.home_dir)


# -------------------------------------------------------------------------------------------------- environment


def _prefixes(env_var_prefix: str | None) -> tuple[str, ...]:
    if env_var_prefix is None:
        return ()
    if env_var_prefix == ENV_PREFIX:
        return (COMPATIBLE_ENV_PREFIX, ENV_PREFIX)
    return (env_var_prefix,)


def _environment(prefix: str) -> Iterable[tuple[CompoundKey, str]]:
    """Yield path and text of each variable of the prefix, sorted so that a deeper one follows a shallower."""
    start = prefix + "__"
    for name in sorted(os.environ):
        if name.startswith(start) and len(name) > len(start):
            parts = name[len(start) :].split("__")
            if [part.upper() for part in parts[:2]] == ["CONTEXT", "SECRETS"] and len(parts) > 2:
                # A secret's name is one key as it stands: names are case-sensitive.
                yield CompoundKey(("context", "secrets", "__".join(parts[2:]))), os.environ[name]
            else:
                yield CompoundKey(part.lower() for part in parts), os.environ[name]


def _environment_parts(path: CompoundKey) -> list[str]:
    if path[:2] == ("context", "secrets"):
        return ["CONTEXT", "SECRETS", *path[2:]]
    return [str(part).upper() for part in path]


def _setting_from_environment(name: str) -> str:
    for prefix in (ENV_PREFIX, COMPATIBLE_ENV_PREFIX):
        if value := os.environ.get(f"{prefix}__{name}"):
            return value
    return ""


def _home_from_environment() -> str:
    return str(interpolate_env_vars(_setting_from_environment("HOME_DIR") or "~/.tenuto"))


def _put(flat: dict[CompoundKey, Any], path: CompoundKey, value: Any) -> None:
    """Set one value from the environment; a literal of a dictionary adds its items one by one."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            _put(flat, CompoundKey((*path, key)), item)
        return
    if any(len(other) > len(path) and other[: len(path)] == path for other in flat):
        # Replacing a whole section by one value would only make Tenuto fail later, far from the cause.
        name = "__".join(_environment_parts(path))
        warnings.warn(f"…__{name} is ignored: it names a section of settings, not a setting.", stacklevel=2)
        return
    for length in range(1, len(path)):
        flat.pop(CompoundKey(path[:length]), None)
    flat[path] = value


def _check_sections(settings: Mapping[str, Any], added: Mapping[str, Any], file: str, at: str = "") -> None:
    """Raise ConfigurationError if a file has one value where there is a section."""
    for key, value in added.items():
        known = settings.get(key)
        if isinstance(known, Mapping) and known:
            if not isinstance(value, Mapping):
                raise ConfigurationError(file, f"{at + key!r} is a section of settings, not a setting")
            _check_sections(known, value, file, f"{at}{key}.")


# ------------------------------------------------------------------------------------------------ interpolation


def _typed(value: Any) -> Any:
    return string_to_type(interpolate_env_vars(value)) if isinstance(value, str) else value


def _refers(value: Any) -> bool:
    return isinstance(value, str) and _INTERPOLATION.search(value) is not None


def _replaced(value: str, settings: Mapping[CompoundKey, Any]) -> Any:
    """Replace each `${section.key}` once: by the typed value if it is the whole text, else by its text."""

    def found(match: re.Match[str]) -> Any:
        return settings.get(CompoundKey(match[1].split(".")), "")

    whole = _INTERPOLATION.fullmatch(value)
    return found(whole) if whole else _INTERPOLATION.sub(lambda match: str(found(match)), value)


config: Config = load_default_config()
