"""States, signals, triggers and skips as runs of flows show them."""

import logging
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import cloudpickle
import pytest

import tenuto
from tenuto import Flow, Parameter, case, task, triggers
from tenuto.core.edge import Edge
from tenuto.engine import signals
from tenuto.engine.state import (
    Cached,
    Failed,
    Mapped,
    Paused,
    Retrying,
    Skipped,
    State,
    Success,
    TimedOut,
    TriggerFailed,
    ValidationFailed,
)
from tenuto.exceptions import TaskTimeoutSignal
from tenuto.tasks.control_flow.filter import FilterTask
from tenuto.utilities.configuration import set_temporary_config

THE_SIGNAL = object()
THE_ERROR = object()

UPSTREAMS = ["", "S", "F", "K", "SS", "SF", "FF", "SK", "KK", "FK"]
# As in the specification's tables (R runs, T TriggerFailed, K Skipped) but for the cell `not_all_skipped`
# without upstreams, observed to skip: it runs (R-TRIG-2, the recommendation).
SKIPPING = {
    "all_successful": "R R T K R T T K K K",
    "all_failed": "R T R K T T R K K K",
    "any_successful": "R R T K R R T K K K",
    "any_failed": "R T R K T R R K K K",
    "all_finished": "R R R K R R R K K K",
    "always_run": "R R R K R R R K K K",
    "not_all_skipped": "R R T K R T T K K K",
    "some_failed(at_least=1)": "R T R K T R R K K K",
    "some_failed(at_least=0.5)": "R T R K T R R K K K",
    "some_failed(at_most=1)": "R R R K R R T K K K",
    "some_successful(at_least=1)": "R R T K R R T K K K",
    "some_successful(at_most=0.5)": "R T R K T R R K K K",
}
NOT_SKIPPING = {
    "all_successful": "R R T R R T T R R T",
    "all_failed": "R T R T T T R T T T",
    "any_successful": "R R T R R R T R R R",
    "any_failed": "R T R T T R R T T R",
    "all_finished": "R R R R R R R R R R",
    "always_run": "R R R R R R R R R R",
    "not_all_skipped": "R R T K R T T R K T",
    "some_failed(at_least=1)": "R T R T T R R T T R",
    "some_failed(at_least=0.5)": "R T R T T R R T T R",
    "some_failed(at_most=1)": "R R R R R R T R R R",
    "some_successful(at_least=1)": "R R T R R R T R R R",
    "some_successful(at_most=0.5)": "R T R T T R R T T R",
}
ANSWERS: dict[type[State], str] = {Success: "R", TriggerFailed: "T", Skipped: "K"}


def run(flow: Flow, **kwargs: Any) -> State:
    state = flow.run(**kwargs)
    assert isinstance(state, State)
    return state


def raising(error: BaseException) -> Callable[[], Any]:
    def body() -> Any:
        raise error

    return body


def state_of(body: Callable[..., Any], **options: Any) -> State:
    """Run a flow of one task with that body; return the state of its task."""
    with Flow("one") as flow:
        only = task(body, name="only", **options)()
    state: State = run(flow).result[only]
    return state


def made(letter: str) -> Any:
    """Return a task that succeeds, fails or skips."""
    bodies: dict[str, Callable[[], Any]] = {
        "S": lambda: "value",
        "F": raising(ValueError("failed")),
        "K": raising(signals.SKIP("skipped")),
    }
    return task(bodies[letter], name=f"upstream-{letter}")()


# R-PIPE-3, R-PIPE-4, R-SIG-2, R-SIG-3, R-TIME-1, table of section 5
@pytest.mark.parametrize(
    ("body", "cls", "message", "result"),
    [
        (lambda: 5, Success, "Task run succeeded.", 5),
        (raising(ValueError("bad")), Failed, "Error during execution of task: ValueError('bad')", THE_ERROR),
        (raising(signals.FAIL("m")), Failed, "m", THE_SIGNAL),
        (raising(signals.FAIL("m", result=7)), Failed, "m", 7),
        (raising(signals.FAIL()), Failed, None, THE_SIGNAL),
        (raising(signals.SUCCESS("m", result=5)), Success, "m", 5),
        (raising(signals.SUCCESS("m")), Success, "m", THE_SIGNAL),
        (raising(signals.SKIP("m")), Skipped, "m", THE_SIGNAL),
        (raising(signals.SKIP("m", result=9)), Skipped, "m", 9),
        (raising(signals.VALIDATIONFAIL("m")), ValidationFailed, "m", THE_SIGNAL),
        (raising(signals.TRIGGERFAIL("m")), TriggerFailed, "m", THE_SIGNAL),
    ],
)
def test_the_state_after_each_way_to_end(
    body: Callable[[], Any], cls: type[State], message: str | None, result: Any
) -> None:
    state = state_of(body)
    assert (type(state), state.message) == (cls, message)
    if result is THE_ERROR:
        assert repr(state.result) == "ValueError('bad')"
    elif result is THE_SIGNAL:
        assert isinstance(state.result, signals.PrefectStateSignal)
        assert state.result.state.message == message
    else:
        assert state.result == result


# R-TIME-1, table of section 5
def test_the_state_of_a_task_that_takes_too_long() -> None:
    state = state_of(lambda: time.sleep(10), timeout=1)
    assert (type(state), state.message) == (TimedOut, "Task timed out during execution.")
    assert isinstance(state.result, TaskTimeoutSignal)


# R-PIPE-2, R-SIG-6, table of section 5
@pytest.mark.parametrize("value", [Failed("x"), signals.FAIL("m"), ValueError("bad"), None], ids=repr)
def test_what_a_task_returns_is_a_value(value: Any) -> None:
    state = state_of(lambda: value)
    assert (type(state), state.message) == (Success, "Task run succeeded.")
    assert state.result is value


# R-SIG-1
def test_a_signal_is_not_caught_by_except_exception() -> None:
    def careful() -> Any:
        try:
            raise signals.SKIP("not today")
        except Exception:  # noqa: BLE001
            return "swallowed"

    def careless() -> Any:
        try:
            raise signals.SKIP("not today")
        except:  # noqa: E722
            return "swallowed"

    assert isinstance(state_of(careful), Skipped)
    assert state_of(careless).result == "swallowed"


# R-SIG-5
def test_triggers_and_handlers_may_raise_signals() -> None:
    def refuse(states: Any) -> bool:
        raise signals.SKIP("by the trigger", result=1)

    def veto(obj: Any, old: State, new: State) -> State | None:
        if new.is_successful():
            raise signals.FAIL("by the handler")
        return None

    skipped = state_of(lambda: 1, trigger=refuse)
    assert (type(skipped), skipped.message, skipped.result) == (Skipped, "by the trigger", 1)
    failed = state_of(lambda: 1, state_handlers=[veto])
    assert (type(failed), failed.message) == (Failed, "by the handler")


# R-SIG-9
def test_an_early_exit_is_a_finished_attempt() -> None:
    calls: list[int] = []

    def body() -> Any:
        calls.append(1)
        raise signals.SUCCESS("enough", result=3)

    state = state_of(body, max_retries=3, retry_delay=timedelta(0))
    assert (type(state), state.result, len(calls)) == (Success, 3, 1)


# R-SIG-2
def test_further_arguments_of_a_signal_reach_the_state() -> None:
    state = state_of(raising(signals.FAIL("m", context={"ticket": 7})))
    assert state.context["ticket"] == 7


# R-STATE-5
def test_states_in_a_run_have_the_tags_of_their_task() -> None:
    state = state_of(lambda: 5, tags=["nightly", "heavy"])
    assert sorted(state.context["tags"]) == ["heavy", "nightly"]
    made_inside = state_of(lambda: Success(), tags=["nightly"]).result
    assert made_inside.context == {"tags": ["nightly"]}
    scheduled = state_of(lambda: Retrying("later"), tags=["nightly"]).result
    assert (scheduled.context, scheduled.run_count) == ({"tags": ["nightly"], "task_run_count": 1}, 1)


# R-SIG-8, R-PIPE-4
def test_a_raised_signal_is_logged_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "tenuto"):
        state_of(raising(signals.FAIL("m")))
    assert "FAIL signal raised: FAIL('m')" in caplog.messages


# ------------------------------------------------------------------------------- triggers and skips


def cells(table: dict[str, str]) -> list[tuple[str, str, str]]:
    return [
        (name, letters, answer)
        for name, row in table.items()
        for letters, answer in zip(UPSTREAMS, row.split(), strict=True)
    ]


def outcome(trigger: str, letters: str, skips: bool) -> str:
    with Flow("table") as flow:
        upstreams = [made(letter) for letter in letters]
        options: dict[str, Any] = {"trigger": eval(trigger, vars(triggers)), "skip_on_upstream_skip": skips}
        last = task(lambda: "ran", name="last", **options)(upstream_tasks=upstreams)
    return ANSWERS[type(run(flow).result[last])]


# R-SKIP-1, R-SKIP-2, R-TRIG-2, first table of 4.1
@pytest.mark.parametrize(("name", "letters", "answer"), cells(SKIPPING))
def test_what_becomes_of_a_task_that_follows_skips(name: str, letters: str, answer: str) -> None:
    assert outcome(name, letters, skips=True) == answer


# R-SKIP-5, R-TRIG-2, second table of 4.1
@pytest.mark.parametrize(("name", "letters", "answer"), cells(NOT_SKIPPING))
def test_what_becomes_of_a_task_that_does_not_follow_skips(name: str, letters: str, answer: str) -> None:
    assert outcome(name, letters, skips=False) == answer


# R-SKIP-1, R-SKIP-3
def test_skips_propagate_and_count_as_success() -> None:
    with Flow("skips") as flow:
        first = made("K")
        second = task(lambda x: x, name="second")(first)
        third = task(lambda: 3, name="third")(upstream_tasks=[second])
    state = run(flow)
    assert state.is_successful()
    for follower in (second, third):
        skipped = state.result[follower]
        assert type(skipped) is Skipped
        assert skipped.result is None
        assert skipped.message == (
            "Upstream task was skipped; if this was not the intended behavior, consider changing "
            "`skip_on_upstream_skip=False` for this task."
        )


# R-SKIP-2, D-4
def test_a_skipped_upstream_wins_over_a_failed_one_unless_the_setting_says_otherwise() -> None:
    with Flow("both") as flow:
        last = task(lambda: 1, name="last")(upstream_tasks=[made("F"), made("K")])
    flow.set_reference_tasks([last])
    state = run(flow)
    assert isinstance(state.result[last], Skipped)
    assert state.is_successful()
    with set_temporary_config({"flows.failed_over_skipped": True}):
        state = run(flow)
    assert isinstance(state.result[last], TriggerFailed)
    assert state.is_failed()


@task
def skip_odd(x: int) -> int:
    if x % 2:
        raise signals.SKIP("odd", result=None)
    return x


# R-SKIP-4
def test_skips_of_mapped_tasks_go_child_by_child_and_stop_a_reducer() -> None:
    with Flow("mapped") as flow:
        kept = skip_odd.map([0, 1, 2])
        more = task(lambda x: x + 10, name="more").map(kept)
        total = task(lambda xs: xs, name="total")(more)
        robust = task(lambda xs: xs, name="robust", skip_on_upstream_skip=False)(more)
    state = run(flow)
    assert [type(child) for child in state.result[more].map_states] == [Success, Skipped, Success]
    assert isinstance(state.result[total], Skipped)
    assert state.result[robust].result == [10, None, 12]


# R-SKIP-6
def test_a_task_in_a_case_block_that_ignores_skips_runs_and_is_warned_about() -> None:
    stubborn = task(lambda: "ran", name="stubborn", skip_on_upstream_skip=False)
    with Flow("cases") as flow, pytest.warns(UserWarning, match="skip_on_upstream_skip"):
        with case(task(lambda: False, name="condition")(), True):
            inside = stubborn()
    assert run(flow).result[inside].result == "ran"


# R-TRIG-1
def test_shares_and_counts_of_failed_upstreams() -> None:
    def answer(**bounds: float) -> str:
        with Flow("bounds") as flow:
            ups = [made(letter) for letter in "FSSS"]
            last = task(lambda: 1, name="last", trigger=triggers.some_failed(**bounds))(upstream_tasks=ups)
        return ANSWERS[type(run(flow).result[last])]

    assert [answer(at_least=1), answer(at_least=1.0), answer(at_least=0.25), answer(at_least=0.3)] == list(
        "RTRT"
    )
    assert [answer(at_most=0), answer(at_most=0.25), answer(at_least=2), answer()] == list("TRTR")


@task
def fail_two(x: int) -> int:
    if x == 2:
        raise ValueError("two")
    return x


# R-TRIG-3
def test_a_reducer_sees_all_children_and_a_mapped_task_one_each() -> None:
    with Flow("children") as flow:
        children = fail_two.map([1, 2, 3])
        each = task(lambda x: x, name="each").map(children)
        all_well = task(lambda xs: xs, name="all_well")(children)
        one_failed = task(
            lambda xs: "alarm", name="one", trigger=triggers.some_failed(at_least=1, at_most=1)
        )(children)
    state = run(flow)
    assert [type(child) for child in state.result[each].map_states] == [Success, TriggerFailed, Success]
    assert isinstance(state.result[all_well], TriggerFailed)
    assert state.result[one_failed].result == "alarm"


# R-TRIG-4: observed was that `any_*` fail; the recommendation counts an empty map as no upstream.
@pytest.mark.parametrize("name", list(SKIPPING))
def test_an_empty_map_upstream_stops_nobody(name: str) -> None:
    with Flow("empty") as flow:
        nothing = skip_odd.map([])
        last = task(lambda xs: xs, name="last", trigger=eval(name, vars(triggers)))(nothing)
    state = run(flow)
    assert state.result[nothing].result == []
    assert state.result[last].result == []


# R-TRIG-6, D-3
def test_constants_do_not_decide_a_trigger_and_parameters_do() -> None:
    with Flow("constants") as flow:
        failed = made("F")
        all_failed = task(lambda n: "alarm", name="all", trigger=triggers.all_failed)(
            7, upstream_tasks=[failed]
        )
        any_well = task(lambda n: n, name="any", trigger=triggers.any_successful)(7, upstream_tasks=[failed])
        with_parameter = task(lambda n: n, name="param", trigger=triggers.any_successful)(
            Parameter("n", default=7), upstream_tasks=[failed]
        )
    state = run(flow)
    assert state.result[all_failed].result == "alarm"
    assert isinstance(state.result[any_well], TriggerFailed)
    assert state.result[with_parameter].result == 7


# R-TRIG-6, R-TRIG-7
def test_a_custom_trigger_sees_edges_with_keys_and_constants() -> None:
    seen: list[dict[str | None, tuple[str, str | None]]] = []

    def look(states: Mapping[Edge, State]) -> bool:
        seen.append({edge.key: (type(state).__name__, state.message) for edge, state in states.items()})
        return True

    with Flow("edges") as flow:
        data = task(lambda: 1, name="data")()
        last = task(lambda data, limit: data + limit, name="last", trigger=look)(data, limit=5)
    assert run(flow).result[last].result == 6
    assert seen == [
        {"data": ("Success", "Task run succeeded."), "limit": ("Success", "Auto-generated constant value")}
    ]


# R-TRIG-7
def test_the_trigger_is_asked_once_per_attempt() -> None:
    asked: list[int] = []
    attempts: list[int] = []

    def count(states: Any) -> bool:
        asked.append(1)
        return True

    def flaky() -> int:
        attempts.append(1)
        if len(attempts) < 3:
            raise OSError("not yet")
        return 1

    state = state_of(flaky, trigger=count, max_retries=2, retry_delay=timedelta(0))
    assert state.is_successful()
    assert (len(asked), len(attempts)) == (3, 3)


# R-TRIG-8
def test_the_result_of_a_failed_trigger_is_its_signal_or_error() -> None:
    def broken(states: Any) -> bool:
        raise KeyError("x")

    with Flow("refused") as flow:
        failed = made("F")
        refused = task(lambda: 1, name="refused")(upstream_tasks=[failed])
    state = run(flow).result[refused]
    assert state.message == 'Trigger was "all_successful" but some of the upstream tasks failed.'
    assert isinstance(state.result, signals.TRIGGERFAIL)
    state = state_of(lambda: 1, trigger=broken)
    assert (type(state), state.message) == (
        TriggerFailed,
        "Unexpected error while checking task trigger: KeyError('x')",
    )
    assert repr(state.result) == "KeyError('x')"
    state = state_of(lambda: 1, trigger=lambda states: False)
    assert (type(state), state.message) == (TriggerFailed, "Trigger failed")


def test_manual_only_pauses_and_runs_after_a_resume() -> None:
    body = task(lambda: tenuto.context.get("resume"), name="manual", trigger=triggers.manual_only)
    with Flow("manual") as flow:
        only = body()
    state = run(flow)
    paused = state.result[only]
    assert (type(paused), paused.message) == (Paused, 'Trigger function is "manual_only"')


# R-STATE-8
def test_a_mapped_state_has_its_childrens_states_and_results() -> None:
    with Flow("map") as flow:
        numbers = fail_two.map([1, 2, 3])
    state = run(flow).result[numbers]
    assert isinstance(state, Mapped)
    assert state.n_map_states == 3
    assert [type(child) for child in state.map_states] == [Success, Failed, Success]
    assert state.result[::2] == [1, 3]
    assert repr(state.result[1]) == "ValueError('two')"


# R-FILT-3, D-6
def test_a_filter_drops_signals() -> None:
    with Flow("filter") as flow:
        kept = FilterTask()(task(lambda x: x, name="each").map(skip_odd.map([0, 1, 2])))
    assert run(flow).result[kept].result == [0, 2]


# Section 5, the example
def test_the_example_of_the_specification() -> None:
    @task
    def load(ok: bool) -> dict[str, int]:
        if not ok:
            raise signals.FAIL("no data", result={"rows": 0})
        return {"rows": 12}

    @task(trigger=triggers.any_failed)
    def alarm() -> str:
        return "alarm sent"

    @task(trigger=triggers.all_finished)
    def clean(doc: dict[str, int]) -> int:
        return doc["rows"]

    with Flow("guarded") as flow:
        doc = load(False)
        a = alarm(upstream_tasks=[doc])
        c = clean(doc)
    flow.set_reference_tasks([doc])
    state = run(flow)
    assert state.is_failed()
    assert state.result[doc].message == "no data"
    assert state.result[a].result == "alarm sent"
    assert state.result[c].result == 0


# R-STATE-11: what failed with an exception that cannot be pickled still has a state that can
def test_the_states_of_a_run_can_be_pickled() -> None:
    class Locked(Exception):
        def __reduce__(self) -> str:
            raise TypeError("no")

    with Flow("pickled") as flow:
        bad = task(raising(Locked("door")), name="bad")()
        good = task(lambda: [1], name="good")()
    state = run(flow)
    restored = cloudpickle.loads(cloudpickle.dumps([state.result[bad], state.result[good]]))
    assert "could not be pickled" in restored[0].result
    assert restored[1].result == [1]


def test_a_cached_state_is_a_success_for_what_follows() -> None:
    with Flow("given") as flow:
        first = task(lambda: 1, name="first")()
        last = task(lambda x: x, name="last")(first)
    state = run(flow, task_states={first: Cached(result=5)})
    assert state.result[last].is_successful()
