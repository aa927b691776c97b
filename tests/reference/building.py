"""Real flows from graphs as data, and how what they report differs from what the interpreter expects."""

from __future__ import annotations

import builtins
import itertools
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import tenuto
from tenuto import Flow, Task, flatten, mapped, triggers, unmapped
from tenuto.core.nodes import Constant, Dict, List, Tuple
from tenuto.engine import signals
from tenuto.engine.state import Cached, Cancelled, Mapped, State, Success
from tenuto.exceptions import PrefectSignal
from tenuto.tasks.control_flow import FilterTask, case, merge
from tests.reference.graphs import (
    Argument,
    Block,
    Coll,
    Const,
    Facts,
    Graph,
    Node,
    Ref,
    Return,
    Source,
    Step,
    act,
)
from tests.reference.interpreter import ANY, Outcome, Report, Trouble

BROKEN: set[int] = set()
"""Numbers of tasks that fail for now, for a reason that is not in their code."""
EXECUTED: list[tuple[int, int]] = []
"""Numbers and map indices (-1: none) of the tasks whose `run` was called."""


def meet_the_world(number: int, index: int | None) -> None:
    """Note that a task runs, and fail where the world is broken. Tasks name this, and not what it reads."""
    EXECUTED.append((number, -1 if index is None else index))
    if number in BROKEN:
        raise OSError("broken")


class Acting(Task):
    """A task that does what the data say."""

    def __init__(self, node: Node, **options: Any) -> None:
        self.node = node
        super().__init__(name=f"t{node.number}", **options)

    def run(self, **inputs: Any) -> Any:
        context = tenuto.context
        index = context.get("map_index")
        meet_the_world(self.node.number, index)
        facts = Facts(
            inputs,
            index,
            context["task_run_count"],  # Missing it would make a task that counts retry for ever.
            context.get("task_loop_count", 1),
            context.get("task_loop_result"),
        )
        outcome = act(self.node.behaviours[(index or 0) % len(self.node.behaviours)], facts)
        if isinstance(outcome, Return):
            return outcome.value
        if not hasattr(signals, outcome.kind):
            raise getattr(builtins, outcome.kind)(outcome.message)
        signal = getattr(signals, outcome.kind)
        raise (
            signal(outcome.message, result=outcome.result) if outcome.has_result else signal(outcome.message)
        )


def never(upstream_states: Any) -> bool:
    return False


def broken(upstream_states: Any) -> bool:
    raise ValueError("broken trigger")


def skipping(upstream_states: Any) -> bool:
    raise signals.SKIP("the trigger says so")


TRIGGERS: dict[str, Callable[..., bool]] = {
    **{name: getattr(triggers, name) for name in triggers.__all__},
    "some_failed(1)": triggers.some_failed(at_least=1),
    "some_failed(at_most=1)": triggers.some_failed(at_most=1),
    "some_successful(0.5)": triggers.some_successful(at_least=0.5),
    "some_successful(at_most=1)": triggers.some_successful(at_most=1),
    "never": never,
    "broken": broken,
    "skipping": skipping,
}
EXTRA = {"List": "list", "Tuple": "tuple", "Dict": "dict", "CompareValue": "case"}


@dataclass
class Built:
    """A flow with its tasks by their number, and those in between by their kind."""

    flow: Flow
    tasks: dict[int, Any] = field(default_factory=dict)

    def extra(self) -> dict[str, list[Any]]:
        numbered = set(self.tasks.values())
        found: dict[str, list[Any]] = {}
        for task in self.flow.tasks:
            kind = EXTRA.get(type(task).__name__)
            if kind is not None and task not in numbered and not self._is_values_of_dict(task):
                found.setdefault(kind, []).append(task)
        return found

    def _is_values_of_dict(self, task: Any) -> bool:
        """A dict is two tasks, of which the one with the values goes before; the data know only the dict."""
        return isinstance(task, List) and any(
            isinstance(other, Dict) for other in self.flow.downstream_tasks(task)
        )


def build(graph: Graph) -> Built:
    """Build the flow of a graph."""
    built = Built(Flow("random"))
    with warnings.catch_warnings(), built.flow:
        # Much of what random graphs do deserves a warning; it is not what they are made for.
        warnings.simplefilter("ignore")
        _add_steps(graph.steps, built)
    if graph.reference:
        built.flow.set_reference_tasks([built.tasks[number] for number in sorted(graph.reference)])
    return built


def _add_steps(steps: tuple[Step, ...], built: Built) -> None:
    for step in steps:
        if isinstance(step, Block):
            with ExitStack() as stack:
                stack.enter_context(case(built.tasks[step.condition.node], step.value))
                _add_steps(step.steps, built)
        else:
            built.tasks[step.number] = _add_node(step, built)


def _add_node(node: Node, built: Built) -> Any:
    arguments = {argument.key: _written(argument, node, built) for argument in node.arguments if argument.key}
    upstream = [_written(argument, node, built) for argument in node.arguments if argument.key is None]
    if node.kind == "merge":
        made = merge(*arguments.values())
        if upstream:
            made.set_dependencies(upstream_tasks=upstream)
        return made
    if node.kind == "item":
        return arguments["whole"][node.position]
    if node.kind == "filter":
        return FilterTask(name=f"t{node.number}")(**arguments, upstream_tasks=upstream)
    retry_on: Any = getattr(builtins, node.retry_on) if node.retry_on else None
    task = Acting(
        node,
        trigger=TRIGGERS[node.trigger],
        skip_on_upstream_skip=node.skip_on_upstream_skip,
        max_retries=node.max_retries,
        retry_delay=timedelta(0) if node.max_retries else None,
        retry_on=retry_on,
    )
    if node.is_mapped and node.number % 2:
        return task.map(**arguments, upstream_tasks=upstream)
    return task(**arguments, upstream_tasks=upstream)


def _written(argument: Argument, node: Node, built: Built) -> Any:
    """Return what the author of the flow would write for an argument."""
    value = _value(argument.source, built)
    if argument.flattened:
        value = flatten(value)
    if node.is_mapped and node.number % 2 and node.kind == "act":
        return value if argument.mapped else unmapped(value)
    return mapped(value) if argument.mapped else value


def _value(source: Source, built: Built) -> Any:
    match source:
        case Ref(node=node):
            return built.tasks[node]
        case Const(value=value):
            return value
        case Coll(kind=kind, items=items):
            values = [_value(item, built) for item in items]
            if kind == "dict":
                return {f"k{position}": value for position, value in enumerate(values)}
            return tuple(values) if kind == "tuple" else values


# ------------------------------------------------------------------------------------ comparison


def disagreements(built: Built, state: State, expected: Report) -> list[str]:
    """
    Return in what a run and the interpreter's report differ.

    A success that was taken over from an earlier run counts as the success that it was there. Of a flow with
    `fail_fast` only what was not cancelled is compared: the interpreter knows no order.
    """
    found = []
    outcomes = [*expected.outcomes.values(), *itertools.chain(*expected.extra.values())]
    if built.flow.fail_fast and any(map(fails_by_itself, outcomes)):
        if not (
            state.is_failed() and str(state.message).endswith("failed, and the flow has fail_fast=True.")
        ):
            found.append(f"flow: {state!r}, though a task of it fails")
    elif (type(state).__name__, state.message) != (expected.state, expected.message):
        found.append(f"flow: {state!r} instead of {expected.state} {expected.message!r}")
    for number, outcome in expected.outcomes.items():
        found += _differences(f"t{number}", state.result[built.tasks[number]], outcome)
    for kind, tasks in built.extra().items():
        for position, (task, outcome) in enumerate(zip(tasks, expected.extra[kind], strict=True)):
            found += _differences(f"{kind} {position}", state.result[task], outcome)
    missing = [task for task in built.flow.tasks if task not in state.result]
    return found + [f"{task!r} has no state" for task in missing]


def fails_by_itself(outcome: Outcome) -> bool:
    """Say whether a task, or one of its children, fails, and not only because of what others did."""
    if outcome.children is not None:
        return any(map(fails_by_itself, outcome.children))
    return outcome.is_failed and outcome.state != "TriggerFailed"


def is_cancelled(state: State) -> bool:
    """Say whether a task was not started, because another one had failed."""
    return isinstance(state, Cancelled) and "failed, and the flow has fail_fast" in str(state.message)


def _differences(name: str, state: State, expected: Outcome) -> list[str]:
    found = []
    if is_cancelled(state):
        return [] if state.cause == "upstream" else [f"{name}: cause {state.cause!r} instead of 'upstream'"]
    if is_taken_over(state):
        state = Success(expected.message if expected.state == "Success" else "", result=state.result)
    if type(state).__name__ != expected.state:
        wanted = f"{expected.state} ({expected.message})"
        found.append(f"{name}: {type(state).__name__} ({state.message}) instead of {wanted}")
    elif not agrees(expected.message, state.message):
        found.append(f"{name}: message {state.message!r} instead of {expected.message!r}")
    children = state.map_states if isinstance(state, Mapped) else []
    if not any(map(is_cancelled, children)) and not agrees(expected.result, state.result):
        found.append(f"{name}: result {state.result!r} instead of {expected.result!r}")
    if isinstance(state, Mapped) and expected.children is not None:
        if len(state.map_states) != len(expected.children):
            found.append(f"{name}: {len(state.map_states)} children instead of {len(expected.children)}")
        for index, (child, outcome) in enumerate(zip(state.map_states, expected.children, strict=False)):
            found += _differences(f"{name}[{index}]", child, outcome)
    return found


def is_taken_over(state: State) -> bool:
    """Say whether a state stands for the result of an earlier run."""
    return isinstance(state, Cached) and str(state.message).startswith("Result of run")


def agrees(expected: Any, real: Any) -> bool:
    """Say whether a real value is what the interpreter stands for: equal, and of equal types all the way."""
    if isinstance(expected, Trouble):
        return agrees_trouble(expected, real)
    if isinstance(expected, str) and expected.endswith(ANY):
        return isinstance(real, str) and real.startswith(expected[: -len(ANY)])
    if type(expected) is not type(real):
        return False
    if isinstance(expected, list | tuple):
        return len(expected) == len(real) and all(map(agrees, expected, real))
    if isinstance(expected, dict):
        return expected.keys() == real.keys() and all(agrees(expected[key], real[key]) for key in expected)
    return bool(expected == real)


def agrees_trouble(expected: Trouble, real: Any) -> bool:
    """Say whether a value is that exception or signal."""
    if type(real).__name__ != expected.kind or not isinstance(real, Exception | PrefectSignal):
        return False
    text = real.state.message if isinstance(real, signals.PrefectStateSignal) else str(real.args[0])
    return agrees(expected.text, text)


__all__ = ["Built", "Constant", "Tuple", "agrees", "build", "disagreements"]
