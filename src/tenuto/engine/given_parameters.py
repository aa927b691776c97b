"""What `Flow.run` is given: values of parameters told from options, and checked."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tenuto.exceptions import PrefectException

if TYPE_CHECKING:
    from tenuto.core.flow import Flow

__all__ = ["MissingParameters", "UnexpectedParameters", "check_known", "check_required", "split_keywords"]

_RUNNER_KEYWORDS = frozenset(
    {"executor", "context", "task_states", "state", "flow_run_id", "flow_run_name", "task_contexts"}
    | {"task_runner_state_handlers", "resume"}
)


class UnexpectedParameters(PrefectException, ValueError, TypeError):
    """The flow has no parameters of these names."""

    def __init__(self, names: Iterable[str], known: Iterable[str]) -> None:
        self.names = list(names)
        super().__init__(f"Flow.run received the following unexpected parameters: {', '.join(self.names)}")
        for name in self.names:
            near = difflib.get_close_matches(name, list(known), n=1)
            if near:
                self.add_note(f"Did you mean {near[0]!r} instead of {name!r}?")


class MissingParameters(PrefectException, ValueError):
    """Required parameters were given no value."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = sorted(names)
        super().__init__(
            f"Flow.run did not receive the following required parameters: {', '.join(self.names)}"
        )


def split_keywords(
    flow: Flow, parameters: Mapping[str, Any] | None, keywords: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tell values of parameters from options; a parameter wins over an option of the same name."""
    names = {parameter.name for parameter in flow.parameters()}
    given, options = dict(parameters or {}), {}
    for name, value in keywords.items():
        if name in _RUNNER_KEYWORDS and name not in names:
            options[name] = value
        elif name == "return_tasks":
            raise ValueError(
                "The `return_tasks` keyword cannot be provided to `flow.run()`; all task states are returned."
            )
        else:
            given[name] = value
    return given, options


def check_known(flow: Flow, given: Mapping[str, Any]) -> None:
    """Refuse values for parameters that the flow does not have."""
    known = [parameter.name for parameter in flow.parameters()]
    unexpected = [name for name in given if name not in known]
    if unexpected:
        raise UnexpectedParameters(unexpected, known)


def check_required(flow: Flow, given: Mapping[str, Any]) -> None:
    """Refuse a run that lacks a value for a required parameter."""
    missing = [
        parameter.name
        for parameter in flow.parameters()
        if parameter.required and parameter.name not in given
    ]
    if missing:
        raise MissingParameters(missing)
