"""What the two runners share: state handlers, and states put aside by a signal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tenuto._base.context import context
from tenuto._base.logging import get_logger
from tenuto._base.texts import safe_repr
from tenuto.engine.signals import ENDRUN, PAUSE, PrefectStateSignal
from tenuto.engine.state import Failed, Pending, State, _MetaState

__all__ = ["Runner"]


class Runner:
    """
    Carries out the decisions of `engine.transitions` for one flow or task.

    Args:
        state_handlers: called as `handler(runner, old_state, new_state)` after those of the flow or task.
    """

    logger = get_logger("Runner")

    def __init__(self, state_handlers: Iterable[Callable[..., State | None]] | None = None) -> None:
        if state_handlers is not None and not isinstance(state_handlers, Iterable):
            raise TypeError("state_handlers should be iterable.")
        self.state_handlers: Sequence[Callable[..., State | None]] = (
            list(state_handlers) if state_handlers else ()
        )

    def initialize_run(self, state: State | None, context: dict[str, Any]) -> tuple[State, dict[str, Any]]:
        """Return the state and context that a run starts from; meta states are unwrapped."""
        state = state or Pending()
        while isinstance(state, _MetaState) and state.state is not None:
            state = state.state
        return state, context

    def call_runner_target_handlers(self, old_state: State, new_state: State) -> State:
        """Call the handlers of what this runner runs; return the state they leave."""
        return new_state

    def _target_name(self) -> str:
        return type(self).__name__

    def handle_state_change(self, old_state: State, new_state: State) -> State:
        """
        Call all handlers for a change of state, and return the state that they agree on.

        Raises:
            ENDRUN: when a handler fails (R-HAND-3) or pauses the run (R-HAND-4): no further step follows.
        """
        raising = context.current().get("raise_on_exception")
        self.logger.debug(
            "%s: Handling state change from %s to %s",
            self._target_name(),
            type(old_state).__name__,
            type(new_state).__name__,
        )
        try:
            new_state = self.call_runner_target_handlers(old_state, new_state)
            for handler in self.state_handlers:
                new_state = handler(self, old_state, new_state) or new_state
        except (PAUSE, ENDRUN) as signal:
            raise signal if isinstance(signal, ENDRUN) else ENDRUN(signal.state) from signal
        except PrefectStateSignal as signal:
            return signal.state
        except Exception as error:
            # Handlers are user code: what they raise ends this run as failed, with the reason.
            if raising:
                raise
            message = f"Unexpected error while calling state handlers: {safe_repr(error)}"
            self.logger.exception(message)
            raise ENDRUN(Failed(message, result=error)) from error
        return new_state
