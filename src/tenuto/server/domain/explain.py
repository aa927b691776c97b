"""Why a run does not start: from what is known of it and of the agents (R-BE-58). Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tenuto.journal.states import FINAL_STATES
from tenuto.server.domain.labels import covers

__all__ = ["AgentFacts", "Reason", "RunFacts", "why_not_running"]

_NEAREST = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """
    A run.

    Attributes:
        due: when it may start; None: not before somebody says so.
        owner: the agent that has claimed it.
        is_local: whether it was begun without the server, which starts no such run.
        runs_at_once: how many runs of its flow may be under way; 0: any number.
        under_way: names of those that are.
    """

    state: str
    due: datetime | None
    labels: Collection[str]
    owner: str = ""
    is_local: bool = False
    runs_at_once: int = 0
    under_way: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFacts:
    """An agent: its labels, its `status` (`tenuto.server.domain.agents`), and the room that it has."""

    name: str
    status: str
    labels: Collection[str] = ()
    any_label: bool = False
    run_limit: int = 0
    run_count: int = 0

    @property
    def is_full(self) -> bool:
        """Whether it has as many runs as it takes."""
        return bool(self.run_limit) and self.run_count >= self.run_limit


@dataclass(frozen=True, slots=True)
class Reason:
    """
    A reason.

    Attributes:
        code: for programs.
        message: for people; what can be done is in it.
        names: of agents, or of runs, that it is about.
        missing_labels: what the nearest agent lacks.
    """

    code: str
    message: str
    names: list[str] = field(default_factory=list)
    missing_labels: list[str] = field(default_factory=list)


def why_not_running(run: RunFacts, agents: Sequence[AgentFacts], now: datetime) -> list[Reason]:
    """Return why a run is not running; of a run that waits, all that keeps it, or that nothing does."""
    if run.state in FINAL_STATES:
        return [Reason("ended", f"It has ended: {run.state}.")]
    if run.state in ("Running", "Cancelling"):
        return [Reason("running", f"It has started: {run.state}.")]
    if run.is_local:
        return [Reason("began-elsewhere", "It began without the server: only its own machine continues it.")]
    if run.state == "Paused":
        return [Reason("paused", "It is paused, and waits for somebody to resume it.")]
    if run.state in ("Submitted", "Queued"):
        owner = run.owner or "an agent"
        return [Reason("claimed", f"It was handed to {owner}, which starts it.", [owner])]
    reasons = []
    if run.due is None or run.due > now:
        when = "" if run.due is None else f": it may start at {run.due:%Y-%m-%d %H:%M:%S} UTC"
        reasons.append(Reason("not-due", f"Its time has not come{when}. Start it now, or wait."))
    if run.runs_at_once and len(run.under_way) >= run.runs_at_once:
        count = len(run.under_way)
        message = f"{count} runs of its flow are under way, and no more may be at once: {run.runs_at_once}."
        reasons.append(Reason("flow-limit", message, list(run.under_way)))
    reasons += _of_agents(run, agents)
    return reasons or [Reason("none", "Nothing keeps it: the next agent that asks for runs gets it.")]


def _of_agents(run: RunFacts, agents: Sequence[AgentFacts]) -> list[Reason]:
    """Return why no agent takes a run, if none does: the first reason of those that follow each other."""
    alive = [agent for agent in agents if agent.status != "offline"]
    matching = [agent for agent in alive if covers(agent.labels, run.labels, any_label=agent.any_label)]
    if not alive:
        return [Reason("no-agent", "No agent is there. Start one.")]
    if not matching:
        return [_labels_differ(run, alive)]
    heard = [agent for agent in matching if agent.status != "stale"]
    if not heard:
        message = "The agents with its labels have not been heard of for a minute. Are they running?"
        return [Reason("agents-silent", message, _names(matching))]
    awake = [agent for agent in heard if agent.status != "paused"]
    if not awake:
        return [Reason("agents-paused", "The agents with its labels are paused.", _names(heard))]
    if all(agent.is_full for agent in awake):
        message = "The agents with its labels have as many runs as they take at once."
        return [Reason("agents-full", message, _names(awake))]
    return []


def _labels_differ(run: RunFacts, agents: Sequence[AgentFacts]) -> Reason:
    if not run.labels:
        message = "It has no labels, and all agents have some: they take it if started with --any-label."
        return Reason("labels", message, _names(agents[:_NEAREST]))
    wanted = set(run.labels)
    nearest = sorted(agents, key=lambda agent: (len(wanted - set(agent.labels)), agent.name))[:_NEAREST]
    missing = sorted(wanted - set(nearest[0].labels))
    shown, lacking = ", ".join(sorted(wanted)), ", ".join(missing)
    message = f"No agent covers its labels ({shown}). {nearest[0].name} comes nearest: it lacks {lacking}."
    return Reason("labels", message, _names(nearest), missing)


def _names(agents: Sequence[AgentFacts]) -> list[str]:
    return [agent.name for agent in agents]
