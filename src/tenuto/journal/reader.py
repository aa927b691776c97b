"""Reads journals, and believes only whole lines whose checksum is right."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tenuto.journal.event import Event, decode_line

__all__ = ["read_ends", "read_events"]

_TAIL_BYTES = 8 * 1024


def read_events(path: Path) -> Iterator[Event]:
    """
    Return the events of a journal in order, up to the first line that is short, damaged or out of number.

    A file that cannot be opened has none: the record of a run may be pruned at any moment.
    """
    try:
        file = open(path, "rb")  # noqa: SIM115  # closed by the with below; only opening may fail quietly
    except OSError:
        return
    with file:
        expected = 1
        for line in file:
            event = decode_line(line)
            if event is None or event.pseq != expected:
                return
            expected += 1
            yield event


def read_ends(path: Path, *, last: bool = True) -> tuple[Event | None, Event | None]:
    """
    Return the first event and the last whole one, reading only the two ends of the file.

    Args:
        path: a journal.
        last: False reads the first one only, and returns it twice.
    """
    try:
        file = open(path, "rb")  # noqa: SIM115  # as above
    except OSError:
        return None, None
    with file:
        first = decode_line(file.readline())
        if first is None or not last:
            return first, first
        return first, _last_event(file) or first


def _last_event(file: BinaryIO) -> Event | None:
    """Search backwards for a whole line, in windows that double until one is found."""
    end = file.seek(0, os.SEEK_END)
    window = _TAIL_BYTES
    while True:
        start = max(0, end - window)
        file.seek(start)
        lines = file.read(end - start).splitlines(keepends=True)
        # The window's first line is cut unless the window begins the file.
        for line in reversed(lines if start == 0 else lines[1:]):
            event = decode_line(line)
            if event is not None:
                return event
        if start == 0:
            return None
        window *= 4
