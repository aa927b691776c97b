"""The nodes that plain values and collections of tasks become, and the conversion that makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from tenuto._base.callsite import warn
from tenuto.core.annotations import EdgeAnnotation, read_annotations
from tenuto.core.building import active_flow
from tenuto.core.task import Task

if TYPE_CHECKING:
    from tenuto.core.flow import Flow

__all__ = ["Constant", "Dict", "List", "Set", "Tuple", "VarArgsTask", "as_task"]

_NAME_LENGTH_MAX = 8
_PLAIN = (str, bytes, int, float, complex, bool, type(None))
_COLLECTIONS = (list, tuple, set, dict)


class Constant(Task):
    """
    A plain value as a node of a flow.

    Args:
        value: what it stands for.
        name: default: the value's text if that is short, else `Constant[TYPE]`.
    """

    auto_generated: ClassVar[bool] = True
    joins_blocks: ClassVar[bool] = False

    def __init__(self, value: Any, name: str | None = None, **kwargs: Any) -> None:
        super().__init__(name=name or _constant_name(value), **kwargs)
        self.value = value

    def run(self) -> Any:
        """Return the value."""
        return self.value


class VarArgsTask(Task):
    """A task that takes any number of arguments by position: they are called `arg_1`, `arg_2`, ..."""

    if not TYPE_CHECKING:

        def run(self, **task_results):
            """Subclasses get the arguments by name; see `in_order`."""

    def bind(
        self,
        *args: Any,
        mapped: bool = False,
        upstream_tasks: Iterable[Any] | None = None,
        flow: Flow | None = None,
        **kwargs: Any,
    ) -> Self:
        """Put this task into a flow, with these arguments."""
        named = {f"arg_{number}": value for number, value in enumerate(args, start=1)}
        return super().bind(mapped=mapped, upstream_tasks=upstream_tasks, flow=flow, **named, **kwargs)


class List(VarArgsTask):
    """Collects its arguments in a list."""

    def run(self, **task_results: Any) -> list[Any]:
        return in_order(task_results)


class Tuple(VarArgsTask):
    """Collects its arguments in a tuple; in a named tuple where `make` is one."""

    make: Callable[..., tuple[Any, ...]] | None = None

    def run(self, **task_results: Any) -> tuple[Any, ...]:
        items = in_order(task_results)
        return tuple(items) if self.make is None else self.make(*items)


class Set(VarArgsTask):
    """Collects its arguments in a set."""

    def run(self, **task_results: Any) -> set[Any]:
        return set(in_order(task_results))


class Dict(Task):
    """Makes a dictionary of keys and values."""

    def run(self, keys: Iterable[Any], values: Iterable[Any]) -> dict[Any, Any]:
        """
        Return the dictionary.

        Raises:
            ValueError: if there are not as many keys as values.
        """
        keys, values = list(keys), list(values)
        if len(keys) != len(values):
            raise ValueError(f"A dictionary needs as many keys as values, not {len(keys)} and {len(values)}.")
        return dict(zip(keys, values, strict=True))


def in_order(arguments: dict[str, Any]) -> list[Any]:
    """Return numbered arguments by their number: `arg_2` comes before `arg_10`."""

    def number(name: str) -> tuple[int, str]:
        digits = name.rpartition("_")[2]
        return (int(digits), "") if digits.isdecimal() else (len(arguments), name)

    return [arguments[name] for name in sorted(arguments, key=number)]


def as_task(x: Any, flow: Flow | None = None) -> Task:
    """
    Return `x` as a task: itself, a collector of the tasks in it, or a constant.

    Args:
        x: anything. Lists, tuples, sets and dictionaries are searched for tasks at any depth; keys are not.
        flow: where collectors are added; default: the active flow.

    Raises:
        ValueError: if a collector is needed and there is no flow.
    """
    value = read_annotations(x).value
    return collected(value, flow) or Constant(value)


def collected(value: Any, flow: Flow | None = None) -> Task | None:
    """Return a task, or the collector node of a collection with tasks in it; None for a plain value."""
    if isinstance(value, Task):
        return value
    if type(value) in _PLAIN:
        return None
    holders: dict[int, bool] = {}
    return _collector(value, holders, flow) if _holds_task(value, holders) else None


def _holds_task(value: Any, holders: dict[int, bool]) -> bool:
    """Say whether a value is or contains a task; `holders` keeps the answer for each collection by its id."""
    if isinstance(value, Task):
        return True
    if isinstance(value, EdgeAnnotation):
        return _holds_task(read_annotations(value).value, holders)
    if not isinstance(value, _COLLECTIONS):
        if type(value) not in _PLAIN:
            _warn_of_hidden_task(value)
        return False
    known = holders.get(id(value))
    if known is None:
        holders[id(value)] = False  # a collection that contains itself contains no task by that
        items = value.values() if isinstance(value, dict) else value
        # All items are looked at, not only up to the first task: nested collections need their answers too.
        answers = [_holds_task(item, holders) for item in items if type(item) not in _PLAIN]
        known = holders[id(value)] = any(answers)
    return known


def _collector(value: Any, holders: dict[int, bool], flow: Flow | None) -> Task:
    """Return the node for a task, or for a collection that holds one."""
    if isinstance(value, Task):
        return value
    items = [
        _collector(item, holders, flow) if isinstance(item, _COLLECTIONS) and holders[id(item)] else item
        for item in (value.values() if isinstance(value, dict) else value)
    ]
    if isinstance(value, dict):
        return _dictionary(list(value), List().bind(*items, flow=flow), flow)
    if isinstance(value, tuple):
        node = Tuple()
        if hasattr(type(value), "_fields"):
            node.make = type(value)
        return node.bind(*items, flow=flow)
    return (Set() if isinstance(value, set) else List()).bind(*items, flow=flow)


def _dictionary(keys: list[Any], values: Task, flow: Flow | None) -> Task:
    flow = flow or active_flow()
    assert flow is not None  # the node of the values is in it
    node = Dict()
    flow.set_dependencies(node, keyword_tasks={"values": values})
    # Not as an argument: keys are never searched for tasks.
    flow.constants[node]["keys"] = keys
    return node


def _warn_of_hidden_task(value: Any) -> None:
    if not is_dataclass(value) or isinstance(value, type):
        return
    hidden = [field.name for field in fields(value) if isinstance(getattr(value, field.name, None), Task)]
    if hidden:
        warn(
            f"The field {hidden[0]!r} of a {type(value).__name__} holds a task. Dataclasses are passed on as "
            "they are, and whoever gets it sees the task, not its result; pass it as an argument of its own."
        )


def _constant_name(value: Any) -> str:
    # The text of a large value can take long to make, and would not be used.
    short = not hasattr(value, "__len__") or (
        type(value) in (str, bytes, *_COLLECTIONS) and len(value) <= _NAME_LENGTH_MAX
    )
    if short and len(text := repr(value)) <= _NAME_LENGTH_MAX:
        return text
    return f"Constant[{type(value).__name__}]"
