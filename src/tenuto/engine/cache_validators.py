"""
Cache validators: whether the cached result of an earlier run of a task may stand for this one.

A validator is a function `(state, inputs, parameters) -> bool`: the `Cached` state, the values of the
task's arguments by name, and the parameters of the flow run. A result that has expired is never valid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tenuto._base.datetimes import utc_now
from tenuto.engine.result.base import is_same
from tenuto.engine.state import Cached

__all__ = [
    "all_inputs",
    "all_parameters",
    "duration_only",
    "never_use",
    "partial_inputs_only",
    "partial_parameters_only",
]

Validator = Callable[[Cached, Mapping[str, Any], Mapping[str, Any]], bool]


def never_use(state: Cached, inputs: Mapping[str, Any], parameters: Mapping[str, Any]) -> bool:
    """Never use the cached result."""
    return False


def duration_only(state: Cached, inputs: Mapping[str, Any], parameters: Mapping[str, Any]) -> bool:
    """Use it until it expires, whatever the inputs are."""
    expiration = state.cached_result_expiration
    return expiration is None or expiration > utc_now()


def all_inputs(state: Cached, inputs: Mapping[str, Any], parameters: Mapping[str, Any]) -> bool:
    """Use it until it expires, if all inputs are the same."""
    hashed = state.hashed_inputs or {}
    return (
        duration_only(state, inputs, parameters)
        and hashed.keys() == inputs.keys()
        and _match(hashed, inputs, inputs)
    )


def all_parameters(state: Cached, inputs: Mapping[str, Any], parameters: Mapping[str, Any]) -> bool:
    """Use it until it expires, if all parameters of the flow run are the same."""
    return duration_only(state, inputs, parameters) and is_same(
        dict(state.cached_parameters or {}), dict(parameters or {})
    )


def partial_inputs_only(validate_on: Iterable[str] | None = None) -> Validator:
    """
    Return a validator: use the result until it expires, if the named inputs are the same.

    Args:
        validate_on: names of arguments; None for none.
    """
    names = _names(validate_on)

    def partial_inputs_only(state: Cached, inputs: Mapping[str, Any], parameters: Mapping[str, Any]) -> bool:
        return duration_only(state, inputs, parameters) and _match(state.hashed_inputs or {}, inputs, names)

    return partial_inputs_only


def partial_parameters_only(validate_on: Iterable[str] | None = None) -> Validator:
    """
    Return a validator: use the result until it expires, if the named parameters of the flow run are the same.

    Args:
        validate_on: names of parameters; None for none.
    """
    names = _names(validate_on)

    def partial_parameters_only(
        state: Cached, inputs: Mapping[str, Any], parameters: Mapping[str, Any]
    ) -> bool:
        cached, current = state.cached_parameters or {}, parameters or {}
        return duration_only(state, inputs, parameters) and all(
            (name in cached) == (name in current) and is_same(cached.get(name), current.get(name))
            for name in names
        )

    return partial_parameters_only


def _names(validate_on: Iterable[str] | None) -> list[str]:
    return [validate_on] if isinstance(validate_on, str) else list(validate_on or ())


def _match(hashed: Mapping[str, str], inputs: Mapping[str, Any], names: Iterable[str]) -> bool:
    """Say whether the named inputs have the recorded digests. One without a digest matches nothing."""
    # Digests take a while to import, and only these two validators need them.
    from tenuto._base.digests import digest

    for name in names:
        if (name in hashed) != (name in inputs):
            return False
        if name in inputs and (not hashed[name] or digest(inputs[name]) != hashed[name]):
            return False
    return True
