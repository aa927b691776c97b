"""
A naive interpreter of graphs, written from the rules and from nothing else.

It evaluates each task by evaluating first what it depends on: no queue, no clock, no threads, no journal.
The ids are those of the rules of running (R-RUN, R-PIPE, R-RETRY, R-LOOP), states (R-SKIP, R-TRIG, R-SIG) and
mapping (R-MAP, R-FLAT, R-CASE, R-MERGE, R-FILT). It imports nothing of the engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.reference.graphs import (
    Argument,
    Block,
    Const,
    Facts,
    Graph,
    Node,
    Ref,
    Return,
    Source,
    Step,
    Throw,
    act,
)

SIGNALS = {
    "FAIL": "Failed",
    "TRIGGERFAIL": "TriggerFailed",
    "VALIDATIONFAIL": "ValidationFailed",
    "SUCCESS": "Success",
    "SKIP": "Skipped",
    "RETRY": "Retrying",
    "LOOP": "Looped",
}
SUCCESSFUL = {"Success", "Mapped", "Skipped"}
FAILED = {"Failed", "TriggerFailed", "ValidationFailed"}
ANY = "…"
"""At the end of an expected text: whatever follows."""


@dataclass(frozen=True)
class Trouble:
    """An exception or signal as a value."""

    kind: str
    text: str

    def __repr__(self) -> str:
        return f"{self.kind}({ANY}" if self.text == ANY else f"{self.kind}({self.text!r})"


@dataclass
class Outcome:
    """The final state of a task or child."""

    state: str
    message: str | None = None
    result: Any = None
    children: list[Outcome] | None = None
    run_count: int = 1
    loop_count: int = 1

    @property
    def is_successful(self) -> bool:
        return self.state in SUCCESSFUL

    @property
    def is_failed(self) -> bool:
        return self.state in FAILED


@dataclass
class Vertex:
    """A task as the rules see it: collections and `case` comparisons are tasks of their own."""

    kind: str
    edges: list[Edge] = field(default_factory=list)
    node: Node = field(default_factory=lambda: Node(-1))
    value: Any = None
    """Of a constant; or what a comparison expects; or the keys of a collection's constants."""
    constants: dict[str, Any] = field(default_factory=dict)

    @property
    def is_mapped(self) -> bool:
        return any(edge.mapped for edge in self.edges)


@dataclass
class Edge:
    """From a task to the one that has it; `key` None passes no data."""

    upstream: Vertex
    key: str | None
    mapped: bool = False
    flattened: bool = False


@dataclass
class Report:
    """What a run of a graph comes to."""

    state: str
    message: str
    outcomes: dict[int, Outcome]
    extra: dict[str, list[Outcome]]
    """Of the tasks that the graph does not number: collections ("List", ...) and comparisons ("case")."""


def interpret(graph: Graph) -> Report:
    """Run a graph."""
    vertices, extra = elaborated(graph)
    known: dict[int, Outcome] = {}
    outcomes = {number: evaluate(vertex, known) for number, vertex in vertices.items()}
    extras: dict[str, list[Outcome]] = {}
    for vertex in extra:
        if vertex.kind != "constant":
            extras.setdefault(vertex.kind, []).append(evaluate(vertex, known))
    depended_on = {id(edge.upstream) for vertex in [*vertices.values(), *extra] for edge in vertex.edges}
    terminal = {number for number, vertex in vertices.items() if id(vertex) not in depended_on}
    reference: list[Outcome] = []
    for number in sorted(graph.reference or terminal):
        outcome = outcomes[number]
        reference += [outcome] if outcome.children is None else outcome.children
    # R-RUN-10, R-MAP-11
    if any(outcome.is_failed for outcome in reference):
        return Report("Failed", "Some reference tasks failed.", outcomes, extras)
    return Report("Success", "All reference tasks succeeded.", outcomes, extras)


# ------------------------------------------------------------------------------------ from data to vertices


def elaborated(graph: Graph) -> tuple[dict[int, Vertex], list[Vertex]]:
    """Return the numbered tasks, and those that stand between them."""
    vertices: dict[int, Vertex] = {}
    extra: list[Vertex] = []
    _add_steps(graph.steps, vertices, extra)
    return vertices, extra


def _add_steps(steps: Iterable[Step], vertices: dict[int, Vertex], extra: list[Vertex]) -> list[Vertex]:
    """Add steps; return the tasks that a block around them would hold."""
    held: list[Vertex] = []
    for step in steps:
        if isinstance(step, Block):
            inner = _add_steps(step.steps, vertices, extra)
            compare = Vertex("case", [Edge(vertices[step.condition.node], "value")], value=step.value)
            ids = {id(vertex) for vertex in inner}
            # R-CASE-1: upstream of every task of the block that has no upstream inside the block.
            for vertex in inner:
                if not any(id(edge.upstream) in ids for edge in vertex.edges):
                    vertex.edges.append(Edge(compare, None))
            extra.append(compare)
            held += [*inner, compare]
        else:
            before = len(extra)
            vertices[step.number] = _vertex(step, vertices, extra)
            held += [vertex for vertex in extra[before:] if vertex.kind != "constant"]  # R-CASE-5
            held.append(vertices[step.number])
    return held


def _vertex(node: Node, vertices: dict[int, Vertex], extra: list[Vertex]) -> Vertex:
    vertex = Vertex(node.kind, node=node)
    for argument in node.arguments:
        _bind(vertex, argument, vertices, extra)
    return vertex


def _bind(vertex: Vertex, argument: Argument, vertices: dict[int, Vertex], extra: list[Vertex]) -> None:
    source = argument.source
    plain = argument.key is not None and not argument.mapped and not argument.flattened
    if isinstance(source, Const) and plain:
        vertex.constants[str(argument.key)] = source.value  # R-CONST-1
        return
    upstream = _upstream(source, vertices, extra)
    vertex.edges.append(Edge(upstream, argument.key, argument.mapped, argument.flattened))


def _upstream(source: Source, vertices: dict[int, Vertex], extra: list[Vertex]) -> Vertex:
    if isinstance(source, Ref):
        return vertices[source.node]
    if isinstance(source, Const):
        vertex = Vertex("constant", value=source.value)
    else:
        vertex = Vertex(source.kind)
        for position, item in enumerate(source.items):
            _bind(vertex, Argument(f"{position:03}", item), vertices, extra)
        vertex.value = len(source.items)
    extra.append(vertex)
    return vertex


# -------------------------------------------------------------------------------------------- one task


def evaluate(vertex: Vertex, known: dict[int, Outcome]) -> Outcome:
    """Return a task's final state, running first all that it depends on."""
    if id(vertex) not in known:
        for edge in vertex.edges:
            evaluate(edge.upstream, known)
        known[id(vertex)] = _evaluate(vertex, known)
    return known[id(vertex)]


def _evaluate(vertex: Vertex, known: dict[int, Outcome]) -> Outcome:
    if vertex.kind == "constant":
        return Outcome("Success", None, vertex.value)
    if not vertex.is_mapped:
        return _run_once(vertex, known, None)
    return _run_mapped(vertex, known)


def _run_mapped(vertex: Vertex, known: dict[int, Outcome]) -> Outcome:
    mapped = [edge for edge in vertex.edges if edge.mapped]
    # A mapped upstream is followed child by child: whether children were skipped is each child's own affair.
    seen = [
        outcome
        for edge in vertex.edges
        for outcome in ([known[id(edge.upstream)]] if edge.mapped else _seen(edge, known, None))
    ]
    skipped = _skipped(vertex, seen)
    if skipped is not None:
        return skipped
    if all(known[id(edge.upstream)].is_failed for edge in mapped):
        return Outcome("Failed", "No upstream states can be mapped over.")  # R-MAP-9
    lengths = []
    for edge in mapped:
        upstream = known[id(edge.upstream)]
        if upstream.is_failed:
            continue
        items = _items(edge, upstream)
        if items is None:
            return Outcome("Failed", "At least one upstream state has an unmappable result.")  # R-MAP-8
        lengths.append(len(items))
    children = [_run_once(vertex, known, index) for index in range(min(lengths))]  # R-MAP-6
    results = [child.result for child in children]
    return Outcome("Mapped", "Ready to proceed with mapping.", results, children)


def _run_once(vertex: Vertex, known: dict[int, Outcome], index: int | None) -> Outcome:
    """Run a task that is not mapped, or one child."""
    seen = [outcome for edge in vertex.edges for outcome in _seen(edge, known, index)]
    # D-3: constants do not count for triggers; they are never skipped either.
    counting = [
        outcome
        for edge in vertex.edges
        if edge.upstream.kind != "constant"
        for outcome in _seen(edge, known, index)
    ]
    refused = _skipped(vertex, seen) or _triggered(_trigger_of(vertex), counting)
    if refused is not None:
        return refused
    inputs = dict(vertex.constants)
    for edge in vertex.edges:
        if edge.key is not None:
            inputs[edge.key] = _value(edge, known, index)
    return _attempts(vertex, inputs, index)


def _attempts(vertex: Vertex, inputs: Mapping[str, Any], index: int | None) -> Outcome:
    run_count = loop_count = 1
    loop_result: Any = None
    while True:
        done = _body(vertex, Facts(inputs, index, run_count, loop_count, loop_result))
        if isinstance(done, Return):
            message = "Task run succeeded."  # R-PIPE-2
            return Outcome("Success", message, done.value, None, run_count, loop_count)
        trouble = Trouble(done.kind, done.message)
        result = done.result if done.has_result else trouble  # R-SIG-3
        if done.kind == "LOOP":
            loop_count, loop_result = loop_count + 1, result
            run_count = 1  # R-LOOP-6, REC: counted for each loop index by itself.
        elif done.kind == "RETRY":
            run_count += 1  # R-RETRY-8
        elif done.kind in ("SUCCESS", "SKIP"):
            return Outcome(SIGNALS[done.kind], done.message, result, None, run_count, loop_count)
        elif run_count <= vertex.node.max_retries and _is_retried(vertex.node, result):
            run_count += 1
        else:
            state = SIGNALS.get(done.kind, "Failed")
            is_signal = done.kind in SIGNALS
            text = done.message if is_signal else f"Error during execution of task: {trouble!r}"
            return Outcome(state, text, result, None, run_count, loop_count)  # R-PIPE-3


def _is_retried(node: Node, result: Any) -> bool:
    """R-RETRY-7: only what is listed; a failure without a result always."""
    if node.retry_on is None or result is None:
        return True
    return isinstance(result, Trouble) and result.kind == node.retry_on


def _body(vertex: Vertex, facts: Facts) -> Return | Throw:
    inputs = [facts.inputs[key] for key in sorted(facts.inputs)]
    match vertex.kind:
        case "act":
            behaviours = vertex.node.behaviours
            return act(behaviours[(facts.index or 0) % len(behaviours)], facts)
        case "list":
            return Return(inputs)
        case "tuple":
            return Return(tuple(inputs))
        case "dict":
            return Return({f"k{position}": value for position, value in enumerate(inputs)})
        case "case":
            (given,) = inputs
            if not isinstance(given, Trouble) and given == vertex.value:
                return Return(None)
            shown = ANY if _is_troubled(given) else f'{given}" did not match "{vertex.value}"'
            return Throw("SKIP", f'Provided value "{shown}', has_result=True)  # R-CASE-2
        case "merge":
            # R-MERGE-1, D-9: the first that is neither None nor a signal.
            there = [
                v for v in inputs if v is not None and not (isinstance(v, Trouble) and v.kind in SIGNALS)
            ]
            return Return(there[0] if there else None)
        case "filter":
            (items,) = inputs
            if not isinstance(items, list | tuple | str | dict):
                return Throw("TypeError", ANY)  # R-FILT-4
            # R-FILT-1, D-6
            return Return([item for item in items if item is not None and not isinstance(item, Trouble)])
        case "item":
            (whole,) = inputs
            return _item(whole, vertex.node.position)
        case kind:
            raise AssertionError(kind)


def _item(whole: Any, position: int) -> Return | Throw:
    if isinstance(whole, dict):
        return Throw("KeyError", ANY)
    if not isinstance(whole, list | tuple | str):
        return Throw("TypeError", ANY)
    return Return(whole[position]) if position < len(whole) else Throw("IndexError", ANY)


def _is_troubled(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_is_troubled, value.values()))
    return any(map(_is_troubled, value)) if isinstance(value, list | tuple) else isinstance(value, Trouble)


# ------------------------------------------------------------------------------- what arrives along an edge


def _items(edge: Edge, upstream: Outcome) -> list[tuple[Outcome, Any]] | None:
    """Return what a mapped edge hands to the children, with the state each sees; None: it cannot be."""
    if upstream.children is not None:
        if edge.flattened:
            return _entries(upstream.children)
        return [(child, child.result) for child in upstream.children]
    values = _flattened(upstream.result) if edge.flattened else upstream.result
    # R-MAP-8, and R-MAP-10 REC: mappings cannot be mapped over either.
    if not isinstance(values, list | tuple | str):
        return None
    return [(upstream, value) for value in values]


def _entries(children: Iterable[Outcome]) -> list[tuple[Outcome, Any]]:
    """R-FLAT-3: items of each child; one entry for a child that failed, was skipped or is not iterable."""
    entries: list[tuple[Outcome, Any]] = []
    for child in children:
        whole = child.result
        if child.is_failed or child.state == "Skipped" or not _is_iterable(whole):
            entries.append((child, whole))
        else:
            entries += [(child, item) for item in whole]
    return entries


def _flattened(value: Any) -> Any:
    """R-FLAT-1; R-FLAT-2 with its REC: what is not a sequence of iterables stays, strings are not split."""
    if isinstance(value, list | tuple) and all(map(_is_iterable, value)):
        return [item for inner in value for item in inner]
    return value


def _is_iterable(value: Any) -> bool:
    return isinstance(value, list | tuple | dict)


def _seen(edge: Edge, known: dict[int, Outcome], index: int | None) -> list[Outcome]:
    """Return the states that a task, or its child of that index, sees along an edge."""
    upstream = known[id(edge.upstream)]
    if edge.mapped and index is not None:
        if upstream.is_failed:
            return [upstream]
        items = _items(edge, upstream)
        assert items is not None
        return [items[index][0]]  # R-MAP-13
    return [upstream] if upstream.children is None else upstream.children  # R-TRIG-3


def _value(edge: Edge, known: dict[int, Outcome], index: int | None) -> Any:
    upstream = known[id(edge.upstream)]
    if edge.mapped and not upstream.is_failed:
        items = _items(edge, upstream)
        assert items is not None
        assert index is not None
        return items[index][1]
    if edge.flattened and not edge.mapped:
        if upstream.children is not None:
            return [value for _, value in _entries(upstream.children)]
        return _flattened(upstream.result)
    return upstream.result  # R-MAP-14


# ---------------------------------------------------------------------------------------- skips and triggers

SKIPPED_UPSTREAM = (
    "Upstream task was skipped; if this was not the intended behavior, consider changing "
    "`skip_on_upstream_skip=False` for this task."
)


def _skipped(vertex: Vertex, seen: Iterable[Outcome]) -> Outcome | None:
    """R-SKIP-1."""
    follows = vertex.node.skip_on_upstream_skip if vertex.kind in ("act", "item") else True
    if vertex.kind in ("merge", "filter"):
        follows = False  # R-MERGE-2, R-FILT-1
    if follows and any(outcome.state == "Skipped" for outcome in seen):
        return Outcome("Skipped", SKIPPED_UPSTREAM)
    return None


def _trigger_of(vertex: Vertex) -> str:
    if vertex.kind == "act":
        return vertex.node.trigger
    return {"merge": "not_all_skipped", "filter": "all_finished"}.get(vertex.kind, "all_successful")


def _triggered(trigger: str, seen: list[Outcome]) -> Outcome | None:
    """Return the state that a trigger ends the run with; None: it lets it go on. Spec 03, section 4."""
    failed = sum(outcome.is_failed for outcome in seen)
    successful = sum(outcome.is_successful for outcome in seen)
    total = len(seen)
    nothing = total == 0
    name = trigger.partition("(")[0]
    match trigger:
        case "all_successful":
            passes, why = successful == total, "some of the upstream tasks failed."
        case "all_failed":
            passes, why = failed == total, "some of the upstream tasks succeeded."
        case "any_successful":
            passes, why = nothing or successful > 0, "none of the upstream tasks succeeded."
        case "any_failed":
            passes, why = nothing or failed > 0, "none of the upstream tasks failed."
        case "all_finished":
            passes, why = True, ""
        case "not_all_skipped":
            if seen and all(outcome.state == "Skipped" for outcome in seen):
                return Outcome("Skipped", "All upstreams were skipped")
            passes, why = failed == 0, "some of the upstream tasks failed."
        case "some_failed(1)":
            passes, why = nothing or failed >= 1, "thresholds were not met."
        case "some_failed(at_most=1)":
            passes, why = failed <= 1, "thresholds were not met."
        case "some_successful(0.5)":
            passes, why = nothing or successful / total >= 0.5, "thresholds were not met."
        case "some_successful(at_most=1)":
            passes, why = successful <= 1, "thresholds were not met."
        case "never":
            return Outcome("TriggerFailed", "Trigger failed", Trouble("TRIGGERFAIL", "Trigger failed"))
        case "broken":
            error = Trouble("ValueError", "broken trigger")
            return Outcome("TriggerFailed", f"Unexpected error while checking task trigger: {error!r}", error)
        case "skipping":
            return Outcome("Skipped", "the trigger says so", Trouble("SKIP", "the trigger says so"))
        case _:
            raise AssertionError(trigger)
    if passes:
        return None
    message = f'Trigger was "{name}" but {why}'
    return Outcome("TriggerFailed", message, Trouble("TRIGGERFAIL", message))  # R-TRIG-8
