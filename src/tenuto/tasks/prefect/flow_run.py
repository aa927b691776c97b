"""Starting runs of other flows, waiting for them, and reading what their tasks returned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from tenuto._base.callsite import note_callsite
from tenuto._base.context import context
from tenuto.core.authoring import defaults_from_attrs
from tenuto.core.decorator import task
from tenuto.core.task import Task
from tenuto.exceptions import ServerRequired

if TYPE_CHECKING:
    from tenuto.run_configs.base import RunConfig

__all__ = ["StartFlowRun", "create_flow_run", "get_task_run_result", "wait_for_flow_run"]

_POLL_INTERVAL_MIN = timedelta(seconds=3)
_INSTEAD = "Until then, call the tasks of both flows in one flow."


class StartFlowRun(Task):
    """
    Starts a run of a registered flow, and with `wait=True` ends as that run ends.

    All but `wait`, `poll_interval` and `create_link_artifact` may be given to the call, also by tasks.

    Args:
        flow_name: the flow; its newest version runs. The task is called `Flow NAME`.
        project_name: the project of that flow.
        parameters: values of the flow's parameters.
        run_config: replaces the flow's own for this run.
        wait: wait for the end, and take over the final state.
        new_flow_context: added to the context of the run.
        run_name: name of the run.
        scheduled_start_time: when the run is to start; default: at once.
        poll_interval: time between two looks at the run, 3 seconds or more.
        create_link_artifact: leave a link to the run with this task run.
        **kwargs: those of `Task`.

    Raises:
        TypeError: if a task is among the values of `parameters`.
        ValueError: if the poll interval is too short.
    """

    def __init__(
        self,
        flow_name: str | None = None,
        project_name: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        run_config: RunConfig | None = None,
        wait: bool = False,
        new_flow_context: Mapping[str, Any] | None = None,
        run_name: str | None = None,
        scheduled_start_time: datetime | None = None,
        poll_interval: timedelta = timedelta(seconds=10),
        create_link_artifact: bool = True,
        **kwargs: Any,
    ) -> None:
        _refuse_tasks(parameters)
        if poll_interval < _POLL_INTERVAL_MIN:
            text = f"`poll_interval` is {poll_interval}; 3 seconds are the least, to spare the server."
            raise note_callsite(ValueError(text))
        self.flow_name = flow_name
        self.project_name = project_name
        self.parameters = parameters
        self.run_config = run_config
        self.wait = wait
        self.new_flow_context = new_flow_context
        self.run_name = run_name
        self.scheduled_start_time = scheduled_start_time
        self.poll_interval = poll_interval
        self.create_link_artifact = create_link_artifact
        if flow_name:
            kwargs.setdefault("name", f"Flow {flow_name}")
        super().__init__(**kwargs)

    @defaults_from_attrs(
        "flow_name",
        "project_name",
        "parameters",
        "run_config",
        "new_flow_context",
        "run_name",
        "scheduled_start_time",
    )
    def run(
        self,
        flow_name: str | None = None,
        project_name: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        run_config: RunConfig | None = None,
        new_flow_context: Mapping[str, Any] | None = None,
        run_name: str | None = None,
        scheduled_start_time: datetime | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """
        Return the id of the run that was started.

        Args:
            idempotency_key: a second run of the same key is not started; default: the id of the task run.

        Raises:
            ValueError: without a flow name or a project name.
            ServerRequired: always, as yet.
        """
        if not flow_name:
            raise ValueError("Must provide a flow name.")
        if not project_name:
            raise ValueError("Must provide a project name.")
        raise ServerRequired("StartFlowRun", _INSTEAD)


def _refuse_tasks(parameters: Mapping[str, Any] | None) -> None:
    for name, value in (parameters or {}).items():
        if isinstance(value, Task):
            raise note_callsite(
                TypeError(
                    f"`parameters` of StartFlowRun has the task {value.name!r} as {name!r}. What is known "
                    "now belongs in the constructor; results of tasks are passed when the task is called: "
                    f"StartFlowRun(...)(parameters={{{name!r}: {value.name}}})."
                )
            )


@task
def create_flow_run(
    flow_id: str | None = None,
    flow_name: str | None = None,
    project_name: str = "",
    parameters: Mapping[str, Any] | None = None,
    context: Mapping[str, Any] | None = None,
    labels: Iterable[str] | None = None,
    run_name: str | None = None,
    run_config: RunConfig | None = None,
    scheduled_start_time: datetime | timedelta | None = None,
    idempotency_key: str | None = None,
) -> str:
    """
    Start a run of a registered flow and return its id.

    Args:
        flow_id: of a version of the flow; either this or `flow_name`.
        flow_name: the flow; its newest version runs.
        project_name: needed where flows of several projects have that name.
        parameters, context, labels, run_config: of the run.
        run_name: default: name of the calling run and of the flow.
        scheduled_start_time: a moment, or a time from now.
        idempotency_key: a second run of the same key is not started; default: the id of the task run.

    Raises:
        ValueError: unless exactly one of `flow_id` and `flow_name` is given.
        ServerRequired: always, as yet.
    """
    if not flow_id and not flow_name:
        raise ValueError("Give `flow_id` or `flow_name`: one of them says which flow to run.")
    if flow_id and flow_name:
        raise ValueError("Give either `flow_id` or `flow_name`, not both.")
    raise ServerRequired("create_flow_run", _INSTEAD)


@task
def wait_for_flow_run(
    flow_run_id: str,
    stream_states: bool = True,
    stream_logs: bool = False,
    raise_final_state: bool = False,
    max_duration: timedelta = timedelta(hours=12),
) -> Any:
    """
    Wait for the end of a flow run and return what is known of it, a `FlowRunView`.

    Args:
        stream_states, stream_logs: log its changes of state, and what it logs.
        raise_final_state: end in the state that the run ends in.
        max_duration: fail after this time.

    Raises:
        ServerRequired: always, as yet.
    """
    raise ServerRequired("wait_for_flow_run", _INSTEAD)


@task
def get_task_run_result(flow_run_id: str, task_slug: str, map_index: int = -1, poll_time: int = 5) -> Any:
    """
    Wait for the end of a flow run and return what one of its tasks returned.

    Args:
        task_slug: of the task.
        map_index: of a mapped child; -1: the task itself.
        poll_time: seconds between two looks at the run.

    Raises:
        ValueError: without a slug, or for the run that this task is in.
        ServerRequired: always, as yet.
    """
    if not task_slug:
        raise ValueError("Give `task_slug`: it says whose result is wanted.")
    if flow_run_id == context.get("flow_run_id"):
        raise ValueError(
            "`flow_run_id` is the run that this task is in. Take the other task's result as an argument."
        )
    raise ServerRequired("get_task_run_result", _INSTEAD)
