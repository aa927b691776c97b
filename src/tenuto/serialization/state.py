"""
States to JSON and back.

Values are not part of it: of a result, its class and location are. Reading makes objects of known classes
only and imports nothing that the data names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, cast

from tenuto._base.datetimes import parse_datetime
from tenuto.engine.result.base import NoResult, NoResultType, Result
from tenuto.engine.state import State, state_class

__all__ = ["register_result", "result_from_dict", "result_to_dict", "state_from_dict", "state_to_dict"]

_DATETIMES = frozenset({"start_time", "cached_result_expiration"})
_MAPPINGS = frozenset({"cached_parameters", "hashed_inputs"})
_REPR_LENGTH_MAX = 200

# Class name -> how a Result of that class is made from its description.
_results: dict[str, Callable[[Mapping[str, Any]], Result]] = {}


def register_result(cls: type[Result], make: Callable[[Mapping[str, Any]], Result]) -> None:
    """Have descriptions of results of class `cls` read by `make`, which gets the description."""
    _results[cls.__name__] = make


def state_to_dict(state: State) -> dict[str, Any]:
    """
    Return a state as plain JSON data.

    Returns:
        `type` (class name), `__version__` of Tenuto, `message`, `context`, `cached_inputs` and `_result`
        (class and location), and what the class has besides: `start_time`, `run_count`, `loop_count`,
        `n_map_states`, … . The children's states of a mapped one are left out. Values of context and
        parameters that are no JSON are described by `{"repr": text}`.
    """
    from tenuto import __version__

    described: dict[str, Any] = {
        "type": type(state).__name__,
        "__version__": __version__,
        "message": state.message,
        "context": _plain(state.context),
        "cached_inputs": {name: _input(value) for name, value in state.cached_inputs.items()},
        "_result": result_to_dict(state._result),
    }
    for name, value in state._attributes().items():
        if name != "map_states":
            described[name] = state_to_dict(value) if isinstance(value, State) else _plain(value)
    return described


def state_from_dict(described: Mapping[str, Any]) -> State:
    """
    Return the state that `state_to_dict` described.

    What is missing takes its default, what is unknown is passed over.

    Raises:
        ValueError: for data that describes no state.
    """
    if not isinstance(described, Mapping) or not isinstance(described.get("type"), str):
        raise ValueError("This is no description of a state: it has no `type`.")
    cls = state_class(described["type"])
    state = cls.__new__(cls)
    State.__init__(state, described.get("message"), result_from_dict(described.get("_result")))
    defaults = _blank(cls)
    for name, default in defaults.items():
        setattr(state, name, _attribute(name, described[name]) if name in described else default)
    if isinstance(described.get("cause"), str):
        state.cause = described["cause"]
    state.context = dict(described.get("context") or {})
    inputs = described.get("cached_inputs") or {}
    state.cached_inputs = {name: _input_from(value) for name, value in inputs.items()}
    return state


def result_to_dict(result: Result) -> dict[str, Any]:
    """Return class, location and settings (such as a bucket's name) of a result as plain JSON data."""
    from tenuto import __version__

    described: dict[str, Any] = {"type": type(result).__name__, "__version__": __version__}
    if not isinstance(result, NoResultType):
        described["location"] = result.described_location()
        described.update(result.described_settings())
    return described


def result_from_dict(described: Mapping[str, Any] | None) -> Result:
    """Return a Result of the described class and location; a base Result for an unknown class."""
    if not described or described.get("type") == NoResultType.__name__:
        return NoResult
    name = str(described.get("type"))
    if name not in _results and name != Result.__name__:
        # They register themselves when they are loaded. This is the room's one door up, and the name that is
        # imported is not taken from the data.
        import tenuto.engine.results  # noqa: F401
    make = _results.get(name)
    return make(described) if make is not None else Result(location=described.get("location"))


def _blank(cls: type[State]) -> dict[str, Any]:
    """Return the attributes that states of a class have by themselves, with their defaults."""
    # A user's subclass may want arguments that nobody has here; its nearest parent among ours wants none.
    ours = next(parent for parent in cls.__mro__ if parent.__module__ == State.__module__)
    return cast("type[State]", ours)()._attributes()


def _attribute(name: str, value: Any) -> Any:
    if name in _DATETIMES and isinstance(value, str):
        return parse_datetime(value)
    if name == "state" and isinstance(value, Mapping):
        return state_from_dict(value)
    return dict(value) if name in _MAPPINGS and isinstance(value, Mapping) else value


def _input(value: Any) -> dict[str, Any]:
    return result_to_dict(value if isinstance(value, Result) else Result(value))


def _input_from(value: Any) -> Any:
    return result_from_dict(value) if isinstance(value, Mapping) else value


def _plain(value: Any) -> Any:
    """Return a value as JSON data: itself where it is, else its items, its text as a time, or its repr."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [
            _plain(item) for item in (sorted(value, key=str) if isinstance(value, set | frozenset) else value)
        ]
    return {"repr": repr(value)[:_REPR_LENGTH_MAX]}
