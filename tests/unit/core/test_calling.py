"""Calling, binding and copying tasks."""

import inspect
from datetime import timedelta
from typing import Any

import pytest

from tenuto import Flow, Parameter, Task, context, flatten, mapped, task, unmapped
from tenuto.core.edge import Edge
from tenuto.engine.cache_validators import duration_only, never_use
from tenuto.triggers import all_successful, any_failed

SECOND = timedelta(seconds=1)


@task
def add(x: Any, y: Any = 1) -> Any:
    return x + y


@task
def collect(**values: Any) -> Any:
    return values


# R-CALL-1 [seed S-18]
def test_arguments_are_bound_by_position_and_name_when_the_task_is_called() -> None:
    with Flow("f") as flow:
        one: Any = add(1, 2)
        two: Any = add(y=one, x=3)
        three: Any = add(4)
        with pytest.raises(TypeError, match=r"^missing a required argument: 'x'\n"):
            add()  # type: ignore[call-overload]  # what is refused
        with pytest.raises(TypeError, match=r"^got an unexpected keyword argument 'z'\n"):
            add(1, z=2)  # type: ignore[call-overload]  # what is refused
    assert flow.constants[one] == {"x": 1, "y": 2}
    assert flow.constants[two] == {"x": 3}
    assert flow.edges_to(two) == {Edge(one, two, "y")}
    assert flow.constants[three] == {"x": 4}
    assert flow.tasks == {one, two, three}


# R-CALL-2
def test_each_call_is_a_task_of_its_own() -> None:
    with Flow("f") as flow:
        one: Any = add(1)
        other: Any = add(1)
    assert one is not other
    assert add not in flow.tasks
    assert len(flow.tasks) == 2


# R-CALL-3
def test_call_outside_a_flow_names_the_way_to_run_the_function() -> None:
    class Fetch(Task):
        pass

    with pytest.raises(
        ValueError, match=r"(?s)infer an active Flow context.*<Task: add>.*`add\.run\(\.\.\.\)`"
    ):
        add(1)
    with pytest.raises(ValueError, match=r"`Fetch\(\.\.\.\)\.run\(\.\.\.\)`"):
        Fetch()()
    for connect in (add.set_upstream, add.set_downstream):
        with pytest.raises(
            ValueError, match=r"^No Flow was passed, and could not infer an active Flow context\.\n"
        ):
            connect(Task())
    with pytest.raises(ValueError, match="No Flow was passed"):
        add.set_dependencies(upstream_tasks=[Task()])


# R-CALL-5
def test_task_args_set_attributes_of_the_copy_only() -> None:
    with Flow("f"):
        one: Any = add(
            1, task_args={"name": "first", "tags": ["a"], "trigger": any_failed, "checkpoint": False}
        )
    assert (one.name, one.tags, one.trigger, one.checkpoint) == ("first", {"a"}, any_failed, False)
    assert (add.name, add.tags, add.trigger, add.checkpoint) == ("add", set(), all_successful, None)


# R-CALL-5
def test_tags_in_task_args_are_added_to_those_of_the_original() -> None:
    tagged = task(lambda: 1, tags=["own"])
    assert tagged.copy(tags={"more"}).tags == {"own", "more"}
    with pytest.raises(TypeError, match="Tags should be a set"):
        tagged.copy(tags="more")


# R-CALL-5
def test_unknown_task_args_are_refused() -> None:
    with Flow("f"), pytest.raises(AttributeError) as refused:
        add(1, task_args={"nme": "x"})
    assert str(refused.value) == "<Task: add> does not have nme as an attribute"


# R-CALL-5
def test_task_args_are_checked_as_the_constructor_does() -> None:
    retried = task(lambda: 1, max_retries=2, retry_delay=SECOND)
    with pytest.raises(ValueError, match="retry_delay"):
        add.copy(max_retries=3)
    with pytest.raises(TypeError, match="whole number of seconds"):
        add.copy(timeout=1.5)
    with pytest.raises(TypeError, match="should be iterable"):
        add.copy(state_handlers=print)
    assert add.copy(timeout=timedelta(minutes=1)).timeout == 60
    assert retried.copy(max_retries=5).retry_delay == SECOND
    off = retried.copy(max_retries=0)
    assert (off.max_retries, off.retry_delay) == (0, None)
    assert add.copy(max_retries=1, retry_delay=SECOND, retry_on=OSError).retry_on == {OSError}
    assert add.copy(cache_for=SECOND).cache_validator is duration_only
    assert task(lambda: 1, cache_for=SECOND).copy(cache_for=None).cache_validator is never_use
    assert add.copy(trigger=None).trigger is all_successful


# R-CALL-5
def test_attributes_of_a_subclass_may_be_given_as_task_args() -> None:
    class Query(Task):
        def __init__(self, sql: str) -> None:
            self.sql = sql
            super().__init__()

    assert Query("a").copy(sql="b").sql == "b"


# R-CALL-6
def test_copies_share_no_lists() -> None:
    def handler(obj: Any, old: Any, new: Any) -> None: ...

    original = task(lambda: 1, state_handlers=[handler], executor_options={"a": 1})
    copied = original.copy()
    copied.state_handlers.append(handler)
    copied.executor_options["b"] = 2
    copied.tags.add("x")
    assert (len(original.state_handlers), original.executor_options, original.tags) == (1, {"a": 1}, set())


# R-CALL-7
def test_copy_of_a_connected_task_warns_that_it_keeps_no_dependencies() -> None:
    with Flow("f") as flow:
        one: Any = add(add(1))
        with pytest.warns(UserWarning, match="does not keep them"):
            again = one(2)
        alone: Any = add(3)
        alone.copy()
    assert not flow.edges_to(again)
    one.copy()


# R-CALL-8
def test_own_slug_is_kept_by_the_first_call_and_marked_by_further_ones() -> None:
    slugged = task(lambda: 1, slug="mine")
    with Flow("f") as flow:
        tasks: list[Any] = [
            slugged(),
            slugged(),
            slugged(),
            slugged(task_args={"slug": "other"}),
            slugged.map(),
        ]
    assert [flow.slugs[one] for one in tasks] == [
        "mine",
        "mine-copy",
        "mine-copy-copy",
        "other",
        "mine-copy-copy-copy",
    ]
    with Flow("g") as another:
        one: Any = slugged()
    assert another.slugs[one] == "mine"
    assert slugged.copy().slug == "mine-copy"
    assert slugged.copy(slug="mine").slug == "mine"


# R-CALL-9
def test_uncalled_task_is_added_itself_once() -> None:
    source = Task(name="source")
    with Flow("f") as flow:
        one: Any = add(source)
        two: Any = add(1, upstream_tasks=[source])
        three: Any = Task(name="last").set_upstream(source)
        source.set_downstream(Task(name="more"))
    assert source in flow.tasks
    assert flow.edges_from(source) >= {Edge(source, one, "x"), Edge(source, two), Edge(source, three)}
    assert len(flow.edges_from(source)) == 4


# R-CALL-10
def test_constants_bound_twice_overwrite_but_a_second_task_is_refused() -> None:
    with Flow("f") as flow:
        node = add.copy()
        node.bind(1, 2)
        node.bind(3)
        assert flow.constants[node] == {"x": 3, "y": 2}
        first, second = Task(name="first"), Task(name="second")
        node.bind(first)
        assert flow.constants[node] == {"y": 2}
        with pytest.raises(
            ValueError, match=r'^Argument "x" for task <Task: add> has already been assigned'
        ) as refused:
            node.bind(second)
        with pytest.raises(ValueError, match=r"call Task\.copy\(\)"):
            node.bind(5)
        node.bind(first)
        second()
    assert flow.edges_to(node) == {Edge(first, node, "x")}
    assert any("<Task: first>" in note for note in refused.value.__notes__)


# R-CALL-11
def test_extra_keywords_reach_a_run_that_takes_them() -> None:
    with Flow("f") as flow:
        one: Any = add(1)
        both: Any = collect(a=one, b=2)
    assert flow.edges_to(both) == {Edge(one, both, "a")}
    assert flow.constants[both] == {"b": 2}


# R-CALL-12 R-REAL-7
def test_flow_may_be_given_outside_of_any_block() -> None:
    flow = Flow("f")
    one: Any = add(1, flow=flow)
    two: Any = add([one, 2], flow=flow)
    three: Any = add.map([1, 2], flow=flow)
    bound = Task(name="bound").bind(flow=flow, upstream_tasks=[three])
    bound.set_upstream(two, flow=flow)
    assert flow.upstream_tasks(bound) == {two, three}
    assert [one.name for one in flow.upstream_tasks(two)] == ["List"]


# R-CALL-13 R-REAL-13
def test_upstream_tasks_take_anything_and_pass_nothing() -> None:
    with Flow("f") as flow:
        one: Any = add(1)
        last: Any = add(2, upstream_tasks=[one, [one, 3], "text"])
    assert {(edge.upstream_task.name, edge.key) for edge in flow.edges_to(last)} == {
        ("add", None),
        ("List", None),
        ("'text'", None),
    }


# R-CALL-4
def test_call_while_no_flow_is_active_fails_wherever_it_stands() -> None:
    @task
    def outer() -> Any:
        return add(1)

    with pytest.raises(ValueError, match="infer an active Flow context"):
        outer.run()


def test_set_upstream_with_a_key_binds_an_argument() -> None:
    with Flow("f") as flow:
        one, two, three = Task(name="one"), add.copy(), add.copy()
        two.set_upstream(one, key="x")
        two.set_upstream(5, key="y")
        two.set_downstream(three, key="x")
        three.set_upstream([1, 2], mapped=True, key="y")
    assert Edge(one, two, "x") in flow.edges
    assert flow.constants[two] == {"y": 5}
    assert Edge(two, three, "x") in flow.edges
    assert {(edge.upstream_task.name, edge.mapped) for edge in flow.edges_to(three)} == {
        ("add", False),
        ("[1, 2]", True),
    }


def test_set_dependencies_connects_in_all_three_ways_and_returns_the_task() -> None:
    with Flow("f") as flow:
        above, below, value = Task(name="above"), Task(name="below"), Task(name="value")
        node = add.copy()
        assert (
            node.set_dependencies(
                upstream_tasks=[above], downstream_tasks=[below], keyword_tasks={"x": value}
            )
            is node
        )
    assert flow.edges == {Edge(above, node), Edge(value, node, "x"), Edge(node, below)}


def test_pipe_passes_the_task_on() -> None:
    with Flow("f") as flow:
        one: Any = add(1)
        two = one.pipe(add, y=2)
        assert isinstance(one.pipe(flatten), flatten)
        with pytest.raises(ValueError, match="self"):
            one.pipe(add, self=3)
    assert flow.edges_to(two) == {Edge(one, two, "x")}


def test_annotations_nest_and_show_what_they_hold() -> None:
    assert repr(unmapped(flatten(3))) == "unmapped(flatten(3))"
    assert repr(mapped([1])) == "mapped([1])"


def test_active_flow_is_in_the_context_while_building() -> None:  # R-CTX-6
    assert "flow" not in context
    with Flow("outer") as outer:
        assert context.flow is outer
        with Flow("inner") as inner:
            assert context.flow is inner
        assert context.flow is outer
    assert "flow" not in context


def test_copy_of_a_parameter_needs_a_name() -> None:  # R-PARAM-7
    copied = Parameter("a", default=1).copy("b", tags=["t"])
    assert (copied.name, copied.slug, copied.default, copied.tags) == ("b", "b", 1, {"t"})
    with pytest.raises(TypeError, match="name"):
        Parameter("a").copy()


def test_signature_objects_are_read_once_per_function(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    original = inspect.signature

    def counting(*args: Any, **kwargs: Any) -> inspect.Signature:
        calls.append(args)
        return original(*args, **kwargs)

    fresh = task(lambda x: x)
    monkeypatch.setattr(inspect, "signature", counting)
    with Flow("f"):
        for number in range(50):
            fresh(number)
    assert not calls
