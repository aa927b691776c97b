"""
The one event type: written to a run's journal, sent on the wire, checked by the server.

A journal is a text file with one event a line: CRC32 of the JSON as eight hex digits, a space, the JSON, a
newline. `encode_line` and `decode_line` are that format; the same JSON bytes are what a server receives.
"""

from __future__ import annotations

import enum
import hashlib
import os
import traceback
import zlib
from typing import Any

import msgspec

from tenuto._base.importtools import import_path
from tenuto._base.masking import mask
from tenuto._base.texts import clean_text, safe_repr, safe_text

__all__ = [
    "ENCODER",
    "EVENT_BYTES_MAX",
    "UNENCODABLE",
    "ErrorInfo",
    "Event",
    "Header",
    "Kind",
    "ResultRef",
    "decode_json",
    "decode_line",
    "encode_json",
    "encode_line",
    "event_digest",
    "frame_line",
    "shortened",
]

ERROR_BYTES_MAX = 16 * 1024
# A batch of 1 MB holds the longest event. One that refers to thousands of inputs, such as the list of the
# results of so many tasks, is far longer than others.
EVENT_BYTES_MAX = (1 << 20) - (32 << 10)
_CUT_MARK = "\n… cut …\n"
_DEPTH_MAX = 40
_PACKAGE_FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")
_TASK_LIBRARY = os.path.join(_PACKAGE_FOLDER, "tasks", "")


class Kind(enum.StrEnum):
    """What an event tells. The order is that of the numbers in the store: append only."""

    RUN_STARTED = "run.started"
    RUN_STATE = "run.state"
    TASK_STATE = "task.state"
    RUN_NAME = "run.name"
    TASK_NAME = "task.name"
    ARTIFACT = "artifact"
    NOTE = "note"
    INCOMPLETE = "incomplete"


class ResultRef(msgspec.Struct, omit_defaults=True, gc=False):
    """Where a task run's result is, and the checksum by which a reader believes it."""

    kind: str
    """`inline` (the value is here), `kept` (a copy beside the run), `result` (the task's Result)."""
    location: str = ""
    """File name in `kept/`, URL below `flows.results_location`, or the task's own; empty for `inline`."""
    serializer: str = ""
    """`json`, `pickle`, `npy`, `arrow`, or the path of a serializer class, which no server imports."""
    sha256: str = ""
    """Hex SHA-256 of the bytes; for `inline` of the canonical JSON (sorted keys) of the value."""
    length: int = 0
    """Number of the bytes that `sha256` is of."""
    value: msgspec.Raw = msgspec.Raw()
    """The plain JSON of an `inline` result, keys in the value's own order; empty otherwise."""

    def __reduce__(self) -> tuple[Any, ...]:
        # The encoder knows an empty value by identity only: one that was pickled would be written as nothing
        # at all, and no reader takes such a line.
        fields = (self.kind, self.location, self.serializer, self.sha256, self.length)
        return ResultRef, ((*fields, self.value) if bytes(self.value) else fields)


class ErrorInfo(msgspec.Struct, omit_defaults=True, gc=False):
    """An exception as text, at most 16 KB: exceptions are never pickled into events."""

    type: str
    """Qualified class name, such as `ValueError` or `mylib.errors.BadInput`."""
    message: str = ""
    """`str()` of the exception, secrets masked."""
    traceback: str = ""
    """The traceback without Tenuto's own frames, secrets masked, cut in the middle when too long."""

    @classmethod
    def from_exception(cls, error: BaseException) -> ErrorInfo:
        """Describe an exception. Never raises for an exception whose own `__str__` does."""
        kind = type(error)
        name = kind.__qualname__ if kind.__module__ == "builtins" else import_path(kind)
        message = clean_text(mask(safe_text(error)))
        trace = clean_text(mask(_format_traceback(error)))
        return cls(
            type=_cut(name, 512),
            message=_cut(message, ERROR_BYTES_MAX // 4),
            traceback=_cut(trace, ERROR_BYTES_MAX - ERROR_BYTES_MAX // 4 - 1024),
        )


class Header(msgspec.Struct, omit_defaults=True, kw_only=True):
    """What is known when a run begins. Carried by the first event of each journal only."""

    v: int = 0
    """Version of this format: 1."""
    flow_run_id: str = ""
    """UUID version 7 as lower-case text."""
    name: str = ""
    """Name of the run, two words when nobody gave one."""
    flow: str = ""
    """Name of the flow."""
    project: str = ""
    """Project of a registered flow."""
    source_path: str = ""
    """File in which the flow was made; empty in notebooks."""
    source_sha256: str = ""
    """Hex SHA-256 of that file as it was at the start."""
    graph_sha256: str = ""
    """Name of the object (canonical JSON) that holds the graph."""
    parameters: dict[str, Any] = {}
    """Parameter values as plain JSON, secrets masked; `{"$repr": text}` for a value that is not plain."""
    context: dict[str, Any] = {}
    """Context values that the run was given, in the same form."""
    labels: list[str] = []
    """Labels of the run."""
    resumed_from: str = ""
    """Id of the run that this one continues."""
    parent: str = ""
    """Id of the flow run that started this one."""
    scheduled_start_time: int | None = None
    """Microseconds since 1970 UTC."""
    python: str = ""
    """Version of Python."""
    tenuto: str = ""
    """Version of Tenuto."""
    distributions_sha256: str = ""
    """One digest over name and version of all installed distributions."""
    host: str = ""
    """Name of the machine."""
    boot_id: str = ""
    """Identity of the machine's current boot (Linux), else empty."""
    pid: int = 0
    """Process id."""
    start_ticks: int = 0
    """Start of that process: clock ticks since boot (Linux), elsewhere microseconds since 1970."""
    executor: str = ""
    """Class name of the executor."""


class Event(msgspec.Struct, omit_defaults=True, gc=False, kw_only=True):
    """
    One thing that happened to a run or to one of its task runs.

    Fields that hold their default are left out.
    """

    # gc=False: nothing in an event can refer back to it, and a run makes two of them for each task run.
    pseq: int = 0
    """1, 2, 3 … in this epoch."""
    ts: int = 0
    """Microseconds since 1970 UTC by the producer's clock."""
    kind: Kind
    """What the event tells."""
    slug: str = ""
    """The task; empty = the run itself."""
    index: int = -1
    """Map index; -1 = none."""
    state: str = ""
    """Class name of the state."""
    message: str = ""
    """The state's message, secrets masked."""
    cause: str = ""
    """What went wrong in infrastructure, such as `crashed`, `timeout` or `storage`."""
    actor: str = ""
    """User, worker, agent or service that made the change."""
    run_count: int = 1
    """Number of the attempt: 1, 2 …"""
    loop_count: int = 1
    """Number of the loop iteration: 1, 2 …"""
    start_time: int | None = None
    """Due time of a waiting state, microseconds since 1970 UTC."""
    expires: int | None = None
    """End of a cached state, microseconds since 1970 UTC."""
    seconds: float | None = None
    """Duration of the attempt, on the event that ends it."""
    inputs: dict[str, str] = {}
    """Argument name to digest; `p:` marks a digest of provenance instead of value."""
    code: str = ""
    """Fingerprint of the task's code: the name of the object that holds it."""
    result: ResultRef | None = None
    """Where the result is."""
    error: ErrorInfo | None = None
    """The exception, as text."""
    host: str = ""
    """Machine, only where it is not the header's."""
    pid: int = 0
    """Process, only where it is not the header's."""
    children: int | None = None
    """Number of children, on `Mapped`."""
    data: dict[str, Any] = {}
    """Body of `artifact`, `note`, `run.name`, `task.name` and `incomplete`."""
    header: Header | None = None
    """Only in `run.started`."""


ENCODER = msgspec.json.Encoder()
UNENCODABLE = (UnicodeEncodeError, TypeError, ValueError, OverflowError, RecursionError)
"""What the encoder raises for texts and values that JSON cannot hold; `encode_json` replaces those."""
_decoder = msgspec.json.Decoder(Event)


def encode_json(event: Event) -> bytes:
    """
    Return the JSON of an event.

    Text that UTF-8 cannot carry (lone surrogates) is replaced, never refused.
    """
    try:
        return ENCODER.encode(event)
    except UNENCODABLE:
        # Rare and off the hot path: a message or a parameter that JSON cannot hold must not cost the event.
        payload = ENCODER.encode(_cleaned(event))
        if decode_json(payload) is not None:
            return payload
        # A line that no reader takes would hide all that follow it.
        lost = f"A {event.kind} of {event.slug!r} could not be written."
        return ENCODER.encode(Event(kind=Kind.NOTE, pseq=event.pseq, ts=event.ts, message=clean_text(lost)))


def shortened(event: Event) -> bytes:
    """Return the JSON of an event that is longer than `EVENT_BYTES_MAX`, without what makes it so."""
    message = _cut(event.message, ERROR_BYTES_MAX)
    # Without its inputs, a task is run again by a run that continues this one: no harm but time.
    event = msgspec.structs.replace(event, message=message, inputs={})
    payload = encode_json(event)
    if len(payload) <= EVENT_BYTES_MAX:
        return payload
    header = event.header
    if header is not None:
        event.header = msgspec.structs.replace(header, parameters={}, context={})
    event.data = {"cut": True}
    return encode_json(event)


def encode_line(event: Event) -> bytes:
    """Return the event as a line of a journal, newline included."""
    return frame_line(encode_json(event))


def frame_line(payload: bytes) -> bytes:
    """Put checksum and newline around the JSON of an event."""
    return b"%08x %b\n" % (zlib.crc32(payload), payload)


def decode_line(line: bytes) -> Event | None:
    """Return the event of a line; None unless it is whole, newline included, and its checksum is right."""
    if len(line) < 11 or line[8:9] != b" " or line[-1:] != b"\n":
        return None
    payload = line[9:-1]
    if b"%08x" % zlib.crc32(payload) != line[:8]:
        return None
    return decode_json(payload)


def decode_json(payload: bytes) -> Event | None:
    """Return the event of its JSON, or None when the JSON is not an event."""
    try:
        return _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def event_digest(payload: bytes) -> bytes:
    """Return the 16 bytes by which a store tells a repeated event from a conflicting one."""
    return hashlib.sha256(payload).digest()[:16]


def _cleaned(value: Any, depth: int = 0) -> Any:
    """Return what JSON can hold in place of whatever was put in an event."""
    if isinstance(value, str):
        return clean_text(str(value))
    if value is None or isinstance(value, bool | int | float | msgspec.Raw):
        return value
    if depth > _DEPTH_MAX:
        return "…"
    if isinstance(value, msgspec.Struct):
        return type(value)(
            **{name: _cleaned(getattr(value, name), depth + 1) for name in value.__struct_fields__}
        )
    if isinstance(value, dict):
        return {clean_text(str(key)): _cleaned(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_cleaned(item, depth + 1) for item in value]
    return clean_text(safe_repr(value, 200))


def _format_traceback(error: BaseException) -> str:
    report = traceback.TracebackException.from_exception(error)
    _drop_own_frames(report, set())
    return "".join(report.format())


def _drop_own_frames(report: traceback.TracebackException, seen: set[int]) -> None:
    """Take the engine's frames out of a report and its causes: they tell the user nothing."""
    if id(report) in seen:
        return
    seen.add(id(report))
    report.stack[:] = [frame for frame in report.stack if not _is_own(frame.filename)]
    for other in (report.__cause__, report.__context__, *(report.exceptions or ())):
        if other is not None:
            _drop_own_frames(other, seen)


def _is_own(filename: str) -> bool:
    return filename.startswith(_PACKAGE_FOLDER) and not filename.startswith(_TASK_LIBRARY)


def _cut(text: str, bytes_max: int) -> str:
    """Keep beginning and end of a text that is longer than `bytes_max` in UTF-8."""
    data = text.encode()
    if len(data) <= bytes_max:
        return text
    half = (bytes_max - len(_CUT_MARK.encode())) // 2
    return data[:half].decode(errors="ignore") + _CUT_MARK + data[-half:].decode(errors="ignore")
