"""
What `Flow.run` does: check what it was given, open the run's journal, run the flow, and say how it went.

The same function serves scripts, notebooks and the command line; only what it is handed differs.
"""

from __future__ import annotations

import shlex
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenuto._base.context import context as current_context
from tenuto._base.datetimes import microseconds
from tenuto._base.ids import new_flow_run_id
from tenuto._base.logging import get_logger, package_loggers
from tenuto._base.names import two_words
from tenuto.configuration import config, home_path
from tenuto.core.flow import Flow
from tenuto.engine import get_default_executor_class, get_default_flow_runner_class
from tenuto.engine.flow_run import check_task_states
from tenuto.engine.given_parameters import check_known, check_required, split_keywords
from tenuto.engine.record import RunRecord
from tenuto.engine.resume import Continuation, find_earlier
from tenuto.engine.run_context import parameter_values
from tenuto.engine.scheduled_runs import run_on_schedule
from tenuto.engine.state import Scheduled, State
from tenuto.journal.home import Home
from tenuto.journal.recorded import is_recorded
from tenuto.journal.recorder import Recorder
from tenuto.serialization.flow import canonical_graph

if TYPE_CHECKING:
    from types import ModuleType

    from tenuto.engine.flow_runner import FlowRunner
    from tenuto.engine.resume import Earlier
    from tenuto.executors.base import Executor

Ship = Callable[[Recorder], AbstractContextManager[None]]
"""Sends the record of a run to a server while the block lasts; handed in, for the engine knows no server."""

_handlers_lock = threading.Lock()


def run_flow(
    flow: Flow,
    parameters: Mapping[str, Any] | None = None,
    on_schedule: bool | None = None,
    runner_cls: type[FlowRunner] | None = None,
    ship: Ship | None = None,
    /,
    **kwargs: Any,
) -> State:
    """
    Run a flow, once or on its schedule, to its end, and return its state.

    Args:
        flow: the flow; its graph is checked first.
        parameters: values by name; a keyword of the same name wins.
        on_schedule: whether its schedule counts, if it has one; default: that of the configuration.
        runner_cls: makes the runner; default: that of the configuration.
        ship: sends the record to a server; None: nothing does.
        kwargs: values of parameters by keyword, and the options listed at `Flow.run`.

    Raises:
        UnexpectedParameters, MissingParameters: before anything runs.
        NothingToResume: with `resume=`, when there is no such run, or it is still going.
        ValueError: when the graph has a cycle or an unbound input.
    """
    given, options = split_keywords(flow, parameters, kwargs)
    if on_schedule is None:
        on_schedule = config.flows.run_on_schedule
    if on_schedule and flow.schedule is not None and options.get("resume") is None:
        flow.validate()
        return run_on_schedule(
            flow, given, options, partial(run_with_options, runner_cls=runner_cls, ship=ship)
        )
    return run_with_options(flow, given, options, runner_cls, ship)


def run_with_options(
    flow: Flow,
    given: dict[str, Any],
    options: dict[str, Any],
    runner_cls: type[FlowRunner] | None = None,
    ship: Ship | None = None,
) -> State:
    """
    Run a flow as `run_flow` does, for callers that know parameters from options: the command line.

    Args:
        flow: the flow.
        given: values of parameters.
        options: those of `Flow.run` that are not parameters.
        runner_cls, ship: as for `run_flow`.
    """
    flow.validate()
    check_known(flow, given)
    home = Home(home_path())
    earlier = find_earlier(home, flow, options.pop("resume", None))
    if earlier is not None:
        given = {**recorded_parameters(flow, earlier.view.header.parameters), **given}
    check_required(flow, given)
    check_task_states(flow, options.get("task_states") or {})
    current_context.current().setdefault("caches", {})
    context = take_context(options, earlier)
    state = options.pop("state", None) or Scheduled()
    executor = options.pop("executor", None) or flow.executor or get_default_executor_class()()

    runner = (runner_cls or get_default_flow_runner_class())(flow=flow)
    runner.waits = True
    recorder = start_recording(flow, home, given, context, state, executor, earlier)
    continuation = Continuation(earlier, home, recorder) if earlier is not None else None
    runner.record = RunRecord(recorder, home, continuation)
    # Made now: a task may go to another folder, and the command is for the one that the user is in.
    command = continue_command(flow, context["flow_run_name"])
    with (ship or nullcontext)(recorder), record_logs(recorder):
        if continuation is not None:
            with current_context(flow_run_id=recorder.flow_run_id):
                continuation.announce()
        try:
            final = runner.run(
                state=state,
                parameters=given,
                executor=executor,
                context=context,
                return_tasks=flow.tasks,
                **options,
            )
            if not final.is_successful():
                # In the run's context, by which its log file knows its own lines.
                with current_context(flow_run_id=recorder.flow_run_id):
                    say_how_to_continue(runner.record, command)
        finally:
            recorder.close()
    return final


def recorded_parameters(flow: Flow, recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Return an earlier run's values of parameters that still exist, as far as its record holds them."""
    names = {parameter.name for parameter in flow.parameters()}
    return {name: value for name, value in recorded.items() if name in names and is_recorded(value)}


def recorded_context(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an earlier run was given as context, as far as its record holds the values themselves."""
    return {name: value for name, value in recorded.items() if is_recorded(value)}


def take_context(options: dict[str, Any], earlier: Earlier | None) -> dict[str, Any]:
    """Take out of the options what a run is given as context, with the run's id and name in it."""
    recorded = recorded_context(earlier.view.header.context) if earlier is not None else {}
    context = {**recorded, **(options.pop("context", None) or {})}
    for key, make in (("flow_run_id", new_flow_run_id), ("flow_run_name", two_words)):
        context[key] = options.pop(key, None) or context.get(key) or make()
    return context


def start_recording(
    flow: Flow,
    home: Home,
    given: Mapping[str, Any],
    context: Mapping[str, Any],
    state: State,
    executor: Executor,
    earlier: Earlier | None,
) -> Recorder:
    """Open the journal of a run; a home that cannot be written costs one warning."""
    outer = current_context.current()
    start = state.start_time if isinstance(state, Scheduled) else None
    return Recorder.start(
        home.path,
        flow_run_id=context["flow_run_id"],
        name=context["flow_run_name"],
        flow=flow.name,
        source_path=flow.source_path or "",
        graph=canonical_graph(flow),
        parameters=parameter_values(flow, {**outer.get("parameters", {}), **given}),
        context={key: value for key, value in context.items() if key not in ("flow_run_id", "flow_run_name")},
        resumed_from=earlier.view.header.flow_run_id if earlier is not None else "",
        parent=outer.get("flow_run_id", "") if "task_run_id" in outer else "",
        scheduled_start_time=microseconds(start) if start is not None else None,
        executor=type(executor).__name__,
    )


@contextmanager
def record_logs(recorder: Recorder) -> Iterator[None]:
    """Let the run's log file have what the package's loggers, and the extra ones, write meanwhile."""
    loggers = package_loggers()
    handler = recorder.log_handler(loggers[0].getEffectiveLevel())
    if handler is None:
        yield
        return
    # By new lists: `removeHandler` would shorten the one that a record of another thread walks along, and
    # the handler behind the removed one, the log of another run, would miss that record.
    with _handlers_lock:
        for logger in loggers:
            logger.handlers = [*logger.handlers, handler]
    try:
        yield
    finally:
        with _handlers_lock:
            for logger in loggers:
                logger.handlers = [other for other in logger.handlers if other is not handler]


def say_how_to_continue(record: RunRecord, command: str) -> None:
    """Log, as the last line of a run that did not succeed, what is kept and how to go on from there."""
    log = get_logger("FlowRunner")
    if not record.recorder.recording:
        log.warning("This run was not recorded completely and cannot be continued.")
        return
    if not record.recorder.resumable:
        results = "No results are kept (flows.keep_results is 'never')"
    else:
        results = "1 result is kept" if record.kept == 1 else f"{record.kept} results are kept"
    log.info("%s. To continue this run: %s", results, command)


def continue_command(flow: Flow, name: str) -> str:
    """Return the command, or where the flow is not at the top of a file the call, that continues a run."""
    module, flows = _module_with(flow)
    if module is None:
        return f"flow.run(resume={name!r})"
    words = ["tenuto", "run", *_source_of(module)]
    if len(flows) > 1:
        words += _option("-n", "--name", flow.name)
    words += _option("--resume", "--resume", name)
    return shlex.join(words)


def _option(short: str, long: str, value: str) -> list[str]:
    # A user's own name may look like an option.
    return [f"{long}={value}"] if value.startswith("-") else [short, value]


def _source_of(module: ModuleType) -> list[str]:
    """Return the options by which the command line loads a module."""
    if module.__spec__ is not None:
        return ["-m", module.__spec__.name]  # Imported by name: its file by itself may lack its package.
    path = Path(module.__file__ or "")
    try:
        here = Path.cwd()
    except OSError:  # Somebody has removed it.
        return ["-p", str(path)]
    # A file elsewhere keeps its absolute path: that is the one that works from here.
    return ["-p", str(path.relative_to(here) if path.is_relative_to(here) else path)]


def _module_with(flow: Flow) -> tuple[ModuleType | None, list[Flow]]:
    """Return what this process runs or has loaded and has `flow` at its top, and the flows there."""
    for module in (sys.modules.get("__main__"), sys.modules.get("<flow>")):
        if module is not None and getattr(module, "__file__", None):
            flows = {id(value): value for value in vars(module).values() if isinstance(value, Flow)}
            if id(flow) in flows:
                return module, list(flows.values())
    return None, []
