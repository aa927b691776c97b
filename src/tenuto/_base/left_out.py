"""
Names of the Prefect 1 API that Tenuto leaves out: they import, and say what to do instead when they are used.

Each is one call: the name, its arguments with their defaults, and the advice.
"""

from collections.abc import Callable, Mapping
from inspect import Parameter, Signature
from types import FunctionType
from typing import Any, Final, NoReturn, TypeVar

from tenuto.exceptions import PrefectException

__all__ = ["REQUIRED", "LeftOut", "advice_about", "left_out_class", "left_out_function"]

T = TypeVar("T")

REQUIRED: Final = Parameter.empty
"""Stands for the default of an argument that has none."""
_ADVICE: Final = "__left_out__"


class LeftOut(PrefectException, NotImplementedError):
    """Something of the Prefect 1 API was used that is not part of Tenuto; `name` and `instead` say what."""

    def __init__(self, name: str, instead: str) -> None:
        self.name = name
        self.instead = instead
        super().__init__(f"{name} is not part of Tenuto. {instead}")

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.name, self.instead)


def left_out_class(
    name: str, arguments: Mapping[str, Any], instead: str, *, base: type[T], module: str
) -> type[T]:
    """
    Return a class that raises LeftOut when it is constructed: when a flow is built, not in its run.

    Args:
        name: of the class.
        arguments: of its constructor: name -> default.
        instead: a sentence that says what to do.
        base: what users' code may take it for, such as `Task`.
        module: the address that users import it from.
    """

    def refuse(self: object, *args: Any, **kwargs: Any) -> NoReturn:
        raise LeftOut(name, instead)

    members = {
        "__init__": refuse,
        "__module__": module,
        "__doc__": f"Not part of Tenuto. {instead}",
        "__signature__": _signature(arguments, Parameter("kwargs", Parameter.VAR_KEYWORD)),
        _ADVICE: instead,
    }
    made: type[T] = type(name, (base,), members)
    return made


def left_out_function(name: str, arguments: Mapping[str, Any], instead: str) -> Callable[..., NoReturn]:
    """Return a function that raises LeftOut when it is called, whatever it is given."""

    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        raise LeftOut(name, instead)

    refuse.__name__ = refuse.__qualname__ = name
    refuse.__doc__ = f"Not part of Tenuto. {instead}"
    refuse.__signature__ = _signature(arguments)  # type: ignore[attr-defined]  # read by `inspect`
    setattr(refuse, _ADVICE, instead)
    return refuse


def advice_about(thing: object) -> str | None:
    """Return what to do instead of using something that was made here; None for everything else."""
    return vars(thing).get(_ADVICE) if isinstance(thing, type | FunctionType) else None


def _signature(arguments: Mapping[str, Any], *more: Parameter) -> Signature:
    parameters = [
        Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=default)
        for name, default in arguments.items()
    ]
    return Signature([*parameters, *more])
