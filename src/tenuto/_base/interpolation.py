"""What texts in settings mean: types, environment variables, references to other settings."""

import os
import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, cast

from tenuto._base.collections import CompoundKey, dict_to_flatdict, flatdict_to_dict
from tenuto._base.config import Config

__all__ = [
    "ENV_PREFIX",
    "environment_name",
    "interpolate_config",
    "interpolate_env_vars",
    "prefixes_of",
    "string_to_type",
]

T = TypeVar("T")

ENV_PREFIX = "TENUTO"
# Read below our own prefix, so that what was set up for flows of the older API still counts.
COMPATIBLE_ENV_PREFIX = "PREFECT"

_DEPTH_MAX = 10
_REFERENCE = re.compile(r"\$\{([^{}]*)\}")
# A text can only be a Python literal if it begins like one; everything else need not be parsed.
_LITERAL_START = re.compile(r"""[ \t]*(?:[0-9+\-.(\[{'"]|[bBuUrR]{1,2}['"]|None\b)""")


def interpolate_config(config: Mapping[str, Any], env_var_prefix: str | None = None) -> Config:
    """Return `config` with the environment on top, texts typed, and `${section.key}` replaced."""
    typed = {path: _typed(value) for path, value in dict_to_flatdict(config).items()}
    for prefix in prefixes_of(env_var_prefix):
        for path, text in _environment(prefix):
            _put(typed, path, _typed(text))
    for _ in range(_DEPTH_MAX):
        referring = {path: value for path, value in typed.items() if _refers(value)}
        if not referring:
            break
        typed.update({path: _replaced(value, typed) for path, value in referring.items()})
    return flatdict_to_dict(typed, dct_class=Config)


def interpolate_env_vars(env_var: T) -> T:
    """Return a text with `$VAR`, `${VAR}` and a leading `~` expanded, repeatedly; other values unchanged."""
    if not isinstance(env_var, str):
        return env_var
    text: str = env_var
    for _ in range(_DEPTH_MAX):
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


def prefixes_of(env_var_prefix: str | None) -> tuple[str, ...]:
    """Return the prefixes of variables that count, later ones winning: below ours, the compatible one."""
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


def environment_name(path: CompoundKey, prefix: str) -> str:
    """Return the variable that sets a key: `PREFIX__SECTION__KEY`."""
    if path[:2] == ("context", "secrets"):
        return "__".join([prefix, "CONTEXT", "SECRETS", *path[2:]])
    return "__".join([prefix, *(str(part).upper() for part in path)])


def _put(flat: dict[CompoundKey, Any], path: CompoundKey, value: Any) -> None:
    """Set one value from the environment; a literal of a dictionary adds its items one by one."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            _put(flat, CompoundKey((*path, key)), item)
        return
    if any(len(other) > len(path) and other[: len(path)] == path for other in flat):
        # Replacing a whole section by one value would only make Tenuto fail later, far from the cause.
        warnings.warn(
            f"{environment_name(path, '…')} is ignored: it names a section of settings, not a setting.",
            stacklevel=2,
        )
        return
    for length in range(1, len(path)):
        flat.pop(CompoundKey(path[:length]), None)
    flat[path] = value


def _typed(value: Any) -> Any:
    return string_to_type(interpolate_env_vars(value)) if isinstance(value, str) else value


def _refers(value: Any) -> bool:
    return isinstance(value, str) and _REFERENCE.search(value) is not None


def _replaced(value: str, settings: Mapping[CompoundKey, Any]) -> Any:
    """Replace each `${section.key}` once: by the typed value if it is the whole text, else by its text."""

    def found(match: re.Match[str]) -> Any:
        return settings.get(CompoundKey(match[1].split(".")), "")

    whole = _REFERENCE.fullmatch(value)
    return found(whole) if whole else _REFERENCE.sub(lambda match: str(found(match)), value)
