"""The state of a run and of its task runs, as a stream of events tells it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tenuto.journal.event import ErrorInfo, Event, Header, Kind, ResultRef
from tenuto.journal.states import FINAL_STATES, SUCCESSFUL_STATES

__all__ = ["RunView", "TaskView", "fold"]


@dataclass(slots=True)
class TaskView:
    """A task run after its last event. A mapped task's own has index -1, each child one of its own."""

    slug: str
    index: int = -1
    state: str = ""
    message: str = ""
    cause: str = ""
    name: str = ""
    run_count: int = 1
    loop_count: int = 1
    started: int | None = None
    """First `Running`, microseconds since 1970 UTC."""
    ended: int | None = None
    """Final state; None while there is none."""
    seconds: float | None = None
    """Duration of the last attempt."""
    start_time: int | None = None
    """Due time of a waiting state."""
    expires: int | None = None
    """End of a cached one."""
    inputs: dict[str, str] = field(default_factory=dict)
    code: str = ""
    result: ResultRef | None = None
    error: ErrorInfo | None = None
    children: int | None = None

    @property
    def is_finished(self) -> bool:
        """Whether the task run has come to its end."""
        return self.state in FINAL_STATES

    @property
    def is_successful(self) -> bool:
        """Whether it came to a good end; skipped counts."""
        return self.state in SUCCESSFUL_STATES


@dataclass(slots=True)
class RunView:
    """A run after its last event. Without events, `header.v` is 0."""

    header: Header = field(default_factory=Header)
    name: str = ""
    """Name of the run: the header's, or the last that it was given."""
    state: str = "Pending"
    message: str = ""
    cause: str = ""
    started: int | None = None
    """First event, microseconds since 1970 UTC."""
    ended: int | None = None
    """Final state; None while there is none."""
    updated: int = 0
    """Last event."""
    incomplete: str = ""
    """Why the record ends before the run did; empty when it does not. Such a run cannot be resumed."""
    tasks: dict[tuple[str, int], TaskView] = field(default_factory=dict)
    """By slug and map index, in the order in which they first appeared."""
    notes: list[str] = field(default_factory=list)
    artifacts: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_finished(self) -> bool:
        """Whether the record holds the run's end."""
        return self.state in FINAL_STATES

    @property
    def is_successful(self) -> bool:
        """Whether the run came to a good end."""
        return self.state in SUCCESSFUL_STATES


def fold(events: Iterable[Event]) -> RunView:
    """
    Return what the events, in their order, add up to.

    A prefix of a stream folds to what was known then.
    """
    view = RunView()
    tasks = view.tasks
    for event in events:
        view.updated = event.ts
        kind = event.kind
        if kind is Kind.TASK_STATE:
            key = (event.slug, event.index)
            task = tasks.get(key)
            if task is None:
                task = tasks[key] = TaskView(event.slug, event.index)
            _apply_task_state(task, event)
        elif kind is Kind.RUN_STATE:
            _apply_run_state(view, event)
        else:
            _apply_rest(view, event)
    return view


def _apply_task_state(task: TaskView, event: Event) -> None:
    state = event.state
    task.state = state
    task.message = event.message
    task.cause = event.cause
    task.run_count = event.run_count
    task.loop_count = event.loop_count
    task.seconds = event.seconds
    task.start_time = event.start_time
    task.expires = event.expires
    task.result = event.result
    task.error = event.error
    task.ended = event.ts if state in FINAL_STATES else None
    # A final event need not repeat what its Running has said.
    if event.inputs:
        task.inputs = event.inputs
    if event.code:
        task.code = event.code
    if event.children is not None:
        task.children = event.children
    if state == "Running" and task.started is None:
        task.started = event.ts


def _apply_run_state(view: RunView, event: Event) -> None:
    view.state, view.message, view.cause = event.state, event.message, event.cause
    view.ended = event.ts if event.state in FINAL_STATES else None


def _apply_rest(view: RunView, event: Event) -> None:
    kind = event.kind
    if kind is Kind.RUN_STARTED:
        view.started = event.ts
        if event.header is not None:
            view.header = event.header
            view.name = event.header.name
        if event.state:
            _apply_run_state(view, event)
    elif kind is Kind.RUN_NAME:
        view.name = str(event.data.get("name", view.name))
    elif kind is Kind.TASK_NAME:
        key = (event.slug, event.index)
        view.tasks.setdefault(key, TaskView(event.slug, event.index)).name = str(event.data.get("name", ""))
    elif kind is Kind.NOTE:
        view.notes.append(event.message)
    elif kind is Kind.ARTIFACT:
        _apply_artifact(view, {"slug": event.slug, "index": event.index, **event.data})
    elif kind is Kind.INCOMPLETE:
        view.incomplete = str(event.data.get("reason", "")) or "unknown"
        if event.state:
            _apply_run_state(view, event)


def _apply_artifact(view: RunView, artifact: dict[str, Any]) -> None:
    """Put an artifact in the place of the earlier one of its key; one without a kind takes it away."""
    keys = [known.get("key") for known in view.artifacts]
    key = artifact.get("key")
    place = keys.index(key) if key and key in keys else len(keys)
    view.artifacts[place : place + 1] = [artifact] if artifact.get("kind") else []
