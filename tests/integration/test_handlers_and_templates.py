"""Handlers and templates in the forms that real flows use."""

from pathlib import Path

import pytest

import tenuto
from tenuto import Flow, Task, task
from tenuto.engine import signals
from tenuto.engine.results import LocalResult
from tenuto.engine.signals import ENDRUN
from tenuto.engine.state import Failed, Skipped, State, Success
from tenuto.utilities.notifications import slack_notifier
from tests.fakes.webhook import Webhook


@task
def one() -> int:
    return 1


# R-REAL-14
def test_handlers_see_changes_and_may_replace_the_state() -> None:
    seen: list[str] = []

    def note(obj: Task | Flow, old: State, new: State) -> None:
        seen.append(f"{obj.name}: {type(old).__name__} -> {type(new).__name__}")

    def improve(obj: Task, old: State, new: State) -> State:
        return Success("improved", result=2) if new.is_successful() else new

    with Flow("handled", state_handlers=[note]) as flow:
        value = one(task_args={"state_handlers": [note, improve]})
    state = flow.run()
    assert state.result[value].result == 2
    assert seen == [
        "handled: Scheduled -> Running",
        "one: Pending -> Running",
        "one: Running -> Success",
        "handled: Running -> Success",
    ]


# R-REAL-14
def test_failure_and_end_of_a_run_call_who_asked_for_it() -> None:
    failed: list[str] = []

    @task(on_failure=lambda task, state: failed.append(f"{task.name}: {state.message}"))
    def load() -> None:
        raise signals.FAIL("no data")

    def forgive(flow: Flow, state: State, reference_task_states: set[State]) -> State | None:
        return Success("It does not matter.") if state.is_failed() else None

    with Flow("forgiven", terminal_state_handler=forgive) as flow:
        loaded = load()
    state = flow.run()
    assert failed == ["load: no data"]
    assert state.message == "It does not matter."
    assert state.result[loaded].is_failed()


# R-REAL-14
def test_end_of_a_run_signal_sets_the_state_that_it_carries() -> None:
    @task
    def enough() -> None:
        raise ENDRUN(state=Skipped("That was enough."))

    with Flow("enough") as flow:
        ended = enough()
    assert flow.run().result[ended].message == "That was enough."


# R-REAL-14
def test_loop_asks_the_context_for_its_last_value() -> None:
    @task
    def count() -> int:
        if "task_loop_result" in tenuto.context:
            number: int = tenuto.context.task_loop_result
        else:
            number = 0
        if number < 3:
            raise signals.LOOP(message=f"at {number}", result=number + 1)
        return number

    with Flow("counting") as flow:
        counted = count()
    assert flow.run().result[counted].result == 3


# R-REAL-14
def test_curried_notifier_tells_about_the_states_it_was_made_for() -> None:
    webhook = Webhook()

    @task
    def load() -> None:
        raise ValueError("no")

    handlers = {"state_handlers": [slack_notifier(only_states=[Failed])]}
    with Flow("told") as flow:
        one(task_args=handlers)
        load(task_args=handlers)
    with tenuto.context(secrets={"SLACK_WEBHOOK_URL": webhook.url}):
        flow.run()
    webhook.stop()
    assert [post.body["attachments"][0]["title"] for post in webhook.posts] == ["Failed"]


@pytest.fixture
def checkpointing() -> None:
    tenuto.config.flows.checkpointing = True


# R-REAL-15
@pytest.mark.usefixtures("checkpointing")
def test_templates_name_files_by_task_day_and_inputs(tmp_path: Path) -> None:
    result = LocalResult(dir=tmp_path / "out")

    @task(target="{task_name}-{today}", result=result)
    def daily() -> int:
        return 1

    @task(result=LocalResult(dir=tmp_path / "out", location="{flow_name}-{task_name}-{x}.pkl"))
    def by_input(x: str) -> str:
        return x

    @task(target=lambda **values: f"{values['task_name']}-{values['x']}.made", result=result)
    def by_function(x: str) -> str:
        return x

    with Flow("files") as flow:
        daily()
        by_input("a")
        by_function("b")
    assert flow.run(context={"today": "2026-01-31"}).is_successful()
    files = {path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")}
    assert files == {"daily-2026-01-31", "files-by_input-a.pkl", "by_function-b.made"}
    assert result.read("by_function-b.made").value == "b"


# R-REAL-15
def test_runs_of_tasks_are_named_by_templates_and_functions() -> None:
    @task(task_run_name="load-{name}")
    def load(name: str) -> str:
        return str(tenuto.context.task_run_name)

    @task(task_run_name=lambda **values: f"made for {values['name']}")
    def make(name: str) -> str:
        return str(tenuto.context.task_run_name)

    with Flow("names") as flow:
        loaded, made = load("orders"), make("prices")
    state = flow.run()
    assert state.result[loaded].result == "load-orders"
    assert state.result[made].result == "made for prices"
