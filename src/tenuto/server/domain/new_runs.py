"""What a new run gets: its parameters, labels and run config, from flow, group, clock and request. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from tenuto.exceptions import PrefectException

__all__ = ["MissingParameters", "UnknownParameters", "labels_for", "parameters_for", "run_config_for"]


class MissingParameters(PrefectException, ValueError):
    """Required parameters that nobody gave; `names` says which."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        super().__init__(f"Required parameters are missing: {', '.join(names)}.")


class UnknownParameters(PrefectException, ValueError):
    """Parameters that the flow does not have; `names` says which."""

    def __init__(self, names: Sequence[str], known: Sequence[str]) -> None:
        self.names = list(names)
        near = get_close_matches(names[0], known, 1)
        hint = f" Did you mean {near[0]!r}?" if near else f" It has: {', '.join(known) or 'none'}."
        super().__init__(f"The flow has no parameter {', '.join(map(repr, names))}.{hint}")


def parameters_for(
    declared: Sequence[Mapping[str, Any]],
    *layers: Mapping[str, Any] | None,
    allow_extra: bool = False,
) -> dict[str, Any]:
    """
    Return the parameters of a run (R-BE-47 to 49).

    Args:
        declared: `name`, `required` and `default` of each of the flow's parameters.
        layers: values by name, those of later layers win: of the group, the clock, the request.
        allow_extra: let through names that the flow does not have.

    Raises:
        MissingParameters, UnknownParameters.
    """
    found = {each["name"]: each.get("default") for each in declared if not each.get("required")}
    for layer in layers:
        found.update(layer or {})
    known = [each["name"] for each in declared]
    unknown = sorted(set(found) - set(known))
    if unknown and not allow_extra:
        raise UnknownParameters(unknown, known)
    missing = [name for name in known if name not in found]
    if missing:
        raise MissingParameters(missing)
    return found


def labels_for(
    explicit: Sequence[str] | None,
    run_config: Mapping[str, Any] | None,
    group_labels: Sequence[str] | None,
    group_run_config: Mapping[str, Any] | None,
    flow_labels: Sequence[str],
) -> list[str]:
    """Return the labels of a run, of the first that has some; explicit ones may be none (R-BE-45)."""
    if explicit is not None:
        return sorted(set(explicit))
    if run_config is not None and run_config.get("labels"):
        return sorted(set(run_config["labels"]))
    if group_labels is not None:
        return sorted(set(group_labels))
    if group_run_config is not None and group_run_config.get("labels"):
        return sorted(set(group_run_config["labels"]))
    return sorted(set(flow_labels))


def run_config_for(*candidates: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return the first run config there is: given, of the group, of the flow (R-BE-46)."""
    return next((each for each in candidates if each is not None), None)
