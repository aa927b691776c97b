"""Signals: what they are, and which state they make."""

import pickle
from datetime import UTC, datetime
from typing import Any

import cloudpickle
import pytest

from tenuto.engine import signals
from tenuto.engine.result import NoResult, Result
from tenuto.engine.signals import (
    ENDRUN,
    FAIL,
    LOOP,
    PAUSE,
    RETRY,
    SKIP,
    SUCCESS,
    TRIGGERFAIL,
    VALIDATIONFAIL,
    PrefectStateSignal,
    signal_from_state,
)
from tenuto.engine.state import (
    Cached,
    Failed,
    Looped,
    Paused,
    Pending,
    Retrying,
    Running,
    Skipped,
    State,
    Success,
    TimedOut,
    TriggerFailed,
    ValidationFailed,
)
from tenuto.exceptions import PrefectSignal

TABLE: list[tuple[type[PrefectStateSignal], type[State]]] = [
    (FAIL, Failed),
    (TRIGGERFAIL, TriggerFailed),
    (VALIDATIONFAIL, ValidationFailed),
    (SUCCESS, Success),
    (SKIP, Skipped),
    (RETRY, Retrying),
    (PAUSE, Paused),
    (LOOP, Looped),
]


# R-SIG-1
@pytest.mark.parametrize("signal", [*(row[0] for row in TABLE), ENDRUN])
def test_signals_pass_through_except_exception(signal: Any) -> None:
    assert issubclass(signal, PrefectSignal)
    assert issubclass(PrefectSignal, BaseException)
    assert not issubclass(signal, Exception)


# R-SIG-1
def test_the_class_chain_of_signals() -> None:
    assert all(issubclass(signal, PrefectStateSignal) for signal, _ in TABLE)
    assert issubclass(TRIGGERFAIL, FAIL)
    assert issubclass(VALIDATIONFAIL, FAIL)
    assert not issubclass(ENDRUN, PrefectStateSignal)
    assert signals.TenutoStateSignal is PrefectStateSignal


# R-SIG-2
@pytest.mark.parametrize(("signal", "state"), TABLE)
def test_a_signal_makes_the_state_of_the_table(signal: type[PrefectStateSignal], state: type[State]) -> None:
    made = signal("m").state
    assert type(made) is state
    assert made.message == "m"
    assert signal().state.message is None
    assert signal(message="named").state.message == "named"


# R-SIG-3
@pytest.mark.parametrize("cls", [row[0] for row in TABLE if row[0] is not LOOP])
def test_the_result_of_a_signal_is_itself_unless_given(cls: type[PrefectStateSignal]) -> None:
    signal = cls("m")
    assert signal.state.result is signal
    assert cls("m", result=7).state.result == 7
    assert cls("m", result=None).state.result is None
    assert cls("m", result=None).state._result is NoResult
    own = Result(1, location="there")
    assert cls("m", result=own).state._result is own


# R-SIG-3 gives a LOOP without result the text of its repr; R-LOOP-4 recommends None, which wins.
def test_a_loop_without_a_result_loops_with_none() -> None:
    assert LOOP("m").state.result is None
    assert LOOP("m", result=3).state.result == 3


def test_further_arguments_go_to_the_state() -> None:
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    retry = RETRY("m", start_time=moment, run_count=4).state
    assert isinstance(retry, Retrying)
    assert (retry.start_time, retry.run_count) == (moment, 4)
    pause = PAUSE("m", start_time=moment).state
    assert isinstance(pause, Paused)
    assert pause.start_time == moment
    loop = LOOP("m", result=1, loop_count=5).state
    assert isinstance(loop, Looped)
    assert loop.loop_count == 5
    assert SUCCESS("m", 5, {"note": 1}).state.context == {"note": 1}
    assert SUCCESS("m", 5).state.result == 5


# R-SIG-6
def test_a_signal_is_a_value_like_any_other() -> None:
    signal = FAIL("m")
    assert Success(result=signal).result is signal


# R-SIG-7
@pytest.mark.parametrize(("signal", "state"), TABLE)
def test_signal_from_state_gives_the_class_for_a_state(
    signal: type[PrefectStateSignal], state: type[State]
) -> None:
    assert signal_from_state(state("m")) is signal


# R-SIG-7
@pytest.mark.parametrize("state", [Cached(), Pending(), Running(), TimedOut(), State()], ids=repr)
def test_signal_from_state_refuses_other_states(state: State) -> None:
    with pytest.raises(ValueError, match=f"^No signal matches the provided state: {state!r}$"):
        signal_from_state(state)


# R-SIG-8
def test_text_and_repr_of_a_signal() -> None:
    assert str(FAIL("m")) == "m"
    assert repr(FAIL("m")) == "FAIL('m')"
    assert repr(LOOP()) == "LOOP()"
    assert str(SKIP()) == ""
    assert repr(SUCCESS(message="m", result=5)) == "SUCCESS('m')"


@pytest.mark.parametrize("module", [pickle, cloudpickle])
def test_signals_pickle_with_their_state(module: Any) -> None:
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    restored = module.loads(module.dumps(RETRY("m", start_time=moment, result=5)))
    assert (type(restored), str(restored), restored.state.result) == (RETRY, "m", 5)
    assert restored.state.start_time == moment
    own = module.loads(module.dumps(FAIL()))
    assert own.state.result is own
    end = module.loads(module.dumps(ENDRUN(Failed("over", result=1))))
    assert (end.state.message, end.state.result) == ("over", 1)


def test_endrun_carries_any_state() -> None:
    state = Paused("wait")
    assert ENDRUN(state).state is state
    assert ENDRUN(state=state).state is state
    assert str(ENDRUN(state)) == "wait"


def test_signals_of_users_make_their_own_states() -> None:
    class Rejected(ValidationFailed):
        pass

    class REJECT(PrefectStateSignal):
        _state_cls = Rejected

    assert type(REJECT("no").state) is Rejected
