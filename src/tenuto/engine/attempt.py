"""
One attempt of a task's body: the part of a task run that executors carry out, here or elsewhere.

Attempts can be pickled; what does not make sense in another process (loggers, handlers, caches) stays behind.

It calls `run` under its timeout, writes the result where the task wants it written, and keeps a copy for a
resume. What that means for the task is decided by the runner from the `Outcome`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from copy import copy
from dataclasses import dataclass
from datetime import datetime
from time import perf_counter
from typing import TYPE_CHECKING, Any

from tenuto._base.artifacts import GOING_ON
from tenuto._base.context import context
from tenuto._base.files import is_storage_fault
from tenuto._base.logging import get_logger, redirect_stdout_to
from tenuto._base.texts import safe_text
from tenuto.configuration import config
from tenuto.engine.signals import LOOP, SUCCESS, PrefectStateSignal
from tenuto.engine.timeouts import call_in_thread, call_with_timeout, is_of_outer_task
from tenuto.engine.transitions import Outcome
from tenuto.exceptions import PrefectSignal
from tenuto.journal.event import ResultRef

if TYPE_CHECKING:
    from tenuto.core.task import Task
    from tenuto.engine.result import Result
    from tenuto.journal.values import NotKept

logger = get_logger("TaskRunner")


class Surroundings(dict[str, Any]):
    """The context of a flow run, from which that of each of its task runs is made; shared by all of them."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Surroundings, (self._travelling(),)

    def _travelling(self) -> dict[str, Any]:
        """Return what can go to another process, and say what cannot."""
        values = {}
        for key, value in self.items():
            if key in _STAYS_HERE:
                continue
            if not isinstance(value, str | int | float | datetime | None):
                import cloudpickle  # Not loaded by runs that stay in their process.

                try:
                    cloudpickle.dumps(value)
                except Exception as error:  # noqa: BLE001  # whatever the user's objects raise when pickled
                    text = "The context's %r cannot be pickled (%s): tasks in other processes do not see it."
                    logger.warning(text, key, safe_text(error))
                    continue
            values[key] = value
        return values


@dataclass(slots=True)
class Body:
    """
    What all attempts of one task have in common; made once for a run.

    Attributes:
        task: whose `run` is called.
        slug: of the task in its flow.
        special: `run` is a coroutine function, has a timeout, or its output goes to the log.
        keep: stores a copy of the value for a resume, under slug and map index, and returns its reference, or
            why it could not; None when it is not to be kept.
        surroundings: what the contexts of its runs start from.
    """

    task: Task
    slug: str
    special: bool
    keep: Callable[[str, int, object], ResultRef | NotKept | None] | None
    surroundings: Mapping[str, Any]

    def __reduce__(self) -> tuple[Any, ...]:
        task = copy(self.task)
        task.state_handlers = []  # The runner calls them; they may be anything.
        return Body, (task, self.slug, self.special, self.keep, self.surroundings)


@dataclass(slots=True)
class Attempt:
    """
    Everything an executor needs to carry out one attempt.

    Attributes:
        body: what is called.
        index: of a mapped child, else -1.
        inputs: the keyword arguments of `run`.
        values: the context of the task run.
        write_to: the Result that the value is written to, or None when nothing is written.
    """

    body: Body
    index: int
    inputs: dict[str, Any]
    values: dict[str, Any]
    write_to: Result | None

    @property
    def name(self) -> str:
        """As log lines show it, `NAME` or `NAME[INDEX]`."""
        name = self.body.task.name
        return name if self.index < 0 else f"{name}[{self.index}]"

    def __reduce__(self) -> tuple[Any, ...]:
        common = self.body.surroundings
        own = {
            key: value
            for key, value in self.values.items()
            if key not in _STAYS_HERE and not (key in common and common[key] is value)
        }
        return _arrive, (self.body, self.index, self.inputs, own, self.write_to)


_STAYS_HERE = frozenset({"caches", "config", "logger"})


def _arrive(
    body: Body, index: int, inputs: dict[str, Any], own: dict[str, Any], write_to: Result | None
) -> Attempt:
    """Put an attempt together in another process."""
    values = {**body.surroundings, **own, "config": config}
    attempt = Attempt(body, index, inputs, values, write_to)
    values["logger"] = get_logger(attempt.name)
    return attempt


def template_values(surrounding: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what fills templates. Rising precedence: parameters, context, inputs (R-RES-8)."""
    values = {**surrounding.get("parameters", {}), **surrounding, **inputs}
    values.setdefault("task_loop_count", 1)
    values.pop("self", None)  # R-RES-11
    return values


def perform(attempt: Attempt) -> Outcome:
    """
    Carry out an attempt in the current thread, in the context of its task run.

    Never raises for what a task does, except where the user asked for it (`raise_on_exception`) and for
    KeyboardInterrupt and SystemExit, which end the process's work and not the task's.
    """
    if context.current() is attempt.values:
        return _perform(attempt)
    token = context.enter(attempt.values)
    try:
        return _perform(attempt)
    finally:
        context.leave(token)


def _perform(attempt: Attempt) -> Outcome:
    body = attempt.body
    outcome = Outcome()
    # Before the call, which may change what it was given.
    filling = template_values(attempt.values, attempt.inputs) if attempt.write_to is not None else {}
    run_id = attempt.values.get("task_run_id", "")
    GOING_ON[run_id] = None
    started = perf_counter()
    try:
        outcome.value = (
            _call_specially(body.task, attempt.inputs) if body.special else body.task.run(**attempt.inputs)
        )
    except PrefectSignal as error:
        if is_of_outer_task(error):
            raise
        outcome.error = error
        if isinstance(error, PrefectStateSignal) and not isinstance(error, SUCCESS | LOOP):
            logger.info("%s signal raised: %r", type(error).__name__, error)
    except Exception as error:
        # The boundary of user code: any exception there is the task's outcome, logged with its traceback.
        if attempt.values.get("raise_on_exception"):
            raise
        logger.exception("Task '%s': Exception encountered during task execution!", attempt.name)
        outcome.error = error
    finally:
        left = GOING_ON.pop(run_id, None)
    if left:
        outcome.artifacts = left
    outcome.seconds = perf_counter() - started
    if outcome.error is None:
        _store(attempt, outcome, outcome.value, filling)
    elif isinstance(outcome.error, SUCCESS | LOOP):
        _store(attempt, outcome, outcome.error.state.result, filling)
    return outcome


def _store(attempt: Attempt, outcome: Outcome, value: object, filling: Mapping[str, Any]) -> None:
    body = attempt.body
    # A None is written only where a target is set (R-TGT-8).
    if attempt.write_to is not None and (value is not None or body.task.target):
        try:
            outcome.result = attempt.write_to.write(value, **filling)
        except Exception as error:
            # A Result, its serializer and its store are user code or a foreign service: whatever they raise
            # fails the task (R-CKPT-5), and the run goes on.
            if attempt.values.get("raise_on_exception"):
                raise
            error.add_note(
                f"{type(attempt.write_to).__name__} could not store the result of task '{attempt.name}'. "
                "Mend that, or give the task another serializer, folder or result."
            )
            logger.exception("Unexpected error: %r", error)
            outcome.write_error, outcome.cause = error, "storage" if is_storage_fault(error) else ""
            return
        if body.task.target and outcome.result._written is not None:
            # A target is its own kept result. A resume finds it where it lies, and what stands downstream
            # must then see the checksum that it saw here, which is not that of another copy.
            return
    if body.keep is not None and not isinstance(outcome.error, LOOP):
        kept = body.keep(body.slug, attempt.index, value)
        if kept is None or isinstance(kept, ResultRef):
            outcome.kept = kept
        else:
            outcome.not_kept = kept


def _call_specially(task: Task, inputs: dict[str, Any]) -> Any:
    """Call `run` with what only some tasks ask for: a timeout, captured output, an event loop."""
    with redirect_stdout_to(logger) if task.log_stdout else nullcontext():
        return call_with_timeout(lambda: _call(task.run, inputs), task.timeout)


def _call(run: Callable[..., Any], inputs: dict[str, Any]) -> Any:
    if not is_coroutine_function(run):
        return run(**inputs)
    import asyncio

    async def main() -> Any:
        return await run(**inputs)

    def run_in_loop() -> Any:
        try:
            return asyncio.run(main())
        except asyncio.CancelledError as error:
            # No Exception: it would end the whole run. Ctrl-C has become a KeyboardInterrupt by now.
            raise RuntimeError("The task's coroutine was cancelled by its own code.") from error

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return run_in_loop()
    # A loop runs in this thread already (a notebook): the coroutine gets a loop in a thread of its own.
    return call_in_thread(run_in_loop, timeout=None)


def is_coroutine_function(run: Callable[..., Any]) -> bool:
    """Say whether calling `run` gives a coroutine; looks at the code where there is any, which is quick."""
    code = getattr(run, "__code__", None)
    return inspect.iscoroutinefunction(run) if code is None else bool(code.co_flags & inspect.CO_COROUTINE)
