"""The graph of a flow: edges, order, changes, checks."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenuto import Flow, Parameter, Task, mapped, task
from tenuto.configuration import config
from tenuto.core.edge import Edge
from tenuto.core.nodes import Constant


@task
def add(x: Any, y: Any = 1) -> Any:
    return x + y


def three() -> tuple[Flow, Task, Task, Task]:
    a, b, c = Task(name="a"), Task(name="b"), Task(name="c")
    flow = Flow("f")
    flow.chain(a, b, c)
    return flow, a, b, c


# R-GRAPH-1
def test_equal_edges_are_one_edge() -> None:
    a, b = Task(name="a"), add.copy()
    flow = Flow("f")
    first = flow.add_edge(a, b, key="x")
    assert flow.add_edge(a, b, key="x") is first or flow.add_edge(a, b, key="x") == first
    flow.add_edge(a, b)
    flow.add_edge(a, b, mapped=True)
    assert flow.edges == {Edge(a, b, "x"), Edge(a, b), Edge(a, b, mapped=True)}
    assert Edge(a, b) != Edge(a, b, flattened=True)
    assert Edge(a, b) != "edge"
    assert first.tasks == {a, b}


# R-GRAPH-1
@pytest.mark.parametrize("key", ["a b", "1a", "class", ""])
def test_key_must_be_able_to_name_an_argument(key: str) -> None:
    with pytest.raises(ValueError, match=rf'^Key must be a valid identifier \(received "{key}"\)\n'):
        Edge(Task(), Task(), key)


# R-GRAPH-1
def test_edge_joins_two_tasks() -> None:
    a = Task()
    with pytest.raises(ValueError, match=r"^Edges can not connect a task to itself\.\n"):
        Edge(a, a)
    with pytest.raises(ValueError, match="connect a task to itself"):
        Flow("f").add_edge(a, a)


# R-GRAPH-2
def test_repr_of_an_edge_shows_all_of_it() -> None:
    one, added = Task(name="one"), Task(name="add")
    assert repr(Edge(one, added, "x")) == "<Edge(key=x, mapped=False, flattened=False): one to add>"
    assert Edge(one, added, "x").serialize()["key"] == "x"


def test_edge_reads_annotations_and_converts_values() -> None:
    edge = Edge(mapped([1, 2]), Task(), "x")
    assert isinstance(edge.upstream_task, Constant)
    assert edge.mapped is True


# R-GRAPH-3
def test_wrong_keys_and_cycles_are_accepted_while_building() -> None:
    a, b = Task(name="a"), add.copy()
    flow = Flow("f")
    flow.add_edge(a, b, key="nope")
    flow.add_edge(b, a)
    assert len(flow.edges) == 2


# R-GRAPH-3
@pytest.mark.parametrize("how", ["argument", "flow", "setting"])
def test_validation_refuses_wrong_keys_and_cycles_at_once(how: str) -> None:
    validate = True if how == "argument" else None
    if how == "setting":
        config.flows.eager_edge_validation = True
    flow = Flow("f", validate=True if how == "flow" else None)
    a, b = Task(name="a"), add.copy()
    with pytest.raises(TypeError, match=r"^got an unexpected keyword argument 'nope'\n"):
        flow.add_edge(a, b, key="nope", validate=validate)
    with pytest.raises(TypeError, match="'nope'"):
        flow.set_dependencies(b, keyword_tasks={"nope": 3}, validate=validate)
    flow.add_edge(a, b, key="x", validate=validate)
    with pytest.raises(ValueError, match=r"^Cycle found; flows must be acyclic!\n"):
        flow.add_edge(b, a, validate=validate)
    assert flow.edges == {Edge(a, b, "x")}
    if how == "flow":
        flow.add_edge(b, a, validate=False)


# R-GRAPH-3 R-CALL-10
def test_second_edge_for_an_argument_is_always_refused() -> None:
    flow, target = Flow("f"), add.copy()
    flow.add_edge(Task(), target, key="x")
    for validate in (None, True):
        with pytest.raises(ValueError, match='Argument "x" for task <Task: add> has already been assigned'):
            flow.add_edge(Task(), target, key="x", validate=validate)


# R-GRAPH-4
def test_cycle_is_found_before_a_run_and_its_tasks_are_named() -> None:
    flow, _, b, c = three()
    d = Task(name="d")
    flow.chain(c, d, b)
    for check in (flow.validate, flow.sorted_tasks, flow.run):
        with pytest.raises(ValueError, match=r"^Cycle found; flows must be acyclic!\n") as found:
            check()
        notes = "\n".join(found.value.__notes__)
        assert "Cycle: b-1 -> c-1 -> d-1 -> b-1" in notes
        assert f"<Task: d> was added at {__file__}:" in notes
        assert "<Task: a>" not in notes


def test_unbound_arguments_are_found_before_a_run_and_the_calls_are_named() -> None:
    with Flow("f") as flow:
        add(1)
        unbound = flow.add_task(add.copy(name="unbound"))
        Task().set_upstream(unbound)
    for check in (flow.validate, flow.run):
        with pytest.raises(
            ValueError, match=r"no value for a required argument: <Task: unbound>: x\."
        ) as found:
            check()
        assert any(f"<Task: unbound> was added at {__file__}:" in note for note in found.value.__notes__)
    unbound.bind(1, flow=flow)
    flow.validate()


# R-GRAPH-5
def test_reference_tasks_are_the_terminal_ones_by_default() -> None:
    flow, a, b, c = three()
    other = flow.add_task(Task(name="other"))
    assert flow.reference_tasks() == flow.terminal_tasks() == {c, other}
    assert flow.root_tasks() == {a, other}
    flow.set_reference_tasks([a, b])
    assert flow.reference_tasks() == {a, b}
    flow.set_reference_tasks([])
    assert flow.reference_tasks() == {c, other}
    with pytest.raises(ValueError, match=r"^reference tasks must be part of the flow\.\n"):
        flow.set_reference_tasks([Task()])


# R-GRAPH-6 D-2
def test_independent_tasks_keep_the_order_of_adding_and_parameters_come_first() -> None:
    with Flow("f") as flow:
        late = [Task(name=f"t{number}")() for number in range(20)]
        last: Any = add(late[-1])
        parameter = Parameter("p", default=1)()
        early: Any = add(parameter)
        late[0].set_upstream(early)
    ordered = flow.sorted_tasks()
    assert ordered == (parameter, *late[1:], last, early, late[0])


# R-GRAPH-6
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=40), st.permutations(range(13)))
def test_order_is_topological_for_any_graph(pairs: list[tuple[int, int]], order: list[int]) -> None:
    tasks = [Task(name=str(number)) for number in range(13)]
    flow = Flow("f", tasks=[tasks[number] for number in order])
    for one, other in pairs:
        if one != other:
            flow.add_edge(tasks[min(one, other)], tasks[max(one, other)])
    ordered = flow.sorted_tasks()
    position = {each: index for index, each in enumerate(ordered)}
    assert set(ordered) == flow.tasks
    assert all(position[edge.upstream_task] < position[edge.downstream_task] for edge in flow.edges)
    roots = ordered[:2]
    below = flow.sorted_tasks(roots)
    assert set(roots) <= set(below)
    for each in ordered:
        wanted = each in roots or bool(flow.upstream_tasks(each) & set(below))
        assert (each in below) == wanted


# R-GRAPH-6
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=25))
def test_every_cycle_is_found_and_the_named_one_is_a_cycle(pairs: list[tuple[int, int]]) -> None:
    tasks = [Task(name=str(number), slug=str(number)) for number in range(9)]
    flow = Flow("f", tasks=tasks)
    for one, other in pairs:
        if one != other:
            flow.add_edge(tasks[one], tasks[other])
    below: dict[Task, set[Task]] = {each: flow.downstream_tasks(each) for each in tasks}
    for _ in tasks:
        for each in tasks:
            below[each] |= set().union(*(below[other] for other in below[each]))
    try:
        flow.validate()
    except ValueError as error:
        way = (
            next(note for note in error.__notes__ if note.startswith("Cycle: "))
            .removeprefix("Cycle: ")
            .split(" -> ")
        )
        assert way[0] == way[-1]
        for before, after in pairwise(way):
            assert tasks[int(after)] in flow.downstream_tasks(tasks[int(before)])
    else:
        assert not any(each in below[each] for each in tasks)


def test_neighbours_are_those_of_the_edges() -> None:
    flow, a, b, c = three()
    assert (flow.upstream_tasks(b), flow.downstream_tasks(b)) == ({a}, {c})
    assert (flow.edges_to(b), flow.edges_from(b)) == ({Edge(a, b)}, {Edge(b, c)})
    assert flow.all_upstream_edges() == {a: set(), b: {Edge(a, b)}, c: {Edge(b, c)}}
    assert flow.all_downstream_edges() == {a: {Edge(a, b)}, b: {Edge(b, c)}, c: set()}
    assert (flow.upstream_edges(c), flow.downstream_edges(a)) == ((Edge(b, c),), (Edge(a, b),))
    assert flow.all_upstream_tasks(c) == {a, b}
    for look in (flow.edges_to, flow.edges_from, flow.upstream_tasks, flow.downstream_tasks):
        with pytest.raises(ValueError, match="was not found in Flow"):
            look(Task())
    with pytest.raises(ValueError, match="was not found in Flow"):
        flow.sorted_tasks([Task()])


def test_what_is_no_task_is_not_added() -> None:
    with pytest.raises(TypeError, match=r"^Tasks must be Task instances \(received <class 'int'>\)\n"):
        Flow("f").add_task(3)


def test_tasks_are_found_by_all_that_is_given() -> None:
    with Flow("f") as flow:
        a = Task(name="a", tags=["x", "y"])()
        b: Any = add(1, task_args={"name": "a", "tags": ["x"]})
    assert flow.get_tasks() == [a, b]
    assert flow.get_tasks(name="a", tags=["x"]) == [a, b]
    assert flow.get_tasks(tags=["x", "y"]) == [a]
    assert flow.get_tasks(task_type=type(b)) == [b]
    assert flow.get_tasks(name="b") == []


def test_chain_returns_its_edges() -> None:
    a, b, c = Task(name="a"), Task(name="b"), Task(name="c")
    flow = Flow("f")
    assert flow.chain(a, b, c) == [Edge(a, b), Edge(b, c)]
    assert flow.chain(a) == []


# R-GRAPH-7
def test_replacement_takes_over_edges_arguments_place_and_reference() -> None:
    with Flow("f") as flow:
        a: Any = Task(name="a")()
        old: Any = add(a, 5)
        after: Any = add(old)
    flow.set_reference_tasks([old])
    new = add.copy(name="new")
    flow.replace(old, new)
    assert list(flow.tasks) == [a, new, after]
    assert flow.edges == {Edge(a, new, "x"), Edge(new, after, "x")}
    assert flow.constants[new] == {"y": 5}
    assert flow.reference_tasks() == {new}
    assert old not in flow.slugs
    flow.replace(new, new)
    assert list(flow.tasks) == [a, new, after]


# R-GRAPH-7
def test_replacement_by_a_value_leaves_constants_and_no_node() -> None:
    with Flow("f") as flow:
        a: Any = Task(name="a")()
        after: Any = add(a)
        over: Any = add.map(a)
        last = Task(name="last").set_upstream(a)
    flow.replace(a, [7])
    assert flow.constants[after] == {"x": [7]}
    assert a not in flow.tasks
    assert {edge.upstream_task.name for edge in flow.edges_to(over)} == {"[7]"}
    assert {edge.upstream_task.name for edge in flow.edges_to(last)} == {"[7]"}
    with Flow("g") as simple:
        b: Any = Task(name="b")()
        only: Any = add(b)
    simple.replace(b, 3)
    assert simple.tasks == {only}


# R-GRAPH-7
def test_refused_replacement_changes_nothing() -> None:
    with Flow("f") as flow:
        old: Any = add(Task(name="a"), 5)
        after: Any = add(old)
    before = flow.copy()
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        flow.replace(old, Task(name="takes nothing"))
    with pytest.raises(ValueError, match="Cycle found"):
        flow.replace(next(iter(flow.root_tasks())), after)
    with pytest.raises(ValueError, match=r"^Task <Task: Task> was not found in Flow <Flow"):
        flow.replace(Task(), add.copy())
    assert flow == before
    assert flow.slugs == before.slugs
    assert flow.constants == before.constants


# R-GRAPH-8 R-PARAM-4
def test_update_merges_parameters_only_if_asked() -> None:
    with Flow("f") as flow:
        mine = Parameter("p", default=1)
        uses: Any = add(mine)
    with Flow("g") as other:
        theirs = Parameter("p", default=2)
        also: Any = add(theirs, 8)
    with pytest.raises(ValueError, match='slug "p" already exists'):
        flow.copy().update(other)
    flow.update(other, merge_parameters=True)
    assert flow.parameters() == {theirs}
    assert flow.upstream_tasks(uses) == flow.upstream_tasks(also) == {theirs}
    assert flow.slugs[theirs] == "p"
    assert flow.constants[also] == {"y": 8}
    flow.update(other, merge_parameters=True)
    assert flow.tasks == {theirs, uses, also}


# R-GRAPH-9
def test_update_takes_the_other_flows_constants_of_a_shared_task() -> None:
    shared = add.copy()
    flow, other = Flow("f"), Flow("g")
    shared.bind(1, 2, flow=flow)
    shared.bind(3, flow=other)
    flow.update(other)
    assert flow.constants[shared] == {"x": 3}


def test_update_merges_reference_tasks_if_asked() -> None:
    flow, a, _, c = three()
    with Flow("g") as other:
        theirs: Any = add(1)
        add(theirs)
    other.set_reference_tasks([theirs])
    merged = flow.copy()
    merged.update(other, merge_reference_tasks=True)
    assert merged.reference_tasks() == {c, theirs}
    flow.set_reference_tasks([a])
    flow.update(other)
    assert flow.reference_tasks() == {a}


def test_tasks_and_edges_combine_as_sets() -> None:
    flow, a, b, c = three()
    assert flow.tasks == {a, b, c}
    assert flow.tasks & {a, Task()} == {a}
    assert flow.edges - {Edge(a, b)} == {Edge(b, c)}
    assert len(flow.tasks) == 3
