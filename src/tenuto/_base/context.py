"""
The context: values of the run that is going on here, reached as `tenuto.context`.

The content lives in a context variable, so that each thread and each asyncio task has its own, and libraries
that copy context variables to their threads carry it along. Outside of every run there is a bottom per
thread: the main thread's holds what configuration puts there and the logger, another thread's no logger.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import ContextDecorator
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Self

from tenuto import configuration
from tenuto._base.collections import DotDict, merge_dicts
from tenuto._base.config import Config
from tenuto._base.masking import MASK

__all__ = ["Context", "context"]

Contents = dict[str, Any]


class Context(MutableMapping[str, Any]):
    """
    A dictionary with attribute access whose content belongs to the running thread or task.

    Called, it is a context manager (or decorator) that adds values and restores everything on leaving:
    `with tenuto.context(a=1):`.

    Raises:
        AttributeError: for an attribute that is not there.
        TypeError: when it is pickled; functions for other processes must reach it as `tenuto.context`.
    """

    _contents: ContextVar[Contents | None]
    _bottom: _Bottom

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        vars(self)["_contents"] = ContextVar[Contents | None]("tenuto.context", default=None)
        vars(self)["_bottom"] = _Bottom()
        if args or kwargs:
            self.update(*args, **kwargs)

    # ------------------------------------------------------------------ for the engine: no copies, no merging

    def current(self) -> Contents:
        """Return the live content: what is changed in it is changed here."""
        contents = self._contents.get()
        return contents if contents is not None else self._bottom.contents

    def enter(self, values: Contents) -> Token[Contents | None]:
        """Make exactly `values` the content until `leave`; the dictionary is used as it is."""
        return self._contents.set(values)

    def leave(self, token: Token[Contents | None]) -> None:
        """Undo the `enter` that returned `token`."""
        self._contents.reset(token)

    # ------------------------------------------------------------------------------------------ for everybody

    def __call__(self, *args: Any, **kwargs: Any) -> _Added:
        return _Added(self, dict(*args, **kwargs))

    def __getitem__(self, key: str) -> Any:
        return self.current()[key]

    def __getattr__(self, name: str) -> Any:
        try:
            return self.current()[name]
        except KeyError:
            raise AttributeError(f"There is no {name!r} in the context.") from None

    def get(self, key: str, default: Any = None) -> Any:
        return self.current().get(key, default)

    def __contains__(self, key: object) -> bool:
        return key in self.current()

    def __setitem__(self, key: str, value: Any) -> None:
        self.current()[key] = value

    def __setattr__(self, name: str, value: Any) -> None:
        if hasattr(type(self), name):
            raise ValueError(f'Invalid key: "{name}" is the name of a method of the context.')
        self.current()[name] = value

    def __delitem__(self, key: str) -> None:
        del self.current()[key]

    def __delattr__(self, name: str) -> None:
        try:
            del self.current()[name]
        except KeyError:
            raise AttributeError(f"There is no {name!r} in the context.") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.current())

    def __len__(self) -> int:
        return len(self.current())

    def copy(self) -> DotDict:
        """Return the content as it is now, as a dictionary of its own."""
        return DotDict(self.current())

    def to_dict(self) -> dict[str, Any]:
        """Return the content as it is now, as a plain dictionary."""
        return dict(self.current())

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self]

    def __repr__(self) -> str:
        shown = {key: MASK if key == "secrets" and value else value for key, value in self.items()}
        return f"<Context: {shown}>"

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError(
            "The context cannot be pickled. In functions for other processes write `tenuto.context`, "
            "not a `context` imported from the package."
        )


class _Added(ContextDecorator):
    """The values of one `with context(...)`."""

    def __init__(self, owner: Context, values: Contents) -> None:
        self._owner = owner
        self._values = values
        self._outer: list[Contents | None] = []

    def _recreate_cm(self) -> Self:
        return type(self)(self._owner, self._values)

    def __enter__(self) -> Context:
        added = dict(self._values)
        outer = self._owner.current()
        if isinstance(added.get("config"), Mapping) and "config" in outer:
            added["config"] = merge_dicts(Config(outer["config"]), added["config"])
        self._outer.append(self._owner._contents.get())
        self._owner._contents.set({**outer, **added})
        return self._owner

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # `set`, not `reset`: in a notebook the block's two ends may run in different copies of the context.
        self._owner._contents.set(self._outer.pop())


class _Bottom(threading.local):
    """What a thread sees outside of runs: the configuration, and what it puts there by itself."""

    def __init__(self) -> None:
        config = configuration.config
        self.contents: Contents = {
            key: DotDict(value) if isinstance(value, Config) else value
            for key, value in config.get("context", {}).items()
        }
        self.contents["config"] = config
        if threading.current_thread() is threading.main_thread():
            self.contents["logger"] = logging.getLogger("tenuto")
        if not self.contents.get("secrets"):
            self.contents.pop("secrets", None)


context = Context()
