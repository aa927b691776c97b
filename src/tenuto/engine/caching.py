"""
The output cache of tasks with `cache_for`: in the process, and under the home folder for other processes.

Candidates of this process are the states in `context.caches`, shared by all flows in it. When none of them
serves, the index under the home folder tells which kept results of earlier runs are still valid.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tenuto._base.context import context
from tenuto._base.datetimes import from_microseconds, microseconds, utc_now
from tenuto._base.digests import digest
from tenuto.engine.cache_validators import all_inputs
from tenuto.engine.state import Cached, Skipped, State, Success
from tenuto.engine.transitions import SUCCEEDED
from tenuto.exceptions import PrefectException

if TYPE_CHECKING:
    from tenuto.core.task import Task
    from tenuto.engine.task_run import TaskRun
    from tenuto.engine.task_runner import TaskRunner
    from tenuto.journal.cache_index import CacheEntry
    from tenuto.journal.event import ResultRef
    from tenuto.journal.home import Home


def is_cacheable(state: State) -> bool:
    """Say whether a state is the success of a run that may be cached."""
    return isinstance(state, Success) and not isinstance(state, Cached | Skipped)


def cached_state(task: Task, state: State, inputs: Mapping[str, Any]) -> Cached:
    """Return the `Cached` state that follows the success of a task with `cache_for`."""
    assert task.cache_for is not None
    return Cached(
        state.message,
        result=state._result,
        cached_parameters=dict(context.current().get("parameters", {})),
        cached_result_expiration=utc_now() + task.cache_for,
        hashed_inputs=_hashed(inputs),
    )


def find(runner: TaskRunner, run: TaskRun, inputs: Mapping[str, Any]) -> State | None:
    """Return a valid cached state of a task, or None: then it runs."""
    task, parameters = runner.task, context.current().get("parameters", {})
    # What only equal inputs can serve is looked up by them: the children of a map are many, and so are the
    # cached results of an earlier one.
    hashed = _hashed(inputs) if task.cache_validator is all_inputs else None
    known: list[Cached] = context.current().get("caches", {}).get(process_key(task), [])
    candidates = (
        [run.state] if isinstance(run.state, Cached) else _unexpired(_with_inputs(runner, known, hashed))
    )
    for candidate in candidates:
        if task.cache_validator(candidate, inputs, parameters):
            _take_over(runner, run, candidate._kept)
            return candidate
    found = None if isinstance(run.state, Cached) else _find_in_home(runner, run, inputs, parameters, hashed)
    if found is None:
        log = runner.logger.warning if candidates or _any_unexpired(known) else runner.logger.debug
        log("Task '%s': Can't use cache because it is now invalid", run.name)
    return found


def _unexpired(states: Iterable[Cached]) -> list[Cached]:
    now = utc_now()
    return [s for s in states if s.cached_result_expiration is None or s.cached_result_expiration > now]


def _any_unexpired(states: Iterable[Cached]) -> bool:
    now = utc_now()
    return any(s.cached_result_expiration is None or s.cached_result_expiration > now for s in states)


def _with_inputs(runner: TaskRunner, known: list[Cached], hashed: dict[str, str] | None) -> Iterable[Cached]:
    """Return the states whose inputs have these digests; all of them for None."""
    if hashed is None or not known:
        return known
    if runner.cached_by_inputs is None or runner.cached_by_inputs[0] is not known:
        table: dict[frozenset[tuple[str, str]], list[Cached]] = {}
        for state in known:
            table.setdefault(frozenset((state.hashed_inputs or {}).items()), []).append(state)
        runner.cached_by_inputs = (known, table)
    return runner.cached_by_inputs[1].get(frozenset(hashed.items()), ())


def _hashed(inputs: Mapping[str, Any]) -> dict[str, str]:
    return {name: digest(value) or "" for name, value in inputs.items()}


def _find_in_home(
    runner: TaskRunner,
    run: TaskRun,
    inputs: Mapping[str, Any],
    parameters: Mapping[str, Any],
    hashed: dict[str, str] | None,
) -> State | None:
    from tenuto.journal.cache_index import CacheIndex
    from tenuto.journal.values import load

    home = runner.home
    if home is None:
        return None
    if runner.cache_index is None:
        runner.cache_index = CacheIndex(home.path, index_key(runner))
    for entry in runner.cache_index.entries(microseconds(utc_now()), hashed):
        candidate = _state_of(entry)
        # Another process's copy serves only the code that made it; within a process nothing can have changed.
        if entry.code != runner.code or not runner.task.cache_validator(candidate, inputs, parameters):
            continue
        try:
            candidate.result = load(entry.result, home.run_folder(entry.run))
        except PrefectException as error:  # It is damaged, or its store cannot be asked.
            runner.logger.warning("A cached result of run %s is passed over: %s", entry.run, error)
            continue
        candidate._kept = (entry.run, entry.result)
        _take_over(runner, run, candidate._kept)
        return candidate
    return None


def _take_over(runner: TaskRunner, run: TaskRun, kept: tuple[str, ResultRef] | None) -> None:
    """
    Let this run keep a cached result, too.

    A resume of it must not depend on when the cache expires, and what stands downstream must see the checksum
    that it saw when the result was made.
    """
    if kept is not None and runner.home is not None and runner.link is not None:
        run_id, ref = kept
        run.digest = ref.sha256
        run.ref = runner.link(ref, runner.home.run_folder(run_id), runner.slug, run.index)


def _state_of(entry: CacheEntry) -> Cached:
    return Cached(
        SUCCEEDED,
        cached_parameters=entry.parameters,
        cached_result_expiration=from_microseconds(entry.expires),
        hashed_inputs=entry.inputs,
    )


def publish(caches: dict[str, list[Cached]], runs: Iterable[TaskRun]) -> None:
    """Put the cached states of a finished flow run where the next runs in this process look for them."""
    found: dict[str, list[Cached]] = {}
    for run in runs:
        if isinstance(run.state, Cached):
            found.setdefault(process_key(run.node.task), []).append(run.state)
    for key, states in found.items():
        known = {id(state): state for state in (*_unexpired(caches.get(key, ())), *states)}
        caches[key] = list(known.values())


def index(home: Home, runner: TaskRunner, run_id: str, run: TaskRun) -> None:
    """Enter the kept result of a cached task run in the index under the home folder."""
    from tenuto._base.plain import plain_json
    from tenuto.journal.cache_index import CacheEntry, append
    from tenuto.journal.recorded import is_secret_name

    state = run.state
    if not isinstance(state, Cached) or run.ref is None or state.cached_result_expiration is None:
        return
    state._kept = (run_id, run.ref)
    if run.ref.kind == "result":
        return  # Only the task itself can read it.
    entry = CacheEntry(
        run=run_id,
        result=run.ref,
        expires=microseconds(state.cached_result_expiration),
        code=runner.code,
        inputs=state.hashed_inputs or {},
        parameters={
            name: value
            for name, value in (state.cached_parameters or {}).items()
            if plain_json(value, 4096) is not None and not is_secret_name(name)
        },
    )
    try:
        append(home.path, index_key(runner), entry, microseconds(utc_now()))
    except OSError as error:
        runner.logger.warning("The cache of other processes does not get this result: %s", error)


def process_key(task: Task) -> str:
    """Return the key under which a task's cached states are kept in this process (R-CACHE-2)."""
    return task.cache_key or task.name


def index_key(runner: TaskRunner) -> str:
    """
    Return the key of the index under the home folder.

    A `cache_key` is what its author says it is. A bare task name would make strangers share: all flows of a
    person meet under one home, so the flow's name goes before it.
    """
    task = runner.task
    return (
        f"key:{task.cache_key}"
        if task.cache_key
        else f"task:{runner.flow_context.get('flow_name', '')}/{task.name}"
    )
