"""FilterTask."""

import logging
from typing import Any

import pytest

from tenuto import Flow, task
from tenuto.core.edge import Edge
from tenuto.engine.signals import FAIL, SKIP, TRIGGERFAIL
from tenuto.tasks.control_flow import filter as filter_module
from tenuto.tasks.control_flow.filter import FilterTask
from tenuto.triggers import all_finished, all_successful


# R-FILT-1
def test_by_default_runs_always_and_drops_none_and_exceptions() -> None:
    keep = FilterTask()
    assert (keep.trigger, keep.skip_on_upstream_skip, keep.name) == (all_finished, False, "FilterTask")
    assert keep.run([1, None, 0, ValueError("x"), "", [None]]) == [1, 0, "", [None]]
    assert FilterTask(name="mine", trigger=all_successful).trigger is all_successful


# R-FILT-1
def test_own_function_decides_alone() -> None:
    error = ValueError("x")
    keep = FilterTask(filter_func=lambda item: isinstance(item, Exception) or item is None)
    assert keep.run([1, None, error]) == [None, error]


# R-FILT-1
def test_takes_one_list_valued_upstream() -> None:
    @task
    def work(x: Any) -> Any:
        return x

    with Flow("f") as flow:
        found: Any = work.map([1, 2])
        good: Any = FilterTask()(found)
        collected: Any = FilterTask()(task_results=[found, 3])
    assert flow.edges_to(good) == {Edge(found, good, "task_results")}
    assert [one.name for one in flow.upstream_tasks(collected)] == ["List"]


# R-FILT-2
def test_text_of_the_log_function_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    keep = FilterTask(log_func=lambda kept: f"{len(kept)} kept: {kept}")
    caplog.set_level(logging.INFO, "tenuto")
    keep.run([1, None, 2])
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "2 kept: [1, 2]")
    ]


# R-FILT-3 D-6
def test_signals_are_dropped_too() -> None:
    assert FilterTask().run([FAIL("a"), SKIP("b"), TRIGGERFAIL("c"), 1]) == [1]


# R-FILT-4
def test_exception_of_an_unmapped_upstream_is_no_list() -> None:
    with pytest.raises(TypeError, match="not iterable"):
        FilterTask().run(ValueError("x"))  # type: ignore[arg-type]  # what a failed upstream hands on


# R-INV-1
def test_module_keeps_its_name_beside_the_class() -> None:
    assert filter_module.FilterTask is FilterTask
