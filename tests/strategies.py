"""Hypothesis strategies that several rooms share: random flows as data (`tests.reference.graphs`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from tests.reference.graphs import (
    TRIGGERS,
    Argument,
    Behaviour,
    Block,
    Coll,
    Collect,
    Const,
    Echo,
    Flaky,
    Graph,
    Loop,
    Node,
    Ref,
    Return,
    Source,
    Step,
    Throw,
)

_KEYS = ("a", "b", "c")

# ------------------------------------------------------------------------------ what tasks do

scalars = st.sampled_from([0, 1, 2, True, False, "x", "yz", "", 1.5])
sequences = st.lists(scalars, max_size=3) | st.sampled_from(
    [(1, 2), "ab", [[1], [2, 3]], [[], ["p"]], [[1], 2]]
)
"""What can be mapped over."""
values = scalars | st.none() | sequences | st.sampled_from([{"k": 1}, {}])

returning: st.SearchStrategy[Behaviour] = st.one_of(
    st.builds(Return, values), st.builds(Return, sequences), st.just(Echo()), st.just(Collect())
)
signalling = st.builds(
    Throw,
    kind=st.sampled_from(["FAIL", "SKIP", "SUCCESS", "VALIDATIONFAIL", "TRIGGERFAIL"]),
    message=st.sampled_from(["as told", "because"]),
    has_result=st.booleans(),
    result=values,
)
throwing = st.builds(Throw, kind=st.sampled_from(["ValueError", "KeyError", "RuntimeError"]))
ending = st.one_of(returning, returning, signalling, throwing)
flaky = st.builds(
    Flaky,
    times=st.integers(1, 2),
    then=ending,
    kind=st.sampled_from(["ValueError", "KeyError", "RETRY", "FAIL"]),
)
looping = st.builds(Loop, times=st.integers(0, 2), each=st.one_of(returning, flaky))
behaviours = st.one_of(returning, returning, ending, flaky, looping)
"""What a task does: mostly it returns something."""

# ------------------------------------------------------------------------------ whole graphs


@dataclass
class _Draft:
    """A graph that is being drawn: which numbers may be referred to, and how many nodes are left to make."""

    left: int
    known: list[int] = field(default_factory=list)
    number: int = 0
    returns: dict[int, Any] = field(default_factory=dict)
    """What tasks return by all that one can tell beforehand."""


@st.composite
def graphs(draw: st.DrawFn, max_nodes: int = 7) -> Graph:
    """A random flow of at most `max_nodes` tasks, not counting collections and comparisons."""
    draft = _Draft(left=draw(st.integers(1, max_nodes)))
    steps = _draw_steps(draw, draft, depth=0)
    chosen = draw(st.sets(st.integers(0, draft.number - 1), max_size=2)) if draw(st.booleans()) else set()
    return Graph(tuple(steps), frozenset(chosen))


def _draw_steps(draw: st.DrawFn, draft: _Draft, depth: int) -> list[Step]:
    steps: list[Step] = []
    while draft.left > 0:
        if depth and steps and draw(st.booleans()):
            break
        if draft.known and depth < 2 and draw(st.integers(0, 6)) == 0:
            steps.append(_draw_block(draw, draft, depth))
        else:
            steps.append(_draw_node(draw, draft))
    return steps


def _draw_block(draw: st.DrawFn, draft: _Draft, depth: int) -> Block:
    condition = Ref(draw(st.sampled_from(draft.known)))
    likely = draft.returns.get(condition.node, 1)
    value = draw(st.just(likely) | st.sampled_from([1, True, "x", 0, None]))
    outside = list(draft.known)
    steps = _draw_steps(draw, draft, depth + 1)
    if depth:
        # What depends on a block inside of a block, from within the outer one, is not settled by the rules.
        draft.known[:] = outside
    return Block(condition, value, tuple(steps))


def _draw_node(draw: st.DrawFn, draft: _Draft) -> Node:
    number = draft.number
    known = list(draft.known)
    kind = draw(st.sampled_from(["act"] * 9 + ["merge", "filter", "item"])) if known else "act"
    draft.number += 1
    draft.left -= 1
    draft.known.append(number)
    if kind == "merge":
        count = draw(st.integers(1, 3))
        merged = draw(st.booleans()) and draw(st.booleans())
        arguments = tuple(
            Argument(f"task_{position + 1}", Ref(draw(st.sampled_from(known))), mapped=merged)
            for position in range(count)
        )
        return Node(number, "merge", arguments)
    if kind == "filter":
        flattened = draw(st.booleans())
        return Node(
            number,
            "filter",
            (Argument("task_results", Ref(draw(st.sampled_from(known))), flattened=flattened),),
        )
    if kind == "item":
        source = Ref(draw(st.sampled_from(known)))
        return Node(number, "item", (Argument("whole", source),), position=draw(st.integers(0, 2)))
    node = _draw_acting(draw, number, known)
    if isinstance(node.behaviours[0], Return):
        draft.returns[number] = node.behaviours[0].value
    return node


def _draw_acting(draw: st.DrawFn, number: int, known: list[int]) -> Node:
    keys = _KEYS[: draw(st.integers(0, 3))]
    arguments = [_draw_argument(draw, key, known) for key in keys]
    if known:
        arguments += [
            Argument(None, Ref(upstream), mapped=draw(st.integers(0, 3)) == 0)
            for upstream in draw(st.lists(st.sampled_from(known), max_size=1))
        ]
    max_retries = draw(st.integers(0, 2))
    return Node(
        number,
        "act",
        tuple(arguments),
        tuple(draw(st.lists(behaviours, min_size=1, max_size=3))),
        draw(st.just("all_successful") | st.sampled_from(TRIGGERS)),
        draw(st.sampled_from([True, True, False])),
        max_retries,
        draw(st.sampled_from([None, None, "ValueError"])) if max_retries else None,
    )


def _draw_argument(draw: st.DrawFn, key: str, known: list[int]) -> Argument:
    is_mapped = draw(st.sampled_from([False, True]))
    flattened = draw(st.integers(0, 4)) == 0
    return Argument(key, _draw_source(draw, known, is_mapped), is_mapped, flattened)


def _draw_source(draw: st.DrawFn, known: list[int], is_mapped: bool) -> Source:
    what = draw(st.integers(0, 6)) if known else 6
    if what < 5:
        return Ref(draw(st.sampled_from(known)))
    if what == 5:
        kinds = ["list", "tuple"] if is_mapped else ["list", "tuple", "dict"]
        items: list[Source] = [Ref(draw(st.sampled_from(known)))]
        for _ in range(draw(st.integers(0, 2))):
            # A constant, a task, or once more a collection with a task in it.
            choice = draw(st.integers(0, 3))
            other: Source = Ref(draw(st.sampled_from(known)))
            if choice == 0:
                other = Coll("list", (other, Const(draw(scalars))))
            items.append(other if choice < 3 else Const(draw(scalars)))
        return Coll(draw(st.sampled_from(kinds)), tuple(items))
    constant: Any = draw(sequences if is_mapped else values)
    return Const(constant)
