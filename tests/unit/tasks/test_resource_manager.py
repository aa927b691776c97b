"""`resource_manager`: the tasks of a resource and what they are connected to."""

from typing import Any

import cloudpickle
import pytest

from tenuto import Flow, Parameter, Task, case, resource_manager, task
from tenuto.core.edge import Edge
from tenuto.engine.signals import SKIP
from tenuto.engine.state import Failed, Skipped, State, Success, TriggerFailed
from tenuto.tasks.core.resource_manager import ResourceManager, resource_cleanup_trigger


@task
def use(x: Any = None, y: Any = None) -> Any:
    return x


class ClusterResource:
    def __init__(self, size: int, zone: str = "a") -> None:
        self.size = size
        self.closed: list[Any] = []

    def setup(self) -> int:
        return self.size * 2

    def cleanup(self, handle: Any) -> None:
        self.closed.append(handle)


class BareResource:
    def __init__(self) -> None: ...

    def cleanup(self, handle: Any) -> None:
        assert handle is None


# Not as decorators: to a type checker a decorated class stays the class.
Cluster = resource_manager(ClusterResource, name="Cluster")
Bare = resource_manager(BareResource, name="Bare")


def named(flow: Flow, name: str) -> Task:
    (found,) = flow.get_tasks(name=name)
    return found


# R-RM-1
def test_resource_has_three_tasks_and_the_block_gets_the_set_up_one() -> None:
    with Flow("f") as flow:
        size = Parameter("size", default=2)
        with Cluster(size, zone="b") as handle:
            use(handle)
    init, setup, cleanup = (named(flow, name) for name in ("Cluster", "Cluster.setup", "Cluster.cleanup"))
    assert handle is setup
    assert flow.edges_to(init) == {Edge(size, init, "size")}
    assert flow.constants[init] == {"zone": "b"}
    assert flow.edges_to(setup) == {Edge(init, setup, "resource")}
    assert {Edge(init, cleanup, "resource"), Edge(setup, cleanup, "handle")} <= flow.edges_to(cleanup)


# R-RM-1
def test_tasks_call_the_class_and_its_methods() -> None:
    with Flow("f") as flow, Cluster(3):
        use()
    resource = named(flow, "Cluster").run(size=3)
    assert (type(resource), resource.size) == (ClusterResource, 3)
    assert named(flow, "Cluster.setup").run(resource) == 6
    named(flow, "Cluster.cleanup").run(resource, 6)
    assert resource.closed == [6]


# R-RM-1
def test_without_a_setup_method_there_is_no_set_up_task() -> None:
    with Flow("f") as flow:
        with Bare() as handle:
            assert handle is None
            inside: Any = use()
    assert {one.name for one in flow.tasks} == {"Bare", "Bare.cleanup", "use"}
    cleanup = named(flow, "Bare.cleanup")
    assert flow.constants[cleanup] == {"handle": None}
    assert Edge(inside, cleanup) in flow.edges
    cleanup.run(named(flow, "Bare").run())


# R-RM-1 R-CALL-1
def test_arguments_are_those_of_the_class() -> None:
    flow: Any = Flow("f")
    with pytest.raises(TypeError, match="^missing a required argument: 'size'\n"):
        Cluster(flow=flow)
    with pytest.raises(TypeError, match="^got an unexpected keyword argument 'nope'\n"):
        Cluster(1, nope=2, flow=flow)


# R-RM-2
def test_block_lies_between_set_up_and_clean_up() -> None:
    with Flow("f") as flow:
        outer: Any = use()
        with Cluster(1) as handle:
            first: Any = use(handle)
            second: Any = use(first)
            alone: Any = use(outer)
        after: Any = use(second)
    setup, cleanup = named(flow, "Cluster.setup"), named(flow, "Cluster.cleanup")
    assert flow.upstream_tasks(first) == {setup}
    assert flow.upstream_tasks(second) == {first}
    assert flow.upstream_tasks(alone) == {outer, setup}
    assert flow.upstream_tasks(cleanup) == {named(flow, "Cluster"), setup, second, alone}
    # R-RM-8
    assert cleanup not in flow.downstream_tasks(after)


# R-RM-3
@pytest.mark.parametrize(
    ("init", "setup", "message"),
    [
        (Success(), Success(), None),
        (Success(), None, None),
        (Failed(), TriggerFailed(), "Resource manager init failed"),
        (Failed(), None, "Resource manager init failed"),
        (Success(), Failed(), "Resource manager setup failed"),
        (Skipped(), Skipped(), "Resource manager init skipped"),
        (Success(), Skipped(), "Resource manager setup skipped"),
    ],
)
def test_clean_up_waits_for_all_and_is_skipped_without_a_resource(
    init: State, setup: State | None, message: str | None
) -> None:
    cleanup = Task()
    states: dict[Edge, State] = {
        Edge(Task(name="work"), cleanup): Failed(),
        Edge(Task(name="other"), cleanup): Skipped(),
        Edge(Task(), cleanup, "resource"): init,
    }
    if setup is not None:
        states[Edge(Task(), cleanup, "handle")] = setup
    if message is None:
        assert resource_cleanup_trigger(states) is True
    else:
        with pytest.raises(SKIP) as skipped:
            resource_cleanup_trigger(states)
        assert str(skipped.value) == message


# R-RM-4 R-GRAPH-5
def test_resource_tasks_decide_nothing_and_the_last_of_the_block_do() -> None:
    with Flow("f") as flow:
        with Cluster(1) as handle:
            last: Any = use(use(handle))
        outside: Any = use()
    assert flow.reference_tasks() == {last, outside}
    assert flow.terminal_tasks() == {named(flow, "Cluster.cleanup"), outside}
    with Flow("empty") as empty, Cluster(1):
        pass
    assert empty.reference_tasks() == {named(empty, "Cluster.setup")}


# R-RM-5
def test_set_up_and_clean_up_are_not_persisted_and_options_override() -> None:
    manager = resource_manager(
        name="Room",
        init_task_kwargs={"name": "open", "tags": ["io"]},
        setup_task_kwargs={"checkpoint": True},
        cleanup_task_kwargs={"name": "close", "log_stdout": True},
    )(BareResource)
    with Flow("f") as flow, manager():
        use()
    assert {one.name for one in flow.tasks} == {"open", "close", "use"}
    assert named(flow, "open").tags == {"io"}
    assert named(flow, "close").log_stdout is True
    with Flow("g") as plain, Cluster(1):
        use()
    assert named(plain, "Cluster.setup").checkpoint is False
    assert named(plain, "Cluster.cleanup").checkpoint is False
    assert named(plain, "Cluster.cleanup").skip_on_upstream_skip is False
    assert [named(plain, f"Cluster{part}").resource_role for part in ("", ".setup", ".cleanup")] == [
        "init",
        "setup",
        "cleanup",
    ]


# R-RM-5
def test_decorator_and_class_do_the_same() -> None:
    @resource_manager
    class Room(BareResource): ...

    decorated: Any = Room
    assert isinstance(decorated, ResourceManager)
    assert decorated.name == "Room"
    manager = ResourceManager(BareResource, "Named", {"tags": ["t"]})
    assert (manager.name, manager.init_task_kwargs) == ("Named", {"name": "Named", "tags": ["t"]})
    with pytest.raises(TypeError, match="'Leaking' has no method `cleanup"):

        @resource_manager
        class Leaking: ...


# R-RM-7
def test_resource_needs_a_flow_and_serves_one() -> None:
    with pytest.raises(ValueError, match=r"^Could not infer an active Flow context\.\n"):
        Cluster(1)
    flow, other = Flow("f"), Flow("g")
    block = Cluster(1, flow=flow)
    assert len(flow.tasks) == 3
    with block:
        use(flow=flow)
    with pytest.raises(ValueError, match="A block belongs to one flow"), block:
        use(flow=other)


# R-RM-2 R-CASE-4
def test_blocks_of_both_kinds_nest() -> None:
    with Flow("f") as flow:
        asked: Any = use()
        with Cluster(1) as handle:
            with case(asked, True):
                guarded: Any = use(handle)
            with Bare():
                inner: Any = use()
        with case(asked, 2), Bare():
            deep: Any = use()
    setup, cleanup = named(flow, "Cluster.setup"), named(flow, "Cluster.cleanup")
    compare = named(flow, "case(True)")
    assert flow.upstream_tasks(guarded) == {setup, compare}
    assert setup in flow.upstream_tasks(compare)
    inner_cleanup, outer_cleanup = flow.get_tasks(name="Bare.cleanup")
    assert flow.upstream_tasks(cleanup) == {named(flow, "Cluster"), setup, guarded, inner_cleanup}
    assert inner in flow.upstream_tasks(inner_cleanup)
    second = named(flow, "case(2)")
    assert second in flow.upstream_tasks(flow.get_tasks(name="Bare")[1])
    assert flow.upstream_tasks(deep) == {flow.get_tasks(name="Bare")[1]}
    assert deep in flow.upstream_tasks(outer_cleanup)


# R-FLOW-8
def test_flow_with_a_resource_survives_pickling() -> None:
    with Flow("f") as flow, Cluster(1) as handle:
        use(handle)
    read = cloudpickle.loads(cloudpickle.dumps(flow))
    assert named(read, "Cluster").run(size=4).size == 4
