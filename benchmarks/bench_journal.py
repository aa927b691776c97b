"""
What does one event of a journal cost? Microseconds an event, 5,000 events a round.

Held constant: the file system (one folder), the events: those of a no-op task, `Running` and its final state
with an inline result. The floor is one `write(2)` of the same bytes. "Read" is what `history`, resume and the
views do later: checking and decoding every line, and folding the events to a run.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from benchmarks.harness import Figure, figure, in_turns, main, scratch_folder, seconds
from tenuto.journal.event import Event, Header, Kind, ResultRef
from tenuto.journal.fold import fold
from tenuto.journal.reader import read_events
from tenuto.journal.writer import JournalWriter

DIGEST = "74234e98afe7498fb5daf1f36ac2d78acc339464f950703b8c019892f982b90b"


def measure(quick: bool) -> list[Figure]:
    n_tasks = 250 if quick else 2500
    with scratch_folder() as folder:
        sample = folder / "sample.journal"
        write_journal(sample, n_tasks)
        lines = sample.read_bytes().splitlines(keepends=True)
        n_events = len(lines)
        cases = {
            "write": lambda: us_each(n_events, lambda: write_journal(fresh(folder), n_tasks)),
            "floor": lambda: us_each(n_events, lambda: write_lines(fresh(folder), lines)),
            "read": lambda: us_each(n_events, lambda: list(read_events(sample))),
            "fold": lambda: us_each(n_events, lambda: fold(read_events(sample))),
            "read floor": lambda: us_each(n_events, lambda: sample.read_bytes().splitlines()),
        }
        measured = in_turns(cases, rounds=5 if quick else 21)
    bytes_each = sum(map(len, lines)) / len(lines)
    return [
        figure(
            f"append one event ({bytes_each:.0f} bytes)",
            "us",
            measured["write"],
            floor=measured["floor"],
            floor_name="us: write(2) of the same bytes",
        ),
        figure("read one event", "us", measured["read"]),
        figure("read and fold one event", "us", measured["fold"]),
    ]


def us_each(count: int, work: object) -> float:
    assert callable(work)
    return 1e6 * seconds(work) / count


def fresh(folder: Path) -> Path:
    path = folder / "1.journal"
    path.unlink(missing_ok=True)
    return path


def write_journal(path: Path, n_tasks: int) -> None:
    """Write what a flow of no-op tasks writes."""
    writer = JournalWriter(path, 1)
    writer.append(Event(kind=Kind.RUN_STARTED, header=Header(v=1, flow="bench", name="amber-otter")))
    result = ResultRef(kind="inline", serializer="json", sha256=DIGEST, length=4, value=msgspec.Raw(b"null"))
    for number in range(n_tasks):
        slug = f"noop-{number}"
        inputs = {"x": DIGEST}
        writer.append(Event(kind=Kind.TASK_STATE, slug=slug, state="Running", inputs=inputs, code=DIGEST))
        writer.append(
            Event(
                kind=Kind.TASK_STATE,
                slug=slug,
                state="Success",
                message="Task run succeeded.",
                seconds=1.7e-6,
                inputs=inputs,
                code=DIGEST,
                result=result,
            )
        )
    writer.append(Event(kind=Kind.RUN_STATE, state="Success", message="All reference tasks succeeded."))
    writer.close()


def write_lines(path: Path, lines: list[bytes]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
    for line in lines:
        os.write(descriptor, line)
    os.close(descriptor)


if __name__ == "__main__":
    main(measure, __doc__)
