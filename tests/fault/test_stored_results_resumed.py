"""A resume repeats nothing downstream of results at targets, in caches, and in stores of their own."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

import tenuto
from tenuto import Flow, task
from tenuto.engine.result import Result
from tenuto.engine.results import LocalResult
from tenuto.engine.serializers import PickleSerializer
from tenuto.engine.state import Failed, State, Success
from tenuto.triggers import all_finished
from tenuto.utilities.configuration import set_temporary_config

RAN: list[str] = []
BROKEN: set[str] = set()
STORE: dict[str, Any] = {}
HOUR = datetime.timedelta(hours=1)


class Plain:
    """A value that has no digest of its own."""

    def __init__(self, number: int) -> None:
        self.number = number


class StoreResult(Result):
    """A user's own Result, which knows nothing of checksums."""

    def exists(self, location: str, **kwargs: Any) -> bool:
        return location in STORE

    def read(self, location: str) -> Self:
        new = self.copy()
        new.value, new.location = STORE[location], location
        return new

    def write(self, /, value_: Any, **kwargs: Any) -> Self:
        new = self.format(**kwargs)
        assert new.location is not None
        new.value = STORE[new.location] = value_
        return new


def did(name: str) -> None:
    """Note that a task ran, and fail where the test says so."""
    RAN.append(name)
    if name in BROKEN:
        raise OSError(f"{name} is broken")


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    with set_temporary_config({"flows.checkpointing": True}):
        yield
    RAN.clear()
    BROKEN.clear()
    STORE.clear()


VALUES = {
    "small": [1, 2],
    "mapping": {"b": 1, "a": "x" * 5000},
    "bytes": b"\xff" * 5000,
    "object": Plain(3),
}


def broken_then_resumed(flow: Flow) -> list[str]:
    """Run a flow whose last task is broken, mend it, and return what the resume ran."""
    BROKEN.add("last")
    assert flow.run().is_failed()
    BROKEN.clear()
    RAN.clear()
    assert flow.run(resume=True).is_successful()
    return RAN.copy()


def chain(value: Any, **options: Any) -> Flow:
    """Return a flow of three tasks; the first has the options, the last one may be broken."""

    def first() -> Any:
        did("first")
        return value

    @task
    def second(x: Any) -> str:
        did("second")
        return type(x).__name__

    @task
    def last(x: Any) -> Any:
        did("last")
        return x

    with Flow("chain") as flow:
        last(second(task(first, **options)()))
    return flow


@pytest.mark.parametrize("kind", VALUES)
def test_downstream_of_a_target_is_not_repeated(kind: str, tmp_path: Path) -> None:
    flow = chain(VALUES[kind], target="x.p", result=LocalResult(dir=tmp_path))
    assert broken_then_resumed(flow) == ["last"]


@pytest.mark.parametrize("kind", VALUES)
def test_downstream_of_a_target_of_each_run_is_not_repeated(kind: str, tmp_path: Path) -> None:
    flow = chain(VALUES[kind], target="{flow_run_id}.p", result=LocalResult(dir=tmp_path))
    assert broken_then_resumed(flow) == ["last"]


def test_a_target_stored_by_the_flows_result_is_not_repeated(tmp_path: Path) -> None:
    flow = chain(b"x" * 5000, target="{flow_run_id}.p")
    flow.result = LocalResult(dir=tmp_path)
    assert broken_then_resumed(flow) == ["last"]


@pytest.mark.parametrize("kind", VALUES)
def test_downstream_of_a_stored_result_is_not_repeated(kind: str, tmp_path: Path) -> None:
    assert broken_then_resumed(chain(VALUES[kind], result=LocalResult(dir=tmp_path))) == ["last"]


@pytest.mark.parametrize("kind", ["small", "mapping", "bytes"])
def test_downstream_of_a_target_in_a_store_without_checksums_is_not_repeated(kind: str) -> None:
    assert broken_then_resumed(chain(VALUES[kind], target="x", result=StoreResult())) == ["last"]


@pytest.mark.parametrize("kind", VALUES)
def test_downstream_of_a_cached_result_is_not_repeated(kind: str) -> None:
    assert broken_then_resumed(chain(VALUES[kind], cache_for=HOUR)) == ["last"]


@pytest.mark.parametrize("kind", VALUES)
def test_downstream_of_what_another_process_cached_is_not_repeated(kind: str) -> None:
    flow = chain(VALUES[kind], cache_for=HOUR)
    BROKEN.add("last")
    flow.run()
    BROKEN.clear()
    RAN.clear()
    tenuto.context.caches.clear()
    assert flow.run(resume=True).is_successful()
    assert RAN == ["last"]


def test_a_cached_result_is_resumed_after_its_cache_has_expired() -> None:
    flow = chain(b"x" * 5000, cache_for=HOUR)
    BROKEN.add("last")
    flow.run()
    flow.run()  # Takes the cached result of the run before: a resume of it must not need the cache.
    BROKEN.clear()
    RAN.clear()
    tenuto.context.caches.clear()
    home = Path(tenuto.config.home_dir)
    for index in (home / "cache").iterdir():
        index.unlink()
    assert flow.run(resume=True).is_successful()
    assert RAN == ["last"]


def test_another_file_at_the_target_has_downstream_run_again(tmp_path: Path) -> None:
    flow = chain(Plain(3), target="x.p", result=LocalResult(dir=tmp_path))
    BROKEN.add("last")
    flow.run()
    BROKEN.clear()
    RAN.clear()
    os.unlink(tmp_path / ".x.p.meta.json")
    (tmp_path / "x.p").write_bytes(PickleSerializer().serialize(Plain(4)))
    flow.run(resume=True)
    assert RAN == ["second", "last"]


def test_what_a_handler_made_a_failure_is_no_result() -> None:
    fails = [True]

    def refuse(_: Any, old: State, new: State) -> State:
        return Failed("refused") if isinstance(new, Success) and fails[0] else new

    @task(state_handlers=[refuse])
    def first() -> int:
        return 1

    @task(trigger=all_finished)
    def last(x: Any) -> str:
        did("last")
        return type(x).__name__

    with Flow("refused") as flow:
        result = last(first())
        flow.set_reference_tasks([flow.get_tasks("first")[0]])
    assert flow.run().is_failed()
    fails.clear()
    fails.append(False)
    state = flow.run(resume=True)
    assert state.result[result].result == "int"
