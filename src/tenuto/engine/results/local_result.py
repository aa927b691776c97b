"""Results in files of this machine."""

from __future__ import annotations

import logging
import ntpath
import os
import re
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from tenuto._base.checksums import Checksum, checksum_of
from tenuto._base.context import context
from tenuto._base.files import read_sidecar, write_with_sidecar
from tenuto._base.importtools import import_path
from tenuto._base.logging import get_logger
from tenuto._base.templates import fill
from tenuto.configuration import config, home_path
from tenuto.engine.result.base import Result
from tenuto.exceptions import ResultCorrupt
from tenuto.serialization.state import register_result

__all__ = ["LocalResult"]

_FILE_PREFIX = "tenuto-result-"
_READS_MAX = 5
_INVALID_ON_WINDOWS = re.compile(r'[<>:"|?*]')


class LocalResult(Result):
    """
    Keeps values in files below a folder.

    Args:
        dir: the folder, made when something is written to it; `HOME_DIR/results` when None. A relative one is
            taken from the working directory at the time of this call.
        validate_dir: False keeps `dir` as it is given, without making it absolute.
        **kwargs: those of `Result`. Without a location, file names are made from the time.

    A file holds the serializer's bytes and nothing else. It appears complete or not at all, and a sidecar
    `.NAME.meta.json` beside it says its length and SHA-256; files placed by hand need none.
    """

    dir: str
    validate_dir: bool

    def __init__(
        self, dir: str | os.PathLike[str] | None = None, validate_dir: bool = True, **kwargs: Any
    ) -> None:
        if dir is None:
            folder = str(home_path() / "results")
        else:
            folder = os.fspath(dir)
            if validate_dir:
                folder = os.path.abspath(os.path.expanduser(folder))
        self.dir = folder
        self.validate_dir = validate_dir
        super().__init__(**kwargs)

    @property
    def default_location(self) -> str:
        """A new file name from the time: `tenuto-result-2021-11-06t15-37-29-605869-00-00` in the folder."""
        stamp = _unused_time().isoformat(timespec="microseconds").lower()
        return os.path.join(self.dir, _FILE_PREFIX + re.sub(r"[^a-z0-9]+", "-", stamp))

    def absolute_location(self, location: str) -> str:
        """
        Return the absolute path of a location: below the folder, unless it is absolute itself.

        Raises:
            ValueError: if a relative location leads out of the folder, or is the folder.
        """
        if not os.path.isabs(location):
            normal = os.path.normpath(location)
            if normal == os.pardir or normal.startswith(os.pardir + os.sep):
                raise ValueError(
                    f"The location {location!r} leads out of the folder {self.dir!r}. Give another folder "
                    "as `dir`, or an absolute location."
                )
            if normal == os.curdir:
                raise ValueError(
                    f"The location {location!r} is the folder {self.dir!r} itself and names no file in it."
                )
        return os.path.abspath(os.path.join(self.dir, location))

    def exists(self, location: str, **kwargs: Any) -> bool:
        """
        Say whether there is a file at the location (a template, when `kwargs` are given).

        A file whose length is not that of its sidecar is not what was written, and counts as absent.
        """
        path = self.absolute_location(fill(location, kwargs, as_path=True) if kwargs else location)
        if not os.path.exists(path):
            return False
        problem = ""
        for _ in range(_READS_MAX):  # a writer between the two looks gives a wrong answer once
            try:
                sidecar = read_sidecar(path)
                length = os.path.getsize(path)
            except (OSError, ValueError) as error:
                problem = str(error)
                continue
            if sidecar is None:
                return True
            written = _written(sidecar)
            damage = written.damage(written._replace(length=length))
            if damage is None:
                return True
            problem = damage
        self.logger.warning("The file %s is not used: %s.", path, problem)
        return False

    def read(self, location: str) -> Self:
        """
        Return a copy with the value in the file at the location.

        Raises:
            FileNotFoundError: if there is no file.
            ResultCorrupt: if the file is not what its sidecar says was written.
        """
        data, checksum = self._read_verified(self.absolute_location(location))
        new = self.copy()
        new.value = self.serializer.deserialize(data)
        new.location = location
        new._written = checksum
        return new

    def write(self, /, value_: Any, **kwargs: Any) -> Self:
        """
        Store a value in a file; return a copy with it and the file's absolute path.

        The file is named by the location, filled with `kwargs`.

        Raises:
            OSError: if the file cannot be written; what was there is unchanged.
        """
        new = self.format(**kwargs)
        path = self.absolute_location(new.location or "")
        if os.name == "nt":
            _check_windows_name(path)
        private = _is_below(path, str(home_path()))
        # Files that a user names are always forced to the disk. A default location is known to the journal
        # alone, which holds its checksum: under relaxed durability a torn one is recognised and made again.
        named = self._formatter is not None or self.location is not None
        new._written = write_with_sidecar(
            path,
            [self.serializer.serialize(value_)],
            self._facts(),
            private=private,
            fsync=named or config.journal.durability == "full",
        )
        new.value = value_
        new.location = path
        return new

    @property
    def logger(self) -> logging.Logger:
        """The logger of results of this class."""
        return get_logger(type(self).__name__)

    def _facts(self) -> dict[str, Any]:
        values = context.current()
        return {
            "serializer": import_path(type(self.serializer)),
            "run": values.get("flow_run_id"),
            "task": values.get("task_slug"),
            "index": values.get("map_index"),
            "epoch": values.get("flow_run_epoch", 1),
        }

    def _read_verified(self, path: str) -> tuple[bytes, Checksum]:
        """Return a file's bytes and checksum; a writer between two reads looks like damage: read again."""
        problem = ""
        for _ in range(_READS_MAX):
            try:
                sidecar = read_sidecar(path)
            except ValueError as error:
                problem = str(error)
                continue
            with open(path, "rb") as file:
                data = file.read()
            # Of a file placed by hand, too: what is downstream goes by it.
            found = checksum_of(data)
            damage = _written(sidecar).damage(found) if sidecar is not None else None
            if damage is None:
                return data, found
            problem = damage
        raise ResultCorrupt(path, problem)


def _written(sidecar: Mapping[str, Any]) -> Checksum:
    return Checksum(sidecar["sha256"], sidecar["length"])


_time_lock = threading.Lock()
_last_time = datetime.min.replace(tzinfo=UTC)


def _unused_time() -> datetime:
    """Return the time, a microsecond later than the last answer if need be: it becomes a file's name."""
    global _last_time
    with _time_lock:
        _last_time = max(datetime.now(UTC), _last_time + timedelta(microseconds=1))
        return _last_time


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(os.path.join(os.path.abspath(folder), ""))


def _check_windows_name(path: str) -> None:
    invalid = _INVALID_ON_WINDOWS.search(ntpath.splitdrive(path)[1])
    if invalid:
        raise ValueError(
            f"Windows does not allow {invalid[0]!r} in a file name, and the location {path!r} has it. "
            "Change its template, for example to {date:%H-%M} instead of {date:%H:%M}."
        )


register_result(LocalResult, lambda described: LocalResult(location=described.get("location")))
