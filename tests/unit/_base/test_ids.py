"""Ids sort by age, follow from run and slug, and are valid UUIDs."""

import os
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenuto._base import ids
from tenuto._base.ids import new_flow_run_id, task_run_id


def test_flow_run_ids_sort_by_age_and_are_unique() -> None:
    made = [new_flow_run_id() for _ in range(5000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert {(uuid.UUID(one).version, uuid.UUID(one).variant) for one in made} == {(7, uuid.RFC_4122)}
    assert made[0] == str(uuid.UUID(made[0]))


def test_flow_run_ids_keep_growing_when_the_clock_steps_back(monkeypatch: pytest.MonkeyPatch) -> None:
    first = new_flow_run_id()
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000)
    assert new_flow_run_id() > first


def test_flow_run_ids_keep_growing_when_a_millisecond_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = ids._FlowRunIds()
    monkeypatch.setattr(time, "time_ns", lambda: 5_000_000)
    first = counter.new()
    counter._low = (1 << 74) - 1
    assert counter.new() > first
    assert uuid.UUID(counter.new()).version == 7


def test_flow_run_ids_of_threads_are_unique() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: new_flow_run_id(), range(2000)))
    assert len(set(made)) == len(made)


def test_flow_run_id_carries_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 0x0123_4567_89AB * 1_000_000)
    assert ids._FlowRunIds().new().startswith("01234567-89ab-7")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only systems that fork")
def test_forked_process_does_not_continue_its_parents_counter() -> None:
    ids._flow_run_ids._millisecond = 1 << 47  # far ahead: both processes would count on inside it
    try:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(write, new_flow_run_id().encode())
            os._exit(0)
        os.waitpid(child, 0)
        made = os.read(read, 100).decode()
        os.close(read)
        os.close(write)
    finally:
        ids._flow_run_ids.restart()
    assert made < new_flow_run_id()


@given(st.uuids(), st.text(max_size=20), st.integers(min_value=-1, max_value=10**6))
def test_task_run_ids_follow_from_run_and_slug(run: uuid.UUID, slug: str, index: int) -> None:
    name = slug if index < 0 else f"{slug}[{index}]"
    assert task_run_id(str(run), slug, index) == str(uuid.uuid5(run, name))


def test_task_run_ids_of_runs_with_free_ids_are_stable_and_different() -> None:
    one = task_run_id("my run", "load-1")
    assert one == task_run_id("my run", "load-1")
    assert one != task_run_id("your run", "load-1")
    assert uuid.UUID(one).version == 5
    assert task_run_id("é" * 32, "x") == task_run_id("é" * 32, "x")
