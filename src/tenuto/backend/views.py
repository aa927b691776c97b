"""Views: what a server knows of flows, flow runs and task runs, as values that do not change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from tenuto._base.left_out import REQUIRED, left_out_class
from tenuto.exceptions import ServerRequired

if TYPE_CHECKING:
    from tenuto.core.flow import Flow
    from tenuto.engine.state import State
    from tenuto.run_configs.base import RunConfig
    from tenuto.storage.base import Storage

__all__ = ["FlowRunLog", "FlowRunView", "FlowView", "TaskRunView", "TenantView"]

_INSTEAD = "Runs on this machine are shown by: tenuto history"


class FlowRunLog(NamedTuple):
    """A line of a flow run's log; `level` as of the standard library."""

    timestamp: datetime
    level: int
    message: str


@dataclass(frozen=True)
class FlowView:
    """A registered flow, one version of it."""

    flow_id: str
    settings: dict[str, Any]
    run_config: RunConfig | None
    serialized_flow: dict[str, Any]
    archived: bool
    project_name: str
    core_version: str
    storage: Storage | None
    name: str
    flow_group_labels: list[str] | None

    @property
    def flow(self) -> Flow:
        """The flow itself: its graph, without the code of its tasks."""
        raise ServerRequired("FlowView.flow")

    @classmethod
    def from_id(cls, flow_id: str) -> Self:
        """Return the flow of an id, which may also be that of its group."""
        raise ServerRequired("FlowView.from_id")

    @classmethod
    def from_flow_id(cls, flow_id: str) -> Self:
        """Return the version of that id."""
        raise ServerRequired("FlowView.from_flow_id")

    @classmethod
    def from_flow_group_id(cls, flow_group_id: str) -> Self:
        """Return the newest version in a group."""
        raise ServerRequired("FlowView.from_flow_group_id")

    @classmethod
    def from_flow_name(cls, flow_name: str, project_name: str = "", last_updated: bool = False) -> Self:
        """Return the flow of that name, and of several with `last_updated` the one changed last."""
        raise ServerRequired("FlowView.from_flow_name")


@dataclass(frozen=True)
class TaskRunView:
    """A task run; `map_index` is -1 for one that is no mapped child."""

    task_run_id: str
    task_id: str
    task_slug: str
    name: str
    state: State
    map_index: int
    flow_run_id: str

    @classmethod
    def from_task_run_id(cls, task_run_id: str) -> Self:
        """Return the task run of that id."""
        raise ServerRequired("TaskRunView.from_task_run_id", _INSTEAD)

    @classmethod
    def from_task_slug(cls, task_slug: str, flow_run_id: str, map_index: int = -1) -> Self:
        """Return the run of a task in a flow run."""
        raise ServerRequired("TaskRunView.from_task_slug", _INSTEAD)

    def get_latest(self) -> Self:
        """Return the same task run as it is now."""
        raise ServerRequired("TaskRunView.get_latest", _INSTEAD)

    def get_result(self) -> Any:
        """Return the value that the task returned."""
        raise ServerRequired("TaskRunView.get_result", _INSTEAD)

    def iter_mapped(self) -> Iterator[Self]:
        """Yield the mapped children, in their order."""
        raise ServerRequired("TaskRunView.iter_mapped", _INSTEAD)


@dataclass(frozen=True)
class FlowRunView:
    """A flow run."""

    flow_run_id: str
    name: str
    flow_id: str
    labels: Sequence[str]
    parameters: dict[str, Any]
    context: dict[str, Any]
    state: State
    states: Sequence[State]
    updated_at: datetime
    run_config: RunConfig | None
    task_runs: Sequence[TaskRunView] | None = field(default=None, repr=False)

    @classmethod
    def from_flow_run_id(cls, flow_run_id: str, load_static_tasks: bool = False) -> Self:
        """Return the flow run of that id, with `load_static_tasks` also its finished task runs."""
        raise ServerRequired("FlowRunView.from_flow_run_id", _INSTEAD)

    def get_latest(self, load_static_tasks: bool = False) -> Self:
        """Return the same flow run as it is now."""
        raise ServerRequired("FlowRunView.get_latest", _INSTEAD)

    def get_logs(
        self, start_time: datetime | None = None, end_time: datetime | None = None
    ) -> list[FlowRunLog]:
        """Return the lines of its log, in their order."""
        raise ServerRequired("FlowRunView.get_logs", _INSTEAD)

    def get_flow_metadata(self, no_cache: bool = False) -> FlowView:
        """Return the flow that runs."""
        raise ServerRequired("FlowRunView.get_flow_metadata", _INSTEAD)

    def get_task_run(
        self, task_slug: str | None = None, task_run_id: str | None = None, map_index: int | None = None
    ) -> TaskRunView:
        """Return one of its task runs."""
        raise ServerRequired("FlowRunView.get_task_run", _INSTEAD)

    def get_all_task_runs(self) -> list[TaskRunView]:
        """Return all of its task runs."""
        raise ServerRequired("FlowRunView.get_all_task_runs", _INSTEAD)

    def get_task_run_ids(self) -> list[str]:
        """Return the ids of all of its task runs."""
        raise ServerRequired("FlowRunView.get_task_run_ids", _INSTEAD)


TenantView = left_out_class(
    "TenantView",
    dict.fromkeys(("tenant_id", "name", "slug"), REQUIRED),
    "A server has one tenant, and nothing to tell about it.",
    base=object,
    module="tenuto.backend",
)
