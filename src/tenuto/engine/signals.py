"""Signals: what a task, trigger or state handler raises to set its state by hand."""

from __future__ import annotations

from typing import Any, ClassVar

from tenuto.engine.state import (
    Failed,
    Looped,
    Paused,
    Retrying,
    Skipped,
    State,
    Success,
    TriggerFailed,
    ValidationFailed,
)
from tenuto.exceptions import PrefectSignal

__all__ = [
    "ENDRUN",
    "FAIL",
    "LOOP",
    "PAUSE",
    "RETRY",
    "SKIP",
    "SUCCESS",
    "TRIGGERFAIL",
    "VALIDATIONFAIL",
    "PrefectStateSignal",
    "TenutoStateSignal",
    "signal_from_state",
]


class ENDRUN(PrefectSignal):
    """
    Ends all processing of a run at once, in the given state.

    Args:
        state: the state that the run ends in.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        super().__init__(state.message or "")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.state,)


class PrefectStateSignal(PrefectSignal):
    """
    Ends a task run in the state of the signal's class.

    Args:
        message: of the state.
        *args, **kwargs: further arguments of the state, such as `result=` or `start_time=`. Without
            `result`, the signal itself is the state's result.

    Not an `Exception`: `except Exception` in a task lets it through, a bare `except:` loses it.
    """

    _state_cls: ClassVar[type[State]] = State

    state: State

    def __init__(self, message: str | None = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(message or "")
        self.args = () if message is None else (message,)
        if not args:
            kwargs.setdefault("result", self._default_result())
        self.state = self._state_cls(message, *args, **kwargs)

    def _default_result(self) -> Any:
        return self


class FAIL(PrefectStateSignal):
    """The task failed. It is retried like any failure."""

    _state_cls = Failed


class TRIGGERFAIL(FAIL):
    """The task's trigger does not accept its upstream states."""

    _state_cls = TriggerFailed


class VALIDATIONFAIL(FAIL):
    """The task's output is wrong."""

    _state_cls = ValidationFailed


class SUCCESS(PrefectStateSignal):
    """The task is done; its result is written like a returned value."""

    _state_cls = Success


class SKIP(PrefectStateSignal):
    """The task has nothing to do; by default, what depends on it is skipped too."""

    _state_cls = Skipped


class RETRY(PrefectStateSignal):
    """The task is to be run again, at `start_time` (now, when not given), whatever its `max_retries`."""

    _state_cls = Retrying


class PAUSE(PrefectStateSignal):
    """The task waits for somebody to resume it, or for `start_time` when given."""

    _state_cls = Paused


class LOOP(PrefectStateSignal):
    """The task runs again at once, and finds `result` in the context as `task_loop_result`."""

    _state_cls = Looped

    def _default_result(self) -> Any:
        # A value for the next round, and not the failure of this one: nothing given is nothing there.
        return None


TenutoStateSignal = PrefectStateSignal

_SIGNALS: dict[type[State], type[PrefectStateSignal]] = {
    signal._state_cls: signal
    for signal in (FAIL, TRIGGERFAIL, VALIDATIONFAIL, SUCCESS, SKIP, RETRY, PAUSE, LOOP)
}


def signal_from_state(state: State) -> type[PrefectStateSignal]:
    """
    Return the signal class that makes states of exactly this state's class.

    Raises:
        ValueError: if none does.
    """
    try:
        return _SIGNALS[type(state)]
    except KeyError:
        raise ValueError(f"No signal matches the provided state: {state!r}") from None
