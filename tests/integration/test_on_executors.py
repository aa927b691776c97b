"""One suite, the same assertions, on every executor: inline, threads, processes, Dask and Ray."""

from __future__ import annotations

import importlib
import logging
import os
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

import tenuto
from tenuto import Flow, Parameter, Task, case, flatten, resource_manager, task, triggers, unmapped
from tenuto.compat import shim
from tenuto.configuration import config
from tenuto.engine import signals
from tenuto.engine.results import LocalResult
from tenuto.engine.state import State, TimedOut
from tenuto.executors import Executor
from tenuto.journal.home import Home
from tenuto.journal.logs import read_logs
from tenuto.journal.reader import read_events
from tenuto.tasks.control_flow import merge
from tenuto.tasks.secrets import PrefectSecret
from tenuto.utilities.debug import raise_on_exception
from tests.fakes.clusters import PLACES

pytestmark = pytest.mark.usefixtures("clusters")

ELSEWHERE = ["processes", "dask", "ray"]
"""The places where a task runs in another process."""


@pytest.fixture(params=list(PLACES))
def executor(request: pytest.FixtureRequest) -> Executor:
    return PLACES[request.param]()


@pytest.fixture(params=ELSEWHERE)
def remote(request: pytest.FixtureRequest) -> Executor:
    return PLACES[request.param]()


def append(path: Path, text: object) -> None:
    """Note an effect where processes can."""
    with path.open("a") as file:
        file.write(f"{text}\n")


def noted(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


# ------------------------------------------------------------------------------------------- values and graph


def test_values_go_through_the_whole_graph(executor: Executor) -> None:
    # R-EXEC-1, R-EXEC-2, R-MAP-1, R-FLAT-1
    @task
    def table() -> Any:
        return np.arange(200_000)

    @task
    def total(values: Any) -> float:
        return float(values.sum())

    @task(nout=2)
    def halves(values: Any) -> tuple[Any, Any]:
        return values[:100_000], values[100_000:]

    @task
    def rows(number: int) -> list[Any]:
        return [np.full(3, number), np.full(3, -number)]

    with Flow("values") as flow:
        size = Parameter("size", default=3)
        whole = table()
        low, high = halves(whole)
        sums = [total(whole), total(low), total(high)]
        nested = rows.map([1, 2, 3])
        flat = total.map(flatten(nested))
        weighted = task(lambda x, y: x * y, name="weighted").map(flat, unmapped(size))
        chosen = total(nested[1][0])
        together = task(lambda d: {key: type(value).__name__ for key, value in d.items()}, name="together")(
            {"array": low, "number": sums[0]}
        )
    state = flow.run(executor=executor, parameters={"size": 2})
    found = state.result
    assert state.is_successful()
    assert [found[each].result for each in sums] == [19_999_900_000.0, 4_999_950_000.0, 14_999_950_000.0]
    assert found[flat].result == [3.0, -3.0, 6.0, -6.0, 9.0, -9.0]
    assert found[weighted].result == [6.0, -6.0, 12.0, -12.0, 18.0, -18.0]
    assert found[chosen].result == 6.0
    assert found[together].result == {"array": "ndarray", "number": "float"}
    assert found[whole].result.shape == (200_000,)
    assert [child.result[0].tolist() for child in found[nested].map_states] == [[1] * 3, [2] * 3, [3] * 3]


def test_branches_triggers_and_signals(executor: Executor) -> None:
    # R-CASE-1, R-MERGE-1, R-SIG-2, R-SIG-3, R-TRIG-3
    @task
    def act(kind: str) -> str:
        if kind == "skip":
            raise signals.SKIP("not today")
        if kind == "fail":
            raise signals.FAIL("as told", result=["kept"])
        if kind == "succeed":
            raise signals.SUCCESS("at once", result=(1, 2))
        if kind == "error":
            raise KeyError("missing")
        return kind

    @task(trigger=triggers.all_finished, skip_on_upstream_skip=False)
    def look(results: list[Any]) -> list[str]:
        return [type(result).__name__ for result in results]

    with Flow("signals") as flow:
        many = act.map(["plain", "skip", "fail", "succeed", "error"])
        after = act.map(many)
        seen = look(many)
        with case(act("yes"), "yes"):
            taken = act("taken")
        with case(act("yes"), "no"):
            other = act("other")
        merged = merge(taken, other)
        flow.set_reference_tasks([seen, merged])
    state = flow.run(executor=executor)
    assert state.is_successful()
    children = state.result[many].map_states
    assert [type(child).__name__ for child in children] == [
        "Success",
        "Skipped",
        "Failed",
        "Success",
        "Failed",
    ]
    assert [child.message for child in children[1:4]] == ["not today", "as told", "at once"]
    assert (children[2].result, children[3].result) == (["kept"], (1, 2))
    assert children[4].message == "Error during execution of task: KeyError('missing')"
    assert [type(child).__name__ for child in state.result[after].map_states] == [
        "Success",
        "Skipped",
        "TriggerFailed",
        "Success",
        "TriggerFailed",
    ]
    assert state.result[seen].result == ["str", "SKIP", "list", "tuple", "KeyError"]
    assert state.result[merged].result == "taken"
    assert state.result[other].is_skipped()


class Scaler(Task):
    """A task with attributes, and a logger of its own."""

    def __init__(self, factor: float, **options: Any) -> None:
        self.factor = factor
        super().__init__(**options)

    def run(self, value: float) -> float:
        self.logger.info("scaling by %s", self.factor)
        return value * self.factor


def test_task_classes_coroutines_and_resources(executor: Executor, tmp_path: Path) -> None:
    effects = tmp_path / "effects"

    @resource_manager
    class Service:
        def __init__(self, name: str) -> None:
            self.name = name

        def setup(self) -> dict[str, str]:
            append(effects, f"set up {self.name}")
            return {"name": self.name}

        def cleanup(self, resource: dict[str, str]) -> None:
            append(effects, f"cleaned up {resource['name']}")

    @task
    async def later(value: float) -> float:
        import asyncio

        await asyncio.sleep(0)
        return value + 1

    @task
    def use(resource: dict[str, str], value: float) -> tuple[str, float]:
        append(effects, "used")
        return resource["name"], value

    with Flow("kinds") as flow:
        scaled = later(Scaler(1.5, name="scale")(4))
        with Service("database") as service:  # type: ignore[attr-defined]  # the decorator has made it one
            used = use(service, scaled)
    state = flow.run(executor=executor)
    assert state.is_successful()
    assert state.result[used].result == ("database", 7.0)
    assert noted(effects) == ["set up database", "used", "cleaned up database"]


def test_bodies_import_prefect_where_they_run(executor: Executor) -> None:
    # R-REAL-1: the names of Prefect 1, in every process of a run
    shim.install()
    importlib.import_module("prefect")  # As a flow's file does: it prepares what is started from here.

    @task
    def body() -> tuple[bool, str | None]:
        import shutil

        import prefect  # type: ignore[import-not-found]  # found where the test runs
        import prefect.engine.signals  # type: ignore[import-not-found]  # as above

        if prefect.context.get("map_index") == 1:
            raise prefect.engine.signals.SKIP("one")
        return prefect.Flow is tenuto.Flow, shutil.which("prefect")

    with Flow("old names") as flow:
        bodies = body.map(upstream_tasks=[tenuto.mapped([0, 1])])
    first, second = flow.run(executor=executor).result[bodies].map_states
    is_same, command = first.result
    assert is_same
    assert command
    assert second.is_skipped()


def test_hostile_names_and_texts_travel(executor: Executor) -> None:
    texts = ["", "\0", "💥\n\r", "'; --", "{x}", "%s", "a" * 5000, "\ud800"]

    @task(name="näme/../\n%s {0}")
    def same(text: str) -> str:
        return text

    with Flow("hostile {} %s") as flow:
        back = same.map(texts)
    state = flow.run(executor=executor)
    assert state.is_successful()
    assert state.result[back].result == texts


# ------------------------------------------------------------------------------------ context, logs, secrets


def test_context_is_that_of_the_task_run(executor: Executor) -> None:
    # R-CTX-2, R-CTX-3, R-CTX-5
    @task(tags={"red"}, task_run_name="run-{x}")
    def look(x: int) -> dict[str, Any]:
        context = tenuto.context
        keys = ["flow_name", "flow_run_id", "task_name", "task_full_name", "task_slug", "task_run_name"]
        keys += ["task_run_count", "map_index", "today", "own", "given", "checkpointing", "task_tags"]
        return {key: context.get(key) for key in keys} | {"parameters": dict(context.parameters)}

    with Flow("contextual") as flow:
        number = Parameter("number", default=7)
        one = look(number)
        many = look.map([1, 2])
    with tenuto.context(own="mine"):
        state = flow.run(
            executor=executor, context={"given": [1], "today": "2020-02-02"}, flow_run_id="f" * 8
        )
    found = state.result[one].result
    assert found == {
        "flow_name": "contextual",
        "flow_run_id": "f" * 8,
        "task_name": "look",
        "task_full_name": "look",
        "task_slug": flow.slugs[cast(Task, one)],
        "task_run_name": "run-7",
        "task_run_count": 1,
        "map_index": None,
        "today": "2020-02-02",
        "own": "mine",
        "given": [1],
        "checkpointing": False,
        "task_tags": {"red"},
        "parameters": {"number": 7},
    }
    children = state.result[many].result
    assert [child["map_index"] for child in children] == [0, 1]
    assert [child["task_full_name"] for child in children] == ["look[0]", "look[1]"]


def test_logs_come_back_with_their_task_and_without_secrets(
    executor: Executor, tenuto_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # R-LOG-5, R-LOG-6, R-LOG-12
    @task(log_stdout=True)
    def talk(word: str, key: str) -> None:
        tenuto.context.logger.info("said %s with %s", word, key)
        print(f"printed {word}")
        logging.getLogger("tenuto.deep.er").warning("below")

    with Flow("talking") as flow:
        talk.map(["one", "two"], unmapped(PrefectSecret("KEY")))
    with tenuto.context(secrets={"KEY": "correct-horse-battery"}):
        state = flow.run(executor=executor)
    assert state.is_successful()
    [folder] = Home(tenuto_home).run_folders()
    lines = Counter((line.logger, line.message, line.index) for line in read_logs(folder / "1.logs.jsonl"))
    for index, word in enumerate(["one", "two"]):
        assert lines[f"tenuto.talk[{index}]", f"said {word} with ****", index] == 1
        assert lines["tenuto.TaskRunner", f"printed {word}", index] == 1
        assert lines["tenuto.deep.er", "below", index] == 1
    for file in [*folder.rglob("*"), *(tenuto_home / "objects").rglob("*")]:
        assert file.is_dir() or b"correct-horse" not in file.read_bytes(), file


def test_records_below_the_level_stay_where_they_are(executor: Executor, tenuto_home: Path) -> None:
    # R-LOG-10
    @task
    def talk() -> None:
        tenuto.context.logger.debug("whispered")
        tenuto.context.logger.info("said")

    with Flow("quiet") as flow:
        talk()
    assert flow.run(executor=executor).is_successful()
    [folder] = Home(tenuto_home).run_folders()
    messages = [line.message for line in read_logs(folder / "1.logs.jsonl")]
    assert "said" in messages
    assert "whispered" not in messages


def test_handlers_are_called_in_the_flows_process(executor: Executor) -> None:
    # R-HAND-1, R-HAND-2
    seen: list[tuple[str, str, int]] = []

    def note(each: Any, old: State, new: State) -> None:
        seen.append((type(old).__name__, type(new).__name__, os.getpid()))

    @task(state_handlers=[note], max_retries=1, retry_delay=timedelta(0))
    def flaky() -> int:
        if tenuto.context.task_run_count == 1:
            raise OSError("not yet")
        return int(tenuto.context.task_run_count)

    with Flow("handled") as flow:
        result = flaky()
    assert flow.run(executor=executor).result[result].result == 2
    changes = ["Pending Running", "Running Failed", "Failed Retrying", "Retrying Running", "Running Success"]
    assert seen == [(*change.split(), os.getpid()) for change in changes]


# ------------------------------------------------------------------------------- failures, retries, timeouts


class Odd(Exception):
    """Cannot be unpickled: its arguments are not those of its constructor."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        super().__init__(text)


def test_errors_come_back_as_what_they_are(executor: Executor, tenuto_home: Path) -> None:
    # R-PIPE-3
    @task
    def divide(x: int) -> float:
        return 1 / x

    with Flow("failing") as flow:
        bad = divide(0)
    state = flow.run(executor=executor)
    failed = state.result[bad]
    assert isinstance(failed.result, ZeroDivisionError)
    assert failed.message == "Error during execution of task: ZeroDivisionError('division by zero')"
    [folder] = Home(tenuto_home).run_folders()
    [error] = [
        event.error for event in read_events(folder / "1.journal") if event.slug and event.error is not None
    ]
    assert error.type == "ZeroDivisionError"
    assert "return 1 / x" in error.traceback


def test_errors_that_cannot_travel_keep_their_text(executor: Executor) -> None:
    @task
    def fail() -> None:
        raise Odd(3, "an odd one")

    with Flow("odd") as flow:
        bad = fail()
    state = flow.run(executor=executor)
    assert state.result[bad].is_failed()
    assert "an odd one" in str(state.result[bad].message)
    assert isinstance(state.result[bad].result, Exception)


def test_retries_and_loops_count_on(executor: Executor, tmp_path: Path) -> None:
    # R-RETRY-1, R-LOOP-1, R-LOOP-7
    effects = tmp_path / "effects"

    @task(max_retries=3, retry_delay=timedelta(0), retry_on=OSError)
    def flaky(number: int) -> int:
        append(effects, number)
        if tenuto.context.task_run_count <= number:
            raise ConnectionError("again")
        return int(tenuto.context.task_run_count)

    @task
    def count(number: int) -> int:
        reached = tenuto.context.get("task_loop_result", 0)
        if reached < number:
            raise signals.LOOP(f"at {reached}", result=reached + 1)
        return int(reached)

    with Flow("again") as flow:
        tried = flaky.map([0, 2, 5])
        counted = count.map([0, 3])
    state = flow.run(executor=executor)
    children = state.result[tried].map_states
    assert [child.result for child in children[:2]] == [1, 3]
    assert isinstance(children[2].result, ConnectionError)
    assert Counter(noted(effects)) == {"0": 1, "2": 3, "5": 4}
    assert state.result[counted].result == [0, 3]


def test_body_that_takes_too_long_is_timed_out(executor: Executor) -> None:
    # R-TIME-1, R-TIME-2
    @task(timeout=1)
    def sleep(seconds: float) -> str:
        try:
            time.sleep(seconds)
        except Exception:  # noqa: BLE001  # what a timeout must get past
            return "swallowed"
        return "slept"

    with Flow("slow") as flow:
        many = sleep.map([0, 20])
    began = time.monotonic()
    children = flow.run(executor=executor).result[many].map_states
    assert children[0].result == "slept"
    assert isinstance(children[1], TimedOut)
    assert children[1].message == "Task timed out during execution."
    assert time.monotonic() - began < 20  # Nobody waited for its end.


def test_timed_out_body_is_killed_with_what_it_started(remote: Executor, tmp_path: Path) -> None:
    # R-TIME-3, R-TIME-4
    import psutil

    pids = tmp_path / "pids"

    @task(timeout=1)
    def stubborn() -> None:
        import subprocess

        child = subprocess.Popen(["sleep", "600"])
        append(pids, child.pid)
        append(pids, os.getpid())
        while True:
            try:
                time.sleep(600)
            except BaseException:  # noqa: BLE001  # nothing but a kill gets past this
                append(pids, "interrupted")

    @task(timeout=30)
    def signalling() -> None:
        raise signals.SKIP("in time")

    with Flow("stubborn") as flow:
        stuck = stubborn()
        skipped = signalling()
    state = flow.run(executor=remote)
    assert isinstance(state.result[stuck], TimedOut)
    assert state.result[skipped].message == "in time"
    for text in noted(pids):
        if text.isdecimal():
            assert not _is_running(psutil, int(text)), text


def _is_running(psutil: Any, pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_body_that_ends_its_process_fails_its_task_only(remote: Executor, tmp_path: Path) -> None:
    effects = tmp_path / "effects"

    @task
    def mortal(number: int) -> int:
        import signal

        append(effects, number)
        if number == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    @task(trigger=triggers.all_finished)
    def count(numbers: list[Any]) -> int:
        return sum(isinstance(number, int) for number in numbers)

    with Flow("mortal") as flow:
        many = mortal.map(list(range(5)))
        counted = count(many)
    state = flow.run(executor=remote)
    children = state.result[many].map_states
    assert state.result[counted].result == 4
    assert [child.is_failed() for child in children] == [False, False, True, False, False]
    assert "while it ran the task" in str(children[2].message)
    assert "max_retries" in str(children[2].message)


def test_task_whose_process_ends_is_tried_again(remote: Executor, tmp_path: Path) -> None:
    died = tmp_path / "died"

    @task(max_retries=5, retry_delay=timedelta(0))
    def mortal() -> str:
        import signal

        if len(noted(died)) < 5:
            append(died, "once more")
            os.kill(os.getpid(), signal.SIGKILL)
        return "alive"

    with Flow("mortal") as flow:
        result = mortal()
    assert flow.run(executor=remote).result[result].result == "alive"


def test_what_cannot_be_pickled_is_named(remote: Executor) -> None:
    # R-EXEC-2
    import threading

    lock = threading.Lock()

    @task
    def closes() -> bool:
        return lock.locked()

    @task
    def takes(handle: Any) -> None:
        """Never called."""

    with Flow("unpicklable") as flow:
        closed, taken = closes(), takes(threading.Lock())
        fine = task(lambda: 1, name="fine")()
    state = flow.run(executor=remote)
    assert "The variable 'lock', which task 'closes' uses, cannot be sent" in str(
        state.result[closed].message
    )
    assert "The argument 'handle' of task 'takes' cannot be sent" in str(state.result[taken].message)
    assert state.result[fine].result == 1


def test_result_that_cannot_be_pickled_is_told() -> None:
    # R-EXEC-2; on a cluster it stays on its worker
    @task
    def gives() -> Any:
        import threading

        return threading.Lock()

    with Flow("unpicklable") as flow:
        given = gives()
    state = flow.run(executor=PLACES["processes"]())
    assert "The result of the task, a lock, cannot be sent to another process" in str(
        state.result[given].message
    )


def test_failing_fast_takes_back_what_no_worker_has_begun(
    executor: Executor, tmp_path: Path, tenuto_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # R-BE-102, R-CACHE-12
    effects, gate, mended = tmp_path / "effects", tmp_path / "gate", tmp_path / "mended"

    @task
    def check(number: int) -> int:
        append(effects, number)
        if number == 0 and not mended.exists():
            raise OSError("not mended")
        while number and not gate.exists():  # Processes have nothing else to wait for.
            time.sleep(0.01)
        return number

    class Room:
        def cleanup(self, handle: None) -> None:
            append(effects, "cleaned up")

    with Flow("stopped", fail_fast=True) as flow, resource_manager(Room)():
        many = check.map(list(range(40)))

    def withdraw_and_open() -> None:
        withdraw()
        gate.touch()

    withdraw = executor.withdraw
    monkeypatch.setattr(executor, "withdraw", withdraw_and_open)
    state = flow.run(executor=executor)
    assert state.message == "Task 'check[0]' failed, and the flow has fail_fast=True."
    states = [type(child).__name__ for child in state.result[many].map_states]
    begun = [number for number, name in enumerate(states) if name != "Cancelled"]
    assert states[0] == "Failed"
    assert {states[number] for number in begun[1:]} <= {"Success"}
    # Two workers: beside the one that failed, each may hold one that it had begun.
    assert len(begun) <= 3
    assert sorted(noted(effects)) == sorted([*map(str, begun), "cleaned up"])
    assert all(child.cause == "upstream" for child in state.result[many].map_states if child.is_cancelled())

    effects.unlink()
    mended.touch()
    gate.touch()
    state = flow.run(executor=executor, resume="last")
    assert state.result[many].result == list(range(40))
    again = [str(number) for number in range(40) if states[number] != "Success"]
    assert sorted(noted(effects)) == sorted([*again, "cleaned up"])


def test_exceptions_leave_the_run_where_that_was_asked_for(executor: Executor) -> None:
    # R-DBG-1
    @task
    def divide(x: int) -> float:
        return 1 / x

    with Flow("raising") as flow:
        divide(0)
    with raise_on_exception(), pytest.raises(ZeroDivisionError):
        flow.run(executor=executor)


# --------------------------------------------------------------------------------- results, caches, resume


def test_results_are_written_and_targets_found(executor: Executor, tmp_path: Path) -> None:
    # R-TGT-1, R-CKPT-1
    effects, folder = tmp_path / "effects", tmp_path / "results"

    @task(result=LocalResult(dir=str(folder)), target="{task_name}-{x}.pickle")
    def compute(x: int) -> list[int]:
        append(effects, x)
        return [x] * 2000

    @task
    def size(values: list[int]) -> int:
        return len(values)

    with Flow("stored") as flow:
        many = compute.map([1, 2])
        sizes = size.map(many)
    config.flows.checkpointing = True
    assert flow.run(executor=executor).result[sizes].result == [2000, 2000]
    state = flow.run(executor=executor)
    assert state.result[sizes].result == [2000, 2000]
    assert state.result[many].result == [[1] * 2000, [2] * 2000]
    assert sorted(noted(effects)) == ["1", "2"]
    assert sorted(path.name for path in folder.glob("[!.]*")) == ["compute-1.pickle", "compute-2.pickle"]
    assert all(child.is_cached() for child in state.result[many].map_states)


def test_cached_results_are_used_again(executor: Executor, tmp_path: Path) -> None:
    # R-CACHE-1
    effects = tmp_path / "effects"

    @task(cache_for=timedelta(hours=1))
    def compute() -> list[int]:
        append(effects, "computed")
        return [1] * 3000

    with Flow("cached") as flow:
        result = compute()
        length = task(lambda values: len(values), name="length")(result)
    assert flow.run(executor=executor).result[length].result == 3000
    state = flow.run(executor=executor)
    assert state.result[length].result == 3000
    assert state.result[result].is_cached()
    assert noted(effects) == ["computed"]


def test_failed_run_is_continued_without_repeating_anything(executor: Executor, tmp_path: Path) -> None:
    # R-CACHE-11, R-CACHE-12
    effects, mended = tmp_path / "effects", tmp_path / "mended"

    @task
    def make(number: int) -> Any:
        append(effects, f"make {number}")
        return np.full(1000, number)

    @task
    def check(values: Any) -> int:
        append(effects, f"check {values[0]}")
        if values[0] == 2 and not mended.exists():
            raise OSError("not mended")
        return int(values.sum())

    @task
    def add(numbers: list[int]) -> int:
        return sum(numbers)

    with Flow("continued") as flow:
        added = add(check.map(make.map([1, 2, 3])))
    assert flow.run(executor=executor).is_failed()
    assert Counter(noted(effects)) == Counter(
        [f"{what} {number}" for what in ("make", "check") for number in (1, 2, 3)]
    )
    effects.unlink()
    mended.touch()
    state = flow.run(executor=executor, resume="last")
    assert state.result[added].result == 6000
    assert noted(effects) == ["check 2"]


def test_run_begun_in_one_place_is_continued_in_another(executor: Executor, tmp_path: Path) -> None:
    # R-CACHE-12
    effects, mended = tmp_path / "effects", tmp_path / "mended"

    @task
    def make() -> Any:
        append(effects, "made")
        return np.arange(1000)

    @task
    def use(values: Any) -> int:
        if not mended.exists():
            raise OSError("not mended")
        return int(values.sum())

    with Flow("moved") as flow:
        used = use(make())
    assert flow.run(executor=executor).is_failed()
    mended.touch()
    assert flow.run(resume="last").result[used].result == 499_500
    assert noted(effects) == ["made"]


def test_every_run_has_a_record_of_everything(executor: Executor, tenuto_home: Path) -> None:
    @task
    def square(x: int) -> int:
        return x * x

    with Flow("recorded") as flow:
        many = square.map(list(range(30)))
    assert flow.run(executor=executor).is_successful()
    [folder] = Home(tenuto_home).run_folders()
    events = [
        (event.index, event.state)
        for event in read_events(folder / "1.journal")
        if event.slug == flow.slugs[cast(Task, many)] and event.index >= 0
    ]
    assert Counter(events) == {(index, state): 1 for index in range(30) for state in ("Running", "Success")}
    for index in range(30):
        assert events.index((index, "Running")) < events.index((index, "Success"))
