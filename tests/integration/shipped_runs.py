"""What tests of shipping share: runs to ship, and a look at what has arrived."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tenuto.configuration import config
from tenuto.journal.fold import RunView, fold
from tenuto.journal.home import Home
from tenuto.journal.reader import read_events
from tenuto.journal.tail import event_tail
from tests.fakes.servers import TenutoServer

__all__ = ["arrived_whole", "is_shipped", "program", "ship", "stored_events", "until", "use"]

SECONDS_MAX = 300.0
"""When something that does not happen is given up; nothing here measures time."""


def until(is_so: Callable[[], object], what: str) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + SECONDS_MAX
    while not is_so():
        assert time.monotonic() < deadline, f"It did not happen: {what}"
        time.sleep(0.02)


def use(server: TenutoServer) -> None:
    """Have this process speak to a server that does not share its home folder."""
    config.cloud.api, config.cloud.api_key = server.url, server.key


def program(text: str, folder: Path) -> list[str]:
    """Return the command that runs a program."""
    path = folder / f"program-{hashlib.sha256(text.encode()).hexdigest()[:8]}.py"
    path.write_text(text)
    return [sys.executable, str(path)]


def ship(*, env: dict[str, str] | None = None) -> dict[str, object]:
    """Run `tenuto history --ship`, and return what it tells."""
    command = [sys.executable, "-m", "tenuto", "history", "--ship", "--json"]
    address = {"TENUTO__CLOUD__API": config.cloud.api, "TENUTO__CLOUD__API_KEY": config.cloud.api_key}
    done = subprocess.run(
        command, env={**os.environ, **address, **(env or {})}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, object] = json.loads(done.stdout)
    return told


def is_shipped(home: Home, run_id: str) -> bool:
    """Say whether a server is known to have a run."""
    return (home.runs / ".shipped" / run_id).exists()


def stored_events(server: TenutoServer, run_id: str) -> list[bytes]:
    """Return the events that the producer of a run has reported, in the order of the stream."""
    query = "SELECT payload FROM run_event WHERE run_id = ? AND pseq IS NOT NULL ORDER BY seq"
    return [str(payload).encode() for (payload,) in server.rows(query, run_id)]


def arrived_whole(server: TenutoServer, home: Home, run_id: str) -> RunView:
    """
    Check that a server has a run as its files tell it: each byte of each event and log record, once.

    Returns:
        What the events add up to.
    """
    journal = home.run_folder(run_id) / "1.journal"
    written = [entry.payload for entry in event_tail(journal)]
    assert written
    assert stored_events(server, run_id) == written
    numbers = [
        seq for (seq,) in server.rows("SELECT seq FROM run_event WHERE run_id = ? ORDER BY seq", run_id)
    ]
    assert numbers == list(range(1, len(numbers) + 1))
    chunks = server.rows("SELECT bytes FROM log_chunk WHERE run_id = ? ORDER BY lseq_from", run_id)
    log = journal.with_suffix(".logs.jsonl")
    assert b"".join(data for (data,) in chunks) == (log.read_bytes() if log.exists() else b"")
    view = fold(read_events(journal))
    ((state, flow_id),) = server.rows("SELECT state, flow_id FROM flow_run WHERE id = ?", run_id)
    assert state == view.state
    tasks = server.rows("SELECT slug, map_index, state FROM task_run WHERE run_id = ?", run_id)
    assert {(slug, index): state for slug, index, state in tasks} == {
        key: task.state for key, task in view.tasks.items()
    }
    ((graph,),) = server.rows("SELECT serialized FROM flow WHERE id = ?", flow_id)
    assert str(graph).encode() == home.objects_get(view.header.graph_sha256)
    return view
