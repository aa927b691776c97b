"""
Flows as data: what the reference interpreter runs and what real flows are built from.

A graph is a tuple of steps, each a node or a `case` block of steps. Nodes are numbered in the order in which
they appear; they refer to earlier ones by number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

# ------------------------------------------------------------------------------------------ what a task does


@dataclass(frozen=True)
class Return:
    """Returns this value."""

    value: Any


@dataclass(frozen=True)
class Echo:
    """Returns its first input, or its map index when it has none."""


@dataclass(frozen=True)
class Collect:
    """Returns the list of its inputs."""


@dataclass(frozen=True)
class Throw:
    """Raises an exception of the builtins, or a signal; `result` counts where `has_result`."""

    kind: str
    message: str = "as told"
    has_result: bool = False
    result: Any = None


@dataclass(frozen=True)
class Flaky:
    """Raises in its first `times` attempts, then does what `then` says."""

    times: int
    then: Behaviour
    kind: str = "ValueError"


@dataclass(frozen=True)
class Loop:
    """Does what `each` says `times` times, each time looping with the outcome, then once more."""

    times: int
    each: Behaviour


Behaviour = Return | Echo | Collect | Throw | Flaky | Loop


@dataclass(frozen=True)
class Facts:
    """What a task can know of its run."""

    inputs: Mapping[str, Any]
    index: int | None = None
    run_count: int = 1
    loop_count: int = 1
    loop_result: Any = None


def act(behaviour: Behaviour, facts: Facts) -> Return | Throw:
    """Do what a behaviour says. Inputs are handed on as they are, never looked into."""
    match behaviour:
        case Return() | Throw():
            return behaviour
        case Echo():
            values = [facts.inputs[key] for key in sorted(facts.inputs)]
            return Return(values[0] if values else facts.index)
        case Collect():
            return Return([facts.inputs[key] for key in sorted(facts.inputs)])
        case Flaky(times=times, then=then, kind=kind):
            return Throw(kind, f"attempt {facts.run_count}") if facts.run_count <= times else act(then, facts)
        case Loop(times=times, each=each):
            outcome = act(each, facts)
            if isinstance(outcome, Throw):
                return outcome
            value = [facts.loop_result, outcome.value]
            if facts.loop_count <= times:
                return Throw("LOOP", "once more", has_result=True, result=value)
            return Return(value)


# ------------------------------------------------------------------------------- what a graph is


@dataclass(frozen=True)
class Ref:
    """The task of that number."""

    node: int


@dataclass(frozen=True)
class Const:
    """A plain value, written where a task could stand."""

    value: Any


@dataclass(frozen=True)
class Coll:
    """A collection with tasks in it; of a dict these are the values, under the keys "k0", "k1", ..."""

    kind: Literal["list", "tuple", "dict"]
    items: tuple[Source, ...]


Source = Ref | Const | Coll


@dataclass(frozen=True)
class Argument:
    """An argument, or with key None a task that only has to come before."""

    key: str | None
    source: Source
    mapped: bool = False
    flattened: bool = False


@dataclass(frozen=True)
class Node:
    """
    A task.

    `kind` says which: "act" does what `behaviours` say, child i of a mapped one the i-th, cyclically; "merge"
    and "filter" are those of `tasks.control_flow`; "item" is `task[position]`.
    """

    number: int
    kind: Literal["act", "merge", "filter", "item"] = "act"
    arguments: tuple[Argument, ...] = ()
    behaviours: tuple[Behaviour, ...] = (Echo(),)
    trigger: str = "all_successful"
    skip_on_upstream_skip: bool = True
    max_retries: int = 0
    retry_on: str | None = None
    position: int = 0

    @property
    def is_mapped(self) -> bool:
        return any(argument.mapped for argument in self.arguments)


@dataclass(frozen=True)
class Block:
    """The steps run only if the result of a task equals a value."""

    condition: Ref
    value: Any
    steps: tuple[Step, ...]


Step = Node | Block


@dataclass(frozen=True)
class Graph:
    """A flow. `reference` are the numbers of the tasks that decide its state; empty: the usual ones."""

    steps: tuple[Step, ...]
    reference: frozenset[int] = field(default_factory=frozenset)

    def nodes(self) -> list[Node]:
        """All tasks by their number."""
        return sorted(_nodes(self.steps), key=lambda node: node.number)


def _nodes(steps: tuple[Step, ...]) -> Iterator[Node]:
    for step in steps:
        if isinstance(step, Node):
            yield step
        else:
            yield from _nodes(step.steps)


TRIGGERS = (
    "all_successful",
    "all_failed",
    "any_successful",
    "any_failed",
    "all_finished",
    "not_all_skipped",
    "some_failed(1)",
    "some_failed(at_most=1)",
    "some_successful(0.5)",
    "some_successful(at_most=1)",
    "never",
    "broken",
    "skipping",
)
"""The names of the triggers that a node may have; the last three are a user's own."""
