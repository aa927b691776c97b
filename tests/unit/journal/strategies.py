"""Random runs (streams of events as a writer would have numbered them) and values."""

import math
from typing import Any

import msgspec
from hypothesis import strategies as st

from tenuto.journal.event import ErrorInfo, Event, Header, Kind, ResultRef
from tenuto.journal.states import FINAL_STATES

STATES = sorted(FINAL_STATES | {"Pending", "Running", "Retrying", "Looped", "Paused"})

text = st.text(st.characters(codec="utf-8"), max_size=20)
digests = st.text("0123456789abcdef", min_size=4, max_size=8)
slugs = st.sampled_from(["get-1", "clean-1", "train[0]-2", "ü\n"])

refs = st.builds(
    ResultRef,
    kind=st.sampled_from(["inline", "kept", "result"]),
    location=text,
    serializer=st.just("json"),
    sha256=digests,
    length=st.integers(0, 99),
    value=st.sampled_from([msgspec.Raw(b"1"), msgspec.Raw(b'{"b":1,"a":[null]}')]),
)
errors = st.builds(ErrorInfo, type=text, message=text, traceback=text)
task_events = st.builds(
    Event,
    kind=st.just(Kind.TASK_STATE),
    slug=slugs,
    index=st.integers(-1, 3),
    state=st.sampled_from(STATES),
    message=text,
    run_count=st.integers(1, 3),
    seconds=st.none() | st.floats(0, 9, allow_nan=False),
    inputs=st.dictionaries(text, digests, max_size=2),
    code=digests,
    result=st.none() | refs,
    error=st.none() | errors,
    children=st.none() | st.integers(0, 9),
)
run_events = st.builds(Event, kind=st.just(Kind.RUN_STATE), state=st.sampled_from(STATES), message=text)
other_events = st.one_of(
    st.builds(Event, kind=st.just(Kind.NOTE), message=text),
    st.builds(Event, kind=st.just(Kind.RUN_NAME), data=st.fixed_dictionaries({"name": text})),
    st.builds(Event, kind=st.just(Kind.TASK_NAME), slug=slugs, data=st.fixed_dictionaries({"name": text})),
    st.builds(Event, kind=st.just(Kind.ARTIFACT), slug=slugs, data=st.fixed_dictionaries({"key": text})),
    st.builds(Event, kind=st.just(Kind.INCOMPLETE), data=st.just({"reason": "disk full"})),
)


def numbered(events: list[Event]) -> list[Event]:
    """Copies of events with the numbers and times that a writer gives."""
    return [
        msgspec.structs.replace(event, pseq=number, ts=1_000_000 + number)
        for number, event in enumerate(events, 1)
    ]


@st.composite
def event_streams(draw: st.DrawFn) -> list[Event]:
    """The events of one run: its start, then up to a dozen of any kind."""
    start = Event(kind=Kind.RUN_STARTED, header=Header(v=1, flow=draw(text), name="amber-otter"))
    rest = draw(st.lists(task_events | run_events | other_events, max_size=12))
    return numbered([start, *rest])


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=12,
)


def same(one: Any, other: Any) -> bool:
    """Equal, with equal types all the way down and the same zeros."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, float):
        return math.copysign(1, one) == math.copysign(1, other) and one == other
    return bool(one == other)
