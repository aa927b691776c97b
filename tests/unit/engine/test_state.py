"""The vocabulary of states: classes, predicates, results, equality, pickling."""

import copy
import copyreg
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenuto import context
from tenuto.engine import state as states
from tenuto.engine.result import NoResult, NoResultType, Result
from tenuto.engine.signals import FAIL
from tenuto.engine.state import (
    Cached,
    Cancelled,
    Cancelling,
    ClientFailed,
    Failed,
    Finished,
    Looped,
    Mapped,
    Paused,
    Pending,
    Queued,
    Resume,
    Retrying,
    Running,
    Scheduled,
    Skipped,
    State,
    Submitted,
    Success,
    TimedOut,
    TriggerFailed,
    ValidationFailed,
    state_class,
)

# class, parent, colour, the predicates that are true: the table of states, with the two added predicates.
TABLE: list[tuple[type[State], type[State] | None, str, str]] = [
    (State, None, "#696969", ""),
    (Pending, State, "#7ebdff", "pending"),
    (Scheduled, Pending, "#ffab00", "pending scheduled"),
    (Paused, Scheduled, "#99a8e8", "pending scheduled paused"),
    (Resume, Scheduled, "#f58c0c", "pending scheduled"),
    (Retrying, Scheduled, "#f66a0a", "pending scheduled retrying"),
    (Running, State, "#3d67ff", "running"),
    (Cancelling, Running, "#E8E8E8", "running"),
    (Finished, State, "#003ccb", "finished"),
    (Looped, Finished, "#003ccb", "finished looped"),
    (Success, Finished, "#28a745", "finished successful"),
    (Cached, Success, "#34d058", "finished successful cached"),
    (Mapped, Success, "#003ccb", "finished successful mapped"),
    (Skipped, Success, "#62757f", "finished successful skipped"),
    (Cancelled, Finished, "#bdbdbd", "finished cancelled"),
    (Failed, Finished, "#eb0000", "finished failed"),
    (TimedOut, Failed, "#ff4e33", "finished failed"),
    (TriggerFailed, Failed, "#ff5131", "finished failed"),
    (ValidationFailed, Failed, "#ff5131", "finished failed"),
    (Submitted, None, "#ffdf5d", "meta_state submitted"),
    (Queued, None, "#ffea7f", "meta_state queued scheduled"),
    (ClientFailed, None, "#eb0000", "meta_state"),
]
CLASSES = [row[0] for row in TABLE]
NAIVE = datetime(2020, 1, 1)  # noqa: DTZ001
PREDICATES = sorted(name for name in vars(State) if name.startswith("is_"))


class Approved(Success):
    """A state of a user's own."""

    def __init__(self, message: str | None = None, result: Any = None, by: str = "nobody") -> None:
        super().__init__(message, result)
        self.by = by


@contextmanager
def running_task(**values: Any) -> Iterator[None]:
    with context(task_tags={"nightly"}, **values):
        yield


# R-STATE-1, table 1.1
@pytest.mark.parametrize(
    ("cls", "parent", "color", "true"), TABLE, ids=lambda v: getattr(v, "__name__", None)
)
def test_each_class_has_its_parent_colour_and_predicates(
    cls: type[State], parent: type[State] | None, color: str, true: str
) -> None:
    state = cls()
    answers = {name.removeprefix("is_") for name in PREDICATES if getattr(state, name)()}
    assert answers == set(true.split())
    assert cls.color == color
    if parent is not None:
        assert cls.__bases__ == (parent,)
    else:
        assert issubclass(cls, State)


# R-STATE-1
def test_predicates_are_true_for_subclasses_of_users() -> None:
    assert Approved().is_successful()
    assert Approved().is_finished()
    assert not Approved().is_failed()


def test_all_predicates_of_the_vocabulary_exist() -> None:
    names = (
        "pending scheduled queued submitted retrying running finished looped successful cached mapped "
        "skipped failed meta_state paused cancelled"
    )
    assert [name.removeprefix("is_") for name in PREDICATES] == sorted(names.split())


# R-INV-6: arguments in the order of the inventory
@pytest.mark.parametrize(
    ("cls", "names"),
    [
        *[
            (c, "message result context cached_inputs")
            for c in (State, Finished, Running, Success, Cancelled)
        ],
        *[(c, "message result context cached_inputs") for c in (Cancelling, Skipped)],
        *[(c, "message result cached_inputs context") for c in (Pending, Failed, TimedOut, TriggerFailed)],
        (ValidationFailed, "message result cached_inputs context"),
        *[(c, "message result start_time cached_inputs context") for c in (Scheduled, Paused, Resume)],
        (Retrying, "message result start_time cached_inputs context run_count"),
        (Looped, "message result loop_count context cached_inputs"),
        (Mapped, "message result map_states context cached_inputs n_map_states"),
        (Queued, "message result state start_time context cached_inputs"),
        *[(c, "message result state context cached_inputs") for c in (Submitted, ClientFailed)],
    ],
)
def test_constructor_arguments_stand_in_the_known_order(cls: Any, names: str) -> None:
    moment = datetime(2020, 1, 1, tzinfo=UTC)
    given_values = {
        "message": "m",
        "result": 5,
        "context": {"a": 1},
        "cached_inputs": {"x": Result(3)},
        "start_time": moment,
        "run_count": 7,
        "loop_count": 8,
        "map_states": [Success()],
        "n_map_states": 9,
        "state": Running(),
    }
    state = cls(*[given_values[name] for name in names.split()])
    for name in names.split():
        assert getattr(state, name) == given_values[name], name


def test_cached_takes_its_arguments_in_the_known_order() -> None:
    moment = datetime(2020, 1, 1, tzinfo=UTC)
    state = Cached("m", 5, {"x": 1}, {"p": 2}, moment, {"c": 3}, {"x": "digest"})
    assert (state.message, state.result, state.cached_inputs) == ("m", 5, {"x": 1})
    assert (state.cached_parameters, state.cached_result_expiration) == ({"p": 2}, moment)
    assert (state.context, state.hashed_inputs) == ({"c": 3}, {"x": "digest"})


# R-STATE-2
def test_result_is_the_value_inside_the_result_object() -> None:
    own = Result(4, location="there")
    state = Success(result=own)
    assert state.result == 4
    assert state._result is own
    plain = Success(result=5)
    assert plain.result == 5
    assert type(plain._result) is Result
    assert plain._result is plain._result
    assert plain._result.value == 5


# R-STATE-2
def test_setting_the_result_wraps_a_plain_value_and_keeps_a_result() -> None:
    state = Success()
    state.result = [1]
    assert (state.result, state._result) == ([1], Result([1]))
    own = Result(6, location="there")
    state.result = own
    assert state.result == 6
    assert state._result is own
    state.result = None
    assert state.result is None
    assert type(state._result) is Result  # it holds None, which is not the same as no result


# R-STATE-2, R-RES-4
def test_no_result_is_the_shared_no_result() -> None:
    assert Success()._result is NoResult
    assert Success(result=None)._result is NoResult
    assert Success(result=NoResult)._result is NoResult
    assert Pending().result is None


# R-STATE-3
def test_repr_shows_class_and_message_and_no_result() -> None:
    assert repr(Success("done", result="secret")) == '<Success: "done">'
    assert repr(Success(result=1)) == "<Success>"
    assert repr(TriggerFailed("no")) == '<TriggerFailed: "no">'


# R-STATE-4
def test_states_of_one_class_with_equal_results_are_equal() -> None:
    assert Success("a", result=1, context={"x": 1}) == Success("b", result=1)
    assert Success(result=1) != Success(result=2)
    assert Success(result=1) != Finished(result=1)
    assert Success(result=1) != Skipped(result=1)
    assert Success() != "Success"


# R-STATE-4
def test_further_attributes_count_for_equality() -> None:
    now = datetime.now(UTC)
    assert Retrying(start_time=now, run_count=1) == Retrying(start_time=now, run_count=1)
    assert Retrying(start_time=now, run_count=1) != Retrying(start_time=now, run_count=2)
    assert Scheduled(start_time=now) != Scheduled(start_time=now + timedelta(seconds=1))
    assert Cached(hashed_inputs={"x": "1"}) != Cached(hashed_inputs={"x": "2"})
    assert Mapped(map_states=[Success(result=1)]) != Mapped(map_states=[Success(result=2)])
    assert Success(cached_inputs={"x": 1}) != Success()
    crashed = Failed()
    crashed.cause = "crashed"
    assert crashed != Failed()


# R-STATE-4
@pytest.mark.parametrize(
    ("one", "same", "other"),
    [
        (np.arange(3), np.arange(3), np.arange(4)),
        (pd.DataFrame({"a": [1, 2]}), pd.DataFrame({"a": [1, 2]}), pd.DataFrame({"a": [1, 3]})),
        ({"x": np.arange(3)}, {"x": np.arange(3)}, {"x": np.ones(3)}),
        ([pd.Series([1]), 2], [pd.Series([1]), 2], [pd.Series([2]), 2]),
    ],
)
def test_states_with_arrays_and_frames_can_be_compared(one: Any, same: Any, other: Any) -> None:
    assert Success(result=one) == Success(result=same)
    assert Success(result=one) != Success(result=other)


# R-STATE-4
def test_equal_states_are_both_in_a_set() -> None:
    one, other = Success(result=1), Success(result=1)
    assert one == other
    assert len({one, other}) == 2


# R-STATE-5
def test_context_outside_a_run_is_empty_and_ones_own() -> None:
    one, other = Success(), Success()
    assert one.context == {}
    one.context["mine"] = 1
    assert other.context == {}
    assert Success(context={"a": 1}).context == {"a": 1}


# R-STATE-5
def test_context_in_a_run_has_the_tags_of_the_task() -> None:
    with running_task():
        state = Success()
        with_notes = Success(context={"a": 1})
        named = Success(context={"tags": ["own"]})
    assert state.context == {"tags": ["nightly"]}
    assert with_notes.context == {"a": 1, "tags": ["nightly"]}
    assert named.context == {"tags": ["own"]}


# R-STATE-5
def test_context_of_a_state_is_not_shared_with_other_states_of_the_task() -> None:
    with running_task():
        one, other = Success(), Success()
    one.context["tags"].append("x")
    assert other.context == {"tags": ["nightly"]}


# R-STATE-5
@pytest.mark.parametrize("cls", [Scheduled, Paused, Resume, Retrying])
def test_context_of_scheduled_states_has_the_run_count(cls: type[State]) -> None:
    with running_task(task_run_count=3):
        assert cls().context == {"tags": ["nightly"], "task_run_count": 3}
        assert "task_run_count" not in Success().context


def test_counts_default_to_those_of_the_running_task() -> None:
    assert Retrying().run_count == 1
    assert Looped().loop_count == 1
    with running_task(task_run_count=3, task_loop_count=4):
        assert Retrying().run_count == 3
        assert Looped().loop_count == 4
        assert Retrying(run_count=1).run_count == 1
        assert Looped(loop_count=1).loop_count == 1


# R-STATE-6
@pytest.mark.parametrize("cls", [Scheduled, Paused, Resume, Retrying, Queued])
def test_naive_start_times_are_utc(cls: Any) -> None:
    assert cls(start_time=NAIVE).start_time == datetime(2020, 1, 1, tzinfo=UTC)
    elsewhere = datetime(2020, 1, 1, tzinfo=timezone(timedelta(hours=5)))
    assert cls(start_time=elsewhere).start_time == elsewhere


# R-STATE-6
def test_naive_cache_expiration_is_utc() -> None:
    state = Cached(cached_result_expiration=NAIVE)
    assert state.cached_result_expiration == datetime(2020, 1, 1, tzinfo=UTC)
    assert Cached().cached_result_expiration is None


@pytest.mark.parametrize("cls", [Scheduled, Resume, Retrying, Queued])
def test_start_time_defaults_to_now(cls: Any) -> None:
    before = datetime.now(UTC)
    assert before <= cls().start_time <= datetime.now(UTC)


def test_a_pause_lasts_for_ever_by_default() -> None:
    assert Paused().start_time is None


# R-STATE-7
@pytest.mark.parametrize("cls", [Submitted, Queued, ClientFailed])
def test_meta_states_never_wrap_meta_states(cls: Any) -> None:
    real = Running("real")
    assert cls(state=real).state is real
    assert cls(state=Submitted(state=Queued(state=real))).state is real
    assert cls().state is None


# R-STATE-8
def test_mapped_knows_its_number_of_children_before_they_ran() -> None:
    assert Mapped(n_map_states=5).n_map_states == 5
    assert Mapped(n_map_states=5).map_states == []
    assert Mapped(map_states=[Success(), Failed()]).n_map_states == 2


# R-STATE-9
def test_children_are_public_subclasses() -> None:
    # Subclasses of users count as well, and other tests define some.
    ours = [cls for cls in Failed.children() if cls.__module__ == states.__name__]
    assert ours == [TimedOut, TriggerFailed, ValidationFailed]
    assert "Approved" in Success.children(names_only=True)
    assert Failed.children(include_self=True)[0] is Failed
    everything = [cls.__name__ for cls in State.children() if cls.__module__ == states.__name__]
    assert "_MetaState" not in everything
    assert {"Submitted", "Queued", "ClientFailed", "Retrying"} <= set(everything)
    assert len(everything) == len(set(everything))


# R-STATE-9
def test_parents_are_public_superclasses_up_to_state() -> None:
    assert Retrying.parents() == [Scheduled, Pending, State]
    assert Retrying.parents(include_self=True, names_only=True) == [
        "Retrying",
        "Scheduled",
        "Pending",
        "State",
    ]
    assert Queued.parents(names_only=True) == ["State"]
    assert State.parents() == []


class Unpicklable(Exception):
    def __reduce__(self) -> str:
        raise TypeError("not this one")


class PicklesOnly(Exception):
    """Pickles, but cannot be made again: the usual exception with arguments of its own."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")


# R-STATE-11
@pytest.mark.parametrize("error", [Unpicklable("x"), PicklesOnly(404, "not found")], ids=repr)
def test_a_state_with_an_unpicklable_exception_pickles_with_a_text(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Dask, once loaded, changes how exceptions are pickled: of all classes that there are by then.
    monkeypatch.delitem(copyreg.dispatch_table, type(error), raising=False)
    state = Failed("broke", result=error)
    restored = pickle.loads(pickle.dumps(state))
    assert (type(restored), restored.message) == (Failed, "broke")
    assert "could not be pickled" in restored.result
    assert repr(error) in restored.result
    assert state.result is error


# R-STATE-11
@pytest.mark.parametrize("module", [pickle, cloudpickle])
def test_pickled_states_come_back_equal(module: Any) -> None:
    with running_task():
        state = Retrying("again", result={"a": 1}, run_count=3)
    restored = module.loads(module.dumps(state))
    assert restored == state
    assert (restored.message, restored.context) == ("again", {"tags": ["nightly"]})
    assert module.loads(module.dumps(Success()))._result is NoResult
    error = module.loads(module.dumps(Failed(result=ValueError("bad")))).result
    assert repr(error) == "ValueError('bad')"


# R-STATE-11
def test_a_state_whose_result_is_its_signal_pickles() -> None:
    state = FAIL("m").state
    restored = pickle.loads(pickle.dumps(state))
    assert restored.result.state is restored
    signal = FAIL("m")
    signal.details = Unpicklable()  # type: ignore[attr-defined]  # as a user may
    assert "could not be pickled" in pickle.loads(pickle.dumps(signal.state)).result


def test_a_copied_state_has_a_context_and_attributes_of_its_own() -> None:
    state = Retrying("again", result=1, context={"a": 1}, run_count=3)
    new = copy.copy(state)
    assert new == state
    new.context["b"] = 2
    new.result = 2
    new.run_count = 4
    assert (state.context["a"], "b" in state.context, state.result, state.run_count) == (1, False, 1, 3)
    assert copy.deepcopy(state) == state


# R-STATE-12
def test_load_result_reads_a_missing_value_from_its_location() -> None:
    class Shelf(Result):
        def read(self, location: str) -> Any:
            new = self.from_value(f"from {location}")
            new.location = location
            return new

    state = Success(result=Shelf(location="a"))
    assert state.load_result() is state
    assert state.result == "from a"
    assert Success(result=Result(location="b")).load_result(Shelf()).result == "from b"
    assert Success(result=Shelf(value=1, location="c")).load_result().result == 1
    assert Success().load_result(Shelf()).result is None


# R-STATE-12
def test_load_result_of_a_mapped_state_reads_each_child() -> None:
    class Shelf(Result):
        def read(self, location: str) -> Any:
            return self.from_value(f"from {location}")

    mapped = Mapped(map_states=[Success(result=Shelf(location="a")), Success(result=Shelf(location="b"))])
    assert mapped.load_result().result == ["from a", "from b"]


def test_load_cached_results_reads_missing_inputs() -> None:
    class Shelf(Result):
        def read(self, location: str) -> Any:
            return self.from_value(f"from {location}")

    state = Success(cached_inputs={"x": Shelf(location="a"), "y": Result(2)})
    assert state.load_cached_results() is state
    assert {name: result.value for name, result in state.cached_inputs.items()} == {"x": "from a", "y": 2}
    other = Success(cached_inputs={"x": Result(location="a")}).load_cached_results({"x": Shelf()})
    assert other.cached_inputs["x"].value == "from a"


def test_cause_is_none_unless_set() -> None:
    assert Failed().cause is None
    state = Failed()
    state.cause = "storage"
    assert state.cause == "storage"
    assert Failed().cause is None


def test_users_may_add_attributes_and_subclasses() -> None:
    state = Success()
    state.ticket = "T-1"  # type: ignore[attr-defined]  # the point of the test
    assert state.ticket == "T-1"  # type: ignore[attr-defined]
    approved = pickle.loads(pickle.dumps(Approved("ok", 1, by="Ada")))
    assert (approved.by, approved.result) == ("Ada", 1)
    assert Approved(by="Ada") != Approved(by="Bob")


def test_state_class_finds_classes_by_name() -> None:
    for cls in CLASSES:
        assert state_class(cls.__name__) is cls
    assert state_class("Approved") is Approved
    with pytest.raises(ValueError, match="no state class named 'Sucess'"):
        state_class("Sucess")
    with pytest.raises(ValueError, match="_MetaState"):
        state_class("_MetaState")


def test_all_lists_the_public_classes() -> None:
    public = {
        name for name, value in vars(states).items() if isinstance(value, type) and issubclass(value, State)
    }
    assert {name for name in public if not name.startswith("_")} | {"state_class"} == set(states.__all__)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_any_value_is_kept_as_it_is(value: Any) -> None:
    assert Success(result=value).result is value
    assert isinstance(Success(result=value)._result, NoResultType) == (value is None)
