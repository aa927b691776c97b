"""
Where the kept results of one run lie: in the run's own folder, or under `flows.results_location`.

The latter is a folder or a bucket that several machines reach. Each run has a folder, or a prefix, of its own
there, `LOCATION/RUN/NAME`; references name what is in it by its URL.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Collection
from pathlib import Path
from typing import Protocol

from tenuto._base.checksums import Checksum
from tenuto._base.files import ensure_private_dir, is_storage_fault, write_atomic
from tenuto.journal.kept import FileSink, Sink, Wrong, read_segments

__all__ = ["KEPT_FOLDER", "Place", "find", "full_location", "own_place", "place_at", "shown"]

KEPT_FOLDER = "kept"

_FILE = "file://"


class Place(Protocol):
    """
    Where the kept results of one run lie, by name. All methods raise OSError for what goes wrong.

    Attributes:
        url: of the place; empty for a run's own folder.
    """

    url: str

    def location_of(self, name: str) -> str:
        """Return how references of the run name what lies here."""

    def prepare(self, *, make: bool) -> None:
        """Get ready for writing; without `make`, the place must be there."""

    def free_percent(self) -> float:
        """Return how much room is left."""

    def sink(self, name: str, cap: int, *, durable: bool) -> Sink:
        """Return what takes the bytes of a value: at most `cap`; complete when its block has ended."""

    def segments(self, name: str, written: Checksum) -> list[bytearray]:
        """Return the verified bytes of a value; raises as `kept.read_segments` does."""

    def write(self, name: str, data: bytes) -> None:
        """Store something small, complete or not at all."""

    def read(self, name: str) -> bytes:
        """Return the bytes of that name."""

    def take(self, name: str, source: Place, source_name: str, length: int) -> None:
        """Let this place have what another one has: without a second copy where that is possible."""

    def names(self) -> list[str]:
        """Return all names."""

    def remove(self, names: Collection[str]) -> None:
        """Remove what has these names; what is gone already is no fault."""

    def clear(self, but: Collection[str]) -> bool:
        """Remove all but some names; say whether nothing is left."""


def own_place(run_folder: Path) -> Place:
    """Return the place in a run's own folder."""
    return _Folder(run_folder / KEPT_FOLDER, "")


def place_at(url: str) -> Place:
    """Return the place of a run under a location, `LOCATION/RUN`."""
    if url.startswith(_FILE):
        return _Folder(_path_of(url), url)
    from tenuto.journal.bucket_place import BucketPlace  # Most runs keep their results at home.

    return BucketPlace(url)


def find(location: str, run_folder: Path) -> tuple[Place, str]:
    """
    Return where a kept result lies, and its name there.

    Args:
        location: as in its reference.
        run_folder: of the run that kept it.

    Raises:
        Wrong: when the location, which was read from a journal, is neither a file name nor a URL.
    """
    if _is_file_name(location):
        return own_place(run_folder), location
    url, _, name = location.rpartition("/")
    if not _is_url(url) or not _is_file_name(name) or ".." in url.split("/"):
        raise Wrong("its name is not that of a kept file")
    return place_at(url), name


def full_location(text: str) -> str:
    """
    Return a location that a user gives, a folder or a URL, as a URL.

    Raises:
        ValueError: for a URL of an unknown scheme, or one that holds a password.
    """
    if not text:
        return ""
    if "://" not in text:
        return Path(os.path.abspath(os.path.expanduser(text))).as_uri()
    from tenuto._base.object_store import check_url

    check_url(text)
    if text.startswith("memory:"):
        raise ValueError("What is kept in memory is gone with its process.")
    return text.rstrip("/")


def shown(location: str) -> str:
    """Return a location for people: folders as paths."""
    return str(_path_of(location)) if location.startswith(_FILE) else location


def _path_of(url: str) -> Path:
    from urllib.parse import unquote

    path = unquote(url.removeprefix(_FILE), errors="surrogateescape")
    return Path(path[1:] if os.name == "nt" else path)


def _is_url(url: str) -> bool:
    if "://" not in url:
        return False
    from tenuto._base.object_store import check_url

    try:
        check_url(url)
    except ValueError:
        return False
    return True


def _is_file_name(name: str) -> bool:
    """Say whether a location from a journal is a plain file name: none may lead out of the folder."""
    return bool(name) and name not in (".", "..") and not any(character in name for character in "/\\\0:")


class _Folder:
    """Files: private ones in a run's own folder; in a folder with a URL, as the umask says."""

    def __init__(self, path: Path, url: str) -> None:
        self.path = path
        self.url = url

    def location_of(self, name: str) -> str:
        return f"{self.url}/{name}" if self.url else name

    def prepare(self, *, make: bool) -> None:
        if not self.url:
            ensure_private_dir(self.path)
        elif make:
            self.path.mkdir(parents=True, exist_ok=True)
        else:
            # A folder that another machine has made and that is not here is not shared.
            os.stat(self.path)

    def free_percent(self) -> float:
        usage = shutil.disk_usage(self.path)
        return 100 * usage.free / usage.total

    def sink(self, name: str, cap: int, *, durable: bool) -> Sink:
        return FileSink(self.path / name, cap, durable=durable, shared=bool(self.url))

    def segments(self, name: str, written: Checksum) -> list[bytearray]:
        return read_segments(self.path / name, written)

    def write(self, name: str, data: bytes) -> None:
        write_atomic(self.path / name, [data], private=not self.url, fsync=False)

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def take(self, name: str, source: Place, source_name: str, length: int) -> None:
        if not isinstance(source, _Folder):
            self.write(name, source.read(source_name))
            return
        path = source.path / source_name
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode) or status.st_size != length:
            raise FileNotFoundError(f"{path} is not what was kept there")
        _link_or_copy(path, self.path / name, private=not self.url)

    def names(self) -> list[str]:
        try:
            return os.listdir(self.path)
        except FileNotFoundError:
            return []

    def remove(self, names: Collection[str]) -> None:
        for name in names:
            (self.path / name).unlink(missing_ok=True)

    def clear(self, but: Collection[str]) -> bool:
        self.remove([name for name in self.names() if name not in but])
        try:
            os.rmdir(self.path)
        except FileNotFoundError:
            pass
        except OSError:
            return False  # What was excepted is left.
        return True


def _link_or_copy(source: Path, target: Path, *, private: bool) -> None:
    """
    Give a file a second name, or copy it where that is not possible.

    The target may exist from an attempt before. Linked files are never written to, so it is unlinked first.
    """
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError as error:
        if is_storage_fault(error):
            raise
        try:
            shutil.copyfile(source, target)
            if private:
                os.chmod(target, 0o600)
        except OSError:
            target.unlink(missing_ok=True)
            raise
