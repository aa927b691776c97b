"""The options of tasks: defaults, refusals, warnings."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tenuto import Task, task
from tenuto.configuration import config
from tenuto.engine.cache_validators import all_inputs, duration_only, never_use
from tenuto.engine.results import LocalResult
from tenuto.engine.state import Failed, Pending, Success
from tenuto.triggers import all_successful, any_failed

SECOND = timedelta(seconds=1)


def test_defaults_are_those_documented() -> None:
    plain = Task()
    assert plain.name == "Task"
    assert (plain.slug, plain.tags) == (None, set())
    assert (plain.max_retries, plain.retry_delay, plain.retry_on, plain.timeout) == (0, None, None, None)
    assert plain.trigger is all_successful
    assert plain.skip_on_upstream_skip is True
    assert (plain.cache_for, plain.cache_key, plain.checkpoint) == (None, None, None)
    assert plain.cache_validator is never_use
    assert (plain.state_handlers, plain.log_stdout) == ([], False)
    assert (plain.result, plain.target, plain.task_run_name, plain.nout) == (None, None, None, None)
    assert (plain.rescue, plain.executor_options, plain.version) == (True, {}, None)
    assert plain.auto_generated is False


def test_text_as_tags_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^Tags should be a set of tags, not a string\.\n"):
        Task(tags="io")


def test_retries_need_a_delay() -> None:
    with pytest.raises(ValueError, match="`retry_delay` must be provided"):
        Task(max_retries=1)
    with pytest.raises(ValueError, match="max_retries"):
        Task(retry_delay=SECOND)
    with pytest.raises(ValueError, match="max_retries"):
        Task(retry_delay=SECOND, max_retries=0)
    kept = Task(max_retries=2, retry_delay=SECOND)
    assert (kept.max_retries, kept.retry_delay) == (2, SECOND)


def test_configured_retries_count_and_zero_switches_them_off() -> None:
    config.tasks.defaults.max_retries = 3
    with pytest.raises(ValueError, match="`retry_delay` must be provided"):
        Task()
    config.tasks.defaults.retry_delay = SECOND
    assert (Task().max_retries, Task().retry_delay) == (3, SECOND)
    assert (Task(max_retries=0).max_retries, Task(max_retries=0).retry_delay) == (0, None)
    assert Task(max_retries=1).retry_delay == SECOND


def test_configured_delay_alone_changes_nothing() -> None:
    config.tasks.defaults.retry_delay = SECOND
    assert Task().retry_delay is None


# R-DBG-5
def test_delay_may_be_a_function_of_the_run_count_but_not_a_number() -> None:
    def growing(run_count: int) -> timedelta:
        return SECOND * run_count

    assert Task(max_retries=1, retry_delay=growing).retry_delay is growing
    with pytest.raises(TypeError, match=r"must be a datetime\.timedelta"):
        Task(max_retries=1, retry_delay=5)  # type: ignore[arg-type]  # what is refused


def test_retry_on_takes_one_class_or_several() -> None:
    one = Task(max_retries=1, retry_delay=SECOND, retry_on=ValueError)
    several = Task(max_retries=1, retry_delay=SECOND, retry_on=(ValueError, OSError))
    assert one.retry_on == {ValueError}
    assert several.retry_on == {ValueError, OSError}
    with pytest.raises(ValueError, match="max_retries"):
        Task(retry_on=ValueError)
    for wrong in (KeyboardInterrupt, [ValueError, "OSError"], [int]):
        with pytest.raises(TypeError, match="subclasses of Exception"):
            Task(max_retries=1, retry_delay=SECOND, retry_on=wrong)  # type: ignore[arg-type]  # what is refused


def test_timeout_is_whole_seconds() -> None:
    assert Task(timeout=5).timeout == 5
    assert Task(timeout=timedelta(minutes=1)).timeout == 60
    with pytest.warns(UserWarning, match="whole seconds"):
        assert Task(timeout=timedelta(seconds=2, milliseconds=700)).timeout == 2
    with pytest.warns(UserWarning, match="1 s will be used"):
        assert Task(timeout=timedelta(milliseconds=300)).timeout == 1
    with pytest.raises(TypeError, match="whole number of seconds"):
        Task(timeout=1.5)  # type: ignore[arg-type]  # what is refused


def test_configured_timeout_is_used() -> None:
    config.tasks.defaults.timeout = 7
    assert Task().timeout == 7
    assert Task(timeout=2).timeout == 2


def test_validator_follows_cache_for() -> None:
    assert Task(cache_for=SECOND).cache_validator is duration_only
    assert Task(cache_for=SECOND, cache_validator=all_inputs).cache_validator is all_inputs
    assert Task(cache_validator=never_use).cache_validator is never_use
    with pytest.warns(UserWarning, match="will not be cached"):
        Task(cache_validator=all_inputs)


def test_state_handlers_are_a_list_and_not_a_function() -> None:
    def handler(obj: Any, old: Any, new: Any) -> None: ...

    handlers: list[Any] = [handler]
    kept = Task(state_handlers=handlers)
    assert kept.state_handlers == [handler]
    assert kept.state_handlers is not handlers
    with pytest.raises(TypeError, match=r"^state_handlers should be iterable\.\n"):
        Task(state_handlers=handler)  # type: ignore[arg-type]  # what is refused


def test_on_failure_is_called_last_and_for_failed_states_only() -> None:
    calls: list[Any] = []

    def handler(obj: Any, old: Any, new: Any) -> None: ...

    kept = Task(state_handlers=[handler], on_failure=lambda obj, state: calls.append((obj, state)))
    assert kept.state_handlers[0] is handler
    failed = Failed()
    for state in (Success(), failed):
        assert kept.state_handlers[-1](kept, Pending(), state) is None
    assert calls == [(kept, failed)]


# R-TGT-1 R-RES-2
def test_target_becomes_the_location_of_the_tasks_own_copy_of_the_result() -> None:
    result = LocalResult()
    kept = Task(result=result, target="{task_name}.pickle")
    assert kept.target == "{task_name}.pickle"
    assert kept.result is not None
    assert kept.result.location == "{task_name}.pickle"
    assert result.location is None
    assert Task(target="x").result is None


# R-TGT-1
def test_target_function_becomes_the_formatter_of_the_result() -> None:
    def place(**kwargs: Any) -> str:
        return f"{kwargs['task_name']}.bin"

    kept = Task(result=LocalResult(), target=place)
    assert kept.result is not None
    assert kept.result.format(task_name="t").location == "t.bin"


def test_target_wins_over_another_location_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="the target 'a' is used"):
        kept = Task(result=LocalResult(location="b"), target="a")
    assert kept.result is not None
    assert kept.result.location == "a"
    Task(result=LocalResult(location="a"), target="a")


def test_options_of_the_decorator_are_those_of_the_class() -> None:
    kept = task(lambda: 1, trigger=any_failed, checkpoint=False, log_stdout=True, slug="s", version="2")
    assert kept.trigger is any_failed
    assert (kept.checkpoint, kept.log_stdout, kept.slug, kept.version) == (False, True, "s", "2")


@pytest.mark.parametrize("wrong", [lambda: task(lambda: 1, nme="x"), lambda: Task(nme="x")])  # type: ignore[call-arg, call-overload]
def test_unknown_option_is_refused(wrong: Callable[[], Any]) -> None:
    with pytest.raises(TypeError, match="nme"):
        wrong()
