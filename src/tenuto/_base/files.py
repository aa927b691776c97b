"""
Files that are there whole or not at all.

A file is written beside its place under a temporary name, forced to the disk, checked for its length and
moved into place in one step: a process killed at any moment leaves the old file or the new one, never a part.
A sidecar `.NAME.meta.json` beside it says what was written, so that a reader can tell a complete file from a
damaged one.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tenuto._base.context import context

__all__ = [
    "TEMPORARY_PREFIX",
    "ensure_private_dir",
    "is_storage_fault",
    "read_sidecar",
    "remove_sidecar",
    "sidecar_path",
    "temporary_name",
    "told",
    "write_atomic",
    "write_with_sidecar",
]

TEMPORARY_PREFIX = ".tmp-"
_NAME_BYTES_MAX = 255
_STORAGE_FAULTS = frozenset({errno.ENOSPC, errno.EIO, getattr(errno, "EDQUOT", errno.ENOSPC)})
# Absent on Windows, where a folder cannot be opened; there `os.replace` alone has to do.
_O_DIRECTORY = getattr(os, "O_DIRECTORY", 0)
_O_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_O_BINARY = getattr(os, "O_BINARY", 0)

Chunk = bytes | bytearray | memoryview


def ensure_private_dir(path: Path | str, *, fsync: bool = False) -> None:
    """
    Make a folder, and its missing parents, for this user only (0700), whatever the umask.

    A folder that is there keeps its mode. With `fsync`, the names of new ones are on the disk afterwards.

    Raises:
        OSError: if that cannot be done, or something that is no folder has the name.
    """
    _make_folders(os.fspath(path), private=True, fsync=fsync)


def write_atomic(
    path: Path | str, chunks: Iterable[Chunk], *, private: bool, fsync: bool, mode: int | None = None
) -> tuple[str, int]:
    """
    Put the chunks, one after the other, into a file that appears at once and complete.

    Args:
        path: of the file; missing folders are made. A file that is there is replaced.
        chunks: the content.
        private: folders 0700 and file 0600; otherwise the umask decides. The last folder must not be a
            symbolic link then.
        fsync: return only when the content and the name are on the disk.
        mode: of the file, whatever the umask; nobody else can read it even before. None: as `private` says.

    Returns:
        Hex SHA-256 and length in bytes of what was written.

    Raises:
        OSError: whatever stood in the way; nothing is left behind and a file that was there is unchanged.
    """
    written, _ = _write(os.fspath(path), chunks, private=private, fsync=fsync, mode=mode)
    return written


def write_with_sidecar(
    path: Path | str, chunks: Iterable[Chunk], facts: Mapping[str, Any], *, private: bool, fsync: bool
) -> tuple[str, int]:
    """
    Write a file as `write_atomic` does, and beside it a sidecar with `facts`, the length and the SHA-256.

    A file whose name is too long to get a sidecar is written without one.

    Raises:
        OSError: as `write_atomic`. If only the sidecar failed, the file is there, complete and without one.
    """
    name = os.fspath(path)
    sidecar = sidecar_path(name)
    written, inode = _write(name, chunks, private=private, fsync=fsync, before_replacing=remove_sidecar)
    if len(os.path.basename(sidecar).encode(errors="surrogateescape")) > _NAME_BYTES_MAX:
        return written
    sha256, length = written
    text = json.dumps({**facts, "length": length, "sha256": sha256}).encode()
    _write(sidecar, [text], private=private, fsync=fsync)
    # Another process may have replaced the file meanwhile. Then this sidecar speaks of a file that is gone,
    # and would have the newer one taken for damaged.
    if os.stat(name).st_ino != inode:
        remove_sidecar(name)
    return written


def sidecar_path(path: Path | str) -> str:
    """Return the path of a file's sidecar: `.NAME.meta.json` in the same folder."""
    folder, name = os.path.split(os.fspath(path))
    return os.path.join(folder, f".{name}.meta.json")


def read_sidecar(path: Path | str) -> dict[str, Any] | None:
    """
    Return what a file's sidecar says, or None when there is none.

    Raises:
        ValueError: if there is one that is not a sidecar's JSON.
    """
    try:
        data = Path(sidecar_path(path)).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return None
        raise
    try:
        facts = json.loads(data)
    except ValueError as error:
        raise ValueError(f"its sidecar is no JSON ({error})") from None
    if not (
        isinstance(facts, dict)
        and isinstance(facts.get("length"), int)
        and isinstance(facts.get("sha256"), str)
    ):
        raise ValueError("its sidecar names no length and SHA-256")
    return facts


def remove_sidecar(path: Path | str) -> None:
    """Remove a file's sidecar, if there is one: the file is about to be replaced."""
    try:
        os.unlink(sidecar_path(path))
    except FileNotFoundError:
        pass  # usual: most files are written once
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise


def is_storage_fault(error: BaseException | None) -> bool:
    """Say whether an error means that the disk is full, over quota or broken."""
    return isinstance(error, OSError) and error.errno in _STORAGE_FAULTS


def told(error: OSError) -> str:
    """Return what an error of the disk says, without the path."""
    return error.strerror or str(error)


def _write(
    path: str,
    chunks: Iterable[Chunk],
    *,
    private: bool,
    fsync: bool,
    mode: int | None = None,
    before_replacing: Any = None,
) -> tuple[tuple[str, int], int]:
    """Write a file; return its checksum and inode. `before_replacing(path)` is called when all is ready."""
    folder = os.path.dirname(path) or "."
    _make_folders(folder, private, fsync)
    folder_fd = _open_folder(folder, private) if fsync or private else None
    temporary = os.path.join(folder, temporary_name())
    try:
        at_first = 0o600 if private or mode is not None else 0o666
        checksum, inode = _write_temporary(temporary, chunks, at_first, fsync)
        if mode is not None:
            os.chmod(temporary, mode)
        if before_replacing is not None:
            before_replacing(path)
        os.replace(temporary, path)
        if fsync and folder_fd is not None:
            os.fsync(folder_fd)
        return checksum, inode
    except BaseException as error:
        # Also for an interrupt: whatever ends the writing must not leave half a file. After the move there
        # is nothing under that name.
        _remove_quietly(temporary)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = path  # A full disk does not say which.
        raise
    finally:
        if folder_fd is not None:
            os.close(folder_fd)


def _write_temporary(
    path: str, chunks: Iterable[Chunk], mode: int, fsync: bool
) -> tuple[tuple[str, int], int]:
    digest = hashlib.sha256()
    length = 0
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _O_NOFOLLOW | _O_BINARY, mode)
    try:
        for chunk in chunks:
            view = memoryview(chunk).cast("B")
            digest.update(view)
            length += len(view)
            while view:
                view = view[os.write(fd, view) :]
        if fsync:
            os.fsync(fd)
        found = os.fstat(fd)
    finally:
        os.close(fd)
    if found.st_size != length:
        raise OSError(errno.EIO, f"{length} bytes were written and {found.st_size} are there", path)
    return (digest.hexdigest(), length), found.st_ino


def temporary_name() -> str:
    """Name the file after its run: what a dead process left behind can be told from what is being written."""
    values = context.current()
    run = "".join(c for c in str(values.get("flow_run_id", "none"))[:64] if c.isalnum() or c == "-")
    return f"{TEMPORARY_PREFIX}{run}-{values.get('flow_run_epoch', 1)}-{os.urandom(8).hex()}"


def _make_folders(path: str, private: bool, fsync: bool) -> None:
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path.rstrip(os.sep)) or "."
    if parent != path:
        _make_folders(parent, private, fsync)
    try:
        os.mkdir(path, 0o700 if private else 0o777)
    except FileExistsError:
        # Somebody else was quicker, or something that is no folder has the name.
        if not os.path.isdir(path):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from None
        return
    if private:
        os.chmod(path, 0o700)  # a umask may have taken away the user's own rights
    parent_fd = _open_folder(parent, private=False) if fsync else None
    if parent_fd is not None:
        try:
            os.fsync(parent_fd)
        finally:
            os.close(parent_fd)


def _open_folder(path: str, private: bool) -> int | None:
    """Open a folder to force its names to the disk; a private one must not lead out of the home folder."""
    if private and os.path.islink(path):
        raise OSError(
            errno.ELOOP, "A folder of the home folder is a symbolic link, which is not followed", path
        )
    if not _O_DIRECTORY:
        return None
    try:
        return os.open(path, os.O_RDONLY | _O_DIRECTORY | (_O_NOFOLLOW if private else 0))
    except PermissionError:
        return None  # one may write into a folder that one may not read; its names are then not forced


def _remove_quietly(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass  # it is not there, or the broken disk fails this too; the first error is the one to tell
