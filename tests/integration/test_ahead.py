"""Children of chained maps that are submitted ahead: that they are, and that nobody can tell by the run."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import tenuto
from tenuto import Flow, Task, task, triggers, unmapped
from tenuto.configuration import config
from tenuto.core.annotations import mapped
from tenuto.engine import signals
from tenuto.engine.results import LocalResult
from tenuto.engine.state import State, Success
from tenuto.executors import Executor, LocalExecutor, RayExecutor
from tenuto.executors.remote import RemoteExecutor
from tenuto.journal.event import Event, Kind
from tenuto.journal.home import Home
from tenuto.journal.logs import read_logs
from tenuto.journal.reader import read_events
from tests.fakes.clusters import PLACES

pytestmark = pytest.mark.usefixtures("clusters")

CLUSTERS = ["dask", "ray"]


@pytest.fixture(params=CLUSTERS)
def executor(request: pytest.FixtureRequest) -> RemoteExecutor:
    return cast(RemoteExecutor, PLACES[request.param]())


class Launches:
    """What an executor launches: name of the task, and whether it comes after others; opens gates by that."""

    def __init__(self, executor: RemoteExecutor, patch: pytest.MonkeyPatch) -> None:
        self.made: list[tuple[str, bool]] = []
        self.names: dict[Any, str] = {}
        self._gates: dict[tuple[str, int], Path] = {}
        self._launch = executor.launch
        patch.setattr(executor, "launch", self._noting)

    def open_at(self, gate: Path, name: str, count: int) -> None:
        """Make a file when a task has been launched so many times."""
        self._gates[name, count] = gate

    def _noting(self, call: Any, shipment: Any, parts: Any, references: Any, facts: Any, handle: Any) -> Any:
        name = self.names[handle] = facts["task_name"]
        reference = self._launch(call, shipment, parts, references, facts, handle)
        self.made.append((name, "after" in facts))
        gate = self._gates.get((name, sum(made == name for made, _ in self.made)))
        if gate is not None:
            gate.touch()
        return reference


def wait_for(gate: Path) -> None:
    """Wait for a file, where nothing else can be waited for: on the worker of a cluster."""
    import time

    for _ in range(2000):
        if gate.exists():
            return
        time.sleep(0.01)
    raise TimeoutError("Nothing was submitted while this was at work.")


def events_of(home: Path) -> list[Event]:
    [folder] = Home(home).run_folders()
    return list(read_events(folder / "1.journal"))


# ------------------------------------------------------------------------------ that they are submitted ahead


def test_links_are_submitted_before_anything_is_heard_of_those_before(
    executor: RemoteExecutor, tmp_path: Path, tenuto_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # R-EXEC-5
    gate, children, heard = tmp_path / "gate", 3, []

    @task
    def first(number: int) -> tuple[int]:
        wait_for(gate)
        return (number,)

    @task
    def follow(value: tuple[int]) -> tuple[int]:
        return (value[0] + 10,)

    @task
    def end(value: tuple[int], other: tuple[int], factor: int) -> int:
        return value[0] * factor + other[0]

    with Flow("chained") as flow:
        a = first.map(list(range(children)))
        b = follow.map(a)
        c = follow.map(b)
        ended = end.map(c, a, unmapped(2))
    launches = Launches(executor, monkeypatch)
    launches.open_at(gate, "end", children)
    arrived = executor.arrived

    def noting_arrival(handle: Any, report: bytes) -> None:
        heard.append(len(launches.made))
        arrived(handle, report)

    monkeypatch.setattr(executor, "arrived", noting_arrival)
    state = flow.run(executor=executor)
    assert state.is_successful(), state.result[a].map_states
    assert state.result[ended].result == [40 + 3 * number for number in range(children)]
    # All links were there before the first report was, and none was submitted twice.
    assert min(heard) == len(launches.made) == 4 * children


def test_link_is_submitted_ahead_again_after_a_retry(
    executor: RemoteExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # R-RETRY-9
    once, twice = tmp_path / "once", tmp_path / "twice"

    @task(max_retries=1, retry_delay=timedelta(0))
    def flaky(number: int) -> int:
        attempt = tenuto.context.task_run_count
        wait_for(once if attempt == 1 else twice)
        if attempt == 1:
            raise OSError("not yet")
        return number

    with Flow("again") as flow:
        ended = task(lambda x: x + 1, name="end").map(task(lambda x: x, name="follow").map(flaky.map([1])))
    launches = Launches(executor, monkeypatch)
    launches.open_at(once, "end", 1)
    launches.open_at(twice, "end", 2)
    assert flow.run(executor=executor).result[ended].result == [2]
    links = [("flaky", False), ("follow", True), ("end", True)]
    assert launches.made == links * 2


def test_report_that_comes_before_those_of_the_links_before_is_held_back(
    executor: RemoteExecutor, tenuto_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # R-LOG-5
    @task
    def talk(number: int) -> int:
        tenuto.context.logger.info("said")
        return number + 1

    with Flow("out of order") as flow:
        names = ["one", "two", "three"]
        links: list[Any] = []
        for name in names:
            links.append(talk.map(links[-1] if links else [0], task_args={"name": name}))
    launches = Launches(executor, monkeypatch)
    held: list[tuple[Any, bytes]] = []
    arrived = executor.arrived

    def arrive_last_first(handle: Any, report: bytes) -> None:
        held.append((handle, report))
        if launches.names[handle] == "three":
            release()

    def release() -> None:
        while held:
            arrived(*held.pop())

    monkeypatch.setattr(executor, "arrived", arrive_last_first)
    in_vain = threading.Timer(30, release)  # Without going ahead, the last one would wait for the first.
    in_vain.start()
    state = flow.run(executor=executor)
    in_vain.cancel()
    in_vain.join()
    assert state.result[links[-1]].result == [3]
    check_order(events_of(tenuto_home), [flow.slugs[cast(Task, each)] for each in links])
    [folder] = Home(tenuto_home).run_folders()
    lines = [(line.message, line.logger) for line in read_logs(folder / "1.logs.jsonl")]
    told = [lines.index((f"Task '{name}[0]': Starting task run...", "tenuto.TaskRunner")) for name in names]
    said = [lines.index(("said", f"tenuto.{name}[0]")) for name in names]
    assert sorted(told + said) == [number for pair in zip(told, said, strict=True) for number in pair]


def test_link_whose_upstream_has_gone_down_with_its_worker_begins_anew(executor: RemoteExecutor) -> None:
    # R-TRIG-3
    @task
    def mortal(number: int) -> int:
        import os
        import signal

        os.kill(os.getpid(), signal.SIGKILL)
        return number

    @task(trigger=triggers.all_finished)
    def look(found: Any) -> str:
        return type(found).__name__

    with Flow("mortal") as flow:
        seen = look.map(mortal.map([1]))
    assert flow.run(executor=executor).result[seen].result == ["WorkerLost"]


def test_executor_that_does_not_go_ahead_is_handed_each_link_when_its_turn_has_come(
    executor: RemoteExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the test above sees is going ahead, and nothing else.
    monkeypatch.setattr(executor, "goes_ahead", False)
    after: list[Any] = []
    launch = executor.launch

    def noting(call: Any, shipment: Any, parts: Any, references: Any, facts: Any, handle: Any) -> Any:
        after.append(facts.get("after"))
        return launch(call, shipment, parts, references, facts, handle)

    monkeypatch.setattr(executor, "launch", noting)
    add = task(lambda x: x + 1, name="add")
    with Flow("one by one") as flow:
        twice = add.map(add.map([1, 2]))
    assert flow.run(executor=executor).result[twice].result == [3, 4]
    assert after == [None] * 4


# ---------------------------------------------------------------------------------------- what must not begin


def test_body_after_anything_but_a_plain_success_is_not_begun_ahead(
    executor: RemoteExecutor, tmp_path: Path, tenuto_home: Path
) -> None:
    # R-MAP-13, R-RETRY-4, R-TRIG-3
    effects = tmp_path / "effects"

    @task(max_retries=1, retry_delay=timedelta(0), retry_on=OSError)
    def act(kind: str) -> str:
        if kind == "skip":
            raise signals.SKIP("not today")
        if kind == "fail":
            raise ValueError("for good")
        if kind == "flaky" and tenuto.context.task_run_count == 1:
            raise OSError("not yet")
        if kind == "succeed":
            raise signals.SUCCESS("at once", result="early")
        if kind == "loop" and tenuto.context.get("task_loop_count", 1) < 3:
            raise signals.LOOP(result="on")
        return kind

    @task
    def follow(value: Any, place: str) -> Any:
        with effects.open("a") as file:
            file.write(f"{place} {value}\n")
        return value

    kinds = ["plain", "skip", "fail", "flaky", "succeed", "loop"]
    with Flow("not begun") as flow:
        first = act.map(kinds)
        second = follow.map(first, unmapped("second"))
        third = follow.map(second, unmapped("third"))
    state = flow.run(executor=executor)
    expected = ["Success", "Skipped", "TriggerFailed", "Success", "Success", "Success"]
    for each in (second, third):
        assert [type(child).__name__ for child in state.result[each].map_states] == expected
    began = [
        f"{place} {kind}" for place in ("second", "third") for kind in ("plain", "flaky", "early", "loop")
    ]
    assert sorted(effects.read_text().splitlines()) == sorted(began)
    # Nothing is recorded Running that did not begin.
    slugs = {flow.slugs[cast(Task, each)] for each in (second, third)}
    running = [(e.slug, e.index) for e in events_of(tenuto_home) if e.slug in slugs and e.state == "Running"]
    assert sorted(running) == sorted((slug, index) for slug in slugs for index in (0, 3, 4, 5))


def test_handler_has_its_say_before_the_next_link_begins(executor: RemoteExecutor, tmp_path: Path) -> None:
    # R-HAND-1
    effects = tmp_path / "effects"

    def refuse(each: Any, old: State, new: State) -> State | None:
        return signals.FAIL("refused").state if type(new) is Success else None

    @task(state_handlers=[refuse])
    def refused(number: int) -> int:
        return number

    @task
    def follow(number: int) -> int:
        effects.touch()
        return number

    with Flow("handled") as flow:
        ended = follow.map(refused.map([1, 2]))
    state = flow.run(executor=executor)
    assert [type(child).__name__ for child in state.result[ended].map_states] == ["TriggerFailed"] * 2
    assert not effects.exists()


def test_what_was_submitted_ahead_is_taken_back_when_the_run_is_broken_off(
    executor: RemoteExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # R-RUN-17
    effects, gate = tmp_path / "effects", tmp_path / "gate"

    @task
    def first(number: int) -> int:
        wait_for(gate)
        return number

    @task
    def follow(number: int) -> int:
        effects.touch()
        return number

    with Flow("broken off") as flow:
        follow.map(first.map([1]))
    references: dict[str, Any] = {}
    launch = executor.launch

    def interrupted(call: Any, shipment: Any, parts: Any, given: Any, facts: Any, handle: Any) -> Any:
        name = facts["task_name"]
        references[name] = launch(call, shipment, parts, given, facts, handle)
        if name == "follow":
            executor._attempts[handle] = (None, references[name])
            raise KeyboardInterrupt
        return references[name]

    monkeypatch.setattr(executor, "launch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        flow.run(executor=executor)
    gate.touch()
    if isinstance(executor, RayExecutor):
        import ray

        with pytest.raises(ray.exceptions.TaskCancelledError):
            executor.fetch(references["follow"])
    else:
        assert references["follow"].status == "cancelled"
    assert not effects.exists()


def test_flow_that_fails_fast_begins_nothing_that_it_could_not_take_back(
    executor: RemoteExecutor, tmp_path: Path
) -> None:
    # R-BE-102
    effects = tmp_path / "effects"

    @task
    def check(number: int) -> int:
        if number == 0:
            raise OSError("broken")
        return number

    @task
    def follow(number: int) -> int:
        with effects.open("a") as file:
            file.write(f"{number}\n")
        return number

    with Flow("stopped", fail_fast=True) as flow:
        ended = follow.map(check.map(list(range(6))))
    state = flow.run(executor=executor)
    # The failure may come before the second map is expanded: then it is cancelled as a whole.
    children = getattr(state.result[ended], "map_states", [])
    states = [type(child).__name__ for child in children]
    begun = effects.read_text().splitlines() if effects.exists() else []
    assert sorted(begun) == [str(number) for number, name in enumerate(states) if name == "Success"]
    assert set(states) <= {"Success", "Cancelled", "TriggerFailed"}


# ---------------------------------------------------------------------------------- the same as anywhere else


def test_results_are_written_where_they_are_written_inline(tmp_path: Path) -> None:
    # R-CKPT-1, R-RES-8
    config.flows.checkpointing = True

    def run_in(place: str) -> tuple[Any, list[str]]:
        folder = tmp_path / place
        add = task(lambda x: x + 10, name="add")
        value: Any = [1, 2]
        with Flow("stored") as flow:
            for location in (None, "{task_name}-{map_index}-of-{flow_name}", "{task_name}-by-{x}", None):
                result = LocalResult(dir=str(folder), location=location) if location else None
                value = add.map(value, task_args={"result": result})
        state = flow.run(executor=PLACES[place]())
        return state.result[value].result, sorted(path.name for path in folder.glob("[!.]*"))

    expected = run_in("inline")
    assert len(expected[1]) == 4
    for place in CLUSTERS:
        assert run_in(place) == expected


@dataclass(frozen=True)
class Link:
    """One map of a chain: what each child does, and what the task is like."""

    kinds: tuple[str, ...]
    trigger: str = "all_successful"
    skips: bool = True
    retries: int = 0
    extra: str = ""
    """A second upstream, the first link: by value (`argument`), by order only (`order`), or none."""
    handled: bool = False
    stored: str = ""
    """Whether values are written: in a `folder`, in one that cannot be written (`broken`), or not."""


KINDS = ["plain", "held", "none", "fail", "flaky", "skip", "skip held", "succeed", "refuse", "loop"]
TRIGGERS = [
    "all_successful",
    "all_finished",
    "any_failed",
    "any_successful",
    "not_all_skipped",
    "of the user",
]


def links(children: int) -> st.SearchStrategy[Link]:
    return st.builds(
        Link,
        kinds=st.tuples(*[st.sampled_from(["plain", "held", *KINDS])] * children),
        trigger=st.sampled_from(["all_successful", *TRIGGERS]),
        skips=st.booleans(),
        retries=st.integers(0, 1),
        extra=st.sampled_from(["", "argument", "order"]),
        handled=st.sampled_from([False, False, False, True]),
        stored=st.sampled_from(["", "", "folder", "broken"]),
    )


chains = st.integers(1, 4).flatmap(lambda children: st.tuples(*[links(children)] * 3))


def of_the_user(upstream_states: Any) -> bool:
    return any(state.is_successful() or state.is_failed() for state in upstream_states.values())


def turned(each: Any, old: State, new: State) -> State | None:
    """Make a success of what has failed for good: a handler may."""
    return Success("turned", result="turned") if new.is_failed() and "for good" in str(new.message) else None


def chain(flow_links: tuple[Link, ...], folder: Path) -> tuple[Flow, list[Any]]:
    def act(before: Any, kinds: tuple[str, ...], other: Any = None) -> Any:
        kind = kinds[tenuto.context.map_index]
        text = f"{kind} of {before!r} and {other!r}"[-200:]
        if kind == "fail":
            raise ValueError("for good")
        if kind == "flaky" and tenuto.context.task_run_count == 1:
            raise OSError("not yet")
        if kind == "skip":
            raise signals.SKIP("not today")
        if kind == "skip held":
            raise signals.SKIP("not today", result=(text,))
        if kind == "succeed":
            raise signals.SUCCESS("at once", result=text)
        if kind == "refuse":
            raise signals.FAIL("as told", result=text)
        if kind == "loop" and tenuto.context.get("task_loop_count", 1) < 2:
            raise signals.LOOP("once more", result=text)
        return {"held": (text,), "none": None}.get(kind, text)

    made: list[Any] = []
    with Flow("chain") as flow:
        value: Any = list(range(len(flow_links[0].kinds)))
        for number, link in enumerate(flow_links):
            options: dict[str, Any] = {"max_retries": link.retries} if link.retries else {}
            if link.retries:
                options["retry_delay"] = timedelta(0)
            trigger = of_the_user if link.trigger == "of the user" else getattr(triggers, link.trigger)
            if link.stored:
                place = folder if link.stored == "folder" else Path("/dev/null")
                options["result"] = LocalResult(
                    dir=str(place / "results"), location="{task_name}-{map_index}"
                )
            each = task(
                act,
                name=f"link {number}",
                trigger=trigger,
                skip_on_upstream_skip=link.skips,
                state_handlers=[turned] if link.handled else [],
                **options,
            )
            given = {"other": made[0]} if made and link.extra == "argument" else {}
            upstream = [mapped(made[0])] if made and link.extra == "order" else None
            value = each.map(value, unmapped(link.kinds), **given, upstream_tasks=upstream)
            made.append(value)
    return flow, made


def told(state: State) -> tuple[str, str | None, str]:
    return type(state).__name__, state.message, repr(state.result)


Told = tuple[list[list[tuple[str, str | None, str]]], dict[tuple[str, int], list[Any]]]


def run_of(flow_links: tuple[Link, ...], executor: Executor, home: Path) -> Told:
    """Run a chain; return the states of its children, and the record of each without times and places."""
    flow, made = chain(flow_links, home)
    config.home_dir = str(home)
    config.flows.checkpointing = True
    state = flow.run(executor=executor)
    events = events_of(home)
    check_order(events, [flow.slugs[each] for each in made])
    recorded: dict[tuple[str, int], list[Any]] = {}
    for event in events:
        if event.kind is Kind.TASK_STATE:
            recorded.setdefault((event.slug, event.index), []).append(
                (
                    *(event.state, event.message, event.cause, event.run_count, event.loop_count),
                    *(event.inputs, event.code, event.result and event.result.sha256),
                    event.error and event.error.type,
                )
            )
    return [[told(child) for child in state.result[each].map_states] for each in made], recorded


def check_order(events: list[Event], slugs: list[str]) -> None:
    """Hold what a journal promises: dense numbers, and no child before those that it follows are final."""
    assert [event.pseq for event in events] == list(range(1, len(events) + 1))
    final: set[tuple[str, int]] = set()
    for event in events:
        if event.slug not in slugs or event.index < 0:
            continue
        number = slugs.index(event.slug)
        assert (event.slug, event.index) not in final
        if number:
            assert (slugs[number - 1], event.index) in final
        if event.state not in ("Running", "Retrying", "Looped"):
            final.add((event.slug, event.index))


@pytest.fixture
def homes(tmp_path: Path) -> Iterator[Path]:
    """Return folders that no run has used, one after the other."""
    return (tmp_path / f"home-{number}" for number in itertools.count())


ALL = tuple(KINDS)


@pytest.mark.parametrize("place", CLUSTERS)
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flow_links=chains)
@example(flow_links=(Link(ALL), Link(("plain",) * len(ALL)), Link(("held",) * len(ALL))))
@example(
    flow_links=(
        Link(("held", "plain"), stored="broken"),
        Link(("held", "plain"), "all_finished"),
        Link(("plain", "held"), stored="folder"),
    )
)
@example(
    flow_links=(
        Link(("held",) * len(ALL)),
        Link(ALL, "all_finished", skips=False, retries=1),
        Link(("plain",) * len(ALL), "all_finished", skips=False, extra="argument"),
    )
)
@example(
    flow_links=(
        Link(ALL, retries=1),
        Link(("held",) * len(ALL), "any_failed", skips=False, extra="order", stored="folder"),
        Link(("plain",) * len(ALL), "not_all_skipped", extra="argument"),
    )
)
def test_chain_is_what_it_is_inline(place: str, flow_links: tuple[Link, ...], homes: Iterator[Path]) -> None:
    # R-MAP-12, R-MAP-13, R-MAP-17
    expected = run_of(flow_links, LocalExecutor(), next(homes))
    found = run_of(flow_links, PLACES[place](), next(homes))
    assert found[0] == expected[0]
    assert found[1] == expected[1]
