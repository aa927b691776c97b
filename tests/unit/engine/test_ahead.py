"""Which tasks may begin before the flow's process has heard of their upstreams."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest

from tenuto import Task, triggers
from tenuto._base.logging import get_logger
from tenuto.engine.ahead import ends_as_it_ends, may_go_ahead
from tenuto.engine.results import LocalResult
from tenuto.engine.signals import FAIL, LOOP, SKIP, SUCCESS
from tenuto.engine.state import State
from tenuto.engine.task_runner import TaskRunner
from tenuto.engine.transitions import Outcome, lets_go_on


def handler(each: Any, old: State, new: State) -> None:
    """Change nothing: but it could."""


class OwnRunner(TaskRunner):
    """A runner of a user's."""


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"max_retries": 2, "retry_delay": timedelta(0)},
        {"timeout": 3},
        {"checkpoint": False},
        {"log_stdout": True},
        {"result": LocalResult(dir=".")},
        {"tags": ["red"]},
        {"skip_on_upstream_skip": False},
        {"trigger": triggers.all_finished},
        {"trigger": triggers.any_successful},
        {"trigger": triggers.not_all_skipped},
    ],
    ids=str,
)
def test_task_that_only_its_upstreams_decide_about_may_go_ahead(options: dict[str, Any]) -> None:
    runner = TaskRunner(Task(**options))
    assert may_go_ahead(runner)
    assert ends_as_it_ends(runner)


@pytest.mark.parametrize(
    "options",
    [
        {"state_handlers": [handler]},
        {"target": "{x}.pickle"},
        {"cache_for": timedelta(hours=1)},
        {"task_run_name": "of {x}"},
        {"trigger": triggers.manual_only},
        {"trigger": triggers.some_successful(at_least=1)},
        {"trigger": lambda upstream_states: True},
    ],
    ids=lambda options: next(iter(options)),
)
def test_task_that_something_else_has_a_say_about_waits_for_its_turn(options: dict[str, Any]) -> None:
    assert not may_go_ahead(TaskRunner(Task(**options)))


def test_what_handlers_and_users_runners_may_change_is_not_followed_ahead() -> None:
    # R-HAND-1, R-HAND-7
    for runner in (
        TaskRunner(Task(state_handlers=[handler])),
        TaskRunner(Task(), state_handlers=[handler]),
        OwnRunner(Task()),
    ):
        assert not ends_as_it_ends(runner)
        assert not may_go_ahead(runner)


def test_each_change_of_state_is_told_where_that_is_wanted() -> None:
    get_logger("TaskRunner").setLevel(logging.DEBUG)
    assert not may_go_ahead(TaskRunner(Task()))


def test_task_of_a_continued_run_waits_for_what_the_earlier_one_has_left() -> None:
    # R-CACHE-12
    runner = TaskRunner(Task())
    continuation: Any = object()
    runner.continuation = continuation
    assert not may_go_ahead(runner)


@pytest.mark.parametrize("value", [None, 0, "text", (1, 2)])
def test_only_a_value_that_was_returned_and_stored_lets_others_go_on(value: object) -> None:
    assert lets_go_on(Outcome(value=value))
    assert not lets_go_on(Outcome(value=value, write_error=OSError("disk full")))
    for error in (ValueError("bad"), SKIP("no"), FAIL("no"), LOOP("on"), SUCCESS("at once", result=value)):
        assert not lets_go_on(Outcome(error=error))
