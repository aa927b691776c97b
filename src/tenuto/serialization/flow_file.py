"""Flows in files: pickled whole, with their code, for the same installation to read."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import cloudpickle

from tenuto._base.files import write_atomic
from tenuto.configuration import home_path
from tenuto.exceptions import FlowStorageError

if TYPE_CHECKING:
    from tenuto.core.flow import Flow

__all__ = ["load_flow", "save_flow"]

SUFFIX = ".tenuto"


def save_flow(flow: Flow, fpath: str | os.PathLike[str] | None = None) -> str:
    """
    Pickle a flow to a file and return its path.

    Args:
        fpath: default: named after the flow, in the home folder's `flows`.

    Raises:
        OSError: if the file cannot be written; what was there before is still there then.
    """
    path = _default_path(flow.name) if fpath is None else Path(fpath)
    # The home folder is this user's alone; a folder that the user names follows the umask.
    write_atomic(path, [cloudpickle.dumps(flow)], private=fpath is None, fsync=False)
    return os.fspath(path)


def load_flow(fpath: str | os.PathLike[str]) -> Flow:
    """
    Return a saved flow. Reading runs code that the file holds: read only files that you or your team wrote.

    Args:
        fpath: a path or, for flows saved in the home folder, a flow's name.

    Raises:
        FlowStorageError: if there is no such file, or it holds no flow.
    """
    from tenuto.core.flow import Flow

    path = Path(fpath)
    if not path.is_file():
        path = _default_path(os.fspath(fpath))
    if not path.is_file():
        raise FlowStorageError(
            f"No flow is saved at {os.fspath(fpath)!r}, nor under this name at {str(path)!r}."
        )
    try:
        flow = cloudpickle.loads(path.read_bytes())
    except Exception as error:
        # Unpickling runs code of the file, which may raise anything; the reason is kept.
        raise FlowStorageError(f"The flow saved at {str(path)!r} cannot be read: {error!r}") from error
    if not isinstance(flow, Flow):
        raise FlowStorageError(f"The file {str(path)!r} holds a {type(flow).__name__}, not a flow.")
    return flow


def _default_path(name: str) -> Path:
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "flow"
    return home_path() / "flows" / f"{slug}{SUFFIX}"
