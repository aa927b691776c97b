"""
Ships one run: its journal and its log, from where the server has them to where they end.

Everything that is sent stands in the files, so nothing is lost whenever this ends; and everything has a
number, so nothing is taken in twice however often it is sent.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec

from tenuto.client.http import HttpClient, NotFound, RequestRefused, Wait
from tenuto.journal.event import Event, Header
from tenuto.journal.home import Home, is_uuid
from tenuto.journal.logs import LogLine
from tenuto.journal.reader import read_ends
from tenuto.journal.shipment import (
    JournalLock,
    close_if_gone,
    is_at_rest,
    is_marked,
    is_underway,
    journal_path,
    mark_shipped,
    write_acked,
)
from tenuto.journal.states import FINAL_STATES
from tenuto.journal.tail import Entry, Tail, event_tail, log_tail

__all__ = ["RunShipper", "Step"]

EVENTS_MAX = 500
LOGS_MAX = 1_000
# Of a batch's events or records; the rest of the request is much shorter than what is left.
EVENTS_BYTES_MAX = (1 << 20) - (16 << 10)
LOGS_BYTES_MAX = 2 << 20
# After its last state a run still writes lines to its log; so long a silence is their end.
QUIET_SECONDS = 2.0
_LOSSES_MAX = 3
# What the server says of a run, and will say again; other refusals are about something else.
_FOR_GOOD = ("conflict", "illegal", "invalid-request", "payload-too-large", "gap")
_IN_ORDER = ("already-exists", "fenced")


class Step(Enum):
    """What `RunShipper.step` has done."""

    SENT = "sent"
    IDLE = "idle"
    """There is nothing to send at the moment."""
    DONE = "done"
    """The server has all of the run, or will not have it."""
    LATER = "later"
    """It cannot be shipped now: another process does, or it goes on, or the server makes mistakes."""


class RunShipper:
    """
    Ships a run, request by request.

    Args:
        home: the home folder.
        folder: of the run.
        client: of the server.
        wait: is called before a request is sent again; False ends that.
        follows: whether a run that goes on is shipped, too, with a lease that this object keeps.
        retries: whether one that was refused is tried again.

    Attributes:
        events, logs: how many were sent.
        has_backlog: whether the last step sent as much as fits, so that more is waiting.
        is_closed: whether nothing is written to its files any more; set by who knows.
        refusal: why the server will not have the run; empty while it does.
        is_foreseen: whether that is in order, for it is not, or no longer, this process's to report.
    """

    def __init__(
        self,
        home: Home,
        folder: Path,
        client: HttpClient,
        wait: Wait,
        *,
        follows: bool,
        retries: bool = False,
    ) -> None:
        self.folder = folder
        self.events = self.logs = 0
        self.has_backlog = False
        self.is_closed = False
        self.refusal = ""
        self.is_foreseen = False
        self._home = home
        self._client = client
        self._wait = wait
        self._follows = follows
        self._retries = retries
        self._journal = journal_path(folder)
        self._lock = JournalLock(self._journal)
        self._header: Header | None = None
        self._token = ""
        self._losses = 0
        self._next_beat = 0.0
        self._beat_seconds = 0.0
        self._last: Event | None = None
        self._event_tail = event_tail(self._journal)
        self._log_tail = log_tail(self._journal.with_suffix(".logs.jsonl"))

    def step(self) -> Step:
        """
        Send what there is of events and log records, as much of each as fits into a request.

        Raises:
            ServerUnreachable: when `wait` has given up.
            RequestRefused: when the server will not speak to us, whatever the run.
            OSError: when a file cannot be read or written.
        """
        try:
            return self._step()
        except RequestRefused as error:
            return self._refused(error)

    @property
    def is_announced(self) -> bool:
        """Whether the server knows of the run."""
        return bool(self._token)

    def close(self) -> None:
        """Let go of the run, for others."""
        self._lock.release()

    def _step(self) -> Step:
        if not self._lock.take():
            return Step.LATER
        if not self._token:
            return self._begin()
        if self._beat_seconds and time.monotonic() >= self._next_beat:
            self._beat()
        self.has_backlog = False
        sent = self._send_events() | self._send_logs()
        return Step.SENT if sent else self._conclude()

    def _begin(self) -> Step:
        if self._header is None:
            if not self._retries and is_marked(self._home, self.folder.name):
                return Step.DONE  # Another process was quicker, and has let go of it.
            first, last = read_ends(self._journal)
            if first is None or last is None or first.header is None:
                return Step.LATER  # Its first line is just being written, or was lost with the power.
            if not is_uuid(first.header.flow_run_id):
                return self._give_up(f"its id {first.header.flow_run_id!r} is no UUID in lower case")
            self._header, self._last = first.header, last
        is_over = self._last is not None and is_at_rest(self._last)
        is_alive = not is_over and is_underway(self._header)
        if is_alive and not self._follows:
            return Step.LATER
        if not is_over and not is_alive:
            close_if_gone(self._journal)
        self._announce(self._header, is_alive)
        return Step.SENT

    def _announce(self, header: Header, is_alive: bool) -> None:
        said: dict[str, Any] = {"header": header, "alive": is_alive}
        sent_at = time.monotonic()
        answer = self._ask("POST", "/api/v1/runs/adopt", said)
        if answer.get("graph_missing"):
            graph = self._home.objects_get(header.graph_sha256)
            if graph is not None:
                try:
                    answer = self._ask("POST", "/api/v1/runs/adopt", {**said, "graph": msgspec.Raw(graph)})
                except RequestRefused as error:
                    if error.status != 413:
                        raise
                    # Too large for the server: the run itself is worth more than its picture.
        if "token" not in answer:
            raise RequestRefused(
                200, "", "What answers is no Tenuto server. Correct the setting cloud.api.", {}
            )
        self._token = str(answer["token"])
        self._event_tail.go_to(int(answer["acked"]))
        self._log_tail.go_to(int(answer["logs_acked"]))
        # A lease is counted from before it was asked for.
        self._beat_seconds = float(answer["lease_seconds"]) / 4 if is_alive else 0.0
        self._next_beat = sent_at + self._beat_seconds

    def _beat(self) -> None:
        sent_at = time.monotonic()
        self._report("heartbeat", {"epoch": 1})
        self._next_beat = sent_at + self._beat_seconds

    def _send_events(self) -> bool:
        entries = self._event_tail.take(EVENTS_MAX, EVENTS_BYTES_MAX)
        if not entries:
            return False
        answer = self._send(self._event_tail, "events", entries, _events_body(entries))
        if answer is not None:
            self.events += len(entries)
            self._last = entries[-1].content
            write_acked(self._journal, int(answer["acked"]))
        return True

    def _send_logs(self) -> bool:
        entries = self._log_tail.take(LOGS_MAX, LOGS_BYTES_MAX)
        if not entries:
            return False
        if self._send(self._log_tail, "logs", entries, _logs_body(entries)) is not None:
            self.logs += len(entries)
        return True

    def _send(
        self, tail: Tail[Any], what: str, entries: Sequence[Entry[Any]], body: bytes
    ) -> dict[str, Any] | None:
        """Send entries of a file; None when the server asks for earlier ones first."""
        try:
            answer = self._report(what, body)
        except RequestRefused as error:
            expected = error.members.get("expected")
            if error.slug != "gap" or not isinstance(expected, int) or expected >= entries[0].number:
                raise
            tail.go_to(expected - 1)
            return None
        self._losses = 0
        self.has_backlog |= tail.has_line
        return answer

    def _conclude(self) -> Step:
        """All that is there was sent: find out whether more is to come."""
        header, last = self._header, self._last
        assert header is not None
        if last is not None and is_at_rest(last):
            if not self.is_closed and is_underway(header) and not self._is_quiet():
                return Step.IDLE
            if self._beat_seconds and last.state not in FINAL_STATES:
                self._announce(header, is_alive=False)  # It waits for somebody; nobody holds it meanwhile.
            return self._give_up("")
        if is_underway(header):
            return Step.IDLE
        self._beat_seconds = 0.0
        if close_if_gone(self._journal):
            self._event_tail.refresh()
            return Step.SENT
        return self._give_up("")

    def _is_quiet(self) -> bool:
        """Say whether the run has written nothing for a while."""
        changed = max(_modified(tail.path) for tail in (self._event_tail, self._log_tail))
        return not 0 <= time.time() - changed < QUIET_SECONDS

    # ----------------------------------------------------------------------------------------------- requests

    def _ask(self, method: str, path: str, body: Any, token: str = "") -> dict[str, Any]:
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        answer: dict[str, Any] = self._client.request(method, path, data, token=token, wait=self._wait)
        return answer

    def _report(self, what: str, body: Any) -> dict[str, Any]:
        return self._ask("POST", f"/api/v1/runs/{self.folder.name}/{what}", body, self._token)

    def _refused(self, error: RequestRefused) -> Step:
        """Do what a refusal asks for: announce the run again, try later, or stop."""
        if error.status >= 500:
            self._token = ""
            return Step.LATER
        # The server has another database, or so many have announced the run that this token was forgotten.
        if self._token and (error.slug == "fenced" or isinstance(error, NotFound)):
            self._token = ""
            self._losses += 1
            if self._losses < _LOSSES_MAX:
                return Step.SENT
        if error.slug in (*_FOR_GOOD, *_IN_ORDER):
            return self._give_up(str(error), is_foreseen=error.slug in _IN_ORDER)
        raise error

    def _give_up(self, refusal: str, *, is_foreseen: bool = False) -> Step:
        """Note that the run needs no shipping any more, because the server has it or will not have it."""
        self.refusal, self.is_foreseen = refusal, is_foreseen
        mark_shipped(self._home, self.folder.name, refusal)
        return Step.DONE


def _events_body(entries: Sequence[Entry[Event]]) -> bytes:
    """Return the body that carries events: their bytes as they stand in the journal."""
    payloads = [entry.payload for entry in entries]
    digest = hashlib.sha256(b"".join(payloads)).hexdigest().encode()
    return b'{"epoch":1,"first":%d,"events":[%b],"digest":"%b"}' % (
        entries[0].number,
        b",".join(payloads),
        digest,
    )


def _logs_body(entries: Sequence[Entry[LogLine]]) -> bytes:
    lines = b",".join(entry.payload for entry in entries)
    return b'{"epoch":1,"first":%d,"records":[%b]}' % (entries[0].number, lines)


def _modified(path: Path) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0
