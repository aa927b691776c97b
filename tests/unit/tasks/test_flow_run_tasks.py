"""Tasks about runs of other flows: what they check, and what they say as long as there is no server."""

from datetime import timedelta
from typing import Any

import pytest

import tenuto.tasks.prefect
import tenuto.tasks.tenuto
from tenuto import Flow, Parameter, Task, task
from tenuto.exceptions import ClientError, ServerRequired
from tenuto.tasks.prefect import (
    CancelFlowRun,
    RenameFlowRun,
    StartFlowRun,
    create_flow_run,
    get_task_run_result,
    wait_for_flow_run,
)

NEEDS_A_SERVER = r"^{} needs a server, to which this version of Tenuto cannot speak about it yet\. \S.*\.$"


def test_both_addresses_give_the_same_tasks() -> None:
    # R-INV-1 with the names of spec 00
    assert tenuto.tasks.tenuto.__all__ == tenuto.tasks.prefect.__all__
    for name in tenuto.tasks.prefect.__all__:
        assert getattr(tenuto.tasks.tenuto, name) is getattr(tenuto.tasks.prefect, name)


def test_task_is_named_after_the_flow_that_it_starts() -> None:
    # R-REG-5
    assert StartFlowRun(flow_name="shop").name == "Flow shop"
    assert StartFlowRun(flow_name="shop", name="mine").name == "mine"
    assert StartFlowRun().name == "StartFlowRun"


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"project_name": "p"}, ValueError, r"^Must provide a flow name\.$"),
        ({"flow_name": "f"}, ValueError, r"^Must provide a project name\.$"),
        ({"flow_name": "f", "project_name": "p"}, ServerRequired, NEEDS_A_SERVER.format("StartFlowRun")),
    ],
)
def test_starting_a_run_says_what_is_missing(
    options: dict[str, Any], error: type[Exception], text: str
) -> None:
    # R-REG-5, R-INV-8: what the constructor has counts, and what `run` is given wins
    with pytest.raises(error, match=text):
        StartFlowRun(**options).run()
    with pytest.raises(error, match=text):
        StartFlowRun().run(**options)


def test_polling_too_often_is_refused_when_the_task_is_made() -> None:
    # R-REG-5
    with pytest.raises(ValueError, match="3 seconds are the least") as caught:
        StartFlowRun(poll_interval=timedelta(seconds=2.9))
    assert any(__file__ in note for note in caught.value.__notes__)
    assert StartFlowRun(poll_interval=timedelta(seconds=3)).poll_interval == timedelta(seconds=3)


def test_task_among_the_parameters_of_the_constructor_is_refused() -> None:
    # R-REG-5
    number = Parameter("number")
    with pytest.raises(
        TypeError, match=r"has the task 'number' as 'n'\..*StartFlowRun\(\.\.\.\)\(parameters="
    ):
        StartFlowRun(flow_name="f", parameters={"n": number, "m": 1})


def test_seed_chain_builds_and_fails_at_run_with_one_clear_sentence() -> None:
    # R-CALL-9, R-REG-5: S-11 of the seed
    engineering = StartFlowRun(flow_name="data-engineer", project_name="Iris Project", wait=True)
    science = StartFlowRun(
        flow_name="data-science", project_name="Iris Project", wait=True, parameters={"test_data_ratio": 0.3}
    )
    with Flow("main-flow") as flow:
        last = science(upstream_tasks=[engineering])
    state = flow.run()
    assert state.is_failed()
    assert isinstance(state.result[engineering].result, ServerRequired)
    assert type(state.result[last]).__name__ == "TriggerFailed"


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({}, ValueError, "Give `flow_id` or `flow_name`"),
        ({"flow_id": "1", "flow_name": "f"}, ValueError, "Give either `flow_id` or `flow_name`, not both"),
        ({"flow_id": "1"}, ServerRequired, NEEDS_A_SERVER.format("create_flow_run")),
        ({"flow_name": "f"}, ServerRequired, NEEDS_A_SERVER.format("create_flow_run")),
    ],
)
def test_exactly_one_of_id_and_name_says_which_flow(
    options: dict[str, Any], error: type[Exception], text: str
) -> None:
    # R-REG-6
    with pytest.raises(error, match=text):
        create_flow_run.run(**options)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (("other", ""), ValueError, "Give `task_slug`"),
        (("mine", "t-1"), ValueError, "is the run that this task is in"),
        (("other", "t-1"), ServerRequired, NEEDS_A_SERVER.format("get_task_run_result")),
    ],
)
def test_result_of_another_run_is_asked_for_by_slug(
    arguments: tuple[str, str], error: type[Exception], text: str
) -> None:
    # R-REG-6, R-API-28
    with tenuto.context(flow_run_id="mine"), pytest.raises(error, match=text):
        get_task_run_result.run(*arguments)


def test_waiting_needs_a_server() -> None:
    # R-REG-6
    with pytest.raises(ServerRequired, match=NEEDS_A_SERVER.format("wait_for_flow_run")):
        wait_for_flow_run.run("id")


@pytest.mark.parametrize(
    ("made", "in_run", "error", "text"),
    [
        (CancelFlowRun(), False, ValueError, "Give `flow_run_id`"),
        (CancelFlowRun(), True, ServerRequired, NEEDS_A_SERVER.format("CancelFlowRun")),
        (CancelFlowRun("id"), False, ServerRequired, NEEDS_A_SERVER.format("CancelFlowRun")),
        (RenameFlowRun(flow_run_name="n"), False, ValueError, "Give `flow_run_id`"),
        (RenameFlowRun("id"), False, ValueError, "Give `flow_run_name`"),
        (RenameFlowRun(flow_run_name="n"), True, ServerRequired, NEEDS_A_SERVER.format("RenameFlowRun")),
    ],
)
def test_run_that_is_going_on_is_meant_without_an_id(
    made: Task, in_run: bool, error: type[Exception], text: str
) -> None:
    # R-API-32
    with tenuto.context({"flow_run_id": "mine"} if in_run else {}), pytest.raises(error, match=text):
        made.run()


def test_errors_for_want_of_a_server_are_errors_of_the_client() -> None:
    # R-API-6
    assert issubclass(ServerRequired, ClientError)
    with Flow("maps") as flow:
        runs = create_flow_run.map(flow_name=["a", "b"])
        task(lambda runs: runs, name="after")(runs)
    assert [type(state.result) for state in flow.run().result[runs].map_states] == [ServerRequired] * 2
