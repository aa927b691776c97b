"""
States: what a flow run or task run is in, and what it holds there.

A state is a class with a message and a result. Three of them are made in each task run, so they are light:
a context of their own and a `Result` round the value, which most never need, are made when asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar
from datetime import datetime
from typing import Any, ClassVar

from tenuto._base.context import context as run_context
from tenuto._base.datetimes import ensure_aware, utc_now
from tenuto.engine.result.base import NoResult, NoResultType, Result, is_same
from tenuto.engine.result.remote import RemoteValue, fetched

__all__ = [
    "Cached",
    "Cancelled",
    "Cancelling",
    "ClientFailed",
    "Failed",
    "Finished",
    "Looped",
    "Mapped",
    "Paused",
    "Pending",
    "Queued",
    "Resume",
    "Retrying",
    "Running",
    "Scheduled",
    "Skipped",
    "State",
    "Submitted",
    "Success",
    "TimedOut",
    "TriggerFailed",
    "ValidationFailed",
    "state_class",
]

_current = run_context.current


class State:
    """
    What a run is in: class, message, result.

    Args:
        message: for people; None for no message.
        result: the value, or a `Result` that holds it. None means that there is no result yet.
        context: free notes; while a task runs, `tags` (a list of the task's tags) is added.
        cached_inputs: deprecated; kept as given.

    States of the same class with equal results and equal further attributes are equal; message and context
    do not count. They hash by identity, so that equal states of several tasks can be told apart in a set.
    """

    # Attributes of subclasses, and those that users add, live in `__dict__`, which Python makes when needed.
    __slots__ = ("__dict__", "__weakref__", "_context", "_held", "message")

    color: ClassVar[str] = "#696969"
    cause: str | None = None
    """What went wrong around the code: `crashed`, `lease-lost`, `storage`, `drained`, …; else None."""
    error: BaseException | None = None
    """On a flow run's state: what went wrong outside of its tasks; `result` is the dict of their states."""

    message: str | None
    _context: Any
    _held: Any

    def __init__(
        self,
        message: str | None = None,
        result: Any = None,
        context: dict[str, Any] | None = None,
        cached_inputs: dict[str, Any] | None = None,
    ) -> None:
        self.message = message
        self._held = NoResult if result is None else result
        # Until somebody asks for the context, the task's tags stand for it: one set for all its states.
        tags = _current().get("task_tags")
        self._context = tags if context is None else _with_tags(context, tags)
        if cached_inputs:
            self.cached_inputs = cached_inputs

    @property
    def context(self) -> dict[str, Any]:
        """Notes about the state; `{}` for one made outside a run."""
        if not isinstance(self._context, dict):
            self._context = _with_tags({}, self._context)
        return self._context

    @context.setter
    def context(self, value: dict[str, Any]) -> None:
        self._context = value

    @property
    def cached_inputs(self) -> dict[str, Any]:
        """Deprecated: what was given to the constructor."""
        inputs: dict[str, Any] = self.__dict__.setdefault("_cached_inputs", {})
        return inputs

    @cached_inputs.setter
    def cached_inputs(self, value: dict[str, Any]) -> None:
        self.__dict__["_cached_inputs"] = value

    @property
    def result(self) -> Any:
        """
        The value inside the state's `Result`. Setting it to a `Result` keeps that one.

        A value that an executor has left on a worker is fetched now.
        """
        carried = self.carried
        return carried.fetch() if issubclass(type(carried), RemoteValue) else carried

    @result.setter
    def result(self, value: Any) -> None:
        self._held = value

    @property
    def carried(self) -> Any:
        """What the engine hands on: the value, or a `RemoteValue` that says where it lies."""
        held = self._held
        # By `type`: a user's value may be a proxy whose `__class__` raises.
        return held.value if issubclass(type(held), Result) else held

    @property
    def _result(self) -> Result:
        held = self._held
        result: Result = held if issubclass(type(held), Result) else Result(held)
        self._held = result
        return result

    @_result.setter
    def _result(self, value: Result) -> None:
        self._held = value

    def load_result(self, result: Result | None = None) -> State:
        """
        Read the value from the result's location when it is missing, and return this state.

        Args:
            result: how to read; the state's own Result when None.
        """
        own = self._result
        if own.value is None and own.location is not None:
            self._held = (result if result is not None else own).read(own.location)
        return self

    def load_cached_results(self, results: dict[str, Result] | None = None) -> State:
        """Read the values of cached inputs that have a location and no value, and return this state."""
        for name, own in self.cached_inputs.items():
            if isinstance(own, Result) and own.value is None and own.location is not None:
                reader = (results or {}).get(name) or own
                self.cached_inputs[name] = reader.read(own.location)
        return self

    def is_pending(self) -> bool:
        """Say whether the run has not started: waiting for its turn, its time or an approval."""
        return isinstance(self, Pending)

    def is_scheduled(self) -> bool:
        """Say whether the run waits for a time."""
        return isinstance(self, Scheduled | Queued)

    def is_queued(self) -> bool:
        """Say whether the run waits for a free slot."""
        return isinstance(self, Queued)

    def is_submitted(self) -> bool:
        """Say whether the run was handed out and has not reported yet."""
        return isinstance(self, Submitted)

    def is_retrying(self) -> bool:
        """Say whether the run failed and will be tried again."""
        return isinstance(self, Retrying)

    def is_paused(self) -> bool:
        """Say whether the run waits for somebody to resume it."""
        return isinstance(self, Paused)

    def is_running(self) -> bool:
        """Say whether the run is going on."""
        return isinstance(self, Running)

    def is_finished(self) -> bool:
        """Say whether the run has ended, in whatever way."""
        return isinstance(self, Finished)

    def is_looped(self) -> bool:
        """Say whether the task asked to run again with a new value."""
        return isinstance(self, Looped)

    def is_successful(self) -> bool:
        """Say whether the run ended well; skipped, cached and mapped runs did."""
        return isinstance(self, Success)

    def is_cached(self) -> bool:
        """Say whether the result was taken from a target or a cache, or may be taken from one."""
        return isinstance(self, Cached)

    def is_mapped(self) -> bool:
        """Say whether the task was replaced by its mapped children."""
        return isinstance(self, Mapped)

    def is_skipped(self) -> bool:
        """Say whether the task was left out."""
        return isinstance(self, Skipped)

    def is_failed(self) -> bool:
        """Say whether the run failed."""
        return isinstance(self, Failed)

    def is_cancelled(self) -> bool:
        """Say whether the run was cancelled."""
        return isinstance(self, Cancelled)

    def is_meta_state(self) -> bool:
        """Say whether the state only wraps another one."""
        return isinstance(self, _MetaState)

    @classmethod
    def children(cls, include_self: bool = False, names_only: bool = False) -> list[Any]:
        """Return the public subclasses, direct ones or not: classes, or their names."""
        found: dict[type[State], None] = {cls: None} if include_self else {}
        for child in cls.__subclasses__():
            found.update(dict.fromkeys(child.children(include_self=True)))
        return _listed(found, names_only)

    @classmethod
    def parents(cls, include_self: bool = False, names_only: bool = False) -> list[Any]:
        """Return the public superclasses up to `State`, nearest first: classes, or their names."""
        line = cls.__mro__ if include_self else cls.__mro__[1:]
        return _listed([parent for parent in line if issubclass(parent, State)], names_only)

    def serialize(self) -> dict[str, Any]:
        """Return the state as plain JSON data; its value is left out, a `PrefectResult`'s is its location."""
        from tenuto.serialization.state import state_to_dict

        return state_to_dict(self)

    @staticmethod
    def deserialize(json_blob: dict[str, Any]) -> State:
        """
        Return the state that `serialize` described.

        Raises:
            ValueError: for data that describes no state.
        """
        from tenuto.serialization.state import state_from_dict

        return state_from_dict(json_blob)

    def _attributes(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if not name.startswith("_")}

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented if not isinstance(other, State) else False
        return (
            is_same(self.result, other.result)
            and is_same(self._attributes(), other._attributes())
            and is_same(self.__dict__.get("_cached_inputs") or {}, other.__dict__.get("_cached_inputs") or {})
        )

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        name = type(self).__name__
        return f'<{name}: "{self.message}">' if self.message else f"<{name}>"

    def __copy__(self) -> State:
        new = type(self).__new__(type(self))
        context = dict(self._context) if isinstance(self._context, dict) else self._context
        new._restore(self.message, self._held, context, self.__dict__)
        return new

    def __reduce__(self) -> tuple[Any, ...]:
        attributes = dict(self.__dict__)
        return _rebuild, (type(self),), (self.message, _portable(self._held), dict(self.context), attributes)

    def __setstate__(self, values: tuple[Any, ...]) -> None:
        self._restore(*values)

    def _restore(self, message: str | None, held: Any, context: Any, attributes: dict[str, Any]) -> None:
        self.message = message
        self._held = NoResult if isinstance(held, NoResultType) else held
        self._context = context
        self.__dict__.update(attributes)


class Pending(State):
    """Not started."""

    color = "#7ebdff"

    def __init__(
        self,
        message: str | None = None,
        result: Any = None,
        cached_inputs: dict[str, Any] | None = None,
        context: dict[str, Any] | None = None,
    ) -> None:
        State.__init__(self, message, result, context, cached_inputs)


class Scheduled(Pending):
    """
    Waiting for a time.

    Args:
        start_time: when to start; a datetime without a zone is taken as UTC. Now, when None.
    """

    color = "#ffab00"
    start_time: datetime | None

    def __init__(
        self,
        message: str | None = None,
        result: Any = None,
        start_time: datetime | None = None,
        cached_inputs: dict[str, Any] | None = None,
        context: dict[str, Any] | None = None,
    ) -> None:
        State.__init__(self, message, result, context, cached_inputs)
        self.start_time = utc_now() if start_time is None else ensure_aware(start_time)
        run_count = _current().get("task_run_count")
        if run_count is not None:
            self.context["task_run_count"] = run_count


class Paused(Scheduled):
    """
    Waiting for somebody to resume it.

    Args:
        start_time: when it resumes by itself; never, when None.
    """

    color = "#99a8e8"

    def __init__(
        self,
        message: str | None = None,
        result: Any = None,
        start_time: datetime | None = None,
        cached_inputs: dict[str, Any] | None = None,
        context: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message, result, start_time, cached_inputs, context)
        if start_time is None:
            self.start_time = None


class Resume(Scheduled):
    """Approved after a pause, about to go on."""

    color = "#f58c0c"


class Retrying(Scheduled):
    """
    Failed, and to be tried again at `start_time`.

    Args:
        run_count: number of the attempt that failed, 1 for the first; that of the running task when None.
    """

    color = "#f66a0a"
    run_count: int

    def __init__(
        self,
        message: str | None = None,
        result: Any = None,
        start_time: datetime | None = None,
        cached_inputs: dict[str, Any] | None = None,
        context: dict[str, Any] | None = None,
        run_count: int | None = None,
    ) -> None:
        super().__init__(message, result, start_time, cached_inputs, context)
        self.run_count = _current().get("task_run_count", 1) if run_count is None else run_count


class Running(State):
    """Going on."""

    color = "#3d67ff"


class Cancelling(Running):
    """Going on, and asked to stop."""

    color = "#E8E8E8"


class Finished(State):
    """Ended."""

    color = "#003ccb"


class Looped(Finished):
    """
    Ended one round of a loop; the task runs again.

    Args:
        loop_count: number of the round that ended, 1 for the first; that of the running task when None.
    """

    color = "#003ccb"
    loop_count: int

    def __init__(
        self,
        message: str | None = None,
        result: Any = None,
        loop_count: int | None = None,
        context: dict[str, Any] | None = None,
        cached_inputs: dict[str, Any] | None = None,
    ) -> None:
        State.__init__(self, message, result, context, cached_inputs)
        self.loop_count = _current().get("task_loop_count", 1) if loop_count is None else loop_count


class Success(Finished):
    """Ended well."""

    color = "#28a745"


class Cached(Success):
    """
    Ended well, with a result that later runs may use again, or that was taken from an earlier one.

    Args:
        cached_parameters: the flow run's parameters.
        cached_result_expiration: end of its validity; None: it never ends. Without a zone it is taken as UTC.
        hashed_inputs: argument name to the digest of its value.
    """

    color = "#34d058"
    cached_parameters: dict[str, Any] | None
    cached_result_expiration: datetime | None
    hashed_inputs: dict[str, str] | None
    _kept: tuple[str, Any] | None = None
    """The run that kept the result for `cache_for`, and its reference there."""

    def __init__(
        self,
        message: str | None = None,
        result: Any = None,
        cached_inputs: dict[str, Any] | None = None,
        cached_parameters: dict[str, Any] | None = None,
        cached_result_expiration: datetime | None = None,
        context: dict[str, Any] | None = None,
        hashed_inputs: dict[str, str] | None = None,
    ) -> None:
        State.__init__(self, message, result, context, cached_inputs)
        self.hashed_inputs = hashed_inputs
        self.cached_parameters = cached_parameters
        expiration = cached_result_expiration
        self.cached_result_expiration = None if expiration is None else ensure_aware(expiration)


class Mapped(Success):
    """
    The task was replaced by its mapped children; `result` is the list of their results in the end.

    Args:
        map_states: the children's states, by index.
        n_map_states: number of children; the length of `map_states` when None.
    """

    color = "#003ccb"
    map_states: list[State]
    n_map_states: int

    def __init__(
        self,
        message: str | None = None,
        result: Any = None,
        map_states: Iterable[State] | None = None,
        context: dict[str, Any] | None = None,
        cached_inputs: dict[str, Any] | None = None,
        n_map_states: int | None = None,
    ) -> None:
        State.__init__(self, message, result, context, cached_inputs)
        self.map_states = list(map_states or ())
        self.n_map_states = len(self.map_states) if n_map_states is None else n_map_states

    def load_result(self, result: Result | None = None) -> State:
        """Read the missing values of all children, and gather them."""
        if self.map_states:
            self.map_states = [state.load_result(result) for state in self.map_states]
            self.result = [state.result for state in self.map_states]
        return self


class Skipped(Success):
    """Left out, which counts as success."""

    color = "#62757f"


class Cancelled(Finished):
    """Stopped on request."""

    color = "#bdbdbd"


class Failed(Finished):
    """Ended badly; the result is the exception."""

    color = "#eb0000"

    def __init__(
        self,
        message: str | None = None,
        result: Any = None,
        cached_inputs: dict[str, Any] | None = None,
        context: dict[str, Any] | None = None,
    ) -> None:
        State.__init__(self, message, result, context, cached_inputs)


class TimedOut(Failed):
    """Ran longer than its timeout."""

    color = "#ff4e33"


class TriggerFailed(Failed):
    """Not run, because its trigger did not accept the upstream states."""

    color = "#ff5131"


class ValidationFailed(Failed):
    """Ran, and its result was found to be wrong."""

    color = "#ff5131"


class _MetaState(State):
    """Wraps another state; what it wraps is never itself a wrapper."""

    state: State | None

    def __init__(
        self,
        message: str | None = None,
        result: Any = None,
        state: State | None = None,
        context: dict[str, Any] | None = None,
        cached_inputs: dict[str, Any] | None = None,
    ) -> None:
        State.__init__(self, message, result, context, cached_inputs)
        while isinstance(state, _MetaState):
            state = state.state
        self.state = state


class Submitted(_MetaState):
    """Handed out to be run."""

    color = "#ffdf5d"


class Queued(_MetaState):
    """
    Waiting for a free slot.

    Args:
        start_time: when to ask for the slot again; now, when None.
    """

    color = "#ffea7f"
    start_time: datetime

    def __init__(
        self,
        message: str | None = None,
        result: Any = None,
        state: State | None = None,
        start_time: datetime | None = None,
        context: dict[str, Any] | None = None,
        cached_inputs: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message, result, state, context, cached_inputs)
        self.start_time = utc_now() if start_time is None else ensure_aware(start_time)


class ClientFailed(_MetaState):
    """The server could not be told of the wrapped state."""

    color = "#eb0000"


def state_class(name: str) -> type[State]:
    """
    Return the state class of that name: one of this module, else a loaded subclass of a user's.

    Raises:
        ValueError: if there is none.
    """
    for cls in State.children(include_self=True):
        if cls.__name__ == name:
            found: type[State] = cls
            return found
    raise ValueError(f"There is no state class named {name!r}.")


def _listed(classes: Iterable[type[State]], names_only: bool) -> list[Any]:
    public = [cls for cls in classes if not cls.__name__.startswith("_")]
    return [cls.__name__ for cls in public] if names_only else public


def _with_tags(context: dict[str, Any], tags: Iterable[str] | None) -> dict[str, Any]:
    if tags is None or "tags" in context:
        return context
    return {**context, "tags": list(tags)}


# Exceptions that are being tried out: a signal holds the state whose result it is, so pickling it comes back.
_on_trial: ContextVar[tuple[BaseException, ...]] = ContextVar("tenuto.on_trial", default=())


def _portable(held: Any) -> Any:
    """
    Return what a pickled state carries as its result.

    That is a text for an exception that cannot be pickled, and for a value that lies on a worker the value.
    """
    if isinstance(held, Result) and isinstance(held.value, RemoteValue):
        held = held.copy()
        held.value = held.value.fetch()
    held = fetched(held)
    error = held.value if isinstance(held, Result) else held
    if not isinstance(error, BaseException) or any(error is other for other in _on_trial.get()):
        return held
    import cloudpickle

    token = _on_trial.set((*_on_trial.get(), error))
    try:
        cloudpickle.loads(cloudpickle.dumps(error))
    except Exception as problem:  # noqa: BLE001
        # Pickling runs what classes of users and libraries define, and they raise what they like. The state
        # must get through all the same: a failure that cannot be told is worse than one told as text.
        text = f"This exception could not be pickled ({type(problem).__name__}): {error!r}"
        return held.from_value(text) if isinstance(held, Result) else text
    finally:
        _on_trial.reset(token)
    return held


def _rebuild(cls: type[State]) -> State:
    return cls.__new__(cls)
