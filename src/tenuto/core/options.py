"""The rules for a task's options: what they may be, and what they become."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from tenuto._base.callsite import note_callsite, warn
from tenuto.configuration import config
from tenuto.engine.cache_validators import duration_only, never_use

if TYPE_CHECKING:
    from tenuto.core.edge import Edge
    from tenuto.engine.result import Result
    from tenuto.engine.state import State

    Trigger = Callable[[dict[Edge, State]], bool]
    # The first argument is the task or flow, whatever its type: handlers are shared between them.
    StateHandler = Callable[[Any, State, State], State | None]
    RetryDelay = timedelta | Callable[[int], timedelta]
    RetryOn = type[Exception] | Iterable[type[Exception]]


class FunctionTaskOptions(TypedDict, total=False):
    """The keyword arguments of `Task`, without the name."""

    slug: str | None
    tags: Iterable[str] | None
    max_retries: int | None
    retry_delay: RetryDelay | None
    retry_on: RetryOn | None
    timeout: int | timedelta | None
    trigger: Trigger | None
    skip_on_upstream_skip: bool
    cache_for: timedelta | None
    cache_validator: Callable[..., bool] | None
    cache_key: str | None
    checkpoint: bool | None
    state_handlers: Iterable[StateHandler] | None
    on_failure: Callable[[Any, State], Any] | None
    log_stdout: bool
    result: Result | None
    target: str | Callable[..., str] | None
    task_run_name: str | Callable[..., str] | None
    nout: int | None
    rescue: bool
    executor_options: dict[str, Any] | None
    version: str | None


class TaskOptions(FunctionTaskOptions, total=False):
    """The keyword arguments of `Task`."""

    name: str | None


class Retries(NamedTuple):
    """When a failed attempt is followed by another one."""

    max_retries: int
    retry_delay: RetryDelay | None
    retry_on: set[type[Exception]] | None


def retries(max_retries: int | None, retry_delay: RetryDelay | None, retry_on: RetryOn | None) -> Retries:
    """
    Return the three settings of retries, configured defaults filled in.

    Raises:
        ValueError: if one of them is given that has no meaning without another.
        TypeError: if `retry_on` holds what is not an exception class, or `retry_delay` is a number.
    """
    defaults = config.tasks.defaults
    count = defaults.max_retries if max_retries is None else max_retries
    if count > 0 and retry_delay is None:
        retry_delay = defaults.retry_delay
        if retry_delay is None:
            raise note_callsite(
                ValueError("A datetime.timedelta `retry_delay` must be provided if max_retries > 0")
            )
    if retry_delay is not None:
        if not count:
            raise note_callsite(
                ValueError("A `max_retries` argument greater than 0 must be provided with a `retry_delay`.")
            )
        if not isinstance(retry_delay, timedelta) and not callable(retry_delay):
            raise note_callsite(
                TypeError(
                    "`retry_delay` must be a datetime.timedelta, or a function from the run count to one "
                    f"(received {retry_delay!r})."
                )
            )
    return Retries(count, retry_delay, _exception_classes(retry_on, count))


def _exception_classes(retry_on: RetryOn | None, max_retries: int) -> set[type[Exception]] | None:
    if retry_on is None:
        return None
    if not max_retries:
        raise note_callsite(
            ValueError("A `max_retries` argument greater than 0 must be provided with `retry_on`.")
        )
    classes = {retry_on} if isinstance(retry_on, type) else set(retry_on)
    for cls in classes:
        if not (isinstance(cls, type) and issubclass(cls, Exception)):
            raise note_callsite(
                TypeError(f"`retry_on` must hold subclasses of Exception (received {cls!r}).")
            )
    return classes


def timeout_seconds(timeout: int | timedelta | None) -> int | None:
    """
    Return a timeout in whole seconds, the configured default for None.

    Raises:
        TypeError: if it is neither an int nor a timedelta.
        ValueError: if it is negative.
    """
    if timeout is None:
        default: int | None = config.tasks.defaults.timeout
        return default
    if isinstance(timeout, timedelta):
        seconds = timeout // timedelta(seconds=1)
        if timeout > timedelta(seconds=max(seconds, 0)):
            # Nothing is left of less than a second, and no timeout at all is not what was asked for.
            seconds = max(seconds, 1)
            warn(f"Task timeouts are whole seconds: {timeout} was truncated, {seconds} s will be used.")
    elif isinstance(timeout, int):
        seconds = timeout
    else:
        raise note_callsite(
            TypeError(f"A task's timeout is a whole number of seconds or a timedelta (received {timeout!r}).")
        )
    if seconds < 0:
        raise note_callsite(ValueError(f"A task's timeout cannot be negative (received {timeout!r})."))
    return seconds


def validator(
    cache_for: timedelta | None, cache_validator: Callable[..., bool] | None
) -> Callable[..., bool]:
    """Return the cache validator of a task; warn about one that nothing will ever ask."""
    if cache_validator is None:
        return duration_only if cache_for is not None else never_use
    if cache_for is None and cache_validator is not never_use:
        warn(
            "A `cache_validator` was given without `cache_for`, so this task will not be cached; "
            "give the time that its output is good for as `cache_for`."
        )
    return cache_validator


def tag_set(tags: Iterable[str] | None) -> set[str]:
    """Return tags as a set; a single text is refused, because it would become a set of letters."""
    if isinstance(tags, str):
        raise note_callsite(TypeError("Tags should be a set of tags, not a string."))
    return set(tags or ())


def handler_list(
    state_handlers: Iterable[StateHandler] | None, on_failure: Callable[[Any, State], Any] | None
) -> list[StateHandler]:
    """Return the state handlers of a task or flow as a list of its own, the failure handler last."""
    if state_handlers is not None and not isinstance(state_handlers, Iterable):
        raise note_callsite(TypeError("state_handlers should be iterable."))
    handlers = list(state_handlers or ())
    if on_failure is not None:
        handlers.append(FailureHandler(on_failure))
    return handlers


class FailureHandler:
    """Makes a state handler of a function that only wants to hear of failures."""

    def __init__(self, fn: Callable[[Any, State], Any]) -> None:
        self.fn = fn

    def __call__(self, obj: Any, old_state: State, new_state: State) -> None:
        if new_state.is_failed():
            self.fn(obj, new_state)


def result_at_target(result: Result | None, target: str | Callable[..., str] | None) -> Result | None:
    """Return the result with the target as its location: where a target is looked for it is also written."""
    if result is None or target is None:
        return result
    if result.location not in (None, target):
        warn(
            f"Both `target` and `result.location` were given; the target {target!r} is used "
            f"and the location {result.location!r} is not."
        )
    result = result.copy()
    result.set_location(target)
    return result
