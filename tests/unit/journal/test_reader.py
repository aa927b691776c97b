from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenuto.journal.event import Event, Header, Kind, encode_line
from tenuto.journal.fold import fold
from tenuto.journal.reader import read_ends, read_events
from tests.unit.journal.strategies import event_streams, numbered


def lines_of(events: list[Event]) -> bytes:
    return b"".join(map(encode_line, events))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("journals") / "1.journal"


@given(stream=event_streams(), data=st.data())
def test_truncating_at_any_byte_leaves_a_prefix_of_what_was_written(
    file: Path, stream: list[Event], data: st.DataObject
) -> None:
    whole = lines_of(stream)
    cut = data.draw(st.integers(0, len(whole)))
    file.write_bytes(whole[:cut])

    events = list(read_events(file))

    assert events == stream[: len(events)]
    assert len(lines_of(events)) <= cut
    assert len(events) == whole[:cut].count(b"\n")
    assert fold(events) == fold(stream[: len(events)])


@given(stream=event_streams(), data=st.data())
def test_a_changed_byte_never_yields_an_event_that_was_not_written(
    file: Path, stream: list[Event], data: st.DataObject
) -> None:
    whole = bytearray(lines_of(stream))
    position = data.draw(st.integers(0, len(whole) - 1))
    whole[position] ^= data.draw(st.integers(1, 255))
    file.write_bytes(whole)

    events = list(read_events(file))

    assert events == stream[: len(events)]


@given(stream=event_streams(), data=st.data())
def test_the_last_event_is_found_from_the_end(file: Path, stream: list[Event], data: st.DataObject) -> None:
    whole = lines_of(stream)
    cut = data.draw(st.integers(0, len(whole)))
    file.write_bytes(whole[:cut])

    first, last = read_ends(file)

    events = list(read_events(file))
    assert (first, last) == ((events[0], events[-1]) if events else (None, None))


def test_what_follows_a_gap_in_the_numbers_is_not_believed(file: Path) -> None:
    stream = numbered([Event(kind=Kind.NOTE, message=str(n)) for n in range(4)])
    file.write_bytes(lines_of([stream[0], stream[2], stream[3]]))

    assert [event.message for event in read_events(file)] == ["0"]


def test_a_journal_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert list(read_events(tmp_path / "none")) == []
    assert read_ends(tmp_path / "none") == (None, None)
    assert read_ends(tmp_path) == (None, None)


def test_lines_longer_than_the_window_are_found_from_the_end(file: Path) -> None:
    stream = numbered([Event(kind=Kind.NOTE, message=text * 50_000) for text in "abc"])
    file.write_bytes(lines_of(stream) + b"half a li")

    _, last = read_ends(file)

    assert last == stream[2]


def test_only_the_ends_of_a_long_file_are_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = numbered([Event(kind=Kind.RUN_STARTED, header=Header(v=1))] + [Event(kind=Kind.NOTE)] * 20_000)
    data = bytearray(lines_of(stream))
    middle = len(data) // 2
    data[middle : middle + 1000] = b"\0" * 1000
    file.write_bytes(data)

    first, last = read_ends(file)

    assert first is not None
    assert first.pseq == 1
    assert last is not None
    assert last.pseq == 20_001
