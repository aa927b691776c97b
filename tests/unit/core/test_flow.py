"""Flows as objects: names, blocks, slugs, copies, pickles."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from tenuto import Flow, Parameter, Task, context, tags, task
from tenuto.core.edge import Edge
from tenuto.exceptions import FlowStorageError, ServerRequired
from tenuto.schedules import Schedule


@task
def add(x: Any, y: Any = 1) -> Any:
    return x + y


def pages() -> tuple[Flow, Any]:
    with Flow("pages") as flow:
        page = Parameter("page", default=3)
        last: Any = add(add(page), [page, 2])
    return flow, last


# R-FLOW-1 R-REAL-9
def test_flow_needs_a_name() -> None:
    for name in ("", None):
        with pytest.raises(ValueError, match=r"^A name must be provided for the flow\.\n"):
            Flow(name)  # type: ignore[arg-type]  # what is refused
    with pytest.raises(TypeError, match="name"):
        Flow()  # type: ignore[call-arg]  # what is refused


# R-FLOW-2
def test_repr_shows_the_name() -> None:
    assert repr(Flow("pages")) == '<Flow: name="pages">'


# R-FLOW-3
def test_flows_are_equal_by_content_and_hashed_by_identity() -> None:
    flow, _ = pages()
    same = flow.copy()
    assert flow == same
    assert hash(flow) != hash(same) or flow is same
    same.add_task(Task())
    assert flow != same
    other = flow.copy()
    other.set_reference_tasks([next(iter(flow.parameters()))])
    assert flow != other
    named = flow.copy()
    named.name = "other"
    assert flow != named
    assert flow != 1


# R-FLOW-3
def test_flow_of_a_subclass_is_another_kind() -> None:
    class Mine(Flow):
        pass

    assert Flow("f") != Mine("f")


# R-FLOW-4
def test_iterating_yields_the_tasks_in_order() -> None:
    flow, _ = pages()
    assert tuple(flow) == flow.sorted_tasks()


# R-FLOW-5 [seed S-1]
def test_blocks_nest_and_restore_the_outer_flow_also_after_an_error() -> None:
    ran: list[int] = []

    @task
    def run() -> None:
        ran.append(1)

    with Flow("outer") as outer:
        run()
        with pytest.raises(ZeroDivisionError), Flow("inner") as inner:
            run()
            add(1 / 0)
        assert context.flow is outer
        run()
    assert (len(outer.tasks), len(inner.tasks)) == (2, 1)
    assert "flow" not in context
    assert not ran


# R-FLOW-5
def test_block_may_be_opened_again() -> None:
    flow, last = pages()
    with flow:
        more: Any = add(last)
    assert flow.upstream_tasks(more) == {last}


# R-FLOW-6
def test_copy_shares_the_tasks_and_nothing_else() -> None:
    flow, last = pages()
    flow.set_reference_tasks([last])
    flow.mine = "kept"  # type: ignore[attr-defined]  # any attribute is accepted
    same = flow.copy()
    with same:
        more: Any = add(last, 5)
    assert same.tasks - flow.tasks == {more}
    assert flow.downstream_tasks(last) == set()
    assert more not in flow.slugs
    assert more not in flow.constants
    same.set_reference_tasks([more])
    same.constants[last]["y"] = 9
    same.state_handlers.append(lambda *args: None)
    assert flow.reference_tasks() == {last}
    assert "y" not in flow.constants[last]
    assert not flow.state_handlers
    assert same.mine == "kept"  # type: ignore[attr-defined]  # any attribute is accepted


# R-FLOW-7
def test_handlers_are_a_list_and_failures_come_last() -> None:
    calls: list[Any] = []

    def handler(flow: Any, old: Any, new: Any) -> None: ...

    flow = Flow("f", state_handlers=[handler], on_failure=lambda flow, state: calls.append(flow))
    assert flow.state_handlers[0] is handler
    assert len(flow.state_handlers) == 2
    with pytest.raises(TypeError, match="state_handlers should be iterable"):
        Flow("f", state_handlers=handler)  # type: ignore[arg-type]  # what is refused


# R-FLOW-8
def test_flow_survives_pickling_with_its_graph() -> None:
    flow, _ = pages()
    read = cloudpickle.loads(cloudpickle.dumps(flow))
    assert [one.name for one in read.sorted_tasks()] == [one.name for one in flow.sorted_tasks()]
    assert list(read.slugs.values()) == list(flow.slugs.values())
    assert {repr(edge) for edge in read.edges} == {repr(edge) for edge in flow.edges}
    first, *_, last = read.sorted_tasks()
    assert all(edge in read.edges for edge in read.edges_to(last))
    assert Edge(first, read.sorted_tasks()[1], "x") in read.edges
    assert read.sorted_tasks()[1].run(2) == 3
    read.validate()


# R-FLOW-8
def test_saved_flow_is_found_by_path_and_by_name(tenuto_home: Path, tmp_path: Path) -> None:
    flow, _ = pages()
    flow.name = "My Pages: nr. 1"
    path = flow.save()
    assert Path(path) == tenuto_home / "flows" / "my-pages-nr-1.tenuto"
    assert Path(path).stat().st_mode & 0o777 == 0o600
    assert Flow.load("My Pages: nr. 1").name == flow.name
    elsewhere = flow.save(tmp_path / "mine.bin")
    assert elsewhere == str(tmp_path / "mine.bin")
    assert len(Flow.load(elsewhere).tasks) == len(flow.tasks)


# R-FLOW-8
def test_loading_what_is_no_saved_flow_says_so(tmp_path: Path) -> None:
    with pytest.raises(FlowStorageError, match="No flow is saved at 'nowhere'"):
        Flow.load("nowhere")
    (tmp_path / "number").write_bytes(cloudpickle.dumps(5))
    with pytest.raises(FlowStorageError, match="holds a int, not a flow"):
        Flow.load(tmp_path / "number")
    (tmp_path / "broken").write_bytes(b"\x80\x05broken")
    with pytest.raises(FlowStorageError, match="cannot be read"):
        Flow.load(tmp_path / "broken")


# R-FLOW-9 R-FLOW-10
def test_slugs_are_made_of_name_sorted_tags_and_a_counter() -> None:
    one: Any = task(lambda: 1, name="one")
    with Flow("f") as flow:
        plain, again = one(), one()
        with tags("b", "a"):
            tagged = one()
        third = one(task_args={"slug": "own"})
    assert [flow.slugs[each] for each in (plain, again, tagged, third)] == [
        "one-1",
        "one-2",
        "one-a-b-1",
        "own",
    ]
    assert (plain.slug, third.slug) == (None, "own")
    assert flow.get_tasks(slug="one-2") == [again]
    assert flow.get_tasks(slug="own") == [third]
    assert flow.get_tasks(slug="nobody") == []


# R-FLOW-9
def test_made_up_slug_avoids_those_that_are_taken() -> None:
    with Flow("f") as flow:
        Task(name="x", slug="one-1")()
        made = Task(name="one")()
    assert flow.slugs[made] == "one-2"


# R-FLOW-11
def test_second_task_of_a_slug_is_refused_and_the_first_is_named() -> None:
    flow = Flow("f")
    Task(name="first", slug="s").bind(flow=flow)
    with pytest.raises(ValueError, match='A task with the slug "s" already exists in this flow') as refused:
        flow.add_task(Task(name="second", slug="s"))
    assert "parameter" not in str(refused.value)
    assert refused.value.__notes__[0].startswith(f"Called at {__file__}:")
    assert refused.value.__notes__[1].startswith(f"<Task: first> was added at {__file__}:")


# R-GRAPH-10
def test_task_may_be_in_several_flows_with_a_slug_in_each() -> None:
    shared = Task(name="shared")
    one, other = Flow("one"), Flow("other")
    Task(name="shared").bind(flow=other)
    for flow in (one, other):
        flow.add_task(shared)
    assert (one.slugs[shared], other.slugs[shared]) == ("shared-1", "shared-2")


# R-RUN-2 [seed S-3]
def test_run_inside_the_own_block_shows_what_to_do() -> None:
    with Flow("f") as flow, pytest.raises(RuntimeError) as refused:
        flow.run()
    text = str(refused.value)
    assert text.startswith("Don't call `flow.run()` from within a `Flow` context manager.")
    assert "# don't" in text
    assert "# do\n" in text


# R-RUN-3
def test_run_while_the_file_is_loaded_does_nothing() -> None:
    flow, _ = pages()
    with context(loading_flow=True), pytest.warns(UserWarning, match="did nothing"):
        state: Any = flow.run()
    assert state is None


# R-REAL-4
def test_any_attribute_may_be_set_on_a_flow() -> None:
    flow: Any = Flow("f")
    flow.exectuor = flow.Storage = flow.file_name = 1
    flow.schedule = flow.run_config = flow.storage = flow.executor = None
    assert flow.exectuor == 1


# R-REAL-5
def test_schedule_is_the_second_argument() -> None:
    schedule: Any = object()
    assert Flow("f", schedule).schedule is schedule


def test_environment_is_ignored_with_a_deprecation() -> None:  # spec/08 section 7
    with pytest.warns(DeprecationWarning, match="`environment` is ignored"):
        Flow("f", environment=object())


# R-REAL-7
def test_subclass_may_take_more_options_and_build_itself_in_its_constructor() -> None:
    class Nightly(Flow):
        def __init__(self, name: str, code_owners: list[str], **kwargs: Any) -> None:
            super().__init__(name=name, **kwargs)
            self.code_owners = code_owners
            first = add.copy().bind(1, flow=self)
            last = Task(name="last").bind(flow=self)
            last.set_upstream(first, flow=self)

    flow = Nightly("n", code_owners=["me"])
    assert [one.name for one in flow.sorted_tasks()] == ["add", "last"]
    assert flow.code_owners == ["me"]
    same = flow.copy()
    assert type(same) is Nightly
    assert same.code_owners == ["me"]
    assert type(cloudpickle.loads(cloudpickle.dumps(flow))).__name__ == "Nightly"


# R-REAL-7
def test_deepcopy_is_a_flow_of_its_own() -> None:
    flow, last = pages()
    flow.set_reference_tasks([last])
    other = copy.deepcopy(flow)
    other.name, other.schedule = "other", Schedule([])
    assert (flow.name, flow.schedule) == ("pages", None)
    assert not flow.tasks & other.tasks
    assert [one.name for one in other.sorted_tasks()] == [one.name for one in flow.sorted_tasks()]
    (reference,) = other.reference_tasks()
    assert reference in other.tasks
    for edge in other.edges:
        assert edge in other.edges_to(edge.downstream_task)
    with other:
        add(reference)
    assert len(other.tasks) == len(flow.tasks) + 1
    other.validate()


# R-REAL-7
def test_deepcopy_of_a_long_chain_needs_no_deep_stack() -> None:
    with Flow("f") as flow:
        node: Any = add(1)
        for _ in range(2000):
            node = add(node)
    assert len(copy.deepcopy(flow).tasks) == 2001
    assert len(cloudpickle.loads(cloudpickle.dumps(flow)).tasks) == 2001


# R-REAL-9
def test_tasks_live_in_plain_python() -> None:
    with Flow("f") as flow:
        by_name: dict[str, Any] = {name: add(0, task_args={"name": name}) for name in "abc"}
        for name, node in by_name.items():
            if name != "c":
                add(node)
        task()(lambda a, b: a + b)(*[add(number) for number in range(2)])
    assert len(flow.tasks) == 3 + 2 + 3
    assert Flow("empty").sorted_tasks() == ()


def test_flow_knows_the_file_in_which_it_was_made() -> None:
    assert Flow("f").source_path == __file__
    made: dict[str, Any] = {}
    exec(compile("from tenuto import Flow\nflow = Flow('f')", "<stdin>", "exec"), made)
    assert made["flow"].source_path is None


def test_flow_given_tasks_and_edges_holds_them() -> None:
    a, b, c = Task(name="a"), Task(name="b"), Task(name="c")
    flow = Flow("f", tasks=[c], edges=[Edge(a, b)], reference_tasks=[a])
    assert flow.tasks == {a, b, c}
    assert flow.edges == {Edge(a, b)}
    assert flow.reference_tasks() == {a}
    assert (flow.fail_fast, flow.rescue) == (False, "on")


def test_flow_has_a_logger_of_its_name() -> None:
    flow = Flow("pages")
    assert flow.logger.name == "tenuto.pages"


@pytest.mark.parametrize("call", [lambda flow: flow.register("Project"), lambda flow: flow.run_agent()])
def test_registering_says_that_there_is_no_server(call: Callable[[Flow], object]) -> None:
    # R-REG-1, R-API-6
    with pytest.raises(
        ServerRequired, match=r"^Flow\.\w+ needs a server, .* with flow\.run\(\)\.\n"
    ) as caught:
        call(Flow("f"))
    assert any(__file__ in note for note in caught.value.__notes__)


@pytest.mark.parametrize("call", [lambda flow: flow.register("Project"), lambda flow: flow.run_agent()])
def test_registering_while_the_file_is_loaded_does_nothing(call: Callable[[Flow], object]) -> None:
    # R-REAL-6: files register their flow and start an agent at their top
    with context(loading_flow=True), pytest.warns(UserWarning, match="while the flow's file is being loaded"):
        assert call(Flow("f")) is None


def test_registering_inside_of_the_block_shows_the_right_form() -> None:
    # R-BE-25
    with Flow("f") as flow:
        with pytest.raises(ValueError, match="Don't call `flow.register\\(\\)` from within"):
            flow.register("Project")
