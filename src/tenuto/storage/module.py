"""Flows in modules that are installed where they run."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tenuto.exceptions import FlowStorageError
from tenuto.storage.base import Storage, choose_flow

if TYPE_CHECKING:
    from tenuto.core.flow import Flow

__all__ = ["Module"]


class Module(Storage):
    """
    Finds flows in a module: its global variables.

    Args:
        module: its full name.
        **kwargs: those of `Storage`.
    """

    def __init__(self, module: str, **kwargs: Any) -> None:
        self.module = module
        super().__init__(**kwargs)

    def _location(self, flow: Flow) -> str:
        return self.module

    def _store(self, flow: Flow, location: str) -> None:
        pass  # it is where it is

    def _fetch(self, flow_name: str, location: str) -> Flow:
        from tenuto.core.flow import Flow

        try:
            module = importlib.import_module(location)
        except Exception as error:
            # Importing runs any code of the user's; the reason is kept.
            raise FlowStorageError(f"The module {location!r} cannot be imported: {error!r}") from error
        return choose_flow(
            (value for value in vars(module).values() if isinstance(value, Flow)), flow_name, location
        )
