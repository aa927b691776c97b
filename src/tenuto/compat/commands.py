"""The command `prefect`, for scripts that start it (R-REAL-17)."""

from __future__ import annotations

import atexit
import os
import shlex
import shutil
import sys
import tempfile

__all__ = ["offer_command"]

_PREFIX = "tenuto-prefect-"


def offer_command() -> None:
    """Put a command `prefect`, which is `tenuto`, first on the PATH of this process and of what it starts."""
    if os.path.basename(os.environ.get("PATH", "").partition(os.pathsep)[0]).startswith(_PREFIX):
        return  # By the process that has started this one.
    folder = tempfile.mkdtemp(prefix=_PREFIX)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if os.name == "nt":
        path, text = "prefect.cmd", f'@"{sys.executable}" -m tenuto %*\n'
    else:
        path, text = "prefect", f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m tenuto "$@"\n'
    path = os.path.join(folder, path)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, 0o700)
    os.environ["PATH"] = os.pathsep.join([folder, os.environ.get("PATH", os.defpath)])
