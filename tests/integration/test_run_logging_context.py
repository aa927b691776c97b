"""Logging, settings, context, secrets and debugging as a run shows them."""

import logging
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import tenuto
from tenuto import Flow, Parameter, Task, task, unmapped
from tenuto.client import Secret
from tenuto.engine import signals
from tenuto.engine.results import LocalResult
from tenuto.engine.state import Failed, Skipped, State, Success
from tenuto.tasks.secrets import EnvVarSecret, PrefectSecret
from tenuto.utilities.configuration import set_temporary_config
from tenuto.utilities.datetimes import retry_delay
from tenuto.utilities.debug import raise_on_exception
from tenuto.utilities.logging import temporary_logger_config
from tenuto.utilities.notifications import slack_notifier

LINE = re.compile(
    r"^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d{4}\] (?P<level>\w+) - (?P<name>\S+) \| (?P<text>.*)$"
)


def run(flow: Flow, **kwargs: Any) -> State:
    state = flow.run(**kwargs)
    assert isinstance(state, State)
    return state


def value_of(fn: Callable[[], Any], **run_kwargs: Any) -> Any:
    """Return what `fn` returns as the only task, named `only`, of a flow named `flow`."""
    with Flow("flow") as flow:
        only = task(fn, name="only")()
    state = run(flow, **run_kwargs)
    assert state.is_successful(), state.result[only]
    return state.result[only].result


def lines(captured: str) -> list[tuple[str, str, str]]:
    """Return level, logger and text of each line; continuation lines are left out."""
    found = [LINE.match(line) for line in captured.splitlines()]
    return [(match["level"], match["name"], match["text"]) for match in found if match]


def log_name() -> str:
    return str(tenuto.context.logger.name)


class Both(Task):
    """A class task that tells the names of its own and of the context's logger."""

    def run(self, x: int = 0) -> tuple[str, str]:
        return self.logger.name, tenuto.context.logger.name


# ------------------------------------------------------------------------------------------ logging


def test_lines_of_a_run_are_those_of_the_tutorial(capsys: pytest.CaptureFixture[str]) -> None:
    # R-LOG-1, R-LOG-2, R-LOG-3, spec 07 section 1.2
    with Flow("data") as flow:
        task(lambda: 1, name="load")()
    run(flow)
    assert lines(capsys.readouterr().out) == [
        ("INFO", "tenuto.FlowRunner", "Beginning Flow run for 'data'"),
        ("INFO", "tenuto.TaskRunner", "Task 'load': Starting task run..."),
        ("INFO", "tenuto.TaskRunner", "Task 'load': Finished task run for task with final state: 'Success'"),
        ("INFO", "tenuto.FlowRunner", "Flow run SUCCESS: all reference tasks succeeded"),
    ]


def test_debug_lines_tell_executor_and_state_changes(capsys: pytest.CaptureFixture[str]) -> None:
    # R-LOG-10, spec 07 section 1.2
    with Flow("data") as flow:
        task(lambda: 1, name="load")()
    with temporary_logger_config(level=logging.DEBUG):
        run(flow)
    shown = lines(capsys.readouterr().out)
    for expected in (
        ("DEBUG", "tenuto.FlowRunner", "Using executor type LocalExecutor"),
        ("DEBUG", "tenuto.FlowRunner", "Flow 'data': Handling state change from Scheduled to Running"),
        ("DEBUG", "tenuto.FlowRunner", "Flow 'data': Handling state change from Running to Success"),
        ("DEBUG", "tenuto.TaskRunner", "Task 'load': Handling state change from Pending to Running"),
        ("DEBUG", "tenuto.TaskRunner", "Task 'load': Calling task.run() method..."),
        ("DEBUG", "tenuto.TaskRunner", "Task 'load': Handling state change from Running to Success"),
    ):
        assert expected in shown


def test_failure_is_one_error_with_the_users_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    # spec 07 section 1.2
    @task
    def bad() -> None:
        raise ValueError("as it was")

    with Flow("f") as flow:
        bad()
    run(flow)
    shown = capsys.readouterr().out
    text = "Task 'bad': Exception encountered during task execution!"
    assert next(line for line in lines(shown) if line[0] == "ERROR") == ("ERROR", "tenuto.TaskRunner", text)
    assert "Traceback (most recent call last):" in shown
    assert "ValueError: as it was" in shown


def test_skip_signal_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    # spec 07 section 1.2
    @task
    def skips() -> None:
        raise signals.SKIP("not today")

    with Flow("f") as flow:
        skips()
    run(flow)
    assert ("INFO", "tenuto.TaskRunner", "SKIP signal raised: SKIP('not today')") in lines(
        capsys.readouterr().out
    )


def test_failure_that_is_not_to_be_retried_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    # spec 07 section 1.2
    @task(max_retries=1, retry_delay=timedelta(0), retry_on=KeyError)
    def bad() -> None:
        raise ValueError

    with Flow("f") as flow:
        bad()
    run(flow)
    text = (
        "Task 'bad': Skipping retry. Exception of type 'ValueError' is not an instance of the retry on "
        "exception types."
    )
    assert ("INFO", "tenuto.TaskRunner", text) in lines(capsys.readouterr().out)


def test_a_tasks_own_logger_has_its_name_and_index() -> None:
    # R-LOG-3, R-LOG-5
    with Flow("f") as flow:
        plain = task(log_name, name="plain")()
        many = task(lambda x: log_name(), name="many").map([1, 2])
        classes = Both(name="classy").map(x=[1])
    state = run(flow)
    assert state.result[plain].result == "tenuto.plain"
    assert state.result[many].result == ["tenuto.many[0]", "tenuto.many[1]"]
    # A class task's own logger does not know the map index.
    assert state.result[classes].result == [("tenuto.classy", "tenuto.classy[0]")]


def test_printed_lines_are_logged_by_the_task_runner(capsys: pytest.CaptureFixture[str]) -> None:
    # R-LOG-6, R-LOG-7 with D-7
    @task(log_stdout=True)
    def report() -> int:
        print("Model accuracy on test set:", 93.33)
        print("un", end="")
        print("finished", end="")
        return 5

    @task
    def quiet() -> None:
        print("plain")

    with Flow("f") as flow:
        reported = report()
        quiet(upstream_tasks=[reported])
    state = run(flow)
    shown = capsys.readouterr().out
    texts = [line for line in lines(shown) if "Task '" not in line[2] and "low run" not in line[2]]
    assert texts == [
        ("INFO", "tenuto.TaskRunner", "Model accuracy on test set: 93.33"),
        ("INFO", "tenuto.TaskRunner", "unfinished"),
    ]
    assert "plain" in shown.splitlines()
    assert state.result[reported].result == 5


def test_error_of_a_task_whose_output_is_logged_is_unchanged() -> None:
    # R-LOG-6
    error = ValueError("mine")

    @task(log_stdout=True)
    def bad() -> None:
        print("before")
        raise error

    with Flow("f") as flow:
        failed = bad()
    assert run(flow).result[failed].result is error


def test_records_of_a_run_know_their_task(capsys: pytest.CaptureFixture[str]) -> None:
    # R-LOG-12
    with Flow("f") as flow:
        one = task(lambda: tenuto.context.logger.info("mine"), name="one")()
    fmt = "%(message)s|%(flow_name)s|%(flow_run_id)s|%(task_name)s|%(task_slug)s|%(task_run_id)s|%(mine)s"
    run_id = "01a20b5b-d491-76e9-95a4-2d6b7b5da705"
    with (
        set_temporary_config({"logging.log_attributes": ["mine"]}),
        temporary_logger_config(stream_fmt=fmt),
        tenuto.context(mine=5),
    ):
        run(flow, flow_run_id=run_id)
    slug = flow.slugs[one]
    task_run_id = uuid.uuid5(uuid.UUID(run_id), slug)
    shown = capsys.readouterr().out.splitlines()
    assert f"mine|f|{run_id}|one|{slug}|{task_run_id}|5" in shown
    assert f"Beginning Flow run for 'f'|f|{run_id}|-|-|-|5" in shown


# ----------------------------------------------------------------------------------------- settings


def test_defaults_of_the_configuration_are_applied_to_new_tasks() -> None:
    # R-CFG-8
    changed = {"max_retries": 2, "retry_delay": timedelta(seconds=5), "timeout": 10}
    with set_temporary_config({f"tasks.defaults.{key}": value for key, value in changed.items()}):
        new = Task()
        off = Task(max_retries=0)
    assert (new.max_retries, new.retry_delay, new.timeout) == (2, timedelta(seconds=5), 10)
    assert (off.max_retries, off.retry_delay) == (0, None)
    assert (Task().max_retries, Task().retry_delay, Task().timeout) == (0, None, None)


def test_settings_of_a_block_hold_for_the_run_inside_it(tmp_path: Path) -> None:
    # R-CFG-7
    with Flow("f") as flow:
        task(lambda: 1, name="w", result=LocalResult(str(tmp_path), location="x"))()
    with set_temporary_config({"flows.checkpointing": True}):
        run(flow)
    assert (tmp_path / "x").exists()
    (tmp_path / "x").unlink()
    with set_temporary_config({"flows.checkpointing": False}):
        run(flow)
    assert not (tmp_path / "x").exists()


# ------------------------------------------------------------------------------------------ context


def test_context_of_a_run_has_the_documented_keys() -> None:
    # R-CTX-3
    before = datetime.now(UTC)
    values = value_of(lambda: tenuto.context.to_dict())
    assert {
        "date", "today", "yesterday", "tomorrow", "today_nodash", "yesterday_nodash", "tomorrow_nodash",
        "scheduled_start_time", "flow_name", "flow_id", "flow_run_id", "flow_run_name", "parameters",
        "task_name", "task_full_name", "task_slug", "task_id", "task_run_id", "task_tags", "task_run_count",
        "map_index", "checkpointing", "logger", "config", "caches",
    } <= set(values)  # fmt: skip
    assert not {"task_loop_count", "task_loop_result", "resume", "task_run_name"} & set(values)
    date = values["date"]
    assert before <= date <= datetime.now(UTC)
    assert date.utcoffset() == timedelta(0)
    for name, days in (("yesterday", -1), ("today", 0), ("tomorrow", 1)):
        assert values[name] == (date + timedelta(days=days)).strftime("%Y-%m-%d")
        assert values[f"{name}_nodash"] == (date + timedelta(days=days)).strftime("%Y%m%d")
    assert abs(values["scheduled_start_time"] - date) < timedelta(seconds=5)
    assert values["scheduled_start_time"].tzinfo is not None
    assert values["flow_name"] == "flow"
    assert uuid.UUID(values["flow_run_id"]).version == 7
    assert uuid.UUID(values["task_run_id"]).version == 5
    # Two words, where the API before had a second UUID.
    assert re.fullmatch(r"[a-z]+-[a-z]+", values["flow_run_name"])
    assert (values["task_name"], values["task_full_name"]) == ("only", "only")
    assert values["task_slug"] == values["task_id"]
    assert values["task_tags"] == set()
    assert values["task_run_count"] == 1
    assert values["map_index"] is None
    assert values["checkpointing"] is False
    assert values["parameters"] == {}


def test_context_of_a_mapped_child_has_its_index_and_tags() -> None:
    # R-CTX-3
    @task(tags=["a", "b"])
    def look(x: int) -> Any:
        c = tenuto.context
        return c.map_index, c.task_full_name, c.task_name, c.task_run_id, c.task_tags

    with Flow("f") as flow:
        children = look.map([1, 2])
    found = run(flow).result[children].result
    assert [child[:3] for child in found] == [(0, "look[0]", "look"), (1, "look[1]", "look")]
    assert found[0][3] != found[1][3]
    assert found[0][4] == {"a", "b"}


def test_task_run_id_is_kept_over_retries_and_the_count_grows() -> None:
    # R-CTX-3
    seen: list[tuple[int, str, datetime]] = []

    @task(max_retries=1, retry_delay=timedelta(0))
    def again() -> None:
        seen.append((tenuto.context.task_run_count, tenuto.context.task_run_id, tenuto.context.date))
        if len(seen) == 1:
            raise ValueError

    with Flow("f") as flow:
        again()
    run(flow)
    assert [count for count, _, _ in seen] == [1, 2]
    assert len({run_id for _, run_id, _ in seen}) == 1
    # R-CTX-4: one date for the whole run
    assert len({date for _, _, date in seen}) == 1


def test_loop_values_are_there_from_the_second_round_on() -> None:
    # R-CTX-3
    seen: list[tuple[Any, Any]] = []

    @task
    def loops() -> None:
        seen.append((tenuto.context.get("task_loop_count"), tenuto.context.get("task_loop_result")))
        if len(seen) < 3:
            raise signals.LOOP(result=len(seen))

    with Flow("f") as flow:
        loops()
    run(flow)
    assert seen == [(None, None), (2, 1), (3, 2)]


def test_ids_and_parameters_of_a_run_can_be_given() -> None:
    # R-CTX-3
    with Flow("f") as flow:
        flow.add_task(Parameter("a", default=1))
        b = Parameter("b")
        got = task(
            lambda b: (tenuto.context.flow_run_id, tenuto.context.flow_run_name, tenuto.context.parameters)
        )(b)
    state = run(flow, parameters={"b": 2}, flow_run_id="my-id", flow_run_name="my-name")
    assert state.result[got].result == ("my-id", "my-name", {"a": 1, "b": 2})


@pytest.mark.parametrize("date", ["2020-02-02", datetime(2020, 2, 2, tzinfo=UTC)])
def test_date_of_a_run_can_be_given_and_its_texts_follow(date: Any) -> None:
    # R-CTX-4
    found = value_of(
        lambda: (tenuto.context.date, tenuto.context.yesterday, tenuto.context.tomorrow_nodash),
        context={"date": date, "yesterday": "given"},
    )
    assert found == (datetime(2020, 2, 2, tzinfo=UTC), "given", "20200203")


def test_unusable_date_is_a_warning_and_now_is_used(caplog: pytest.LogCaptureFixture) -> None:
    # R-CTX-4
    before = datetime.now(UTC)
    date = value_of(lambda: tenuto.context.date, context={"date": "no date at all"})
    assert date >= before
    assert [record.levelname for record in caplog.records if "no date at all" in record.getMessage()] == [
        "WARNING"
    ]


def test_date_formats_in_templates(tmp_path: Path) -> None:
    # R-CTX-4
    target = "{date:%a_%b_%d_%Y_%H-%M-%S}/{task_name}_output"
    with Flow("f") as flow:
        for name in ("one", "two"):
            task(lambda: 1, name=name, target=target, result=LocalResult(str(tmp_path)))()
    with set_temporary_config({"flows.checkpointing": True}):
        run(flow)
    (folder,) = [path for path in tmp_path.iterdir() if path.is_dir() and path.name != "home"]
    assert {path.name for path in folder.iterdir() if not path.name.startswith(".")} == {
        "one_output",
        "two_output",
    }
    datetime.strptime(folder.name, "%a_%b_%d_%Y_%H-%M-%S").replace(tzinfo=UTC)


def test_keys_of_the_run_and_of_surrounding_blocks_are_seen() -> None:
    # R-CTX-5
    with tenuto.context(outer=1, both="outer"):
        found = value_of(
            lambda: (tenuto.context.outer, tenuto.context.both, tenuto.context.inner),
            context={"both": "inner", "inner": 2},
        )
    assert found == (1, "inner", 2)
    assert "inner" not in tenuto.context


def test_parameters_of_the_outer_context_override_defaults_only() -> None:
    # R-CTX-5
    with Flow("f") as flow:
        p = Parameter("p", default=1)()
    with tenuto.context(parameters={"p": 5}):
        assert run(flow).result[p].result == 5
    with Flow("g") as strict:
        Parameter("q")()
    with tenuto.context(parameters={"q": 5}), pytest.raises(ValueError, match="q"):
        strict.run()


def test_context_while_building_has_flow_and_tags() -> None:
    # R-CTX-6
    with Flow("f") as flow, tenuto.tags("a"):
        assert tenuto.context.flow is flow
        assert set(tenuto.context.tags) == {"a"}
    assert not {"flow", "tags"} & set(tenuto.context)


def test_outside_of_runs_only_the_lasting_keys_are_left() -> None:
    # R-CTX-6
    value_of(lambda: 1)
    assert set(tenuto.context) - {"caches"} == {"config", "logger"}


def test_change_of_the_context_in_a_task_is_not_seen_by_others() -> None:
    # R-CTX-6
    @task
    def changes() -> None:
        tenuto.context.mine = 1
        tenuto.context["flow_name"] = "changed"

    @task
    def looks() -> Any:
        return tenuto.context.get("mine"), tenuto.context.flow_name

    with Flow("f") as flow:
        seen = looks(upstream_tasks=[changes()])
    assert run(flow).result[seen].result == (None, "f")


def test_thread_started_in_a_task_sees_only_config() -> None:
    # R-CTX-1
    def in_thread() -> Any:
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(set(tenuto.context)))
        thread.start()
        thread.join()
        return found[0]

    assert value_of(in_thread) == {"config"}


def test_task_run_name_is_filled_and_a_missing_key_fails_the_task(capsys: pytest.CaptureFixture[str]) -> None:
    # R-CTX-7 with its recommendation: DEBUG lines show the name
    @task(task_run_name="shout-{word}")
    def shout(word: str) -> Any:
        return tenuto.context.task_run_name

    @task(task_run_name=lambda **values: f"called-{values['word']}")
    def call(word: str) -> Any:
        return tenuto.context.task_run_name

    @task(task_run_name="{absent}")
    def bad() -> None:
        """Never runs."""

    with Flow("f") as flow:
        one, two, three = shout("hi"), call("ho"), bad()
    with temporary_logger_config(level=logging.DEBUG):
        state = run(flow)
    assert state.result[one].result == "shout-hi"
    assert state.result[two].result == "called-ho"
    assert state.result[three].is_failed()
    assert "shout-hi" in capsys.readouterr().out


def test_example_of_the_specification() -> None:
    # spec 07 section 8
    @task(log_stdout=True, task_run_name="shout-{word}")
    def shout(word: str) -> Any:
        print(word.upper())
        tenuto.context.get("logger").info("length %d", len(word))
        return tenuto.context.task_run_name, tenuto.context.get("map_index")

    with Flow("loud") as flow:
        one = shout("hi")
        many = shout.map(["a", "b"])
    with set_temporary_config({"logging.level": "WARNING"}):
        state = run(flow, context={"today": "2020-02-02"})
    assert state.result[one].result == ("shout-hi", None)
    assert state.result[many].result == [("shout-a", 0), ("shout-b", 1)]
    assert tenuto.context.get("today") is None


# ------------------------------------------------------------------------------------------ secrets


def test_secrets_reach_tasks_and_are_never_written(
    tenuto_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # R-SEC-1, R-SEC-5; S-18 (reliability 5)
    monkeypatch.setenv("MY_VARIABLE", "canary-env-value")

    @task(log_stdout=True)
    def use(one: str, two: str) -> int:
        print("got", one, two)
        tenuto.context.logger.info("and %s", one)
        if tenuto.context.task_run_count == 1:
            raise ValueError(f"refused {one}")
        return len(one) + len(two)

    with Flow("f", result=LocalResult(str(tmp_path / "results"))) as flow:
        one: Any = PrefectSecret("MINE")
        two: Any = EnvVarSecret("MY_VARIABLE")
        use(one, two)
    with (
        set_temporary_config({"flows.checkpointing": True}),
        tenuto.context(secrets={"MINE": "canary-mine-value"}),
    ):
        state = run(flow)
    assert state.is_failed()
    shown = capsys.readouterr().out
    assert "got **** ****" in shown
    assert "canary" not in shown
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".journal" for path in files)
    assert [path for path in files if b"canary" in path.read_bytes()] == []


def test_secret_handed_on_by_a_task_is_an_ordinary_value(tmp_path: Path) -> None:
    # R-SEC-8
    with Flow("f") as flow:
        passed = task(lambda s: s, name="passed", result=LocalResult(str(tmp_path), location="x"))(
            PrefectSecret("MINE")
        )
    with set_temporary_config({"flows.checkpointing": True}), tenuto.context(secrets={"MINE": "plain"}):
        assert run(flow).result[passed].result == "plain"
    assert (tmp_path / "x").exists()


def test_secret_whose_name_comes_from_upstream() -> None:
    # R-SEC-5
    with Flow("f") as flow:
        secret = PrefectSecret()(task(lambda: "MINE", name="which")())
        missing = PrefectSecret("ABSENT")()
    with tenuto.context(secrets={"MINE": "5"}):
        state = run(flow)
    assert state.result[secret].result == 5
    assert str(state.result[missing].result) == 'Local Secret "ABSENT" was not found.'


def test_secret_is_fetched_again_when_a_run_is_continued() -> None:
    # R-SEC-5
    fetched: list[str] = []
    broken = True

    class Counting(PrefectSecret):
        def run(self, name: str | None = None) -> Any:
            fetched.append("again")
            return super().run(name)

    @task
    def use(secret: Any) -> Any:
        if broken:
            raise ValueError("not yet")
        return secret

    with Flow("f") as flow:
        secret: Any = Counting("MINE")
        used = use(secret)
    with tenuto.context(secrets={"MINE": "first"}):
        assert run(flow).is_failed()
    broken = False
    with tenuto.context(secrets={"MINE": "second"}):
        assert run(flow, resume=True).result[used].result == "second"
    assert len(fetched) == 2


def test_secret_can_be_read_inside_a_task() -> None:
    # R-SEC-1, R-SEC-4
    with tenuto.context(secrets={"X": "value"}):
        assert value_of(lambda: Secret("X").get()) == "value"


def test_failing_notifier_does_not_change_a_run(caplog: pytest.LogCaptureFixture) -> None:
    # R-NOTE-5, recommendation
    notify = slack_notifier(only_states=[Success])
    with Flow("f", state_handlers=[notify]) as flow:
        task(lambda: 1, name="one", state_handlers=[notify])()
    assert run(flow).is_successful()
    assert caplog.text.count("slack_notifier: no notification was sent") == 2


# ---------------------------------------------------------------------------------------- debugging


def test_exceptions_leave_the_run_inside_the_block() -> None:
    # R-DBG-1
    error = ValueError("mine")

    @task
    def bad() -> None:
        raise error

    with Flow("f") as flow:
        bad()
    with pytest.raises(ValueError, match="mine") as caught, raise_on_exception():
        flow.run()
    assert caught.value is error
    assert run(flow).is_failed()


def test_exceptions_of_triggers_and_handlers_leave_the_run_too() -> None:
    # R-DBG-1
    def broken(*args: Any) -> Any:
        raise KeyError("mine")

    with Flow("trigger") as with_trigger:
        task(lambda x: x, trigger=broken)(task(lambda: 1)())
    with Flow("handler") as with_handler:
        task(lambda: 1, state_handlers=[broken])()
    for flow in (with_trigger, with_handler):
        with pytest.raises(KeyError, match="mine"), raise_on_exception():
            flow.run()


def test_signals_still_become_states_inside_the_block() -> None:
    # R-DBG-1
    @task
    def skips() -> None:
        raise signals.SKIP("x")

    @task
    def fails() -> None:
        raise signals.FAIL("y")

    with Flow("f") as flow:
        one, two = skips(), fails()
    with raise_on_exception():
        state = run(flow)
    assert isinstance(state.result[one], Skipped)
    assert isinstance(state.result[two], Failed)


def test_hello_world_says_hello(capsys: pytest.CaptureFixture[str]) -> None:
    # R-DBG-4
    from tenuto.hello_world import capitalize, hello_flow, say_hello

    assert isinstance(capitalize, Task)
    assert isinstance(say_hello, Task)
    run(hello_flow)
    run(hello_flow, parameters={"name": "marvin"})
    shown = capsys.readouterr().out
    assert "Hello, World!" in shown
    assert "Hello, Marvin!" in shown


def test_retry_delay_may_be_a_function_of_the_run_count() -> None:
    # R-DBG-5, recommendation
    asked: list[int] = []

    def delay(run_count: int) -> timedelta:
        asked.append(run_count)
        return timedelta(0)

    @task(max_retries=2, retry_delay=delay)
    def bad() -> None:
        raise ValueError

    @task(max_retries=1, retry_delay=retry_delay(milliseconds=1, exponential_backoff=True))
    def once() -> None:
        if tenuto.context.task_run_count == 1:
            raise ValueError

    with Flow("f") as flow:
        bad()
        better = once()
    state = run(flow)
    assert state.result[better].is_successful()
    assert asked == [1, 2]


def test_constants_beside_mapped_values_keep_the_context(caplog: pytest.LogCaptureFixture) -> None:
    # R-CTX-3: every child has a content of its own
    @task
    def mark(x: int, y: int) -> Any:
        before = tenuto.context.get("mark")
        tenuto.context.mark = x
        return before

    with Flow("f") as flow:
        marks = mark.map([1, 2], unmapped(3))
    assert run(flow).result[marks].result == [None, None]


@pytest.fixture(autouse=True)
def package_level() -> Iterator[None]:
    """The level that the package has after a plain import, whatever the tests' settings are."""
    logger = logging.getLogger("tenuto")
    level = logger.level
    logger.setLevel(logging.INFO)
    yield
    logger.setLevel(level)
