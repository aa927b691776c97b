"""
What `tenuto history` and `tenuto show` read: runs as their journals tell them.

A run whose record has no end and whose process is gone has crashed. Each reader finds that out; it is written
to the record only before a server gets it (`journal.shipment`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tenuto._base.datetimes import from_microseconds, microseconds
from tenuto.journal.event import Event, Header, Kind
from tenuto.journal.fold import RunView, fold
from tenuto.journal.home import Home, is_alive, newest_journal, uuid7_milliseconds
from tenuto.journal.logs import LogLine, read_logs
from tenuto.journal.reader import read_ends, read_events
from tenuto.journal.states import FAILED_STATES, FINAL_STATES, SUCCESSFUL_STATES, WAITING_STATES

__all__ = ["RunSummary", "how_it_ended", "list_runs", "read_run", "run_logs", "summarize"]


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run by the first and the last event of its newest journal."""

    folder: Path
    header: Header
    state: str
    message: str
    cause: str
    started: int
    """Microseconds since 1970 UTC."""
    ended: int | None
    """End of the run, or last event of one that has crashed."""
    changed: int
    """When the state was entered, as far as the ends of the record tell."""
    epoch: int = 1
    alive: bool = False
    """Whether its process is still there."""
    incomplete: bool = False
    """Whether the record ends before the run did: such a run cannot be continued."""

    @property
    def run_id(self) -> str:
        """Id of the run."""
        return self.header.flow_run_id

    @property
    def name(self) -> str:
        """Name that the run was given at its start."""
        return self.header.name

    @property
    def is_successful(self) -> bool:
        """Whether it came to a good end."""
        return self.state in SUCCESSFUL_STATES

    @property
    def duration_seconds(self) -> float | None:
        """From the first event to the end; None while it runs."""
        return None if self.ended is None else (self.ended - self.started) / 1e6

    def as_rest(self) -> dict[str, Any]:
        """Return the object that REST and `history --json` show, with what only a server knows as None."""
        header = self.header
        return {
            "id": header.flow_run_id,
            "name": header.name,
            "flow_id": None,
            "flow_group_id": None,
            "flow_name": header.flow,
            "flow_version": None,
            "project_name": header.project or None,
            "state": {
                "type": self.state,
                "message": self.message or None,
                "cause": self.cause or None,
                "timestamp": rfc3339(self.changed),
                "start_time": None,
            },
            "parameters": header.parameters,
            "labels": header.labels,
            "context": header.context,
            "scheduled_start_time": rfc3339(header.scheduled_start_time),
            "start_time": rfc3339(self.started),
            "end_time": rfc3339(self.ended),
            "duration_seconds": self.duration_seconds,
            "attempt": self.epoch,
            "version": None,
            "resumed_from": header.resumed_from or None,
        }


def list_runs(
    home: Home,
    flow: str | None = None,
    state: str | None = None,
    since: datetime | None = None,
    limit: int | None = 20,
) -> list[RunSummary]:
    """
    Return runs, newest first, reading only the first and the last line of each journal.

    Args:
        home: the home folder.
        flow: only runs of the flow of this name.
        state: only runs in this state (`failed`: any kind of failure) or of this cause (`crashed`).
        since: only runs that began at this time or later; naive times are UTC.
        limit: as many at most; None for all.
    """
    found: list[RunSummary] = []
    earliest = None if since is None else microseconds(since)
    for folder in home.run_folders():
        if limit is not None and len(found) >= limit:
            break
        made = uuid7_milliseconds(folder.name)
        # A day of grace: an id may be made long before its run starts (a scheduled run), never after.
        if earliest is not None and made is not None and (made + 86_400_000) * 1000 < earliest:
            break
        run = summarize(folder)
        if run is not None and _matches(run, flow, state, earliest):
            found.append(run)
    return found


def summarize(folder: Path) -> RunSummary | None:
    """Return the summary of the run in a folder, or None when its record has no readable beginning."""
    path = newest_journal(folder)
    first, last = read_ends(path) if path is not None else (None, None)
    if path is None or first is None or last is None or first.header is None:
        return None
    epoch = int(path.name.partition(".")[0])
    state, message, cause = _last_state(last)
    if state in FINAL_STATES:
        whole = last.kind is not Kind.INCOMPLETE
        return RunSummary(
            folder,
            first.header,
            state,
            message,
            cause,
            first.ts,
            last.ts,
            last.ts,
            epoch,
            incomplete=not whole,
        )
    alive = is_alive(first.header)
    if alive or state in WAITING_STATES:
        return RunSummary(folder, first.header, state, message, cause, first.ts, None, last.ts, epoch, alive)
    reason = str(last.data.get("reason", "")) if last.kind is Kind.INCOMPLETE else ""
    message, cause = how_it_ended(first.header, reason)
    return RunSummary(
        folder,
        first.header,
        "Failed",
        message,
        cause,
        first.ts,
        last.ts,
        last.ts,
        epoch,
        incomplete=bool(reason),
    )


def read_run(home: Home, run_id: str) -> RunView | None:
    """
    Return a run with all of its task runs, or None when its record cannot be read.

    A crashed run is `Failed` in what is returned, and so are the task runs that its process was at.
    """
    path = newest_journal(home.run_folder(run_id))
    view = fold(read_events(path)) if path is not None else RunView()
    if not view.header.v:
        return None
    if view.is_finished or view.state in WAITING_STATES or is_alive(view.header):
        return view
    view.state = "Failed"
    view.message, view.cause = how_it_ended(view.header, view.incomplete)
    view.ended = view.updated
    for task in view.tasks.values():
        if task.state == "Running":
            task.state, task.cause, task.ended = "Failed", view.cause, view.updated
            task.message = "The process was gone before this task run had ended."
    return view


def run_logs(home: Home, run_id: str) -> Iterator[LogLine]:
    """Return the log records of a run's newest epoch, in order."""
    path = newest_journal(home.run_folder(run_id))
    return read_logs(path.with_suffix(".logs.jsonl")) if path is not None else iter(())


def rfc3339(moment: int | None) -> str | None:
    """Return microseconds since 1970 UTC as text in UTC, or None."""
    return None if moment is None else from_microseconds(moment).isoformat().replace("+00:00", "Z")


def _last_state(last: Event) -> tuple[str, str, str]:
    """Return state, message and cause; while tasks run, the run's last event is one of theirs."""
    is_of_run = last.kind in (Kind.RUN_STATE, Kind.INCOMPLETE, Kind.RUN_STARTED) and last.state
    return (last.state, last.message, last.cause) if is_of_run else ("Running", "", "")


def how_it_ended(header: Header, incomplete: str) -> tuple[str, str]:
    """Return message and cause of a run whose process is gone; `incomplete`: why its record ends early."""
    if incomplete:
        text = (
            f"The record ends early ({incomplete}) and the process is gone: how the run ended is not known."
        )
        return text, "storage"
    return f"The process (pid {header.pid} on {header.host}) is gone and has left no final state.", "crashed"


def _matches(run: RunSummary, flow: str | None, state: str | None, earliest: int | None) -> bool:
    if flow is not None and run.header.flow != flow:
        return False
    if earliest is not None and run.started < earliest:
        return False
    if state is None:
        return True
    wanted = state.lower()
    is_failure = wanted == "failed" and run.state in FAILED_STATES
    return is_failure or wanted in (run.state.lower(), run.cause)
