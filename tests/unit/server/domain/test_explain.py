"""Why a run does not start."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tenuto.server.domain.explain import AgentFacts, RunFacts, why_not_running

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def agent(**facts: Any) -> AgentFacts:
    return AgentFacts(**{"name": "n", "status": "healthy", "labels": ("x",), **facts})


def codes(run: RunFacts, *agents: AgentFacts) -> list[str]:
    return [reason.code for reason in why_not_running(run, agents, NOW)]


def waiting(**facts: Any) -> RunFacts:
    return RunFacts(**{"state": "Scheduled", "due": NOW, "labels": ["x"], **facts})


@pytest.mark.parametrize(
    ("agents", "code"),
    [
        ([], "no-agent"),
        ([agent(status="offline")], "no-agent"),
        ([agent(labels=("y",))], "labels"),
        ([agent(labels=())], "labels"),
        ([agent(status="stale")], "agents-silent"),
        ([agent(status="paused")], "agents-paused"),
        ([agent(run_limit=2, run_count=2)], "agents-full"),
        ([agent(run_limit=2, run_count=1)], "none"),
        ([agent(status="paused"), agent(run_limit=1, run_count=1)], "agents-full"),
        ([agent(status="paused"), agent(labels=("x", "y"))], "none"),
    ],
)
def test_what_agents_are_there_decides(agents: list[AgentFacts], code: str) -> None:
    # R-BE-58
    assert codes(waiting(), *agents) == [code]


def test_all_that_keeps_it_is_told() -> None:
    # R-BE-58
    run = waiting(due=NOW + timedelta(hours=1), runs_at_once=1, under_way=["busy-fox"])

    reasons = why_not_running(run, [agent(labels=("y", "z"), name="far")], NOW)

    assert [reason.code for reason in reasons] == ["not-due", "flow-limit", "labels"]
    assert "2026-03-01 13:00:00 UTC" in reasons[0].message
    assert reasons[1].names == ["busy-fox"]


def test_the_agent_that_lacks_least_is_named_with_what_it_lacks() -> None:
    run = waiting(labels=["gpu", "x", "y"])

    (reason,) = why_not_running(run, [agent(name="far"), agent(name="near", labels=("x", "y"))], NOW)

    assert (reason.names, reason.missing_labels) == (["near", "far"], ["gpu"])
    assert "near" in reason.message
    assert "gpu" in reason.message


def test_a_run_without_labels_is_for_agents_without_or_of_any() -> None:
    # R-BE-77, R-BE-78
    run = waiting(labels=[])
    assert codes(run, agent()) == ["labels"]
    assert codes(run, agent(any_label=True)) == ["none"]
    assert codes(run, agent(labels=())) == ["none"]


@pytest.mark.parametrize(
    ("run", "code"),
    [
        (waiting(state="Success"), "ended"),
        (waiting(state="Running"), "running"),
        (waiting(state="Paused"), "paused"),
        (waiting(state="Submitted", owner="n"), "claimed"),
        (waiting(is_local=True), "began-elsewhere"),
        (waiting(due=None), "not-due"),
    ],
)
def test_what_does_not_wait_for_an_agent_says_so(run: RunFacts, code: str) -> None:
    assert codes(run, agent()) == [code]
