import errno
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tenuto.journal import writer as writer_module
from tenuto.journal.event import EVENT_BYTES_MAX, Event, Header, Kind
from tenuto.journal.reader import read_events
from tenuto.journal.writer import JournalWriter


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "1.journal"


def note(text: str = "") -> Event:
    return Event(kind=Kind.NOTE, message=text)


def full_disk(monkeypatch: pytest.MonkeyPatch, fails: Callable[[int], bool], partial: int = 0) -> list[int]:
    """Let the writes fail for which `fails(number)` is true, after `partial` bytes have been written."""
    calls: list[int] = []

    def write(fd: int, data: bytes) -> int:
        calls.append(len(data))
        if not fails(len(calls)):
            return os.write(fd, data)
        if partial:
            return os.write(fd, data[:partial])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(writer_module, "_write", write)
    return calls


def test_events_are_numbered_and_stamped(path: Path) -> None:
    writer = JournalWriter(path)

    assert all(writer.append(note(str(number))) for number in range(3))
    writer.close()

    events = list(read_events(path))
    assert [event.pseq for event in events] == [1, 2, 3]
    assert [event.message for event in events] == ["0", "1", "2"]
    assert all(event.ts > 1_700_000_000_000_000 for event in events)


def test_an_event_is_one_write(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = full_disk(monkeypatch, lambda number: False)
    writer = JournalWriter(path)

    writer.append(note("a" * 100_000))
    writer.close()

    assert len(calls) == 1


def test_the_file_is_private_and_never_an_old_one(path: Path) -> None:
    JournalWriter(path).close()

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        JournalWriter(path)


def test_an_event_is_there_before_anything_else_happens(path: Path) -> None:
    writer = JournalWriter(path)

    writer.append(note())

    assert len(list(read_events(path))) == 1
    writer.close()


def test_a_full_disk_ends_the_record_without_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = JournalWriter(path)
    writer.append(note("kept"))
    full_disk(monkeypatch, lambda number: number == 1)

    assert writer.append(note("lost")) is False
    assert writer.append(note("later")) is False
    writer.close()

    assert writer.broken is not None
    events = list(read_events(path))
    assert [event.kind for event in events] == [Kind.NOTE, Kind.INCOMPLETE]
    assert events[1].data["reason"] == os.strerror(errno.ENOSPC)


@pytest.mark.parametrize("partial", [1, 9, 40])
def test_a_line_cut_by_a_full_disk_is_taken_back(
    path: Path, monkeypatch: pytest.MonkeyPatch, partial: int
) -> None:
    writer = JournalWriter(path)
    writer.append(note("kept"))
    full_disk(monkeypatch, lambda number: number == 1, partial)

    assert writer.append(note("lost")) is False
    writer.close()

    assert [event.kind for event in read_events(path)] == [Kind.NOTE, Kind.INCOMPLETE]


def test_a_disk_that_stays_full_leaves_the_whole_lines(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = JournalWriter(path)
    writer.append(note("kept"))
    full_disk(monkeypatch, lambda number: True, partial=5)

    writer.append(note("lost"))
    writer.mark_incomplete("Success")
    writer.close()

    assert [event.message for event in read_events(path)] == ["kept"]


def test_the_mark_is_tried_again_with_the_final_state(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = JournalWriter(path)
    full_disk(monkeypatch, lambda number: number <= 2)

    writer.append(note())
    assert writer.mark_incomplete("Success", "done") is True
    writer.close()

    [mark] = read_events(path)
    assert (mark.kind, mark.state, mark.message) == (Kind.INCOMPLETE, "Success", "done")


def test_a_sound_record_gets_no_mark(path: Path) -> None:
    writer = JournalWriter(path)

    assert writer.mark_incomplete("Success") is False
    writer.close()

    assert path.read_bytes() == b""


@pytest.mark.parametrize("before", [True, False])
def test_an_interrupt_around_the_write_leaves_no_gap_and_no_double_number(
    path: Path, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    writer = JournalWriter(path)
    writer.append(note("first"))

    def interrupted(fd: int, data: bytes) -> int:
        if not before:
            os.write(fd, data)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(writer_module, "_write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            writer.append(note("second"))
    writer.append(note("third"))
    writer.close()

    events = list(read_events(path))
    expected = ["first", "third"] if before else ["first", "second", "third"]
    assert [event.message for event in events] == expected
    assert [event.pseq for event in events] == list(range(1, len(expected) + 1))


def test_threads_may_append_at_once(path: Path) -> None:
    writer = JournalWriter(path)
    threads = [threading.Thread(target=lambda: [writer.append(note()) for _ in range(200)]) for _ in range(4)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()

    assert [event.pseq for event in read_events(path)] == list(range(1, 801))


def test_a_fork_of_the_process_writes_nothing(path: Path) -> None:
    writer = JournalWriter(path)
    writer.append(note("parent"))

    pid = os.fork()
    if pid == 0:  # The child.
        writer.append(note("child"))
        writer.mark_incomplete("Success")
        writer.close()
        os._exit(0)
    os.waitpid(pid, 0)
    writer.append(note("parent again"))
    writer.close()

    assert [event.message for event in read_events(path)] == ["parent", "parent again"]


def test_after_close_events_are_dropped(path: Path) -> None:
    writer = JournalWriter(path)
    writer.close()
    writer.close()

    assert writer.append(note()) is False
    assert writer.sync() is False
    assert path.read_bytes() == b""


def test_durable_forces_each_event_to_the_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # I-2
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)

    for durable, expected in ((True, 3), (False, 0)):
        writer = JournalWriter(path.with_name(f"{durable}"), durable=durable)
        writer.append(note())
        synced.clear()
        for _ in range(3):
            writer.append(note())
        assert len(synced) == expected
        writer.close()


def test_a_failed_fsync_ends_the_record(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    writer = JournalWriter(path)
    monkeypatch.setattr(os, "fsync", fail)

    assert writer.sync() is False
    assert writer.broken is not None
    writer.close()


def test_event_is_shortened_to_what_a_batch_holds(path: Path) -> None:
    writer = JournalWriter(path)
    header = Header(v=1, flow="f", parameters={str(number): "x" * 16_000 for number in range(100)})
    writer.append(Event(kind=Kind.RUN_STARTED, header=header))
    inputs = {str(number): "0" * 64 for number in range(20_000)}
    writer.append(Event(kind=Kind.TASK_STATE, slug="a-1", state="Running", inputs=inputs))
    writer.append(Event(kind=Kind.NOTE, data={"long": "x" * 2_000_000}))
    writer.append(Event(kind=Kind.RUN_STATE, state="Failed", message="x" * 2_000_000))
    writer.close()

    started, running, cut, failed = read_events(path)

    assert started.header is not None
    assert (started.header.flow, started.header.parameters) == ("f", {})
    assert (running.slug, running.state, running.inputs) == ("a-1", "Running", {})
    assert cut.data == {"cut": True}
    assert failed.message.startswith("xxx")
    assert max(map(len, path.read_bytes().splitlines())) < EVENT_BYTES_MAX


def test_event_of_thousands_of_inputs_is_kept_whole(path: Path) -> None:
    writer = JournalWriter(path)
    inputs = {str(number): "0" * 64 for number in range(10_000)}
    writer.append(Event(kind=Kind.TASK_STATE, slug="a-1", state="Running", inputs=inputs))
    writer.close()
    assert [event.inputs for event in read_events(path)] == [inputs]
