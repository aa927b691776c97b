"""Which files are migrated, and as what: by their names."""

from __future__ import annotations

import io
import tokenize
from collections.abc import Callable
from functools import partial
from pathlib import PurePath

from tenuto.compat.migration.findings import Finding, Migrated
from tenuto.compat.migration.text_files import migrate_lines, search_notebook

__all__ = ["decode_source", "encode_source", "is_source", "migrate_source"]

_SHELL = {".sh", ".bash", ".zsh"}
_LINES = {".cfg", ".dockerfile", ".env", ".ini", ".toml", ".yaml", ".yml"}
_NAMES = {".env", ".envrc", ".prefect", "Dockerfile", "Makefile"}


def is_source(name: str) -> bool:
    """Say whether files of a name are looked through."""
    return _migration_of(name) is not None


def migrate_source(name: str, text: str) -> Migrated:
    """
    Return the text of a file as Tenuto reads it, and what cannot be carried over.

    Args:
        name: of the file, which says what it holds. The text of an unknown kind comes back as it is.

    Raises:
        ImportError: for Python source, when libcst is not installed.
    """
    migration = _migration_of(name)
    return migration(text) if migration is not None else Migrated(text)


def decode_source(name: str, data: bytes) -> tuple[str, str] | Finding:
    """Return the text of a file and its encoding; a finding when it cannot be read and written unchanged."""
    try:
        encoding = "utf-8"
        if name.endswith(".py"):
            encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        text = data.decode(encoding, _errors(name))
        if encode_source(name, text, encoding) == data:
            return text, encoding
    except (SyntaxError, LookupError, UnicodeError):
        pass  # told below, as is a text that would be written otherwise
    return Finding(1, "the file cannot be read in the encoding that it declares", "Correct its first line.")


def encode_source(name: str, text: str, encoding: str) -> bytes:
    """Return the bytes of a text that `decode_source` gave."""
    return text.encode(encoding, _errors(name))


def _errors(name: str) -> str:
    # Whatever else configuration files hold passes through.
    return "strict" if name.endswith(".py") else "surrogateescape"


def _migration_of(name: str) -> Callable[[str], Migrated] | None:
    suffix = PurePath(name).suffix.lower()
    if suffix == ".py":
        return _migrate_python
    if suffix == ".ipynb":
        return search_notebook
    if suffix in _SHELL or name == ".envrc":
        return partial(migrate_lines, is_shell=True)
    if suffix in _LINES or name in _NAMES or name.startswith((".env.", "Dockerfile.", "requirements")):
        return partial(migrate_lines, is_shell=False)
    return None


def _migrate_python(text: str) -> Migrated:
    try:
        from tenuto.compat.migration.python_source import migrate_python
    except ImportError as error:
        raise ImportError(
            f"Python files are rewritten by libcst, which cannot be imported ({error}). "
            "Install it with: pip install 'tenuto[migrate]'"
        ) from error
    return migrate_python(text)
