"""Recorded runs for the tests of home, history and retention."""

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tenuto._base.ids import task_run_id
from tenuto.journal.event import Event, Header, Kind, ResultRef, encode_line
from tenuto.journal.home import Home
from tenuto.journal.places import KEPT_FOLDER
from tenuto.journal.process import this_process
from tenuto.journal.retention import mark_kept
from tenuto.journal.values import keep_file

DAY = 86_400.0
NOW = 1_800_000_000.0
"""The present of these tests, seconds since 1970."""


def run_id(seconds: float, number: int = 0) -> str:
    """An id of version 7 made at that time."""
    digits = f"{int(seconds * 1000):012x}7{number:03x}8{number:015x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def header(**fields: Any) -> Header:
    """The header of a run of this process."""
    me = this_process()
    defaults: dict[str, Any] = {
        "v": 1,
        "name": "amber-otter",
        "flow": "sums",
        "host": me.host,
        "boot_id": me.boot_id,
        "pid": me.pid,
        "start_ticks": me.start_ticks,
    }
    return Header(**(defaults | fields))


def dead_header(**fields: Any) -> Header:
    """The header of a run whose process is gone: of this number, but started at another time."""
    return header(start_ticks=1, **fields)


def record(
    home: Home,
    *events: Event,
    made: float = NOW,
    number: int = 0,
    first: Header | None = None,
    kept: int = 0,
    epoch: int = 1,
) -> str:
    """
    Write the record of a run and return its id.

    Args:
        events: what follows the first event.
        made: when, in seconds since 1970: of the id, of all events, and of the files.
        first: the header; default: of a process that is gone.
        kept: bytes of a result that the run has kept, 0 for none.
    """
    found = run_id(made, number)
    folder = home.run_folder(found)
    folder.mkdir(parents=True, exist_ok=True)
    start = first if first is not None else dead_header()
    lines = [Event(kind=Kind.RUN_STARTED, header=msgspec.structs.replace(start, flow_run_id=found)), *events]
    for pseq, event in enumerate(lines, 1):
        event.pseq, event.ts = pseq, int((made + pseq - 1) * 1e6)
    path = folder / f"{epoch}.journal"
    path.write_bytes(b"".join(map(encode_line, lines)))
    if kept:
        keep_some(home, found, kept)
    os.utime(path, (made, made))
    return found


def keep_some(home: Home, found: str, size: int, slug: str = "a-1") -> ResultRef:
    """Keep a result of about that many bytes for a run."""
    folder = home.run_folder(found)
    (folder / KEPT_FOLDER).mkdir(exist_ok=True)
    mark_kept(home, folder)
    path = folder / KEPT_FOLDER / f"{task_run_id(found, slug)}.1"
    ref = keep_file(b"x" * size, path, 1 << 30)
    assert isinstance(ref, ResultRef)
    return ref


def state(name: str, message: str = "", cause: str = "") -> Event:
    return Event(kind=Kind.RUN_STATE, state=name, message=message, cause=cause)


def task(name: str, slug: str = "a-1", index: int = -1) -> Event:
    return Event(kind=Kind.TASK_STATE, slug=slug, index=index, state=name)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")
