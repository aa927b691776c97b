"""Older names of the functions in `tenuto.backend.artifacts`."""

import functools
import warnings
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from tenuto.backend import artifacts

__all__ = ["create_link", "create_markdown", "delete_artifact", "update_link", "update_markdown"]

P = ParamSpec("P")
R = TypeVar("R")


def _older(name: str, function: Callable[P, R]) -> Callable[P, R]:
    """Return a function of that name that calls another one, and says so."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        text = f"tenuto.artifacts.{name} is an older name: use tenuto.backend.{function.__name__}."
        warnings.warn(text, UserWarning, stacklevel=2)
        return function(*args, **kwargs)

    call.__name__ = call.__qualname__ = name
    call.__module__ = __name__
    return call


create_link = _older("create_link", artifacts.create_link_artifact)
update_link = _older("update_link", artifacts.update_link_artifact)
create_markdown = _older("create_markdown", artifacts.create_markdown_artifact)
update_markdown = _older("update_markdown", artifacts.update_markdown_artifact)
delete_artifact = _older("delete_artifact", artifacts.delete_artifact)
