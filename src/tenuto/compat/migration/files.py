"""The files of a migration: found, read, written."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tenuto._base.files import write_atomic
from tenuto.compat.migration.findings import Finding
from tenuto.compat.migration.sources import decode_source, encode_source, is_source, migrate_source

__all__ = ["FileMigration", "find_files", "read_migration", "unique"]

_SKIPPED = {"__pycache__", "node_modules", "site-packages"}


@dataclass(frozen=True, slots=True)
class FileMigration:
    """What a migration makes of one file."""

    path: Path
    before: str
    after: str
    encoding: str
    findings: tuple[Finding, ...]

    @property
    def changes(self) -> bool:
        return self.before != self.after

    def write(self) -> None:
        """
        Put the new text in the place of the old one, in one step; the file keeps its mode, a link stays one.

        Raises:
            OSError: when that cannot be done, or the file has been changed since it was read.
        """
        if self.path.read_bytes() != encode_source(self.path.name, self.before, self.encoding):
            raise OSError("it was changed after it had been read")
        target = os.path.realpath(self.path)
        data = encode_source(self.path.name, self.after, self.encoding)
        write_atomic(target, [data], private=False, fsync=True, mode=stat.S_IMODE(os.stat(target).st_mode))


def find_files(path: Path, unreadable: Callable[[OSError], None]) -> Iterator[Path]:
    """
    Yield a file, or those below a folder that can be migrated, in the order of their names.

    Left out are hidden folders, virtual environments, packages of others and, so that nothing is met twice,
    symbolic links.

    Args:
        path: a file is yielded whatever it is called.
        unreadable: told of each folder that cannot be read.
    """
    if not path.is_dir():
        yield path
        return
    for folder, folders, names in os.walk(path, onerror=unreadable):
        folders[:] = sorted(name for name in folders if _is_looked_into(Path(folder, name)))
        for name in sorted(names):
            file = Path(folder, name)
            if is_source(name) and file.is_file() and not file.is_symlink():
                yield file


def read_migration(path: Path) -> FileMigration:
    """
    Read a file and migrate its text.

    Raises:
        OSError: when it cannot be read.
        ImportError: for Python source, when libcst is not installed.
    """
    decoded = decode_source(path.name, path.read_bytes())
    if isinstance(decoded, Finding):
        return FileMigration(path, "", "", "utf-8", (decoded,))
    text, encoding = decoded
    migrated = migrate_source(path.name, text)
    return FileMigration(path, text, migrated.text, encoding, migrated.findings)


def unique(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield each file once, whatever names it was given by."""
    met = set()
    for path in paths:
        if (real := os.path.realpath(path)) not in met:
            met.add(real)
            yield path


def _is_looked_into(folder: Path) -> bool:
    return not (
        folder.name.startswith(".")
        or folder.name in _SKIPPED
        or folder.is_symlink()
        or (folder / "pyvenv.cfg").exists()
    )
