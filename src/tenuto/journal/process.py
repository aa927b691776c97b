"""Who is running: machine, boot and process, in a form that tells a live run from a crashed one."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ProcessIdentity", "distributions_sha256", "is_running", "this_process"]

# Field 22 of /proc/PID/stat, counted from 0 behind the second one: a name that may hold anything.
_START_FIELD = 21 - 2
_CREATE_TIME_TOLERANCE_MICROSECONDS = 2_000_000


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process that no other process, before or after, is taken for."""

    host: str
    boot_id: str
    """Identity of the machine's boot (Linux), else empty."""
    pid: int
    start_ticks: int
    """Clock ticks from boot to the process's start (Linux), elsewhere microseconds since 1970."""


def this_process() -> ProcessIdentity:
    """Return the identity of the calling process (also in a fork of the one that asked before)."""
    return _identity(os.getpid())


@functools.lru_cache(maxsize=4)
def _identity(pid: int) -> ProcessIdentity:
    return ProcessIdentity(host_name(), boot_id(), pid, start_ticks(pid) or 0)


@functools.cache
def host_name() -> str:
    """Return the machine's name."""
    return os.uname().nodename if hasattr(os, "uname") else platform.node()


@functools.cache
def boot_id() -> str:
    """Return the identity of the machine's boot, or an empty text where the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def start_ticks(pid: int) -> int | None:
    """Return when a process started, as `ProcessIdentity.start_ticks`; None when there is no such process."""
    if not boot_id():
        return _create_time(pid)
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()
    except OSError:
        return None
    # A zombie has ended; only its parent has not looked yet.
    return None if fields[0] in (b"Z", b"X") else int(fields[_START_FIELD])


def _create_time(pid: int) -> int | None:
    import psutil  # Only where /proc is missing: it costs milliseconds to import.

    try:
        return int(psutil.Process(pid).create_time() * 1_000_000)
    except psutil.Error:
        return None


def is_running(identity: ProcessIdentity) -> bool:
    """
    Say whether that very process still runs; another machine's is believed to, for nobody can tell from here.

    Compares boot and start ticks, never clock times (Linux), so that a stepped clock does not end a run.
    """
    if identity.host != host_name():
        return True
    if identity.boot_id != boot_id():
        return False
    ticks = start_ticks(identity.pid)
    if ticks is None:
        return False
    if identity.boot_id:
        return ticks == identity.start_ticks
    return abs(ticks - identity.start_ticks) <= _CREATE_TIME_TOLERANCE_MICROSECONDS


@functools.cache
def distributions_sha256() -> str:
    """
    Return one digest over name and version of all installed distributions.

    Made of the names of the `*.dist-info` folders on `sys.path`: reading their metadata takes a hundred times
    as long.
    """
    names: set[str] = set()
    for folder in sys.path:
        try:
            with os.scandir(folder or ".") as entries:
                names.update(
                    entry.name for entry in entries if entry.name.endswith((".dist-info", ".egg-info"))
                )
        except OSError:
            continue  # Archives and folders that do not exist are common on sys.path.
    return hashlib.sha256("\n".join(sorted(names)).encode(errors="surrogateescape")).hexdigest()
