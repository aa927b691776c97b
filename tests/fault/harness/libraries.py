"""Libraries in front of the C library, compiled from the C files beside this one."""

from __future__ import annotations

import functools
import os
import subprocess
import tempfile
from pathlib import Path

__all__ = ["compiled"]

FLAGS = ["-std=gnu11", "-O2", "-U_FORTIFY_SOURCE", "-shared", "-fPIC", "-pthread", "-Wall", "-Werror"]


@functools.cache
def compiled(name: str) -> Path:
    """Return the library of `NAME.c`, compiled once a process."""
    folder = tempfile.TemporaryDirectory(prefix=f"tenuto-{name}-")
    _folders.append(folder)
    path = Path(folder.name) / f"{name}.so"
    source = Path(__file__).with_name(f"{name}.c")
    subprocess.run([os.environ.get("CC", "cc"), *FLAGS, "-o", path, source], check=True)
    return path


_folders: list[tempfile.TemporaryDirectory[str]] = []
"""Keep the libraries until this process ends."""
