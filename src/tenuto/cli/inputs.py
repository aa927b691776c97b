"""Values from the command line: `--param`, `--context` and `--param-file`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from typing import Any

import click

from tenuto.cli.errors import Foreseen
from tenuto.cli.texts import printable

__all__ = ["assignments", "parameter_file", "value_of"]


def assignments(texts: Iterable[str], option: str) -> dict[str, Any]:
    """
    Return the values of `NAME=VALUE` texts; of several for one name the last counts.

    Raises:
        click.BadParameter: for a text without a name or a `=`.
        Foreseen: for a value that was meant as JSON and is none.
    """
    values = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name.strip():
            raise click.BadParameter(
                f"{printable(text)!r} is not of the form NAME=VALUE.", param_hint=f"'{option}'"
            )
        values[name] = value_of(name, value, option)
    return values


def value_of(name: str, text: str, option: str) -> Any:
    """
    Read a value as JSON, else take it as text (R-CRUN-2).

    Raises:
        Foreseen: for what is no JSON and contains a double quote: such text was meant as JSON.
    """
    try:
        return json.loads(text)
    except RecursionError:
        reason = "it is nested too deeply"
    except ValueError as error:
        if '"' not in text:
            return text
        reason = str(error)
    raise Foreseen(
        f"The value of {option} {printable(name)} is not JSON:",
        f"    {printable(text)}",
        f"{reason}. Text that contains double quotes is given as a JSON string, "
        f"""in a shell for instance: {option} name='"say \\\\"hi\\\\""'""",
    )


def parameter_file(path: str) -> dict[str, Any]:
    """
    Return the object in a JSON or TOML file (by its ending), or JSON from stdin for `-`.

    Raises:
        Foreseen: when it cannot be read, or is not such an object.
    """
    if path == "-":
        return parsed_json(sys.stdin.read(), "stdin")
    full = os.path.abspath(os.path.expanduser(path))
    shown = repr(full)
    ending = os.path.splitext(full)[1].lower()
    if ending in (".yaml", ".yml"):
        raise Foreseen(
            f"Parameter file {shown} is YAML, which is not read here.", "Write it as JSON or TOML."
        )
    try:
        with open(full, encoding="utf-8-sig") as file:
            text = file.read()
    except FileNotFoundError:
        raise Foreseen(f"Parameter file does not exist: {shown}") from None
    except UnicodeDecodeError:
        raise Foreseen(f"Parameter file {shown} is not UTF-8 text.", "Save it as UTF-8.") from None
    except OSError as error:
        raise Foreseen(f"Parameter file cannot be read: {shown}: {error.strerror or error}") from error
    return parsed_toml(text, shown) if ending == ".toml" else parsed_json(text, shown)


def parsed_json(text: str, shown: str) -> dict[str, Any]:
    """Return a JSON object; Foreseen when it is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Foreseen(
            f"Parameter file {shown} is not JSON: {error}", 'It has to look like {"name": value}.'
        ) from error
    if not isinstance(value, dict):
        raise Foreseen(
            f"Parameter file {shown} does not hold a JSON object but {kind_of(value)}.",
            'It has to look like {"name": value}.',
        )
    return value


def parsed_toml(text: str, shown: str) -> dict[str, Any]:
    """Return a TOML document; Foreseen when it is none."""
    import tomllib

    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise Foreseen(
            f"Parameter file {shown} is not TOML: {error}", "It has to look like: name = value"
        ) from error


def kind_of(value: Any) -> str:
    """Name what a JSON value is."""
    kinds = {list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number"}
    return kinds.get(type(value), "null")
