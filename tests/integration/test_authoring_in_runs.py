"""Flows that were built in the ways of real code, run."""

import copy
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import cloudpickle
import numpy as np
import pandas as pd
import pytest

import tenuto
from tenuto import Flow, Parameter, Task, case, tags, task
from tenuto.core.authoring import defaults_from_attrs
from tenuto.core.nodes import Constant
from tenuto.core.operators import GetAttr, GetItem
from tenuto.core.parameter import DateTimeParameter
from tenuto.engine.signals import SKIP
from tenuto.engine.state import Failed, Skipped, Success
from tenuto.triggers import all_finished


class Point(NamedTuple):
    x: int
    y: int


@task
def add(x: Any, y: Any = 1) -> Any:
    return x + y


@task
def same(x: Any) -> Any:
    return x


def result(flow: Flow, node: Any, **parameters: Any) -> Any:
    state = flow.run(**parameters)
    assert state.is_successful(), state
    return state.result[node].result


# The example of the specification: R-CALL-1 R-PARAM-1 R-OP-3 R-OP-4 R-TASK-16
def test_pages() -> None:
    @task(max_retries=1, retry_delay=timedelta(seconds=5))
    def fetch(page: int) -> dict[str, Any]:
        return {"page": page, "rows": [page, page + 1]}

    @task(nout=2)
    def split(doc: dict[str, Any]) -> tuple[int, int]:
        return doc["rows"][0], doc["rows"][1]

    @task
    def report(first: int, second: int, label: str = "n/a") -> str:
        return f"{label}: {first}-{second}"

    with Flow("pages") as flow:
        page = Parameter("page", default=3)
        with tags("io"):
            doc = fetch(page)
        lo, hi = split(doc)
        out: Any = report(lo, hi, label=doc["page"])
    state = flow.run(page=7)
    assert state.is_successful()
    assert state.result[out].result == "7: 7-8"
    assert flow.get_tasks(slug="fetch-io-1") == [doc]  # type: ignore[comparison-overlap]
    assert [lo.name, hi.name] == ["split[0]", "split[1]"]  # type: ignore[attr-defined]


# R-CALL-1
def test_defaults_are_left_to_python() -> None:
    with Flow("f") as flow:
        node: Any = add(2)
    assert result(flow, node) == 3


# R-CALL-2
def test_two_calls_run_twice() -> None:
    count: list[int] = []

    @task
    def tick() -> None:
        count.append(1)

    with Flow("f") as flow:
        tick()
        tick()
    result(flow, next(iter(flow.tasks)))
    assert len(count) == 2


# R-CALL-4 R-REAL-10
def test_task_called_in_a_task_fails_it_and_run_works() -> None:
    @task
    def calls() -> Any:
        return add(1)

    @task
    def runs() -> Any:
        return add.run(1)

    with Flow("f") as flow:
        wrong: Any = calls()
        right: Any = runs()
    state = flow.run()
    assert isinstance(state.result[wrong], Failed)
    assert isinstance(state.result[wrong].result, ValueError)
    assert "active Flow context" in str(state.result[wrong].result)
    assert state.result[right].result == 2


# R-CALL-4
def test_task_called_in_a_task_fails_also_while_another_flow_is_being_built() -> None:
    @task
    def calls() -> Any:
        return add(1)

    with Flow("inner") as inner:
        wrong: Any = calls()
    with Flow("outer") as outer:
        state = inner.run()
        add(2)
    assert isinstance(state.result[wrong], Failed)
    assert len(outer.tasks) == 1


# R-CALL-9 [seed S-11]
def test_uncalled_task_used_twice_runs_once() -> None:
    count: list[int] = []

    class Source(Task):
        def run(self) -> int:
            count.append(1)
            return 5

    source = Source()
    with Flow("f") as flow:
        one: Any = add(source)
        two: Any = add(source, upstream_tasks=[one])
    assert result(flow, two) == 6
    assert count == [1]


# R-CALL-11
def test_extra_keywords_arrive() -> None:
    @task
    def options(**values: Any) -> Any:
        return values

    with Flow("f") as flow:
        node: Any = options(a=add(1), b=2)
    assert result(flow, node) == {"a": 2, "b": 2}


# R-CALL-13
def test_upstream_tasks_order_without_data() -> None:
    order: list[str] = []

    @task
    def note(name: str) -> None:
        order.append(name)

    with Flow("f") as flow:
        last = note.copy()
        first: Any = note("first")
        last.bind("last", upstream_tasks=[first, 5])
    result(flow, last)
    assert order == ["first", "last"]


# R-CONST-1 R-CONST-4
@pytest.mark.parametrize("value", [None, 5, "text", [1], {"a": (1,)}, {1, 2}, Point(1, 2)])
def test_constants_arrive_as_they_are(value: Any) -> None:
    with Flow("f") as flow:
        node: Any = same(value)
    assert result(flow, node) is value


# R-CONST-1
def test_frames_and_arrays_may_be_constants() -> None:
    frame, array = pd.DataFrame({"a": [1, 2]}), np.arange(3)
    with Flow("f") as flow:
        first: Any = task(lambda df: len(df), name="count")(frame)
        second: Any = task(lambda values: int(values.sum()), name="sum")(array)
        third: Any = add(array, add(1))
    state = flow.run()
    assert (state.result[first].result, state.result[second].result) == (2, 3)
    assert list(state.result[third].result) == [2, 3, 4]


# R-CONST-3 R-CONST-4 R-CONST-5
def test_collections_arrive_with_results_in_the_place_of_tasks() -> None:
    with Flow("f") as flow:
        one: Any = add(0)
        node: Any = same(
            {
                "list": [one, 2, [one, (one, 3)]],
                "set": {one, 1},
                "point": Point(one, 2),
                "many": [one for _ in range(12)] + [13],
                "plain": [1, [2]],
            }
        )
    found = result(flow, node)
    assert found == {
        "list": [1, 2, [1, (1, 3)]],
        "set": {1},
        "point": Point(1, 2),
        "many": [1] * 12 + [13],
        "plain": [1, [2]],
    }
    assert type(found["point"]) is Point


# R-CONST-6
def test_constants_run_without_log_lines_and_handlers(capsys: pytest.CaptureFixture[str]) -> None:
    handled: list[Any] = []
    with Flow("f") as flow:
        constant = Constant([1, 2], state_handlers=[lambda *args: handled.append(args)])
        flow.add_task(constant)
        over: Any = add.map(constant)
    state = flow.run()
    assert state.result[over].result == [2, 3]
    assert type(state.result[constant]) is Success
    assert not handled
    assert "[1, 2]" not in capsys.readouterr().out


# R-OP-1
def test_expressions_of_tasks_compute_at_run_time() -> None:
    with Flow("f") as flow:
        x, y = same(7), same(2)
        node: Any = same(
            {
                "sum": (x + y, 1 + x),
                "difference": (x - y, 10 - x),
                "product": x * y,
                "quotients": (x / y, x // y, x % y, x**y),
                "comparisons": (x > y, x >= 7, x < y, x <= y),
                "equal": (x.is_equal(7), x.is_not_equal(7)),
                "logic": (x & y, x.not_(), (x - 7).or_(y)),
            }
        )
    assert result(flow, node) == {
        "sum": (9, 8),
        "difference": (5, 3),
        "product": 14,
        "quotients": (3.5, 3, 1, 49),
        "comparisons": (True, True, False, False),
        "equal": (True, False),
        "logic": (2, False, 2),
    }


# R-OP-1
def test_bar_orders_tasks() -> None:
    order: list[str] = []

    @task
    def note(name: str) -> None:
        order.append(name)

    with Flow("f") as flow:
        c: Any = note("c")
        b: Any = note("b")
        a: Any = note("a")
        a | b | c
    result(flow, c)
    assert order == ["a", "b", "c"]


# R-OP-3 R-OP-5
def test_items_and_attributes_are_taken_at_run_time() -> None:
    with Flow("f") as flow:
        data: Any = same({"a": [1, 2], "b": Point(3, 4)})
        key: Any = same("a")
        item: Any = data[key][1]
        attribute: Any = GetAttr()(data["b"], "y")
        missing: Any = GetItem(default="none")(data, "c")
        failing: Any = data["c"]
    state = flow.run()
    assert (state.result[item].result, state.result[attribute].result) == (2, 4)
    assert state.result[missing].result == "none"
    assert isinstance(state.result[failing].result, KeyError)


# R-OP-4 R-REAL-8
def test_unpacked_results_go_their_ways() -> None:
    class Pair(Task):
        def run(self) -> tuple[str, str]:
            return "low", "high"

    pair = Pair()
    with Flow("f") as flow:
        low, high = pair
        node: Any = same([high, low])
    assert result(flow, node) == ["high", "low"]


# R-TASK-10
def test_comparison_by_sign_adds_nothing() -> None:
    with Flow("f") as flow:
        one: Any = add(1)
        assert (one == 2) is False
    assert flow.run().is_successful()
    assert len(flow.tasks) == 1


# R-TASK-14
def test_attributes_fill_in_at_run_time() -> None:
    class Query(Task):
        def __init__(self, sql: str | None = None, **kwargs: Any) -> None:
            self.sql = sql
            super().__init__(**kwargs)

        @defaults_from_attrs("sql")
        def run(self, sql: str | None = None) -> Any:
            return sql

    query: Any = Query("select 1")
    with Flow("f") as flow:
        kept, given, none = query(), query("select 2"), query(sql=None)
    state = flow.run()
    assert [state.result[one].result for one in (kept, given, none)] == ["select 1", "select 2", None]


# R-PARAM-1 R-PARAM-8
def test_parameters_get_values_from_the_run_the_context_or_the_default() -> None:
    with Flow("f") as flow:
        node: Any = same(
            [Parameter("a", default=1), Parameter("b", required=False), Parameter("c", default=None)]
        )
    assert result(flow, node) == [1, None, None]
    assert result(flow, node, a=5) == [5, None, None]
    assert result(flow, node, parameters={"a": 6, "b": 7}) == [6, 7, None]
    with tenuto.context(parameters={"a": 8, "c": 9}):
        assert result(flow, node) == [8, None, 9]
        assert result(flow, node, a=5) == [5, None, 9]


# R-PARAM-2 R-RUN-5
def test_required_parameter_without_a_value_is_refused() -> None:
    with Flow("f") as flow:
        same(Parameter("a"))
    with pytest.raises(ValueError, match=r"required parameters: a"):
        flow.run()
    with pytest.warns(UserWarning, match="never used"):
        required = Parameter("b", default=1, required=True)
    same(required, flow=flow)
    with pytest.raises(ValueError, match=r"required parameters: a, b"):
        flow.run()


# R-PARAM-3
def test_parameters_run_and_log_like_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    with Flow("f") as flow:
        same(Parameter("a", default=1))
    flow.run()
    assert "Task 'a': Finished task run for task with final state: 'Success'" in capsys.readouterr().out


# R-PARAM-9
def test_values_of_parameters_are_not_checked() -> None:
    value = object()
    with Flow("f") as flow:
        node: Any = same(Parameter("a"))
    assert result(flow, node, a=value) is value


# R-PARAM-10
def test_unparsable_date_fails_the_task_and_not_the_call() -> None:
    with Flow("f") as flow:
        when: Any = DateTimeParameter("when")
        node: Any = same(when)
    assert result(flow, node, when="2020-01-02T03:00:00+01:00") == datetime(2020, 1, 2, 2, tzinfo=UTC)
    state = flow.run(when="soon")
    assert state.is_failed()
    assert isinstance(state.result[when], Failed)


# R-FLOW-8
def test_pickled_flow_runs() -> None:
    with Flow("f") as flow:
        add(add(Parameter("p", default=1)), 10)
    read = cloudpickle.loads(cloudpickle.dumps(flow))
    assert result(read, read.sorted_tasks()[-1], p=5) == 16


# R-GRAPH-4
def test_cycle_is_refused_before_anything_runs() -> None:
    ran: list[int] = []
    with Flow("f") as flow:
        one: Any = task(lambda x: ran.append(x), name="one")(1)
        two: Any = same(one)
        one.set_upstream(two)
    with pytest.raises(ValueError, match="Cycle found; flows must be acyclic!"):
        flow.run()
    assert not ran


# R-GRAPH-5
def test_reference_tasks_decide_the_state_of_the_run() -> None:
    with Flow("f") as flow:
        good: Any = add(1)
        bad: Any = task(lambda x: 1 / 0, name="bad")(good)
        last: Any = task(lambda: 1, name="last", trigger=all_finished)(upstream_tasks=[bad])
    assert flow.run().is_successful()
    flow.set_reference_tasks([good, bad])
    assert flow.run().is_failed()
    assert flow.run().result[last].is_successful()


# R-GRAPH-6 D-2
def test_independent_tasks_run_in_the_order_in_which_they_were_added() -> None:
    order: list[int] = []
    note = task(lambda n: order.append(n), name="note")
    with Flow("f") as flow:
        for number in range(20):
            note(number)
    flow.run()
    assert order == list(range(20))


# R-GRAPH-7 R-GRAPH-8
def test_changed_flows_run_with_the_change() -> None:
    with Flow("f") as flow:
        source: Any = add(1)
        node: Any = add(source, 10)
    with Flow("g") as other:
        shared: Any = add(node, Parameter("p", default=100))
    flow.update(other)
    assert result(flow, shared) == 112
    flow.replace(source, 0)
    assert result(flow, shared) == 110
    flow.replace(node, task(lambda x, y: x - y, name="minus"))
    assert result(flow, shared) == 90


# R-TASK-15 R-REAL-10
def test_class_task_constructed_in_a_task_warns_of_nothing() -> None:
    class Slack(Task):
        def __init__(self, message: str) -> None:
            self.message = message
            super().__init__()

        def run(self) -> str:
            return self.message

    @task
    def tell() -> str:
        Slack("unused")
        return Slack("hi").run()

    with Flow("inner") as inner:
        node: Any = tell()
    assert result(inner, node) == "hi"
    with Flow("outer"):
        assert result(inner, node) == "hi"


# R-REAL-7
def test_flow_subclass_that_builds_itself_runs_and_deep_copies_run_apart() -> None:
    class Nightly(Flow):
        def __init__(self, name: str, code_owners: list[str]) -> None:
            super().__init__(name=name)
            self.code_owners = code_owners
            self.first = add.copy().bind(1, flow=self)
            self.last = add.copy().bind(self.first, flow=self)

    flow = Nightly("n", ["me"])
    assert result(flow, flow.last) == 3
    other = copy.deepcopy(flow)
    other.name = "other"
    assert result(other, other.last) == 3
    assert flow.last not in other.tasks


# R-REAL-9
def test_loops_and_comprehensions_build_flows() -> None:
    with Flow("f") as flow:
        by_name: dict[str, Any] = {name: add(number) for number, name in enumerate("abc")}
        chained: Any = 0
        for node in by_name.values():
            chained = add(chained, node) if chained is not None else node
        last: Any = task()(lambda a, b: (a, b))(chained, list(by_name.values()))
    assert result(flow, last) == (6, [1, 2, 3])


# R-REAL-9
def test_flow_without_tasks_succeeds() -> None:
    assert Flow("empty").run().is_successful()


# R-REAL-12 R-REAL-13
def test_task_args_rename_and_retrigger_in_runs() -> None:
    with Flow("f") as flow:
        bad: Any = task(lambda: 1 / 0, name="bad")()
        after: Any = add(1, upstream_tasks=[bad], task_args={"name": "after", "trigger": all_finished})
    state = flow.run()
    assert state.result[after].result == 2
    assert after.name == "after"


# R-REAL-19
def test_wrong_use_of_the_context_fails_the_task() -> None:
    @task
    def wrong() -> None:
        tenuto.context.tenuto("logger")

    with Flow("f") as flow:
        node: Any = wrong()
    state = flow.run()
    assert isinstance(state.result[node].result, AttributeError)


# R-REAL-20
def test_context_is_a_bag_for_own_values() -> None:
    with Flow("f") as flow:
        node: Any = task(lambda: tenuto.context.temp_dir, name="read")()
    with tenuto.context(temp_dir="here"):
        assert result(flow, node) == "here"


# R-CTX-6
def test_nothing_of_building_is_seen_in_a_run() -> None:
    seen: list[Any] = []

    @task
    def look() -> None:
        seen.append((tenuto.context.get("flow"), tenuto.context.get("tags")))

    with Flow("inner") as inner:
        look()
    with Flow("outer"), tags("a"):
        inner.run()
    assert seen[0][0] is None


# R-CASE-1
def test_skipped_branch_and_merged_result() -> None:
    with Flow("f") as flow:
        asked = Parameter("kind", default="a")
        with case(asked, "a"):
            a: Any = same("A")
        with case(asked, "b"):
            b: Any = task(lambda: SKIP, name="b")()
        node: Any = task(lambda x, y: (x, y), name="both", skip_on_upstream_skip=False)(a, b)
    state = flow.run()
    assert state.result[node].result == ("A", None)
    assert isinstance(state.result[b], Skipped)


# [issue A] async tasks
def test_async_tasks_run_to_completion() -> None:
    @task
    async def fetch(page: int) -> list[int]:
        return [page]

    with Flow("f") as flow:
        node: Any = fetch(3)
        many: Any = fetch.map([1, 2])
        low = fetch(4)[0]
    state = flow.run()
    assert state.result[node].result == [3]
    assert state.result[many].result == [[1], [2]]
    assert state.result[low].result == 4
