"""
What a power cut leaves of the files of a program, cut at any moment.

A library in front of the C library (`powercut.c`) records each write, sync and change of names in one folder.
From the record that folder is made as the disk may have been at a cut: what was synced is there; of what was
not, each write was kept, dropped or torn at sectors of 512 bytes, and changes of names happened up to some
point, in their order, as in the journal of a file system. A name is believed after a sync of its folder only.

What the program writes to the file `acks` of the folder is no part of it: these lines are what it has told
others. Linux with glibc, 64 bit. Shared mappings are not recorded; SQLite can do without what it keeps there.
"""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.fault.harness.libraries import compiled

__all__ = ["ACKS", "Cut", "Entry", "Recording", "record"]

ACKS = "acks"
SECTOR_BYTES = 512
HEAD = struct.Struct("<cQQIHH")
FATES = ["kept", "dropped", "torn"]


@dataclass(frozen=True, slots=True)
class Cut:
    """
    A disk after a power cut.

    Attributes:
        folder: what is left; removed when the next cut is asked for.
        acked: the lines that the program had written to `acks`.
        at: the number of entries of the record before the cut.
    """

    folder: Path
    acked: list[str]
    at: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that was done; what the fields mean is said in `powercut.c`."""

    op: str
    inode: int
    offset: int
    data: bytes
    name: str
    new_name: str = ""


@dataclass(slots=True)
class _File:
    """One file: its synced content, and what was written since, each with its place in the record."""

    synced: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, Entry]] = field(default_factory=list)

    def sync(self, before: int) -> None:
        for place, entry in self.pending:
            if place < before:
                _apply(self.synced, entry)
        self.pending = [(place, entry) for place, entry in self.pending if place >= before]


class Recording:
    """
    What a program did.

    Attributes:
        counts: entries of each kind, `W` for writes and `E` for syncs for instance.
    """

    def __init__(self, base: Mapping[str, tuple[int, bytes | None]], entries: Sequence[Entry]) -> None:
        self._base = base
        self._entries = entries
        self.counts = Counter(entry.op for entry in entries)

    def cuts(self, count: int, chance: random.Random) -> Iterator[Cut]:
        """Yield the disks of so many power cuts at random moments, in their order."""
        moments = sorted(chance.randint(1, len(self._entries)) for _ in range(count))
        disk = _Disk(self._base)
        done = 0
        with tempfile.TemporaryDirectory(prefix="tenuto-powercut-") as folder:
            for moment in moments:
                for place in range(done, moment):
                    disk.do(place, self._entries[place])
                done = moment
                left = Path(folder) / "disk"
                disk.write_to(left, chance)
                yield Cut(left, disk.acks.decode().split("\n")[:-1], moment)
                shutil.rmtree(left)


class _Disk:
    """What a disk surely holds, and what it may hold."""

    def __init__(self, base: Mapping[str, tuple[int, bytes | None]]) -> None:
        self.acks = b""
        self._names: dict[str, _File | None] = {}
        """Synced names; None for folders."""
        self._files: dict[int, _File] = {}
        self._syncs: dict[int, int] = {}
        self._pending: list[tuple[int, Entry, _File | None]] = []
        for name, (inode, content) in base.items():
            file = None if content is None else _File(bytearray(content))
            self._names[name] = file
            if file is not None:
                self._files[inode] = file

    def do(self, place: int, entry: Entry) -> None:
        if entry.name == ACKS:
            self.acks += entry.data
            return
        match entry.op:
            case "W" | "T":
                self._files[entry.inode].pending.append((place, entry))
            case "C":
                self._files[entry.inode] = _File()
                self._pending.append((place, entry, self._files[entry.inode]))
            case "M" | "U" | "R":
                self._pending.append((place, entry, None))
            case "B":
                self._syncs[entry.offset] = place
            case "E":
                self._end_sync(entry, self._syncs.pop(entry.offset))
            case other:
                raise AssertionError(f"The record is damaged: no entry is of kind {other!r}.")

    def _end_sync(self, entry: Entry, began: int) -> None:
        if entry.inode in self._files:
            self._files[entry.inode].sync(began)
            return
        # Of a folder. A rename is known to both of its folders; the new one counts.
        later = []
        for change in self._pending:
            place, done, file = change
            if place < began and os.path.dirname(done.new_name or done.name) == entry.name:
                _rename(self._names, done, file)
            else:
                later.append(change)
        self._pending = later

    def write_to(self, folder: Path, chance: random.Random) -> None:
        """Make the folder as it may be; the extremes come as often as mixtures."""
        mood = chance.choice(["dropped", "kept", "torn", "mixed", "mixed"])
        fates = {"dropped": ["dropped"], "kept": ["kept"], "torn": ["torn"]}.get(mood, FATES)
        names = dict(self._names)
        changes = {"dropped": 0, "kept": len(self._pending)}.get(mood, chance.randint(0, len(self._pending)))
        for _, entry, file in self._pending[:changes]:
            _rename(names, entry, file)
        folder.mkdir()
        for name, file in sorted(names.items()):
            if file is None:
                (folder / name).mkdir(parents=True, exist_ok=True)
                continue
            content = bytearray(file.synced)
            for _, entry in file.pending:
                _apply_partly(content, entry, chance.choice(fates), chance)
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)


def _rename(names: dict[str, _File | None], entry: Entry, file: _File | None) -> None:
    """Do a change of names, as far as what it is about is there."""
    match entry.op:
        case "C" | "M":
            names[entry.name] = file
        case "U":
            names.pop(entry.name, None)
        case "R" if entry.name in names:
            names[entry.new_name] = names.pop(entry.name)
            inside = [name for name in names if name.startswith(entry.name + "/")]
            for name in inside:
                names[entry.new_name + name[len(entry.name) :]] = names.pop(name)


def _apply(content: bytearray, entry: Entry) -> None:
    if entry.op == "T":
        content[entry.offset :] = bytes(max(0, entry.offset - len(content)))
        return
    content.extend(bytes(max(0, entry.offset - len(content))))
    content[entry.offset : entry.offset + len(entry.data)] = entry.data


def _apply_partly(content: bytearray, entry: Entry, fate: str, chance: random.Random) -> None:
    if fate == "torn" and entry.op == "W":
        _apply_torn(content, entry, chance)
    elif fate == "kept" or (fate == "torn" and chance.random() < 0.5):
        _apply(content, entry)


def _apply_torn(content: bytearray, entry: Entry, chance: random.Random) -> None:
    """Write some of the sectors; the length may be the new one, with zeros, where nothing was written."""
    end = entry.offset + len(entry.data)
    if chance.random() < 0.5:
        content.extend(bytes(max(0, end - len(content))))
    for start in range(entry.offset - entry.offset % SECTOR_BYTES, end, SECTOR_BYTES):
        if chance.random() < 0.5:
            first, last = max(start, entry.offset), min(start + SECTOR_BYTES, end)
            part = entry.data[first - entry.offset : last - entry.offset]
            _apply(content, Entry("W", entry.inode, first, part, entry.name))


# ------------------------------------------------------------------------------------------------- recording


def record(
    command: Sequence[str | Path],
    folder: Path,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Recording:
    """
    Run a program to its end, and return what it did in the folder.

    Args:
        command: the program; it may start threads. Of child processes that write at the same time, the order
            between their writes and those of others may be wrong.
        folder: what is in it before is on the disk.

    Raises:
        AssertionError: if it fails, or has done nothing there.
    """
    folder = folder.resolve()
    base = dict(_contents(folder))
    with tempfile.TemporaryDirectory(prefix="tenuto-powercut-") as beside:
        path = Path(beside) / "record"
        added = {
            "LD_PRELOAD": str(compiled("powercut")),
            "TENUTO_TEST_FOLDER": str(folder),
            "TENUTO_TEST_RECORD": str(path),
        }
        done = subprocess.run(
            [str(part) for part in command],
            env={**os.environ, **(env or {}), **added},
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"The program failed ({done.returncode}):\n{done.stdout}{done.stderr}"
        entries = list(_entries(path.read_bytes()))
    assert entries, f"The program did nothing in {folder}."
    return Recording(base, entries)


def _contents(folder: Path) -> Iterator[tuple[str, tuple[int, bytes | None]]]:
    for path in sorted(folder.rglob("*")):
        content = path.read_bytes() if path.is_file() else None
        yield str(path.relative_to(folder)), (path.stat().st_ino, content)


def _entries(data: bytes) -> Iterator[Entry]:
    place = 0
    while place < len(data):
        op, inode, offset, size, name, new_name = HEAD.unpack_from(data, place)
        place += HEAD.size
        ends = [place + size, place + size + name, place + size + name + new_name]
        yield Entry(
            op.decode(),
            inode,
            offset,
            data[place : ends[0]],
            os.fsdecode(data[ends[0] : ends[1]]),
            os.fsdecode(data[ends[1] : ends[2]]),
        )
        place = ends[2]
