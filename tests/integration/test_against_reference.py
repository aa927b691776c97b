"""Random flows come out as the rules say, and their journals tell the same as the run."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tenuto import Flow, task
from tenuto._base.ids import new_flow_run_id
from tenuto.configuration import home_path
from tenuto.core.nodes import Constant
from tenuto.engine import signals
from tenuto.engine.state import Mapped, State, state_class
from tenuto.engine.transitions import FLOW_RUN_TRANSITIONS, TASK_RUN_TRANSITIONS, is_transition
from tenuto.executors import Executor, LocalExecutor
from tenuto.journal.event import Event, Kind
from tenuto.journal.fold import RunView, fold
from tenuto.journal.home import Home
from tenuto.journal.reader import read_events
from tenuto.journal.runs import summarize
from tests.fakes.clusters import PLACES
from tests.fakes.executors import ThreadExecutor, TicketExecutor
from tests.reference.building import (
    BROKEN,
    EXECUTED,
    Built,
    build,
    disagreements,
    is_taken_over,
)
from tests.reference.graphs import Block, Graph, Step
from tests.reference.interpreter import interpret
from tests.strategies import graphs

SEEN: Counter[str] = Counter()
"""What has happened in the flows that were run."""

WANTED = (
    "Mapped", "children", "empty map", "unmappable", "nothing to map", "skipped by upstream",
    "skipped by signal", "Failed", "TriggerFailed", "ValidationFailed", "retried", "looped",
    "succeeded by signal", "flow Failed",
    "flow Success", "flattened", "case taken", "case not taken", "merge", "filter", "collection",
)  # fmt: skip


def sweep(examples: int) -> settings:
    """The same random flows in each run of the test, so that what they cover does not change by itself."""
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
        report_multiple_bugs=False,
        print_blob=False,
    )


def run_and_compare(
    graph: Graph, executor: Executor, *, fail_fast: bool = False
) -> tuple[Built, State, Path]:
    """Run a graph's flow; return it with its state and its journal."""
    built = build(graph)
    built.flow.fail_fast = fail_fast
    run_id = new_flow_run_id()
    state = built.flow.run(executor=executor, flow_run_id=run_id)
    differences = disagreements(built, state, interpret(graph))
    assert not differences, "\n".join([*differences, repr(graph)])
    return built, state, Home(home_path()).run_folder(run_id) / "1.journal"


@pytest.fixture(autouse=True)
def quiet() -> None:
    """Thousands of log lines help nobody."""
    logging.getLogger("tenuto").setLevel(logging.CRITICAL)


# ------------------------------------------------------------------------------------- states and results


def test_random_flows_agree_with_the_reference_and_their_journals_fold_to_the_same() -> None:
    # R-RUN-10, R-RUN-11, R-SKIP-1, R-SKIP-4, R-TRIG-3, R-TRIG-4, R-TRIG-6, R-TRIG-8, R-MAP-5, R-MAP-6,
    # R-MAP-7, R-MAP-8, R-MAP-9, R-MAP-10, R-MAP-11, R-MAP-12, R-MAP-13, R-MAP-14, R-MAP-15, R-MAP-16,
    # R-MAP-18, R-FLAT-1, R-FLAT-2, R-FLAT-3, R-CASE-1, R-CASE-2, R-CASE-4, R-MERGE-1, R-MERGE-2, R-FILT-1,
    # R-FILT-4, R-RETRY-1, R-RETRY-3, R-RETRY-7, R-RETRY-8, R-LOOP-1, R-LOOP-6, R-SIG-2, R-SIG-3; I-3, I-9
    SEEN.clear()

    @sweep(300)
    @given(graphs())
    def agree(graph: Graph) -> None:
        built, state, journal = run_and_compare(graph, LocalExecutor())
        events = list(read_events(journal))
        view = fold(events)
        assert_same_as_reported(view, built, state)
        assert_transitions(events)
        count(built, state, view, graph)

    agree()
    assert not [what for what in WANTED if SEEN[what] < 5], dict(SEEN)


@pytest.mark.usefixtures("clusters")
@pytest.mark.parametrize(
    ("make", "examples"),
    [(ThreadExecutor, 60), (TicketExecutor, 60), *((make, 15) for make in PLACES.values())],
    ids=["fake threads", "tickets", *PLACES],
)
def test_any_executor_comes_to_the_same(make: Callable[[], Executor], examples: int) -> None:
    # R-EXEC-1, R-EXEC-2
    executor = make()

    @sweep(examples)
    @given(graphs())
    def agree(graph: Graph) -> None:
        built, state, journal = run_and_compare(graph, executor)
        events = list(read_events(journal))
        assert_same_as_reported(fold(events), built, state)
        assert_transitions(events)

    agree()


@pytest.mark.usefixtures("clusters")
@pytest.mark.parametrize(
    ("make", "examples"),
    [(ThreadExecutor, 60), (TicketExecutor, 60), *((make, 15) for make in PLACES.values())],
    ids=["fake threads", "tickets", *PLACES],
)
def test_flow_that_fails_fast_finishes_what_it_has_begun_and_starts_nothing_more(
    make: Callable[[], Executor], examples: int
) -> None:
    executor = make()
    seen: Counter[str] = Counter()

    @sweep(examples)
    @given(graphs().map(without_places))
    def agree(graph: Graph) -> None:
        built, state, journal = run_and_compare(graph, executor, fail_fast=True)
        events = list(read_events(journal))
        assert_same_as_reported(fold(events), built, state)
        assert_transitions(events)
        names = [event.state for event in events if event.kind is Kind.TASK_STATE]
        stops = [position for position, name in enumerate(names) if name in ("Failed", "ValidationFailed")]
        before, after = (names[: stops[0]], names[stops[0] :]) if stops else (names, [])
        assert "Cancelled" not in before
        assert "Running" not in after
        seen["cancelled"] += after.count("Cancelled")
        seen["not stopped"] += not stops
        # A resume runs what was not started.
        built.flow.fail_fast = False
        state = built.flow.run(executor=executor, resume=journal.parent.name)
        differences = disagreements(built, state, interpret(graph))
        assert not differences, "\n".join([*differences, repr(graph)])

    agree()
    assert seen["cancelled"] >= 2, seen
    assert seen["not stopped"] >= 2, seen


FAILURES = ["Failed", "TriggerFailed", "ValidationFailed"]
CHANGES = {
    ("Pending", new) for new in ("Running", "Skipped", "TriggerFailed", "Mapped", "Failed")
} | {
    *(("Running", new) for new in ("Success", "Skipped", "Looped", "Retrying", *FAILURES)),
    *((failed, "Retrying") for failed in FAILURES),
    ("Retrying", "Running"),
}  # fmt: skip


def test_tasks_with_handlers_come_to_the_same_by_changes_that_are_foreseen() -> None:
    # R-HAND-2; a task without handlers takes a shorter way
    seen: Counter[tuple[str, str]] = Counter()

    def note(runner: object, old: State, new: State) -> None:
        seen[type(old).__name__, type(new).__name__] += 1

    @sweep(60)
    @given(graphs())
    def agree(graph: Graph) -> None:
        built = build(graph)
        state = built.flow.run(task_runner_state_handlers=[note])
        differences = disagreements(built, state, interpret(graph))
        assert not differences, "\n".join([*differences, repr(graph)])

    agree()
    assert seen.keys() <= CHANGES, seen.keys() - CHANGES
    assert len(seen) > 10


def assert_same_as_reported(view: RunView, built: Built, state: State) -> None:
    """Every final state of the run is the one that its events add up to."""
    assert (view.state, view.message) == (type(state).__name__, state.message)
    assert view.is_finished
    assert not view.incomplete
    reported = dict(reported_states(built.flow, state))
    assert view.tasks.keys() == reported.keys()
    for key, task_state in reported.items():
        told = view.tasks[key]
        assert (told.state, told.message) == (type(task_state).__name__, task_state.message or ""), key
        assert told.is_finished
        if isinstance(task_state, Mapped):
            assert told.children == len(task_state.map_states)


def reported_states(flow: Flow, state: State) -> Iterator[tuple[tuple[str, int], State]]:
    """Yield the states of all tasks and children but constants, which have no run of their own."""
    for each, task_state in state.result.items():
        if isinstance(each, Constant):
            continue
        slug = flow.slugs[each]
        yield (slug, -1), task_state
        if isinstance(task_state, Mapped):
            for index, child in enumerate(task_state.map_states):
                yield (slug, index), child


def count(built: Built, state: State, view: RunView, graph: Graph) -> None:
    SEEN[f"flow {type(state).__name__}"] += 1
    for _, reached in reported_states(built.flow, state):
        message = reached.message or ""
        SEEN[type(reached).__name__] += 1
        SEEN["children"] += len(reached.map_states) if isinstance(reached, Mapped) else 0
        SEEN["empty map"] += isinstance(reached, Mapped) and not reached.map_states
        SEEN["unmappable"] += message.endswith("unmappable result.")
        SEEN["nothing to map"] += message == "No upstream states can be mapped over."
        SEEN["skipped by upstream"] += message.startswith("Upstream task was skipped")
        SEEN["skipped by signal"] += reached.is_skipped() and message in ("as told", "because")
        SEEN["succeeded by signal"] += type(reached).__name__ == "Success" and message in (
            "as told",
            "because",
        )
        SEEN["case not taken"] += message.startswith("Provided value")
    SEEN["case taken"] += sum(
        type(state.result[each]).__name__ == "Success" for each in built.extra().get("case", [])
    )
    for told in view.tasks.values():
        SEEN["retried"] += told.run_count > 1
        SEEN["looped"] += told.loop_count > 1
    for node in graph.nodes():
        SEEN[node.kind] += state.result[built.tasks[node.number]].is_successful()
        SEEN["flattened"] += any(argument.flattened for argument in node.arguments)
    SEEN["collection"] += sum(len(tasks) for kind, tasks in built.extra().items() if kind != "case")


# ------------------------------------------------------------------------------------------------ resume


def without_places(graph: Graph) -> Graph:
    """Return the graph with one behaviour for all children: reused children may come from other places."""

    def simple(step: Step) -> Step:
        if isinstance(step, Block):
            return dataclasses.replace(step, steps=tuple(map(simple, step.steps)))
        return dataclasses.replace(step, behaviours=step.behaviours[:1])

    return dataclasses.replace(graph, steps=tuple(map(simple, graph.steps)))


def test_resumed_random_flows_agree_with_the_reference_and_repeat_nothing() -> None:
    # I-1, R-CACHE-12
    seen: Counter[str] = Counter()

    @sweep(120)
    @given(graphs().map(without_places), st.sets(st.integers(0, 6), min_size=1, max_size=3))
    def agree(graph: Graph, broken: set[int]) -> None:
        built = build(graph)
        run_ids = [new_flow_run_id(), new_flow_run_id()]
        try:
            BROKEN.update(broken)
            built.flow.run(flow_run_id=run_ids[0])
        finally:
            BROKEN.clear()
        EXECUTED.clear()
        state = built.flow.run(flow_run_id=run_ids[1], resume=run_ids[0])
        differences = disagreements(built, state, interpret(graph))
        assert not differences, "\n".join([*differences, f"{broken} {graph!r}"])
        before, after = (
            fold(read_events(Home(home_path()).run_folder(run_id) / "1.journal")) for run_id in run_ids
        )
        numbers = {built.flow.slugs[each]: number for number, each in built.tasks.items()}
        for key, now in after.tasks.items():
            earlier = before.tasks.get(key)
            is_unchanged = earlier is not None and (earlier.inputs, earlier.code) == (now.inputs, now.code)
            was_kept = earlier is not None and earlier.is_successful and earlier.result is not None
            executed = (numbers.get(key[0]), key[1]) in EXECUTED
            assert not (executed and is_unchanged and was_kept), (key, broken, graph)
            seen["taken over"] += now.state == "Cached"
            seen["executed again"] += executed and earlier is not None
            seen["failed before"] += executed and earlier is not None and earlier.state == "Failed"
            seen["child taken over"] += now.state == "Cached" and key[1] >= 0

    agree()
    assert all(seen[what] >= 20 for what in ("taken over", "executed again", "failed before")), seen
    assert seen["child taken over"] >= 5, seen


def test_resume_from_any_cut_off_record_agrees_with_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after kill -9 at any instruction, and with some of the kept results lost or spoiled besides."""
    # I-1, I-2, I-12
    monkeypatch.setattr("tenuto.engine.resume.is_alive", lambda header: False)
    seen: Counter[str] = Counter()

    @sweep(100)
    @given(
        graphs().map(without_places),
        st.sets(st.integers(0, 6), max_size=2),
        st.lists(st.integers(0, 99), min_size=2, max_size=2),
        st.integers(0, 5),
    )
    def agree(graph: Graph, broken: set[int], cuts: list[int], spoiled: int) -> None:
        built = build(graph)
        last = ""
        for cut in cuts:
            run_id = new_flow_run_id()
            try:
                BROKEN.update(broken)
                built.flow.run(flow_run_id=run_id, resume=last or None)
            finally:
                BROKEN.clear()
            path = Home(home_path()).run_folder(run_id) / "1.journal"
            data = path.read_bytes()
            # The first event is whole: a run without a beginning is none.
            path.write_bytes(data[: max(data.index(b"\n") + 1, len(data) * (cut + 1) // 100)])
            for position, kept in enumerate(sorted(path.parent.glob("kept/*"))):
                if position % 4 == spoiled:
                    kept.unlink() if position % 2 else kept.write_bytes(b"spoiled")
            last = run_id
        state = built.flow.run(resume=last)
        differences = disagreements(built, state, interpret(graph))
        assert not differences, "\n".join([*differences, f"{broken} {cuts} {graph!r}"])
        seen["taken over"] += sum(is_taken_over(reached) for _, reached in reported_states(built.flow, state))

    # What is small is kept in the record itself; here all is kept in files, so that they can be spoiled.
    with monkeypatch.context() as patch:
        patch.setattr("tenuto.journal.keeper.inline", lambda value: None)
        agree()
    assert seen["taken over"] >= 40, seen


# ------------------------------------------------------------------------------------------- transitions


def assert_transitions(events: list[Event]) -> None:
    """No event leads to a state that the state before does not lead to (I-9)."""
    last: dict[tuple[str, int], type[State]] = {}
    run: type[State] | None = None
    for event in events:
        new = state_class(event.state) if event.state else None
        if event.kind is Kind.TASK_STATE:
            assert new is not None
            key = event.slug, event.index
            assert is_transition(TASK_RUN_TRANSITIONS, last.get(key), new), (key, last.get(key), new)
            last[key] = new
        elif event.kind is Kind.RUN_STATE:
            assert new is not None
            assert is_transition(FLOW_RUN_TRANSITIONS, run, new), (run, new)
            run = new


WAITING = ["Scheduled", "Resume", "Retrying"]
WRAPPED = ["Submitted", "Queued"]
SUCCESS = ["Success", "Cached", "Skipped", "Mapped"]
FAILED = ["Failed", "TimedOut", "TriggerFailed", "ValidationFailed"]
FINAL = [*SUCCESS, *FAILED, "Cancelled"]
NEW = ["(new)"]
ALL = ["Pending", *WAITING, *WRAPPED, "Running", "Looped", "Paused", "Cancelling", *FINAL]

# The table of the protocol, row by row: what a state may become.
FLOW_RUN = [
    (NEW, ["Pending", "Scheduled", "Running"]),
    (["Pending"], [*WAITING, "Running", "Cancelled", *FAILED]),
    (WAITING, ["Submitted", "Running", *WAITING, "Paused", "Cancelled", *FAILED]),
    (WRAPPED, ["Running", "Queued", "Submitted", "Scheduled", "Cancelled", *FAILED]),
    (["Running"], [*SUCCESS, *FAILED, "Cancelling", "Cancelled", "Paused", "Scheduled"]),
    (["Paused"], ["Scheduled", "Resume", "Running", "Cancelled", *FAILED]),
    (["Cancelling"], ["Cancelled", *FAILED, *SUCCESS]),
    (FINAL, ["Scheduled", *FINAL]),
]
TASK_RUN = [
    ([*NEW, "Pending"], ["Running", *WRAPPED, *WAITING, "Paused", *FINAL]),
    (WAITING, ["Running", *WRAPPED, "Pending", *WAITING, "Paused", *FINAL]),
    (WRAPPED, ["Running", *WRAPPED, *WAITING, "Pending", *FINAL]),
    (["Running"], [*FINAL, "Looped", *WAITING, "Paused"]),
    (["Looped"], ["Pending", "Running", "Paused", *FINAL, "Retrying"]),
    (["Paused"], ["Resume", "Scheduled", "Running", *FINAL]),
    (FINAL, ["Pending", "Scheduled", *FINAL]),
]


@pytest.mark.parametrize(
    ("table", "rows"),
    [(FLOW_RUN_TRANSITIONS, FLOW_RUN), (TASK_RUN_TRANSITIONS, TASK_RUN)],
    ids=["flow", "task"],
)
def test_table_of_transitions_is_that_of_the_protocol(
    table: dict[type[State] | None, tuple[type[State], ...]], rows: list[tuple[list[str], list[str]]]
) -> None:
    # reliability 3.3, I-9
    allowed = {(old, new) for olds, news in rows for old in olds for new in news}
    known = {old for olds, _ in rows for old in olds}
    wrong = []
    for old, new in itertools.product(known, ALL):
        if old == new and old in FINAL:
            continue  # "Another" final state; whether the same one counts is not said.
        old_class = None if old == "(new)" else state_class(old)
        if is_transition(table, old_class, state_class(new)) != ((old, new) in allowed):
            wrong.append(f"{old} -> {new} must be {'allowed' if (old, new) in allowed else 'refused'}")
    assert not wrong


def test_states_of_users_follow_their_nearest_parent() -> None:
    # reliability 3.3
    class Rejected(state_class("ValidationFailed")):  # type: ignore[misc]  # made at run time
        pass

    assert is_transition(TASK_RUN_TRANSITIONS, state_class("Running"), Rejected)
    assert is_transition(TASK_RUN_TRANSITIONS, Rejected, state_class("Pending"))
    assert not is_transition(TASK_RUN_TRANSITIONS, Rejected, state_class("Running"))


# ----------------------------------------------------------------------------------------- cut-off journals


def assert_prefix_tells_an_earlier_truth(data: bytes, cut: int, path: Path, views: list[RunView]) -> None:
    """Cut `data` at a byte; what is read must be what was true when its last whole line had been written."""
    path.write_bytes(data[:cut])
    whole = data[:cut].count(b"\n")
    assert fold(read_events(path)) == views[whole]
    summary = summarize(path.parent)
    if whole == 0:
        assert summary is None
        return
    assert summary is not None
    # While it has no final event of its own, a run is going on (this process is alive).
    truth = views[whole]
    assert summary.state == (truth.state if truth.is_finished else "Running") or truth.state == "Pending"
    assert (summary.ended is None) == (truth.ended is None)


def views_of(data: bytes, path: Path) -> list[RunView]:
    """What the first 0, 1, 2, ... events of a journal add up to, in the order of lines."""
    path.write_bytes(data)
    events = list(read_events(path))
    assert len(events) == data.count(b"\n")
    return [fold(events[:number]) for number in range(len(events) + 1)]


def test_journal_cut_at_any_byte_tells_an_earlier_truth(tmp_path: Path) -> None:
    # I-2, I-3
    @task
    def fails() -> None:
        raise ValueError("as it was")

    @task
    def skips(x: int) -> None:
        raise signals.SKIP("not now")

    with Flow("small") as flow:
        fails()
        skips.map([1, 2])
    flow.run(flow_run_id=(run_id := new_flow_run_id()))
    data = (Home(home_path()).run_folder(run_id) / "1.journal").read_bytes()
    path = tmp_path / run_id / "1.journal"
    path.parent.mkdir()
    views = views_of(data, path)
    assert len(views) > 8
    for cut in range(len(data) + 1):
        assert_prefix_tells_an_earlier_truth(data, cut, path, views)


def test_journal_with_a_wrong_byte_tells_an_earlier_truth(tmp_path: Path) -> None:
    # I-2, I-3
    with Flow("small") as flow:
        task(lambda x: x, name="inc").map([1, 2])
    flow.run(flow_run_id=(run_id := new_flow_run_id()))
    data = (Home(home_path()).run_folder(run_id) / "1.journal").read_bytes()
    path = tmp_path / "1.journal"
    views = views_of(data, path)
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 0x04
        path.write_bytes(damaged)
        assert fold(read_events(path)) == views[data[:position].count(b"\n")], position


def test_random_journals_cut_anywhere_tell_an_earlier_truth(tmp_path: Path) -> None:
    # I-2, I-3
    path = tmp_path / "0190a0a0-0000-7000-8000-000000000000" / "1.journal"
    path.parent.mkdir()

    @sweep(40)
    @given(graphs(), st.lists(st.integers(0, 10**9), min_size=4, max_size=4))
    def cut_off(graph: Graph, places: list[int]) -> None:
        data = run_and_compare(graph, LocalExecutor())[2].read_bytes()
        views = views_of(data, path)
        ends = [position + 1 for position, byte in enumerate(data) if byte == 0x0A]
        cuts = [*ends, *(end - 1 for end in ends), *(place % len(data) for place in places)]
        for cut in cuts:
            assert_prefix_tells_an_earlier_truth(data, cut, path, views)

    cut_off()
