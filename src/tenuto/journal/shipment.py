"""
What the home folder knows of the shipping of runs to a server: how far it has come, and who is at it.

- `runs/<id>/1.acked` holds the number of the last event that a server has acknowledged.
- `runs/.shipped/<id>` stands for a run that a server has completely, so that a home of thousands of old runs
  costs two listings. A text in it says why a server will not have the run.
- The lock of the journal is held by the one process that ships the run.

Only journals of epoch 1 are shipped from here: others belong to the workers of a server's own runs.
"""

from __future__ import annotations

import os
import weakref
from pathlib import Path

from tenuto._base.files import ensure_private_dir, write_atomic
from tenuto._base.locks import try_lock, unlock
from tenuto.journal.event import Event, Header, Kind, encode_line
from tenuto.journal.fold import fold
from tenuto.journal.home import Home, is_alive
from tenuto.journal.process import host_name
from tenuto.journal.reader import read_ends
from tenuto.journal.runs import how_it_ended
from tenuto.journal.states import FINAL_STATES, WAITING_STATES
from tenuto.journal.tail import event_tail

__all__ = [
    "JournalLock",
    "close_if_gone",
    "is_at_rest",
    "is_marked",
    "is_underway",
    "journal_path",
    "mark_shipped",
    "refused_runs",
    "unshipped_runs",
    "write_acked",
]

SHIPPED_FOLDER = ".shipped"
_AT_WORK = ("Running", "Looped")
_CRASHED_TASK = "The process was gone before this task run had ended."
_DAMAGED = "a line of it is damaged"


def journal_path(folder: Path) -> Path:
    """Return the journal, in a run's folder, that is shipped from here."""
    return folder / "1.journal"


# ------------------------------------------------------------------------------------------- what is shipped


def unshipped_runs(home: Home) -> list[str]:
    """Return the names of the folders of runs that no server is known to have, newest first."""
    return home.run_names(without=_shipped(home))


def is_marked(home: Home, name: str) -> bool:
    """Say whether a run needs no shipping any more."""
    return (home.runs / SHIPPED_FOLDER / name).exists()


def refused_runs(home: Home) -> list[str]:
    """Return the names of the folders of runs that a server would not have."""
    folder = home.runs / SHIPPED_FOLDER
    return [name for name in sorted(_shipped(home)) if _size(folder / name)]


def mark_shipped(home: Home, name: str, refusal: str = "") -> None:
    """
    Note that a run needs no shipping any more.

    Args:
        home: the home folder.
        name: of the run's folder.
        refusal: why a server will not have it; empty: it has all of it.

    Raises:
        OSError: when that cannot be written.
    """
    folder = home.runs / SHIPPED_FOLDER
    ensure_private_dir(folder)
    write_atomic(folder / name, [refusal.encode()], private=True, fsync=False)


def write_acked(journal: Path, number: int) -> None:
    """
    Note the last event that a server has acknowledged.

    Raises:
        OSError: when that cannot be written.
    """
    write_atomic(journal.with_suffix(".acked"), [str(number).encode()], private=True, fsync=False)


def _shipped(home: Home) -> set[str]:
    try:
        return set(os.listdir(home.runs / SHIPPED_FOLDER))
    except OSError:
        return set()


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


# -------------------------------------------------------------------------------------------------- the lock


class JournalLock:
    """
    The lock of a journal, for the one who ships it or closes it.

    Args:
        journal: the file, which exists.
    """

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._descriptor = -1

    def take(self) -> bool:
        """Take the lock unless another has it, or the file has gone; say whether it is held."""
        if self._descriptor < 0:
            try:
                descriptor = os.open(self._journal, os.O_RDWR)
            except OSError:
                return False
            if not try_lock(descriptor):
                os.close(descriptor)
                return False
            self._descriptor = descriptor
            _locks.add(self)
        return True

    def release(self) -> None:
        """Let others take it."""
        if self._descriptor >= 0:
            unlock(self._descriptor)
            self.forget()

    def forget(self) -> None:
        """Close the file, in a process that was forked from the holder: the lock stays the holder's."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


_locks: weakref.WeakSet[JournalLock] = weakref.WeakSet()


def _forget_all() -> None:
    # A child that lives on would hold what its parent had locked when that was killed.
    for lock in list(_locks):
        lock.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


# --------------------------------------------------------------------------------------------- how runs ended


def is_underway(header: Header) -> bool:
    """Say whether the process of a run is there, or may be: that of another machine cannot be looked for."""
    return header.host != host_name() or is_alive(header)


def is_at_rest(last: Event) -> bool:
    """Say whether a record whose last event this is needs nothing more: the run has ended, or waits."""
    is_of_run = last.kind in (Kind.RUN_STATE, Kind.INCOMPLETE, Kind.RUN_STARTED)
    return is_of_run and last.state in FINAL_STATES | WAITING_STATES


def close_if_gone(journal: Path) -> bool:
    """
    Append to the record of a run whose process is gone how it ended, unless that is there already.

    The caller holds the journal's lock. What stands behind the last event that can be believed is put aside
    into a file `1.damaged`: nobody would read what is written behind it.

    Returns:
        Whether something was appended.

    Raises:
        OSError: when that cannot be written.
    """
    first, _ = read_ends(journal, last=False)
    if first is None or first.header is None or is_underway(first.header):
        return False
    tail = event_tail(journal)
    view = fold(entry.content for entry in tail)
    if view.is_finished or view.state in WAITING_STATES:
        return False
    incomplete = view.incomplete or (_DAMAGED if tail.is_damaged else "")
    message, cause = how_it_ended(view.header, incomplete)
    # When it ended nobody knows; the last sign of life is as late as can be told.
    moment = view.updated
    events = [
        Event(
            kind=Kind.TASK_STATE,
            slug=task.slug,
            index=task.index,
            state="Failed",
            message=_CRASHED_TASK,
            cause=cause,
            run_count=task.run_count,
            loop_count=task.loop_count,
        )
        for task in view.tasks.values()
        if task.state in _AT_WORK
    ]
    kind = Kind.INCOMPLETE if incomplete else Kind.RUN_STATE
    data = {"reason": incomplete} if incomplete else {}
    events.append(Event(kind=kind, state="Failed", message=message, cause=cause, actor="service", data=data))
    for number, event in enumerate(events, tail.number + 1):
        event.pseq, event.ts = number, moment
    _append(journal, tail.offset, b"".join(map(encode_line, events)))
    return True


def _append(journal: Path, offset: int, lines: bytes) -> None:
    """Write lines behind the bytes up to `offset`, and force them to the disk."""
    with open(journal, "r+b") as file:
        file.seek(offset)
        rest = file.read()
        if rest:
            with open(journal.with_suffix(".damaged"), "ab", opener=_private) as aside:
                aside.write(rest)
                aside.flush()
                os.fsync(aside.fileno())
            file.truncate(offset)
        file.seek(offset)
        file.write(lines)
        file.flush()
        os.fsync(file.fileno())


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
