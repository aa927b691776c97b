"""What can be read off the signature of a task's `run`: its arguments, and how many values it returns."""

from __future__ import annotations

import ast
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter, Signature
from types import MethodType
from typing import Any
from weakref import WeakKeyDictionary

RESERVED = ("upstream_tasks", "mapped", "task_args", "flow")

_CALL_PARAMETERS = tuple(
    Parameter(name, Parameter.KEYWORD_ONLY, default=default)
    for name, default in (("mapped", False), ("task_args", None), ("upstream_tasks", None), ("flow", None))
)


@dataclass(frozen=True, slots=True)
class RunSignature:
    """
    The signature of a `run`, read once per function.

    Attributes:
        signature: without `self`.
        names: arguments that can be given by name.
        required: those of them that have no default.
        takes_any: whether there is a `**kwargs`.
        nout: number of values returned, by the return annotation; None if that does not say.
    """

    signature: Signature
    names: frozenset[str]
    required: tuple[str, ...]
    takes_any: bool
    nout: int | None

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """
        Return the arguments of a call by name; defaults that were not given are left out.

        Raises:
            TypeError: if an argument is missing or unknown.
        """
        bound = self.signature.bind(*args, **kwargs)
        arguments = bound.arguments
        if self.takes_any:
            for name, parameter in self.signature.parameters.items():
                if parameter.kind is Parameter.VAR_KEYWORD:
                    arguments.update(arguments.pop(name, {}))
        return arguments

    def check_key(self, key: str) -> None:
        """Raise TypeError if `run` takes no argument of this name."""
        if key not in self.names and not self.takes_any:
            raise TypeError(f"got an unexpected keyword argument {key!r}")

    def of_call(self) -> Signature:
        """Return the signature of calling the task: that of `run`, and what every call takes."""
        own = list(self.signature.parameters.values())
        end = len(own) - 1 if self.takes_any else len(own)
        return Signature([*own[:end], *_CALL_PARAMETERS, *own[end:]], return_annotation="Task")


_CACHE: WeakKeyDictionary[Callable[..., Any], RunSignature] = WeakKeyDictionary()


def run_signature(run: Callable[..., Any]) -> RunSignature:
    """
    Return the signature of a task's `run`, a function or a bound method.

    Raises:
        ValueError: if it cannot be inspected.
    """
    function = run.__func__ if isinstance(run, MethodType) else run
    try:
        known = _CACHE.get(function)
    except TypeError:  # a callable object that cannot be hashed or referred to weakly
        return _read(run)
    if known is None:
        known = _CACHE[function] = _read(run)
    return known


def _read(run: Callable[..., Any]) -> RunSignature:
    signature = inspect.signature(run)
    parameters = signature.parameters.values()
    named = [p for p in parameters if p.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)]
    return RunSignature(
        signature=signature,
        names=frozenset(p.name for p in named),
        required=tuple(p.name for p in named if p.default is Parameter.empty),
        takes_any=any(p.kind is Parameter.VAR_KEYWORD for p in parameters),
        nout=count_outputs(signature.return_annotation, run),
    )


def check_run(signature: Signature) -> None:
    """
    Check what holds for every task's `run`.

    Raises:
        ValueError: if it takes `*args`, or an argument whose name every call of a task has a meaning for.
    """
    if any(p.kind is Parameter.VAR_POSITIONAL for p in signature.parameters.values()):
        raise ValueError(
            "Tasks with variable positional arguments (*args) are not supported, because every argument of "
            "a task has a name; consider using **kwargs instead."
        )
    taken = [name for name in RESERVED if name in signature.parameters]
    if taken:
        raise ValueError(
            f"Tasks cannot have the following argument names: {', '.join(taken)}. "
            "These are reserved keyword arguments."
        )


def positional_only(signature: Signature) -> list[str]:
    """Return the names of the arguments that cannot be given by name."""
    return [p.name for p in signature.parameters.values() if p.kind is Parameter.POSITIONAL_ONLY]


def resolve_annotation(annotation: Any, function: Callable[..., Any]) -> Any:
    """Return what an annotation written as text means; the text itself when its names cannot be found."""
    if not isinstance(annotation, str):
        return annotation
    function = inspect.unwrap(function)
    function = function.__func__ if isinstance(function, MethodType) else function
    try:
        return eval(annotation, getattr(function, "__globals__", {}))
    except (NameError, AttributeError, TypeError, SyntaxError, ValueError, LookupError):
        return annotation


def count_outputs(annotation: Any, function: Callable[..., Any]) -> int | None:
    """Return how many values a return annotation promises: 2 for `tuple[A, B]`, None if it does not say."""
    annotation = resolve_annotation(annotation, function)
    if isinstance(annotation, str):
        return _count_in_text(annotation)
    if typing.get_origin(annotation) is not tuple or annotation is typing.Tuple:  # noqa: UP006
        return None
    items = typing.get_args(annotation)
    return None if Ellipsis in items else len(items)


def _count_in_text(annotation: str) -> int | None:
    """Count the items of a tuple annotation whose names exist only for type checkers."""
    try:
        node = ast.parse(annotation, mode="eval").body
    except SyntaxError:
        return None
    if not isinstance(node, ast.Subscript):
        return None
    name = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
    if name not in ("tuple", "Tuple"):
        return None
    items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if any(isinstance(item, ast.Constant) and item.value is Ellipsis for item in items):
        return None
    return len(items)
