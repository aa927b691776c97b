"""Triggers and skips: the pure part, against the tables of outcomes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenuto import context, triggers
from tenuto.core.edge import Edge
from tenuto.core.nodes import Constant
from tenuto.core.task import Task
from tenuto.engine.signals import PAUSE, SKIP, TRIGGERFAIL, PrefectStateSignal
from tenuto.engine.state import (
    Cached,
    Failed,
    Mapped,
    Paused,
    Retrying,
    Skipped,
    State,
    Success,
    TriggerFailed,
)
from tenuto.engine.transitions import check_trigger, check_upstream_skipped

UPSTREAMS = ["", "S", "F", "K", "SS", "SF", "FF", "SK", "KK", "FK"]
STATES: dict[str, Callable[[], State]] = {"S": Success, "F": Failed, "K": Skipped}

# Rows: triggers; columns: UPSTREAMS. R runs, T TriggerFailed, K Skipped. The tables are those observed, but
# for one cell: without upstreams `not_all_skipped` was observed to skip, and runs here (R-TRIG-2).
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
MESSAGES = {
    "all_successful": 'Trigger was "all_successful" but some of the upstream tasks failed.',
    "all_failed": 'Trigger was "all_failed" but some of the upstream tasks succeeded.',
    "any_successful": 'Trigger was "any_successful" but none of the upstream tasks succeeded.',
    "any_failed": 'Trigger was "any_failed" but none of the upstream tasks failed.',
    "not_all_skipped": 'Trigger was "not_all_skipped" but some of the upstream tasks failed.',
    "some_failed": 'Trigger was "some_failed" but thresholds were not met.',
    "some_successful": 'Trigger was "some_successful" but thresholds were not met.',
}


@dataclass(frozen=True)
class Arrow:
    """What a trigger sees of an edge."""

    number: int
    mapped: bool = False


def upstream(*states: State) -> dict[Any, State]:
    return {Arrow(number): state for number, state in enumerate(states)}


def made(letters: str) -> dict[Any, State]:
    return upstream(*(STATES[letter]() for letter in letters))


def trigger_named(name: str) -> Callable[[Mapping[Any, State]], bool]:
    trigger: Callable[[Mapping[Any, State]], bool] = eval(name, vars(triggers))
    return trigger


def outcome(trigger: Callable[[Mapping[Any, State]], bool], states: dict[Any, State], skips: bool) -> str:
    """Decide as the pipeline does: the skip first, then the trigger."""
    task: Any = SimpleNamespace(trigger=trigger, skip_on_upstream_skip=skips)
    state: State | None = check_upstream_skipped(task, states)
    if state is None:
        state, _ = check_trigger(task, states)
    if state is None:
        return "R"
    return "K" if state.is_skipped() else "T"


def cells(table: dict[str, str]) -> list[tuple[str, str, str]]:
    return [
        (name, letters, answer)
        for name, row in table.items()
        for letters, answer in zip(UPSTREAMS, row.split(), strict=True)
    ]


# R-SKIP-1, R-SKIP-2, R-TRIG-2, table 4.1
@pytest.mark.parametrize(("name", "letters", "answer"), cells(SKIPPING))
def test_outcome_of_a_task_that_follows_skips(name: str, letters: str, answer: str) -> None:
    assert outcome(trigger_named(name), made(letters), skips=True) == answer


# R-SKIP-5, R-TRIG-2, table 4.1
@pytest.mark.parametrize(("name", "letters", "answer"), cells(NOT_SKIPPING))
def test_outcome_of_a_task_that_does_not_follow_skips(name: str, letters: str, answer: str) -> None:
    assert outcome(trigger_named(name), made(letters), skips=False) == answer


# R-TRIG-8, messages of section 4
@pytest.mark.parametrize(("name", "letters", "answer"), cells(NOT_SKIPPING))
def test_a_refusing_trigger_says_why(name: str, letters: str, answer: str) -> None:
    if answer == "R":
        assert trigger_named(name)(made(letters)) is True
        return
    with pytest.raises(PrefectStateSignal) as caught:
        trigger_named(name)(made(letters))
    if answer == "K":
        assert type(caught.value) is SKIP
        assert str(caught.value) == "All upstreams were skipped"
        assert caught.value.state.result is None
    else:
        assert type(caught.value) is TRIGGERFAIL
        assert str(caught.value) == MESSAGES[name.partition("(")[0]]
        assert caught.value.state.result is caught.value


def test_unfinished_upstreams_are_not_all_finished() -> None:
    with pytest.raises(TRIGGERFAIL, match="some of the upstream tasks were not finished"):
        triggers.all_finished(upstream(Success(), Retrying()))
    assert triggers.always_run is triggers.all_finished


# R-SKIP-1
def test_the_message_of_a_skipped_task_says_how_to_change_it() -> None:
    task: Any = SimpleNamespace(skip_on_upstream_skip=True)
    state = check_upstream_skipped(task, made("SK"))
    assert isinstance(state, Skipped)
    assert state.message == (
        "Upstream task was skipped; if this was not the intended behavior, consider changing "
        "`skip_on_upstream_skip=False` for this task."
    )
    assert state.result is None


# R-SKIP-2, D-4
def test_a_failed_upstream_wins_over_a_skipped_one_where_the_setting_says_so() -> None:
    task: Any = SimpleNamespace(skip_on_upstream_skip=True)
    assert isinstance(check_upstream_skipped(task, made("FK")), Skipped)
    assert check_upstream_skipped(task, made("FK"), failed_over_skipped=True) is None
    assert isinstance(check_upstream_skipped(task, made("SK"), failed_over_skipped=True), Skipped)


# R-SKIP-4
def test_a_reducing_task_is_skipped_by_one_skipped_child() -> None:
    mapped = Mapped(map_states=[Success(), Skipped(), Success()])
    task: Any = SimpleNamespace(skip_on_upstream_skip=True)
    assert isinstance(check_upstream_skipped(task, upstream(mapped)), Skipped)
    one_to_one: dict[Any, State] = {Arrow(0, mapped=True): mapped}
    assert check_upstream_skipped(task, one_to_one) is None


# R-TRIG-1
@pytest.mark.parametrize(
    ("bounds", "failed", "total", "runs"),
    [
        ({"at_least": 0.5}, 1, 2, True),
        ({"at_least": 0.5}, 1, 3, False),
        ({"at_most": 0.5}, 2, 4, True),
        ({"at_most": 0.5}, 3, 4, False),
        ({"at_least": 1}, 1, 4, True),  # a count
        ({"at_least": 1.0}, 1, 4, False),  # a share: all of them
        ({"at_least": 1.0}, 4, 4, True),
        ({"at_most": 1.0}, 4, 4, True),
        ({"at_most": 1}, 2, 4, False),
        ({"at_least": 2.0}, 2, 4, True),  # beyond 1 a float is a count
        ({"at_least": 0}, 0, 4, True),
        ({"at_least": 0.0}, 0, 4, True),
        ({"at_most": 0}, 1, 4, False),
        ({"at_most": 0}, 0, 4, True),
        ({"at_least": 0.7}, 7, 10, True),  # 0.7 * 10 is more than 7 in binary
        ({"at_most": 0.1}, 1, 10, True),
        ({"at_least": 1, "at_most": 0.5}, 2, 4, True),
        ({"at_least": 1, "at_most": 0.5}, 0, 4, False),
        ({}, 0, 4, True),
        ({}, 4, 4, True),
    ],
)
def test_bounds_are_shares_up_to_one_and_counts_from_there(
    bounds: dict[str, float], failed: int, total: int, runs: bool
) -> None:
    states = upstream(*[Failed() if n < failed else Success() for n in range(total)])
    mirrored = upstream(*[Success() if n < failed else Failed() for n in range(total)])
    assert (outcome(triggers.some_failed(**bounds), states, skips=True) == "R") is runs
    assert (outcome(triggers.some_successful(**bounds), mirrored, skips=True) == "R") is runs


# R-TRIG-2
@pytest.mark.parametrize("name", list(SKIPPING))
def test_without_upstreams_every_trigger_passes(name: str) -> None:
    assert trigger_named(name)({}) is True


# R-TRIG-3
def test_a_mapped_upstream_counts_child_by_child() -> None:
    mapped = Mapped(map_states=[Success(), Failed()])
    assert triggers.any_failed(upstream(mapped)) is True
    assert triggers.some_failed(at_least=0.5)(upstream(mapped)) is True
    with pytest.raises(TRIGGERFAIL):
        triggers.all_successful(upstream(mapped))
    # Along a mapped edge the state is that of the one child that belongs to the task.
    assert triggers.all_successful({Arrow(0, mapped=True): mapped}) is True


# R-TRIG-4: observed was that an empty map fails `any_*`; the recommendation counts it as no upstream.
@pytest.mark.parametrize("name", list(SKIPPING))
def test_an_empty_map_counts_as_no_upstream(name: str) -> None:
    assert trigger_named(name)(upstream(Mapped(map_states=[]))) is True
    both = upstream(Mapped(map_states=[]), Failed())
    assert outcome(trigger_named(name), both, skips=True) == outcome(
        trigger_named(name), made("F"), skips=True
    )


# R-TRIG-5
def test_equal_states_count_separately() -> None:
    states = upstream(Failed("x", result=1), Failed("x", result=1), Success())
    assert triggers.some_failed(at_least=2, at_most=2)(states) is True
    one = Failed()
    assert triggers.some_failed(at_least=2, at_most=2)(upstream(one, one)) is True


# R-TRIG-6, D-3
@pytest.mark.parametrize("name", list(SKIPPING))
def test_constants_do_not_count_for_built_in_triggers(name: str) -> None:
    constant = Edge(Constant(1), Task(name="consumer"), key="x")
    for letters in UPSTREAMS:
        states: dict[Any, State] = {**made(letters), constant: Success("Auto-generated constant value")}
        expected = outcome(trigger_named(name), made(letters), skips=False)
        assert outcome(trigger_named(name), states, skips=False) == expected


# R-TRIG-7
def test_a_custom_trigger_can_look_at_a_single_argument() -> None:
    data, other, consumer = Task(name="data"), Task(name="other"), Task(name="consumer")
    states: dict[Any, State] = {
        Edge(data, consumer, key="data"): Success(),
        Edge(other, consumer, key="limit", mapped=True): Failed(),
    }
    seen = {}

    def data_is_there(upstream_states: Mapping[Edge, State]) -> bool:
        seen.update({edge.key: (edge.upstream_task.name, edge.mapped) for edge in upstream_states})
        return all(state.is_successful() for edge, state in upstream_states.items() if edge.key == "data")

    assert outcome(data_is_there, states, skips=True) == "R"
    assert seen == {"data": ("data", False), "limit": ("other", True)}


# Section 4: falsy answers, signals and errors of a user's trigger
def test_what_a_custom_trigger_may_answer() -> None:
    def decided(trigger: Callable[[Any], Any]) -> State | None:
        task: Any = SimpleNamespace(trigger=trigger)
        return check_trigger(task, {})[0]

    def raising(error: BaseException) -> Callable[[Any], bool]:
        def trigger(states: Any) -> bool:
            raise error

        return trigger

    assert decided(lambda states: "yes") is None
    refused = decided(lambda states: [])
    assert isinstance(refused, TriggerFailed)
    assert refused.message == "Trigger failed"
    paused = decided(raising(PAUSE("wait")))
    assert isinstance(paused, Paused)
    broken = decided(raising(KeyError("x")))
    assert isinstance(broken, TriggerFailed)
    assert broken.message == "Unexpected error while checking task trigger: KeyError('x')"
    assert repr(broken.result) == "KeyError('x')"


@pytest.mark.parametrize("letters", UPSTREAMS)
def test_manual_only_pauses_until_resumed(letters: str) -> None:
    with pytest.raises(PAUSE) as caught:
        triggers.manual_only(made(letters))
    assert caught.value.state.message == 'Trigger function is "manual_only"'
    with context(resume=True):
        assert triggers.manual_only(made(letters)) is True


def test_cached_upstreams_count_as_successful() -> None:
    assert triggers.all_successful(upstream(Cached())) is True


def test_triggers_are_known_by_their_names() -> None:
    for name in triggers.__all__:
        assert getattr(triggers, name).__name__ == ("all_finished" if name == "always_run" else name)
    assert triggers.some_failed(at_least=1).__name__ == "some_failed"
    assert triggers.some_successful(at_least=1).__name__ == "some_successful"


@given(st.lists(st.sampled_from("SFK"), max_size=8), st.permutations(range(8)))
def test_the_order_of_upstreams_never_matters(letters: list[str], order: list[int]) -> None:
    shuffled = [letters[i] for i in order if i < len(letters)]
    for name in SKIPPING:
        for skips in (True, False):
            assert outcome(trigger_named(name), made("".join(letters)), skips) == outcome(
                trigger_named(name), made("".join(shuffled)), skips
            )
