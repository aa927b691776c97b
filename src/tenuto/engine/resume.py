"""
Continuing an earlier run: which of its results are taken over, and why the others are not.

The earlier run is read from its journal and never changed. A task is reused when it finished successfully
there and its code and inputs are what they were; parameters count as inputs of the tasks that take them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenuto._base.logging import get_logger
from tenuto.core.parameter import Parameter
from tenuto.engine.state import Cached, Skipped, State, Success, state_class
from tenuto.engine.task_run import NO_INDEX
from tenuto.exceptions import PrefectException, ResultCorrupt
from tenuto.journal.fingerprint import explain
from tenuto.journal.fold import fold
from tenuto.journal.home import is_alive, newest_journal, read_header
from tenuto.journal.reader import read_events
from tenuto.journal.values import load

if TYPE_CHECKING:
    from tenuto.core.flow import Flow
    from tenuto.core.task import Task
    from tenuto.engine.task_run import TaskRun
    from tenuto.journal.event import ResultRef
    from tenuto.journal.fold import RunView, TaskView
    from tenuto.journal.home import Home
    from tenuto.journal.recorder import Recorder

CODE_CHANGED = "its code changed"
UNREADABLE = "its kept result cannot be read"

logger = get_logger("FlowRunner")


class NothingToResume(PrefectException, ValueError):
    """No earlier run can be continued."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier run, as its journal tells it."""

    view: RunView
    folder: Path

    @property
    def name(self) -> str:
        """The run's name."""
        return self.view.header.name


def find_earlier(home: Home, flow: Flow, wanted: object) -> Earlier | None:
    """
    Find the run that `flow.run(resume=wanted)` means; None when nothing is to be continued.

    Args:
        home: where runs are recorded.
        flow: the flow that is about to run.
        wanted: None or False; True or "last" for the newest unsuccessful run of this flow from this file; or
            a run's id, a unique prefix of it, or its name.

    Raises:
        NothingToResume: when there is no such run, or it is still going.
    """
    if wanted is None or wanted is False:
        return None
    if wanted is True or wanted == "last":
        earlier = _newest_unsuccessful(home, flow)
    else:
        earlier = _read(home, home.find_run(str(wanted)))
        if earlier.view.header.flow != flow.name:
            raise NothingToResume(
                f"Run {earlier.name!r} is of flow {earlier.view.header.flow!r}, not of {flow.name!r}."
            )
    if earlier.view.incomplete:
        raise NothingToResume(
            f"The record of run {earlier.name!r} is incomplete ({earlier.view.incomplete}); "
            "it cannot be continued."
        )
    if not earlier.view.is_finished and is_alive(earlier.view.header):
        raise NothingToResume(
            f"Run {earlier.name!r} is still going; wait for its end, or stop it, before you continue it."
        )
    return earlier


def _newest_unsuccessful(home: Home, flow: Flow) -> Earlier:
    for run_id in home.run_ids():
        header = read_header(home.run_folder(run_id))
        if header is None or header.flow != flow.name or header.source_path != (flow.source_path or ""):
            continue
        earlier = _read(home, run_id)
        if not earlier.view.is_successful:
            return earlier
    raise NothingToResume(
        f"There is no unsuccessful run of flow {flow.name!r} from {flow.source_path or 'this notebook'} "
        "to continue. See what there is with: tenuto history"
    )


def _read(home: Home, run_id: str) -> Earlier:
    folder = home.run_folder(run_id)
    path = newest_journal(folder)
    view = fold(read_events(path)) if path is not None else None
    if view is None or not view.header.v:
        raise NothingToResume(
            f"The record of run {run_id} cannot be read: {path or folder} holds no whole event."
        )
    return Earlier(view, folder)


def reason_to_run(earlier: TaskView | None, code: str, inputs: Mapping[str, str]) -> str | None:
    """
    Say why a task runs again, None when its earlier result can be taken over. Pure.

    Args:
        earlier: what the earlier run recorded of it.
        code, inputs: fingerprint of its code and digests of its inputs now.
    """
    if earlier is None or not earlier.state:
        return "it did not run before"
    if not issubclass(state_class(earlier.state), Success):
        return f"it ended {earlier.state}" if earlier.is_finished else "it did not finish"
    if earlier.state == Skipped.__name__:
        return "it was skipped"
    if earlier.code != code:
        return CODE_CHANGED
    changed = sorted(
        name for name in earlier.inputs.keys() | inputs.keys() if earlier.inputs.get(name) != inputs.get(name)
    )
    if changed:
        return (
            f"its input {changed[0]!r} changed"
            if len(changed) == 1
            else f"its inputs {', '.join(changed)} changed"
        )
    if earlier.result is None:
        return "its result was not kept"
    return None


def runs_always(task: Task) -> bool:
    """Say whether a task is never taken over: parameters, secrets, resources, what is not persisted."""
    return (
        isinstance(task, Parameter)
        or task.checkpoint is False
        or task.is_secret
        or task.resource_role is not None
    )


class Generation:
    """One of the runs whose results count: the earlier run, or one that it continued itself."""

    def __init__(self, earlier: Earlier) -> None:
        self.folder = earlier.folder
        self.name = earlier.name
        self.view = earlier.view
        self._children: dict[tuple[object, ...], TaskView] | None = None

    def find(self, run: TaskRun) -> TaskView | None:
        """Find what a task run corresponds to: by index, but for children that have inputs by those."""
        slug, index = run.node.slug, run.index
        same_index = self.view.tasks.get((slug, index))
        if index == NO_INDEX or not run.inputs:
            return same_index
        if same_index is not None and same_index.inputs == run.inputs:
            return same_index
        if self._children is None:
            self._children = {
                (view_slug, *sorted(view.inputs.items())): view
                for (view_slug, view_index), view in self.view.tasks.items()
                if view_index != NO_INDEX and view.result is not None
            }
        return self._children.get((slug, *sorted(run.inputs.items())), same_index)


class Continuation:
    """
    An earlier run whose results the present one takes over where it can.

    What that run had not come to when it ended may have finished in the run that it continued itself, and so
    on: all of them are asked, newest first.
    """

    def __init__(self, earlier: Earlier, home: Home, recorder: Recorder) -> None:
        self.name = earlier.name
        self.home = home
        self.recorder = recorder
        self._generations = [Generation(earlier)]

    def announce(self) -> None:
        """Log what is continued."""
        logger.info(
            "Continuing run '%s': what finished there is reused where code and inputs are unchanged.",
            self.name,
        )

    def reuse(self, run: TaskRun) -> State | None:
        """Return the state that takes an earlier result over, or None: it runs, and the log says why."""
        if runs_always(run.node.task):
            return None
        reason = ""
        for generation in self._all_generations():
            earlier = generation.find(run)
            found = self._take_over(run, generation, earlier)
            if isinstance(found, State):
                return found
            # The newest run that knows the task says best why it runs again.
            if not reason and earlier is not None:
                reason = found
        level = logging.WARNING if reason.startswith(UNREADABLE) else logging.INFO
        logger.log(level, "Task '%s' runs again: %s.", run.name, reason or "it did not run before")
        return None

    def _all_generations(self) -> Iterator[Generation]:
        for position in count():
            if position == len(self._generations) and not self._add_generation():
                return
            yield self._generations[position]

    def _add_generation(self) -> bool:
        """Read the run before the oldest one read so far; return whether there is one."""
        parent = self._generations[-1].view.header.resumed_from
        if not parent or any(parent == known.view.header.flow_run_id for known in self._generations):
            return False
        try:
            self._generations.append(Generation(_read(self.home, parent)))
        except NothingToResume:  # Removed by the retention, or damaged: what it held is computed again.
            return False
        return True

    def _take_over(self, run: TaskRun, generation: Generation, earlier: TaskView | None) -> State | str:
        """Return the state with the result of an earlier task run, or why it cannot be taken over."""
        code = run.node.runner.code
        reason = reason_to_run(earlier, code, run.inputs)
        if earlier is None or earlier.result is None or reason is not None:
            if reason == CODE_CHANGED and earlier is not None:
                return f"{reason}{self._explain(earlier.code, code)}"
            return reason or "its result was not kept"
        try:
            value = self._load(run, earlier.result, generation.folder)
        except (OSError, PrefectException, ValueError) as error:
            return f"{UNREADABLE} ({error})"
        run.digest = earlier.result.sha256  # Also where no room is left to link it.
        run.ref = self.recorder.keeper.link(earlier.result, generation.folder, run.node.slug, run.index)
        return Cached(f"Result of run {generation.name!r} reused.", result=value)

    def _load(self, run: TaskRun, ref: ResultRef, folder: Path) -> Any:
        """
        Return a recorded result, after it was found to be the one that was recorded.

        Raises:
            PrefectException, OSError, ValueError: when it is gone, or is another one by now.
        """
        if ref.kind != "result":
            return load(ref, folder, allow_pickle=self.recorder.settings.allow_pickle)
        reader = run.node.runner.result
        if reader is None:
            raise ResultCorrupt(ref.location, "the task has no result to read it with")
        result = reader.read(ref.location)
        if result._written != (ref.sha256, ref.length):
            raise ResultCorrupt(ref.location, "something else has been written there since")
        return result.value

    def _explain(self, old: str, new: str) -> str:
        before, now = self.home.objects_get(old), self.home.objects_get(new)
        return f": {explain(before, now)}" if before is not None and now is not None else ""
