"""Processes with all that they have started."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

__all__ = ["kill_children", "kill_session"]

_END_SECONDS = 5.0


def kill_session(pid: int) -> None:
    """
    Kill a process that was started in a session of its own, with everything below it and in its session.

    That also reaches what has lost its parent, such as a command that a shell left in the background.
    """
    import psutil

    try:
        process = psutil.Process(pid)
    except psutil.NoSuchProcess:
        tree = []
    else:
        tree = [process, *_below(process)]
    if hasattr(os, "killpg"):
        try:
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # Nobody is left in it.
    _kill(tree)


def kill_children() -> None:
    """Kill everything that this process has started, and what that has started."""
    import psutil

    _kill(_below(psutil.Process()))


def _below(process: psutil.Process) -> list[psutil.Process]:
    import psutil

    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _kill(processes: Iterable[psutil.Process]) -> None:
    import psutil

    killed = list(processes)
    for process in killed:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            pass  # It has ended by itself meanwhile.
    psutil.wait_procs(killed, timeout=_END_SECONDS)
