"""States to JSON and back."""

import builtins
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tenuto
from tenuto import context
from tenuto.engine.result import NoResult, Result
from tenuto.engine.results import ConstantResult, LocalResult, PrefectResult, SecretResult
from tenuto.engine.serializers import DateTimeSerializer
from tenuto.engine.state import (
    Cached,
    Failed,
    Looped,
    Mapped,
    Paused,
    Queued,
    Retrying,
    Running,
    Scheduled,
    State,
    Submitted,
    Success,
)
from tenuto.serialization.state import result_from_dict, result_to_dict

MOMENT = datetime(2020, 1, 1, 5, 6, 7, tzinfo=UTC)
CLASSES = [cls for cls in State.children(include_self=True) if cls.__module__ == State.__module__]

examples: list[State] = [
    Success("m", context={"a": [1, {"b": None}]}),
    Scheduled("m", start_time=MOMENT),
    Paused("m"),
    Retrying("m", start_time=MOMENT, run_count=3),
    Looped("m", loop_count=4),
    Cached(cached_parameters={"p": [1]}, cached_result_expiration=MOMENT, hashed_inputs={"x": "abc"}),
    Mapped(n_map_states=5),
    Submitted(state=Running("inner")),
    Queued(state=Retrying("inner", start_time=MOMENT, run_count=2), start_time=MOMENT),
]


class Endorsed(Success):
    def __init__(self, by: str) -> None:
        super().__init__("endorsed")
        self.by = by


def through_json(state: State) -> State:
    return State.deserialize(json.loads(json.dumps(state.serialize())))


# R-STATE-10
@pytest.mark.parametrize("state", examples, ids=repr)
def test_a_state_comes_back_from_json(state: State) -> None:
    restored = through_json(state)
    assert restored == state
    assert (type(restored), restored.message, restored.context) == (type(state), state.message, state.context)


# R-STATE-10
@pytest.mark.parametrize("cls", CLASSES)
def test_every_class_comes_back_from_json(cls: type[State]) -> None:
    assert type(through_json(cls("m"))) is cls


# R-STATE-10
def test_a_serialised_state_names_its_parts() -> None:
    with context(task_tags={"t"}):
        state = Retrying("m", Result(5, "there"), start_time=MOMENT, run_count=2)
    assert state.serialize() == {
        "type": "Retrying",
        "__version__": tenuto.__version__,
        "message": "m",
        "context": {"tags": ["t"]},
        "cached_inputs": {},
        "_result": {"type": "Result", "__version__": tenuto.__version__, "location": "there"},
        "start_time": "2020-01-01T05:06:07+00:00",
        "run_count": 2,
    }


# R-STATE-10
def test_values_are_left_out() -> None:
    secret = "hunter2"
    states = [
        Success(result=secret),
        Failed(result=ValueError(secret)),
        Mapped(map_states=[Success(result=secret)]),
        Success(cached_inputs={"x": Result(secret)}),
    ]
    for state in states:
        assert secret not in json.dumps(state.serialize())
    assert through_json(states[0]).result is None
    restored = through_json(states[2])
    assert isinstance(restored, Mapped)
    assert (restored.n_map_states, restored.map_states) == (1, [])


# R-STATE-10, R-CLOUD-4
def test_the_value_of_a_prefect_result_is_its_location() -> None:
    state = through_json(Success(result=PrefectResult(value={"a": 1})))
    assert state._result.location == '{"a": 1}'
    assert state.result is None
    assert state.load_result().result == {"a": 1}
    moment = PrefectResult(value=MOMENT, serializer=DateTimeSerializer())
    assert through_json(Success(result=moment)).load_result().result == MOMENT


# R-STATE-10
@pytest.mark.parametrize(
    "result",
    [Result(location="x"), LocalResult(location="/a/b"), ConstantResult(), PrefectResult(location="5")],
    ids=lambda result: type(result).__name__,
)
def test_the_class_of_a_result_comes_back(result: Result) -> None:
    restored = result_from_dict(json.loads(json.dumps(result_to_dict(result))))
    assert (type(restored), restored.location) == (type(result), result.location)


# R-STATE-10
def test_the_class_of_a_result_comes_back_in_a_process_that_has_not_loaded_it() -> None:
    code = (
        "from tenuto.engine.state import State\n"
        "described = {'type': 'Success', '_result': {'type': 'LocalResult', 'location': '/a/b'}}\n"
        "assert type(State.deserialize(described)._result).__name__ == 'LocalResult'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_result_of_an_unknown_class_is_a_plain_one_at_its_location() -> None:
    described = {"type": "os.system", "location": "rm -rf /", "dir": "/"}
    restored = result_from_dict(described)
    assert (type(restored), restored.location, restored.value) == (Result, "rm -rf /", None)
    assert result_from_dict(None) is NoResult
    assert result_from_dict({"type": "NoResultType"}) is NoResult
    assert through_json(Success())._result is NoResult


def test_a_secret_leaves_only_its_name() -> None:
    result = SecretResult(tenuto.Task(name="TOKEN")).from_value("hunter2")
    result.location = "TOKEN"
    assert result_to_dict(result)["location"] == "TOKEN"
    assert "hunter2" not in json.dumps(result_to_dict(result))


def test_cached_inputs_are_described_as_results() -> None:
    state = through_json(Success(cached_inputs={"x": Result(5, "there"), "y": 3}))
    assert {name: result.location for name, result in state.cached_inputs.items()} == {
        "x": "there",
        "y": None,
    }


def test_what_is_no_json_is_described(tmp_path: Path) -> None:
    parameters: dict[Any, Any] = {"at": MOMENT, "path": tmp_path, "set": {2, 1}, "pair": (1, 2), 3: "key"}
    state = Cached(cached_parameters=parameters, context={"huge": [object()]})
    described = json.loads(json.dumps(state.serialize()))
    assert described["cached_parameters"] == {
        "at": MOMENT.isoformat(),
        "path": {"repr": repr(tmp_path)[:200]},
        "set": [1, 2],
        "pair": [1, 2],
        "3": "key",
    }
    assert described["context"]["huge"][0]["repr"].startswith("<object object")


def test_the_cause_is_kept() -> None:
    state = Failed("gone")
    state.cause = "crashed"
    assert through_json(state).cause == "crashed"
    assert through_json(Failed()).cause is None


def test_states_of_users_come_back_where_their_class_is_loaded() -> None:
    restored = through_json(Endorsed(by="Ada"))
    assert type(restored) is Endorsed
    assert restored.message == "endorsed"


@pytest.mark.parametrize(
    "described",
    [{}, {"type": 5}, {"type": "NoSuchState"}, {"type": "_MetaState"}, {"message": "m"}, [], None],
)
def test_data_that_describes_no_state_is_refused(described: Any) -> None:
    with pytest.raises(ValueError, match="state"):
        State.deserialize(described)


def test_missing_and_unknown_parts_do_not_matter() -> None:
    state = State.deserialize({"type": "Retrying", "since": "version 9", "__class__": "os.system"})
    assert isinstance(state, Retrying)
    assert (state.message, state.run_count, state.context) == (None, 1, {})
    assert not hasattr(state, "since")


# S-11
@pytest.mark.parametrize(
    "name", ["__class__", "__reduce__", "__setstate__", "_held", "_context", "color", "is_failed"]
)
def test_no_name_in_the_data_reaches_into_the_state(name: str) -> None:
    state = State.deserialize({"type": "Failed", name: "gadget", "context": {name: "gadget"}})
    assert type(state) is Failed
    assert state.is_failed()
    assert state.color == Failed.color
    assert state.result is None


# S-9
def test_nothing_is_imported_for_what_the_data_names(monkeypatch: pytest.MonkeyPatch) -> None:
    imported: list[str] = []
    original = builtins.__import__

    def watched(name: str, *args: Any) -> Any:
        imported.append(name)
        return original(name, *args)

    monkeypatch.setattr(builtins, "__import__", watched)
    State.deserialize(
        {"type": "Success", "_result": {"type": "os", "location": "x"}, "state": {"type": "Failed"}}
    )
    assert not [name for name in imported if not name.startswith("tenuto")]


@given(st.sampled_from(CLASSES), st.text(), st.dictionaries(st.text(), st.integers() | st.text()))
def test_message_and_context_round_trip(cls: type[State], message: str, notes: dict[str, Any]) -> None:
    restored = through_json(cls(message, context=notes))
    assert (restored.message, restored.context) == (message, notes)
