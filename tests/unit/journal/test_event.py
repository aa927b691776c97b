import json
import pickle
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenuto._base.masking import register_secret
from tenuto.journal.event import (
    ErrorInfo,
    Event,
    Header,
    Kind,
    ResultRef,
    decode_line,
    encode_json,
    encode_line,
    event_digest,
)
from tenuto.journal.fold import fold

hostile_text = st.text(st.characters(), max_size=60)  # Lone surrogates and NULs included.


def raised(make: Callable[[], object]) -> BaseException:
    try:
        make()
    except BaseException as error:  # noqa: BLE001  # whatever it is, it is what the test asked for
        return error
    raise AssertionError("nothing was raised")


def test_a_line_is_crc_space_json_newline() -> None:
    line = encode_line(Event(kind=Kind.NOTE, pseq=1, ts=2, message="hej"))

    payload = line[9:-1]
    assert line == f"{zlib.crc32(payload):08x} ".encode() + payload + b"\n"
    assert json.loads(payload) == {"pseq": 1, "ts": 2, "kind": "note", "message": "hej"}


def test_fields_that_hold_their_default_are_left_out() -> None:
    event = Event(kind=Kind.TASK_STATE, slug="a-1", state="Running", index=-1, run_count=1, loop_count=1)

    assert json.loads(encode_json(event)) == {"kind": "task.state", "slug": "a-1", "state": "Running"}


def test_the_version_of_the_header_is_never_left_out() -> None:
    assert json.loads(encode_json(Event(kind=Kind.RUN_STARTED, header=Header(v=1))))["header"] == {"v": 1}


def test_everything_comes_back() -> None:
    event = Event(
        kind=Kind.TASK_STATE,
        pseq=7,
        ts=1,
        slug="a-1",
        index=3,
        state="Failed",
        message="m",
        cause="storage",
        actor="worker",
        run_count=2,
        loop_count=3,
        start_time=4,
        expires=5,
        seconds=0.25,
        inputs={"x": "p:ab"},
        code="cd",
        result=ResultRef("inline", "", "json", "ef", 1, msgspec.Raw(b"1")),
        error=ErrorInfo("ValueError", "m", "t"),
        host="h",
        pid=9,
        children=0,
        data={"a": [1, None]},
        header=Header(v=1, flow="f", parameters={"n": 1.5}, labels=["l"]),
    )

    assert decode_line(encode_line(event)) == event


def test_unknown_fields_are_ignored() -> None:
    payload = b'{"kind":"note","pseq":1,"from_the_future":{"a":[1]},"message":"m"}'

    event = decode_line(b"%08x %b\n" % (zlib.crc32(payload), payload))

    assert event is not None
    assert event.message == "m"


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: line[:-1],
        lambda line: line[:-2] + b"\n",
        lambda line: b"0" * 8 + line[8:],
        lambda line: line.replace(b"hello", b"jello"),
        lambda line: b"",
        lambda line: b"\n",
        lambda line: line[:8] + line[9:],
    ],
)
def test_a_line_that_is_short_or_changed_is_not_believed(damage: Callable[[bytes], bytes]) -> None:
    line = encode_line(Event(kind=Kind.NOTE, message="hello"))

    assert decode_line(damage(line)) is None


def test_a_right_checksum_over_what_is_no_event_is_not_believed() -> None:
    for payload in (b"{}", b"[]", b'{"kind":"unknown"}', b'{"kind":"note","index":"x"}', b"\xff"):
        assert decode_line(b"%08x %b\n" % (zlib.crc32(payload), payload)) is None


@given(message=hostile_text, slug=hostile_text, key=hostile_text, value=hostile_text)
def test_hostile_text_never_costs_an_event(message: str, slug: str, key: str, value: str) -> None:
    event = decode_line(encode_line(Event(kind=Kind.NOTE, slug=slug, message=message, data={key: [value]})))

    assert event is not None
    if message.isprintable():
        assert event.message == message


def test_a_huge_message_is_one_line() -> None:
    event = Event(kind=Kind.NOTE, message="a\nb\0" * 1_000_000)

    line = encode_line(event)

    assert line.count(b"\n") == 1
    assert decode_line(line) == event


def test_what_json_cannot_hold_becomes_text_instead_of_an_error() -> None:
    nested: list[object] = []
    for _ in range(2000):
        nested = [nested]

    event = decode_line(encode_line(Event(kind=Kind.NOTE, data={"a": object(), "b": {1, 2}, "c": nested})))

    assert event is not None
    assert "object object" in event.data["a"]
    assert sorted(event.data["b"]) == [1, 2]


def test_an_event_of_wrong_types_becomes_a_note_and_hides_nothing_behind_it() -> None:
    wrong = Event(kind=Kind.TASK_STATE, pseq=3, slug="a-1", index=object())  # type: ignore[arg-type]

    event = decode_line(encode_line(wrong))

    assert event is not None
    assert (event.kind, event.pseq) == (Kind.NOTE, 3)
    assert "a-1" in event.message


def test_the_digest_of_an_event_is_half_of_a_sha256() -> None:
    assert len(event_digest(b"{}")) == 16
    assert event_digest(b"{}").hex() == "44136fa355b3678a1146ad16f7e8649e"


# Errors


def test_an_error_keeps_type_message_and_traceback() -> None:
    info = ErrorInfo.from_exception(raised(lambda: int("x")))

    assert info.type == "ValueError"
    assert info.message == "invalid literal for int() with base 10: 'x'"
    assert 'int("x")' in info.traceback


def test_the_class_of_an_error_is_named_with_its_module() -> None:
    assert ErrorInfo.from_exception(msgspec.DecodeError("m")).type == "msgspec.DecodeError"


def test_frames_of_tenuto_are_left_out_also_of_causes() -> None:
    def broken() -> Iterator[Event]:
        int("through tenuto")
        yield Event(kind=Kind.NOTE)

    def fail() -> None:
        try:
            fold(broken())
        except ValueError as error:
            raise RuntimeError("outer") from error

    trace = ErrorInfo.from_exception(raised(fail)).traceback

    assert "direct cause" in trace
    assert 'int("through tenuto")' in trace
    assert "fold.py" not in trace


def test_an_error_takes_at_most_16_kb() -> None:
    error = ValueError("ä" * 1_000_000)

    info = ErrorInfo.from_exception(error)

    assert len(msgspec.json.encode(info)) <= 16 * 1024 + 200
    assert "… cut …" in info.message


def test_the_beginning_and_the_end_of_a_long_traceback_are_kept() -> None:
    error = raised(lambda: int("begin"))
    error.add_note("x" * 100_000 + "end")

    trace = ErrorInfo.from_exception(error).traceback

    assert trace.startswith("Traceback")
    assert trace.rstrip().endswith("end")


def test_secrets_are_masked_in_errors() -> None:  # I-21
    register_secret("hunter2-hunter2")

    info = ErrorInfo.from_exception(raised(lambda: int("hunter2-hunter2")))

    assert "hunter2" not in str(info)
    assert "****" in info.message


def test_an_error_whose_text_cannot_be_made_is_still_described() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    info = ErrorInfo.from_exception(Broken())

    assert info.type.endswith("Broken")
    assert "RuntimeError in __str__" in info.message


def test_an_error_with_surrogates_can_be_written() -> None:
    info = ErrorInfo.from_exception(ValueError("\ud800"))

    assert decode_line(encode_line(Event(kind=Kind.TASK_STATE, error=info))) is not None


def test_errors_are_never_pickled() -> None:
    class Unpicklable(Exception):
        def __reduce__(self) -> str:
            raise AssertionError("pickled")

    assert ErrorInfo.from_exception(Unpicklable("m")).message == "m"


@pytest.mark.parametrize("value", [b"", b"[1,2]"])
def test_references_that_were_pickled_are_written_like_others(value: bytes) -> None:
    # They come back from the processes that tasks run in.
    fields: dict[str, Any] = {"kind": "inline" if value else "kept", "serializer": "json", "length": 2}
    ref = ResultRef(**fields, value=msgspec.Raw(value)) if value else ResultRef(**fields)
    event = Event(kind=Kind.TASK_STATE, result=pickle.loads(pickle.dumps(ref)))
    line = encode_line(event)
    assert line == encode_line(Event(kind=Kind.TASK_STATE, result=ref))
    assert decode_line(line) is not None
