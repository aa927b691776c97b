"""The base of run configs: how an agent starts the process of a run."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from tenuto.serialization.parts import deserialize_part, register_part

__all__ = ["RunConfig"]


class RunConfig:
    """
    How an agent starts a flow run.

    Args:
        env: environment variables of the run.
        labels: that an agent must have to take the run.
    """

    def __init__(self, env: Mapping[str, str] | None = None, labels: Iterable[str] | None = None) -> None:
        if isinstance(labels, str):
            raise TypeError(f"labels must be a list of texts, not the text {labels!r}.")
        self.env = None if env is None else dict(env)
        self.labels = set(labels or ())

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        register_part("run config", cls.__name__, cls._from_description)

    def serialize(self) -> dict[str, Any]:
        """Return it as JSON data: `type`, and each of its settings."""
        settings = copy.deepcopy(vars(self))
        return {"type": type(self).__name__, **settings, "labels": sorted(self.labels)}

    @staticmethod
    def deserialize(described: Mapping[str, Any]) -> RunConfig:
        """
        Return the run config that `serialize` described.

        Raises:
            ValueError: for an unknown `type`.
        """
        found = deserialize_part("run config", described)
        assert isinstance(found, RunConfig)
        return found

    @classmethod
    def _from_description(cls, described: Mapping[str, Any]) -> RunConfig:
        new = cls.__new__(cls)
        # Not through the constructor: what it would compute (an absolute folder) is that of another machine.
        new.env, new.labels = None, set()
        settings = copy.deepcopy({name: value for name, value in described.items() if name != "type"})
        vars(new).update(settings)
        new.labels = set(settings.get("labels") or ())
        return new

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]  # compared by content: not to be used as a key

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"
