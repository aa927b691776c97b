from pathlib import Path

from tenuto.journal.event import Event, Kind, encode_line
from tenuto.journal.tail import event_tail, log_tail


def lines(first: int, last: int) -> bytes:
    return b"".join(
        encode_line(Event(kind=Kind.NOTE, pseq=pseq, message="x" * pseq)) for pseq in range(first, last + 1)
    )


def add(path: Path, data: bytes) -> None:
    with open(path, "ab") as file:
        file.write(data)


def test_file_that_is_not_there_yet_has_nothing(tmp_path: Path) -> None:
    tail = event_tail(tmp_path / "1.journal")
    assert tail.take(10, 1000) == []
    add(tail.path, lines(1, 1))
    assert [entry.number for entry in tail.take(10, 1000)] == [1]


def test_lines_are_given_once_as_they_come_with_their_bytes(tmp_path: Path) -> None:
    path = tmp_path / "1.journal"
    whole = lines(1, 5)
    tail = event_tail(path)
    given = []
    for start in range(0, len(whole), 7):  # An event comes in pieces.
        add(path, whole[start : start + 7])
        given += tail.take(10, 1 << 20)
    assert [entry.number for entry in given] == [1, 2, 3, 4, 5]
    assert b"".join(line[9:-1] for line in whole.splitlines(keepends=True)) == b"".join(
        entry.payload for entry in given
    )
    assert tail.offset == len(whole)
    assert not tail.is_damaged


def test_line_that_is_taken_back_and_written_anew_is_read_as_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "1.journal"
    add(path, lines(1, 1))
    begun = path.stat().st_size
    add(path, lines(2, 2)[:20])
    tail = event_tail(path)
    assert len(tail.take(10, 1000)) == 1
    with open(path, "r+b") as file:
        file.truncate(begun)
    add(path, encode_line(Event(kind=Kind.INCOMPLETE, pseq=2)))
    assert [entry.content.kind for entry in tail.take(10, 1000)] == [Kind.INCOMPLETE]


def test_both_limits_hold_but_one_line_is_always_given(tmp_path: Path) -> None:
    path = tmp_path / "1.journal"
    add(path, lines(1, 10))
    tail = event_tail(path)
    assert [len(tail.take(3, 1 << 20)), len(tail.take(100, 1)), len(tail.take(100, 1 << 20))] == [3, 1, 6]


def test_nothing_behind_damage_or_a_gap_is_believed(tmp_path: Path) -> None:
    for name, data in {
        "damaged": lines(1, 2) + b"00000000 {}\n" + lines(3, 4),
        "gap": lines(1, 2) + lines(4, 5),
        "repeated": lines(1, 2) + lines(2, 3),
    }.items():
        path = tmp_path / name
        add(path, data)
        tail = event_tail(path)
        assert [entry.number for entry in tail] == [1, 2]
        assert tail.is_damaged
        assert tail.offset == len(lines(1, 2))
        with open(path, "r+b") as file:
            file.truncate(tail.offset)
        add(path, lines(3, 3))
        assert tail.take(1, 1) == []
        tail.refresh()
        assert [entry.number for entry in tail] == [3]


def test_reading_goes_on_from_any_number(tmp_path: Path) -> None:
    path = tmp_path / "1.journal"
    add(path, lines(1, 9))
    tail = event_tail(path)
    for number, following in {4: 5, 8: 9, 2: 3, 0: 1}.items():
        tail.go_to(number)
        assert tail.take(1, 1)[0].number == following
    tail.go_to(100)
    assert (tail.number, tail.take(1, 1)) == (9, [])


def test_logs_are_lines_of_json_alone(tmp_path: Path) -> None:
    path = tmp_path / "1.logs.jsonl"
    add(path, b'{"lseq":1,"message":"a"}\n{"lseq":2,"dropped":3}\n{"lseq":2}\n')
    tail = log_tail(path)
    assert [entry.payload for entry in tail] == [b'{"lseq":1,"message":"a"}', b'{"lseq":2,"dropped":3}']
    assert tail.is_damaged
