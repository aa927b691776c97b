"""Results, targets and caches as runs of flows use them."""

import contextlib
import json
import logging
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tenuto
from tenuto import Flow, Parameter, task
from tenuto.engine import signals
from tenuto.engine.cache_validators import (
    all_inputs,
    all_parameters,
    duration_only,
    never_use,
    partial_inputs_only,
    partial_parameters_only,
)
from tenuto.engine.result import Result, ResultNotImplementedError
from tenuto.engine.results import LocalResult, PrefectResult, SecretResult
from tenuto.engine.serializers import JSONSerializer
from tenuto.engine.state import Cached, Failed, Mapped, State, Success
from tenuto.tasks.secrets import EnvVarSecret
from tenuto.utilities.configuration import set_temporary_config

NOW = timedelta(0)
HOUR = timedelta(hours=1)


@contextlib.contextmanager
def checkpointing() -> Iterator[None]:
    with set_temporary_config({"flows.checkpointing": True}):
        yield


def run(flow: Flow, **kwargs: Any) -> State:
    state = flow.run(**kwargs)
    assert isinstance(state, State)
    return state


def one(body: Callable[..., Any], **options: Any) -> tuple[Flow, Any]:
    """Return a flow `one` of one task `only`, and the task."""
    with Flow("one") as flow:
        only = task(body, name="only", **options)()
    return flow, only


def files(folder: Path) -> list[str]:
    """Return the files below a folder, sidecars left out, as paths relative to it."""
    found = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return sorted(str(path.relative_to(folder)) for path in found)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


class Counter:
    """A task body that counts its calls."""

    def __init__(self, value: Any = "value") -> None:
        self.calls = 0
        self.value = value

    def body(self) -> Callable[[], Any]:
        def call() -> Any:
            self.calls += 1
            return self.value

        return call


# ------------------------------------------------------------------------------------ checkpointing


# R-CKPT-1
@pytest.mark.parametrize(
    ("setting", "in_context", "checkpoint", "value", "written"),
    [
        (False, None, None, 5, False),
        (True, None, None, 5, True),
        (True, None, True, 5, True),
        (True, None, False, 5, False),
        (True, None, None, None, False),
        (True, None, None, 0, True),
        (False, True, None, 5, True),
        (True, False, None, 5, False),
    ],
)
def test_a_result_is_written_when_all_conditions_hold(
    out: Path, setting: bool, in_context: bool | None, checkpoint: bool | None, value: Any, written: bool
) -> None:
    flow, only = one(lambda: value, result=LocalResult(dir=out, location="x"), checkpoint=checkpoint)
    given = {} if in_context is None else {"context": {"checkpointing": in_context}}
    with set_temporary_config({"flows.checkpointing": setting}):
        state = run(flow, **given).result[only]
    assert (type(state), state.result) == (Success, value)
    assert state._result.location == (str(out / "x") if written else None)
    assert out.exists() is written


# R-CKPT-1
def test_checkpointing_is_off_by_default(out: Path) -> None:
    flow, only = one(lambda: 5, result=LocalResult(dir=out))
    assert run(flow).result[only].result == 5
    assert not out.exists()


# R-CKPT-2
def test_the_tasks_result_comes_before_the_flows(out: Path) -> None:
    @task
    def plain() -> int:
        return 1

    @task(result=LocalResult(dir=out / "task", location="own"))
    def special() -> int:
        return 2

    with Flow("both", result=LocalResult(dir=out / "flow", location="{task_name}.p")) as flow:
        plain()
        special()
    with checkpointing():
        run(flow)
    assert files(out) == ["flow/plain.p", "task/own"]


# R-CKPT-2, table of section 9
def test_a_result_of_the_flow_serves_each_task(out: Path) -> None:
    result = LocalResult(dir=out, location="{task_name}.p")
    with Flow("several", result=result) as flow:
        a = task(lambda: 1, name="a")()
        task(lambda x: x + 1, name="b")(a)
        task(lambda: None, name="c")()
    with checkpointing():
        run(flow)
    assert files(out) == ["a.p", "b.p"]
    assert result.read("b.p").value == 2
    assert result == LocalResult(dir=out, location="{task_name}.p")  # R-RES-2


# R-CKPT-3
def test_a_base_result_writes_nothing_and_fails_nothing() -> None:
    for options in ({}, {"result": Result()}, {"result": Result(location="{nokey}")}):
        flow, only = one(lambda: 5, **options)
        with checkpointing():
            state = run(flow).result[only]
        assert (type(state), state.result, type(state._result)) == (Success, 5, Result)


# R-CKPT-4
def test_the_state_carries_value_and_final_location(out: Path) -> None:
    flow, only = one(lambda: [1], result=LocalResult(dir=out, location="{task_name}/{flow_name}.p"))
    with checkpointing():
        written = run(flow).result[only]._result
    assert (type(written), written.value, written.location) == (LocalResult, [1], str(out / "only" / "one.p"))
    unwritten = run(flow).result[only]._result
    assert (unwritten.value, unwritten.location) == ([1], None)


# R-CKPT-5
@pytest.mark.parametrize("attempts", [1, 3])
def test_a_value_that_cannot_be_written_fails_the_task_with_retries(out: Path, attempts: int) -> None:
    counter = Counter(value=object())
    options: dict[str, Any] = {"max_retries": attempts - 1, "retry_delay": NOW} if attempts > 1 else {}
    flow, only = one(counter.body(), result=LocalResult(dir=out, serializer=JSONSerializer()), **options)
    with checkpointing():
        state = run(flow).result[only]
    assert type(state) is Failed
    assert state.message == "Unexpected error: TypeError('Object of type object is not JSON serializable')"
    assert counter.calls == attempts
    assert not files(out)


# R-CKPT-5
def test_a_result_folder_that_is_a_file_fails_the_task_and_harms_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    flow, only = one(lambda: 5, result=LocalResult(dir=tmp_path / "taken"))
    with checkpointing():
        state = run(flow).result[only]
    assert type(state) is Failed
    assert str(state.message).startswith("Unexpected error: NotADirectoryError(20, 'Not a directory')")
    assert (tmp_path / "taken").read_text() == "mine"


# R-CKPT-5, I-17: a full disk
def test_a_full_disk_fails_the_task_and_keeps_earlier_results(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = iter([[1], [2]])
    result = LocalResult(dir=out, location="x")
    flow, only = one(lambda: next(values), result=result)
    with checkpointing():
        assert run(flow).is_successful()
        replace = os.replace

        def full(source: str, destination: str) -> None:
            if str(destination).startswith(str(out)):
                raise OSError(28, "No space left on device")
            replace(source, destination)

        monkeypatch.setattr(os, "replace", full)
        state = run(flow).result[only]
    assert (type(state), state.message) == (
        Failed,
        "Unexpected error: OSError(28, 'No space left on device')",
    )
    assert result.read("x").value == [1]


# R-CKPT-6, table of section 9
def test_a_fixed_location_is_overwritten_and_never_a_reason_not_to_run(out: Path) -> None:
    counter = Counter()
    result = LocalResult(dir=out, location="fixed")
    flow, only = one(counter.body(), result=result)
    with checkpointing():
        for number in (1, 2):
            counter.value = number
            state = run(flow).result[only]
            assert (type(state), state.message) == (Success, "Task run succeeded.")
            assert result.read("fixed").value == number
    assert counter.calls == 2
    assert files(out) == ["fixed"]


# R-CKPT-7
def test_parameters_secrets_and_constants_are_not_written(
    out: Path, monkeypatch: pytest.MonkeyPatch, tenuto_home: Path
) -> None:
    monkeypatch.setenv("TOKEN", "hunter2")
    with Flow("kinds", result=LocalResult(dir=out, location="{task_name}")) as flow:
        n = Parameter("n", default=4)
        token = EnvVarSecret("TOKEN")
        task(lambda n, token, c: n, name="use")(n, token, [1, 2])
    assert isinstance(n.result, PrefectResult)
    assert isinstance(token.result, SecretResult)
    with checkpointing():
        state = run(flow)
    assert state.result[n]._result.location == "4"
    assert files(out) == ["use"]
    written = b"".join(path.read_bytes() for path in tenuto_home.rglob("*") if path.is_file())
    assert b"hunter2" not in written


# R-CKPT-8
def test_each_mapped_child_writes_its_own_result(out: Path) -> None:
    square = task(lambda x: x * x, name="square", result=LocalResult(dir=out, location="{map_index}-{x}.p"))
    with Flow("map") as flow:
        squares = square.map([3, 4])
    with checkpointing():
        state = run(flow).result[squares]
    assert files(out) == ["0-3.p", "1-4.p"]
    assert isinstance(state, Mapped)
    assert (state.result, state._result.location) == ([9, 16], None)
    assert [child._result.location for child in state.map_states] == [str(out / "0-3.p"), str(out / "1-4.p")]


# R-CKPT-8
def test_children_that_overwrite_each_other_are_warned_about(
    out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    square = task(lambda x: x * x, name="square", result=LocalResult(dir=out, location="same.p"))
    with Flow("map") as flow:
        square.map([3, 4])
    with checkpointing(), caplog.at_level(logging.WARNING, "tenuto"):
        run(flow)
    assert files(out) == ["same.p"]
    assert "map_index" in caplog.text


# R-CKPT-9
def test_checkpoint_true_changes_nothing(out: Path) -> None:
    flow, _ = one(lambda: 5, result=LocalResult(dir=out), checkpoint=True)
    run(flow)
    assert not out.exists()


# R-SIG-4
@pytest.mark.parametrize(
    ("signal", "written"),
    [
        (signals.SUCCESS("m", result=5), True),
        (signals.SKIP("m", result=5), False),
        (signals.FAIL("m", result=5), False),
        (signals.VALIDATIONFAIL("m", result=5), False),
    ],
    ids=repr,
)
def test_of_signals_only_successes_are_written(out: Path, signal: BaseException, written: bool) -> None:
    def body() -> Any:
        raise signal

    flow, only = one(body, result=LocalResult(dir=out, location="x"))
    with checkpointing():
        state = run(flow).result[only]
    assert state.result == 5
    assert state.message == "m"
    assert out.exists() is written
    assert state._result.location == (str(out / "x") if written else None)


# Table of section 9
def test_what_raises_is_not_written(out: Path) -> None:
    flow, only = one(lambda: 1 / 0, result=LocalResult(dir=out))
    with checkpointing():
        assert type(run(flow).result[only]) is Failed
    assert not out.exists()


# R-LOC-5, D-1, table of section 9
def test_the_default_name_is_made_from_the_time(tenuto_home: Path) -> None:
    flow, only = one(lambda: 5, result=LocalResult())
    with checkpointing():
        location = run(flow).result[only]._result.location
    assert os.path.dirname(location) == str(tenuto_home / "results")
    pattern = r"^(prefect|tenuto)-result-\d{4}-\d\d-\d\dt\d\d-\d\d-\d\d-\d{6}-00-00$"
    assert re.match(pattern, os.path.basename(location))


# R-LOC-7
def test_a_result_is_read_while_another_flow_is_built(out: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2]})
    flow, _ = one(lambda: {"train": frame}, result=LocalResult(dir=out, location="data"))
    with checkpointing():
        run(flow)
    with Flow("second") as second:
        data = LocalResult(dir=out).read(location="data").value
        total = task(lambda x: int(x["a"].sum()), name="total")(data["train"])
    assert run(second).result[total].result == 3


# ---------------------------------------------------------------------------------------- templates


# R-RES-8
def test_a_location_is_filled_with_parameters_context_and_inputs(out: Path) -> None:
    @task(result=LocalResult(dir=out, location="{n}-{where}-{today}-{x}-{task_full_name}-{task_slug}.p"))
    def only(x: int) -> int:
        return x

    with Flow("named") as flow:
        flow.add_task(Parameter("n", default=4))
        flow.add_task(Parameter("unused", default=1))
        only(x=3)
    with checkpointing():
        run(flow, context={"today": "2020-02-02", "where": "here"}, parameters={"n": 5})
    assert files(out) == ["5-here-2020-02-02-3-only-only-1.p"]


# R-RES-8
def test_inputs_hide_context_and_context_hides_parameters(out: Path) -> None:
    result = LocalResult(dir=out, location="{flow_name}-{date}.p")

    @task(result=result)
    def only(date: str) -> str:
        return date

    with Flow("hidden") as flow:
        flow.add_task(Parameter("flow_name", default="parameter"))
        only(date="input")
    with checkpointing():
        run(flow)
    assert files(out) == ["hidden-input.p"]


# R-RES-8, S-12
@pytest.mark.parametrize(
    "template", ["{data}", "{config}", "{logger}", "{parameters}", "{x.__class__}", "{x!r}"]
)
def test_only_plain_values_and_names_fill_a_location(out: Path, template: str) -> None:
    @task(result=LocalResult(dir=out, location=template))
    def only(data: list[int], x: int) -> list[int]:
        return data

    with Flow("plain") as flow:
        last = only(data=[1], x=1)
    with checkpointing():
        state = run(flow).result[last]
    assert type(state) is Failed
    assert str(state.message).startswith("Unexpected error: TemplateError(")
    assert not out.exists()


# R-RES-5
def test_a_missing_key_fails_the_task_after_its_run_with_retries(out: Path) -> None:
    counter = Counter()
    flow, only = one(
        counter.body(), result=LocalResult(dir=out, location="{nokey}"), max_retries=1, retry_delay=NOW
    )
    with checkpointing():
        state = run(flow).result[only]
    assert (type(state), state.message, counter.calls) == (Failed, "Unexpected error: KeyError('nokey')", 2)


# R-RES-5
def test_a_missing_key_of_a_target_fails_the_task_before_its_run(out: Path) -> None:
    counter = Counter()
    flow, only = one(
        counter.body(), result=LocalResult(dir=out), target="{nokey}", max_retries=1, retry_delay=NOW
    )
    with checkpointing():
        state = run(flow).result[only]
    assert (type(state), state.message, counter.calls) == (Failed, "Unexpected error: KeyError('nokey')", 0)


# R-RES-10
def test_functions_as_location_and_target_get_the_values(out: Path) -> None:
    @task(result=LocalResult(dir=out, location=lambda **values: f"{values['task_name']}-{values['x']}.p"))
    def located(x: int) -> int:
        return x

    @task(
        result=LocalResult(dir=out), target=lambda task_name, **values: f"target-{task_name}-{values['x']}.p"
    )
    def targeted(x: int) -> int:
        return x

    with Flow("functions") as flow:
        located(1)
        second = targeted(2)
    with checkpointing():
        run(flow)
        assert run(flow).result[second].is_cached()
    assert files(out) == ["located-1.p", "target-targeted-2.p"]


# R-RES-11
def test_an_input_named_self_does_not_disturb_a_target(out: Path) -> None:
    def body(**kwargs: Any) -> int:
        return 5

    with Flow("selfish") as flow:
        last = task(body, name="only", result=LocalResult(dir=out), target="{task_name}.p")
        flow.set_dependencies(last, keyword_tasks={"self": 3})
    with checkpointing():
        state = run(flow)
    assert state.is_successful(), state.result[last].message


# R-RES-9, S-12: the seed's template
def test_a_dated_target_is_shared_by_the_tasks_of_one_run(out: Path) -> None:
    target = "{date:%a_%b_%d_%Y_%H-%M-%S}/{task_name}_output"
    with Flow("dated", result=LocalResult(dir=out)) as flow:
        task(lambda: 1, name="get_classes", target=target)()
        task(lambda: 2, name="split_data", target=target)()
    moment = datetime(2021, 12, 21, 16, 26, 44, tzinfo=UTC)
    with checkpointing():
        run(flow, context={"date": moment})
    assert files(out) == [
        "Tue_Dec_21_2021_16-26-44/get_classes_output",
        "Tue_Dec_21_2021_16-26-44/split_data_output",
    ]


# ------------------------------------------------------------------------------------------ targets


# R-TGT-1
def test_a_task_with_a_target_has_a_result_at_that_location(out: Path) -> None:
    result = LocalResult(dir=out)

    @task(result=result, target="{task_name}.p")
    def only() -> int:
        return 1

    assert only.result is not None
    assert only.result is not result
    assert (only.result.location, result.location) == ("{task_name}.p", None)


# R-TGT-1
def test_a_result_of_the_flow_takes_the_tasks_target(out: Path) -> None:
    result = LocalResult(dir=out, location="flow")
    with Flow("flows", result=result) as flow:
        only = task(lambda: 5, name="only", target="{task_name}.target")()
    with checkpointing():
        run(flow)
        assert run(flow).result[only].is_cached()
    assert files(out) == ["only.target"]
    assert result.location == "flow"


# R-TGT-2, R-TGT-4, table of section 9
def test_a_target_is_written_once_and_then_read(out: Path) -> None:
    counter = Counter([1, 2])
    flow, only = one(counter.body(), result=LocalResult(dir=out), target="{flow_name}/x.p")
    with checkpointing():
        first, second = run(flow).result[only], run(flow).result[only]
    assert (type(first), first.message) == (Success, "Task run succeeded.")
    assert (type(second), second.result, second.cached_result_expiration) == (Cached, [1, 2], None)
    assert re.match(r"Result found at task target .*one/x\.p$", second.message)
    assert counter.calls == 1
    assert files(out) == ["one/x.p"]


# R-TGT-3, table of section 9
def test_a_target_is_read_and_not_written_without_checkpointing(
    out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    counter = Counter()
    flow, only = one(counter.body(), result=LocalResult(dir=out), target="x.p")
    with caplog.at_level(logging.WARNING, "tenuto"):
        assert type(run(flow).result[only]) is Success
    assert not out.exists()
    assert "checkpointing is off" in caplog.text
    with checkpointing():
        run(flow)
    assert type(run(flow).result[only]) is Cached
    assert counter.calls == 2


# R-TGT-5
def test_a_dated_target_differs_between_runs(out: Path) -> None:
    counter = Counter()
    flow, _ = one(counter.body(), result=LocalResult(dir=out), target="{date:%H-%M-%S-%f}.p")
    with checkpointing():
        run(flow)
        run(flow)
    assert (counter.calls, len(files(out))) == (2, 2)


# R-TGT-6: observed was a failure; a result that cannot be read is made again (reliability 3.6).
@pytest.mark.parametrize("damage", [b"", b"not a pickle", b"\x80\x05truncat"])
@pytest.mark.parametrize("sidecar", [True, False])
def test_a_damaged_target_is_made_again_with_a_warning(
    out: Path, caplog: pytest.LogCaptureFixture, damage: bytes, sidecar: bool
) -> None:
    counter = Counter([1])
    flow, only = one(counter.body(), result=LocalResult(dir=out), target="x.p")
    with checkpointing():
        run(flow)
        (out / "x.p").write_bytes(damage)
        if not sidecar:
            (out / ".x.p.meta.json").unlink()
        with caplog.at_level(logging.WARNING, "tenuto"):
            state = run(flow).result[only]
        assert (type(state), state.result, counter.calls) == (Success, [1], 2)
        assert "x.p" in caplog.text
        assert run(flow).result[only].is_cached()


# R-TGT-6, I-12: other bytes of the same length
def test_a_target_that_was_changed_is_not_believed(out: Path, caplog: pytest.LogCaptureFixture) -> None:
    counter = Counter([1])
    flow, only = one(
        counter.body(), result=LocalResult(dir=out, serializer=JSONSerializer()), target="x.json"
    )
    with checkpointing():
        run(flow)
        (out / "x.json").write_bytes(b"[2]")
        state = run(flow).result[only]
    assert (type(state), state.result, counter.calls) == (Success, [1], 2)
    assert "its content is not what was written" in caplog.text


def test_a_target_placed_by_hand_counts(out: Path) -> None:
    out.mkdir()
    (out / "x.json").write_text('{"by": "hand"}')
    counter = Counter()
    flow, only = one(
        counter.body(), result=LocalResult(dir=out, serializer=JSONSerializer()), target="x.json"
    )
    state = run(flow).result[only]
    assert (type(state), state.result, counter.calls) == (Cached, {"by": "hand"}, 0)


# R-TGT-7: observed was a failure; the recommendation warns and runs.
def test_a_target_without_a_result_to_write_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "tenuto"):
        flow, only = one(lambda: 5, target="x.p")
        with checkpointing():
            state = run(flow).result[only]
    assert (type(state), state.result) == (Success, 5)
    assert "target" in caplog.text
    assert issubclass(ResultNotImplementedError, NotImplementedError)


# R-TGT-8: observed was that None is never written; the recommendation writes it where a target is set.
def test_none_is_written_to_a_target(out: Path) -> None:
    counter = Counter(None)
    flow, only = one(counter.body(), result=LocalResult(dir=out), target="x.p")
    with checkpointing():
        run(flow)
        state = run(flow).result[only]
    assert (type(state), state.result, counter.calls) == (Cached, None, 1)


# R-TGT-9: observed was a relative location; the recommendation gives the absolute one in both cases.
def test_the_location_of_a_target_is_absolute_when_written_and_when_read(out: Path) -> None:
    flow, only = one(lambda: 5, result=LocalResult(dir=out), target="{task_name}/x.p")
    with checkpointing():
        locations = [run(flow).result[only]._result.location for _ in range(2)]
    assert locations == [str(out / "only" / "x.p")] * 2


# R-TGT-10
def test_a_target_knows_inputs_only_by_its_template(out: Path) -> None:
    with Flow("inputs", result=LocalResult(dir=out)) as flow:
        n = Parameter("n", default=1)
        blind = task(lambda n: n, name="blind", target="blind.p")(n)
        seeing = task(lambda n: n, name="seeing", target="seeing-{n}.p")(n)
    with checkpointing():
        run(flow)
        state = run(flow, parameters={"n": 2})
    assert (state.result[blind].result, state.result[seeing].result) == (1, 2)


# R-TGT-10
def test_mapped_children_without_a_variable_share_the_first_ones_target(
    out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Flow("shared", result=LocalResult(dir=out)) as flow:
        shared = task(lambda x: x, name="shared", target="same.p").map([1, 2, 3])
        own = task(lambda x: x, name="own", target="{map_index}.p").map([1, 2, 3])
    with checkpointing():
        state = run(flow)
    assert state.result[shared].result == [1, 1, 1]
    assert state.result[own].result == [1, 2, 3]
    assert "map_index" in caplog.text


# R-TGT-11
def test_targets_are_checked_for_each_child_and_attempt(out: Path) -> None:
    calls: list[int] = []
    result = LocalResult(dir=out)

    def flaky(x: int) -> int:
        calls.append(x)
        if x == 2 and calls.count(2) == 1:
            result.write_by_hand = True  # type: ignore[attr-defined]  # a mark for the reader below
            raise OSError("not yet")
        return x * 10

    with Flow("children") as flow:
        each = task(flaky, name="each", result=result, target="{x}.p", max_retries=1, retry_delay=NOW).map(
            [1, 2, 3]
        )
    with checkpointing():
        LocalResult(dir=out, location="3.p").write(333)
        state = run(flow).result[each]
    assert [type(child) for child in state.map_states] == [Success, Success, Cached]
    assert (state.result, calls) == ([10, 20, 333], [1, 2, 2])


# R-TGT-11
def test_a_target_that_appears_before_a_retry_is_used(out: Path) -> None:
    calls: list[int] = []

    def body() -> int:
        calls.append(1)
        LocalResult(dir=out, location="x.p").write("by another")
        raise OSError("not yet")

    flow, only = one(body, result=LocalResult(dir=out), target="x.p", max_retries=2, retry_delay=NOW)
    with checkpointing():
        state = run(flow).result[only]
    assert (type(state), state.result, len(calls)) == (Cached, "by another", 1)


# R-TGT-12
def test_a_task_with_a_target_does_not_look_into_the_cache(out: Path) -> None:
    counter = Counter()
    flow, only = one(counter.body(), result=LocalResult(dir=out), target="x.p", cache_for=HOUR)
    run(flow)
    assert type(run(flow).result[only]) is Cached  # by `cache_for`, after it ran
    assert counter.calls == 2


# R-PIPE-5
def test_a_trigger_may_refuse_a_task_whose_target_exists(out: Path) -> None:
    LocalResult(dir=out, location="x.p").write(5)
    with Flow("refused", result=LocalResult(dir=out)) as flow:
        bad = task(lambda: 1 / 0, name="bad")()
        only = task(lambda: 1, name="only", target="x.p")(upstream_tasks=[bad])
        late = task(lambda: 1, name="late", target="x.p", trigger=tenuto.triggers.any_failed)(
            upstream_tasks=[bad]
        )
    state = run(flow)
    assert type(state.result[only]).__name__ == "TriggerFailed"
    assert (type(state.result[late]), state.result[late].result) == (Cached, 5)


# ------------------------------------------------------------------------------------------- caches


def cached_flow(counter: Callable[..., Any], name: str = "cached", **options: Any) -> tuple[Flow, Any]:
    with Flow(name) as flow:
        n, env = Parameter("n", default=1), Parameter("env", default="prod")
        only = task(counter, name="only", **{"cache_for": HOUR, **options})(n, env)
    return flow, only


def counting() -> tuple[list[Any], Callable[..., Any]]:
    calls: list[Any] = []

    def body(x: Any, env: str) -> Any:
        calls.append(x)
        return ("made", x)

    return calls, body


# R-CACHE-1
def test_a_cached_success_says_how_long_and_for_what(tmp_path: Path) -> None:
    _, body = counting()
    flow, only = cached_flow(body)
    before = datetime.now(UTC)
    state = run(flow).result[only]
    assert (type(state), state.message, state.is_successful()) == (Cached, "Task run succeeded.", True)
    assert before + HOUR <= state.cached_result_expiration <= datetime.now(UTC) + HOUR
    assert state.cached_parameters == {"n": 1, "env": "prod"}
    assert set(state.hashed_inputs) == {"x", "env"}


# R-CACHE-1
def test_a_skipped_run_is_not_cached() -> None:
    def body() -> Any:
        raise signals.SKIP("not today", result=None)

    flow, only = one(body, cache_for=HOUR)
    assert type(run(flow).result[only]).__name__ == "Skipped"


# R-CACHE-2
def test_caches_are_in_the_context_and_shared_by_flows_of_the_process() -> None:
    calls, body = counting()
    first, _ = cached_flow(body, cache_key="shared")
    second, only = cached_flow(body, name="another", cache_key="shared")
    run(first)
    assert [type(state) for state in tenuto.context.caches["shared"]] == [Cached]
    assert run(second).result[only].result == ("made", 1)
    assert calls == [1]


# R-CACHE-2
def test_a_task_is_cached_under_its_name_by_default() -> None:
    calls, body = counting()
    flow, _ = cached_flow(body)
    run(flow)
    run(flow)
    assert list(tenuto.context.caches) == ["only"]
    assert calls == [1]


# R-CACHE-2, R-CACHE-10
def test_expired_results_are_dropped() -> None:
    calls, body = counting()
    flow, only = cached_flow(body, cache_for=timedelta(microseconds=1))
    for _ in range(3):
        assert type(run(flow).result[only]) is Cached
    assert len(calls) == 3
    assert len(tenuto.context.caches["only"]) == 1


# R-CACHE-3: observed was that the list grows with each run; the recommendation keeps it free of duplicates.
def test_using_the_cache_does_not_make_it_grow() -> None:
    calls, body = counting()
    flow, _ = cached_flow(body)
    for _ in range(4):
        run(flow)
    assert len(tenuto.context.caches["only"]) == 1
    assert calls == [1]


# R-CACHE-4
def test_candidates_are_tried_in_order_and_a_miss_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    tried: list[tuple[Any, dict[str, Any], dict[str, Any]]] = []

    def validator(state: Cached, inputs: Mapping[str, Any], parameters: Mapping[str, Any]) -> bool:
        tried.append((state.result, dict(inputs), dict(parameters)))
        return bool(state.result == ("made", inputs["x"]))

    calls, body = counting()
    flow, only = cached_flow(body, cache_validator=validator)
    message = "Task 'only': Can't use cache because it is now invalid"
    with caplog.at_level(logging.DEBUG, "tenuto"):
        run(flow)
        # The very first run has no candidate: DEBUG by the recommendation, where a WARNING was observed.
        assert [r.levelno for r in caplog.records if r.getMessage() == message] in ([], [logging.DEBUG])
        caplog.clear()
        run(flow, parameters={"n": 2})
        assert logging.WARNING in [r.levelno for r in caplog.records if r.getMessage() == message]
    tried.clear()
    assert run(flow, parameters={"n": 2}).result[only].result == ("made", 2)
    assert [result for result, _, _ in tried][:2] == [("made", 1), ("made", 2)]
    assert tried[0][1:] == ({"x": 2, "env": "prod"}, {"n": 2, "env": "prod"})
    assert calls == [1, 2]


# R-CACHE-5
def test_a_cached_state_given_to_the_run_is_validated() -> None:
    calls, body = counting()
    flow, only = cached_flow(body, cache_validator=all_parameters)
    expires = datetime.now(UTC) + HOUR
    valid = Cached(
        result="given", cached_parameters={"n": 1, "env": "prod"}, cached_result_expiration=expires
    )
    assert run(flow, task_states={only: valid}).result[only].result == "given"
    invalid = Cached(result="given", cached_parameters={"n": 9}, cached_result_expiration=expires)
    assert run(flow, task_states={only: invalid}).result[only].result == ("made", 1)
    assert calls == [1]


# R-CACHE-6
def test_failures_are_not_cached() -> None:
    calls: list[int] = []

    def body() -> None:
        calls.append(1)
        raise ValueError("bad")

    flow, only = one(body, cache_for=HOUR)
    for _ in range(2):
        assert type(run(flow).result[only]) is Failed
    assert len(calls) == 2


# R-CACHE-7
def test_mapped_children_share_a_key_and_are_told_apart_by_their_inputs() -> None:
    calls: list[int] = []

    def body(x: int) -> int:
        calls.append(x)
        return x * 10

    with Flow("map") as flow:
        numbers = Parameter("numbers", default=[1, 2])
        each = task(body, name="each", cache_for=HOUR, cache_validator=all_inputs).map(numbers)
        lazy = task(lambda x: x, name="lazy", cache_for=HOUR, cache_validator=duration_only).map(numbers)
    run(flow)
    state = run(flow, parameters={"numbers": [2, 3]})
    assert state.result[each].result == [20, 30]
    assert calls == [1, 2, 3]
    assert state.result[lazy].result == [1, 1]  # every child takes the first valid candidate


# R-CACHE-8
def test_tasks_of_one_name_share_a_cache_in_the_process() -> None:
    one_calls, one_body = counting()
    other_calls, other_body = counting()
    run(cached_flow(one_body)[0])
    run(cached_flow(other_body, name="other")[0])
    assert (len(one_calls), len(other_calls)) == (1, 0)


VALIDATORS: dict[str, tuple[Callable[..., bool] | None, bool, bool]] = {
    # validator: is the cache used with another `n` (input and parameter), with another `env` (parameter only)
    "never_use": (never_use, False, False),
    "default": (None, True, True),
    "duration_only": (duration_only, True, True),
    "all_inputs": (all_inputs, False, True),
    "all_parameters": (all_parameters, False, False),
    "partial_inputs_only": (partial_inputs_only(["x"]), False, True),
    "partial_inputs_only of nothing": (partial_inputs_only(), True, True),
    "partial_parameters_only": (partial_parameters_only(["env"]), True, False),
    "partial_parameters_only of nothing": (partial_parameters_only(), True, True),
}


# R-CACHE-4, the table of validators
@pytest.mark.parametrize("name", VALIDATORS)
def test_what_each_validator_lets_pass(name: str) -> None:
    validator, other_n, other_env = VALIDATORS[name]
    calls: list[int] = []

    def body(x: Any) -> Any:
        calls.append(x)
        return x

    with Flow("validated") as flow:
        n = Parameter("n", default=1)
        flow.add_task(Parameter("env", default="prod"))
        task(body, name="only", cache_for=HOUR, cache_validator=validator)(n)

    def is_used(**parameters: Any) -> bool:
        tenuto.context.pop("caches", None)
        run(flow)
        calls.clear()
        run(flow, parameters=parameters)
        return not calls

    with set_temporary_config({"flows.keep_results": "never"}):
        assert is_used() is (name != "never_use")
        assert is_used(n=2) is other_n
        assert is_used(env="test") is other_env


# R-CACHE-9
@pytest.mark.parametrize(
    ("one_input", "equal", "other"),
    [
        ([1, {"a": (2, 3)}], [1, {"a": (2, 3)}], [1, {"a": (2, 4)}]),
        (np.arange(4), np.arange(4), np.arange(5)),
        (pd.DataFrame({"a": [1.5]}), pd.DataFrame({"a": [1.5]}), pd.DataFrame({"a": [2.5]})),
        ({"x": "text"}, {"x": "text"}, {"x": "test"}),
    ],
    ids=["containers", "arrays", "frames", "texts"],
)
def test_equal_data_is_the_same_input(one_input: Any, equal: Any, other: Any) -> None:
    calls: list[int] = []

    def body(x: Any) -> int:
        calls.append(1)
        return len(calls)

    only = task(body, name="only", cache_for=HOUR, cache_validator=all_inputs)
    results = []
    for value in (one_input, equal, other):
        with Flow("digests") as flow:
            last = only(task(lambda value=value: value, name="source")())
        results.append(run(flow).result[last].result)
    assert results == [1, 1, 2]


CACHING_SCRIPT = """
import sys
from datetime import timedelta
from tenuto import Flow, Parameter, task
from tenuto.engine.cache_validators import all_inputs

@task(cache_for=timedelta(hours=1), cache_validator=all_inputs)
def slow(x):
    open(sys.argv[1], "a").write(f"{x}\\n")
    return {"made of": x}

with Flow("across") as flow:
    s = slow(Parameter("n"))

state = flow.run(parameters={"n": int(sys.argv[2])})
assert state.is_successful(), state.message
assert state.result[s].result == {"made of": int(sys.argv[2])}
assert state.result[s].is_cached()
"""


# R-CACHE-2, R-CACHE-9, R-CACHE-11: across processes
def test_a_cache_holds_across_processes(tmp_path: Path) -> None:
    script, calls = tmp_path / "script.py", tmp_path / "calls"
    script.write_text(CACHING_SCRIPT)
    for n in (1, 1, 2, 1, 2):
        subprocess.run([sys.executable, str(script), str(calls), str(n)], check=True, capture_output=True)
    assert calls.read_text().split() == ["1", "2"]
    script.write_text(CACHING_SCRIPT.replace('"made of": x', '"made of": x + 0'))  # other code
    subprocess.run([sys.executable, str(script), str(calls), "1"], check=True, capture_output=True)
    assert calls.read_text().split() == ["1", "2", "1"]


# R-CACHE-11
def test_kept_results_do_not_show_as_a_location(tenuto_home: Path) -> None:
    with Flow("kept") as flow:
        small = task(lambda: 5, name="small")()
        large = task(lambda: np.arange(10_000), name="large")()
        private = task(lambda: np.arange(10_000), name="private", checkpoint=False)()
    state = run(flow)
    assert [state.result[t]._result.location for t in (small, large, private)] == [None] * 3
    kept = [path for path in tenuto_home.rglob("kept/*") if path.is_file()]
    assert len(kept) == 1
    assert kept[0].stat().st_size >= 80_000


# R-CACHE-11
def test_what_cannot_be_pickled_is_not_kept_and_fails_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def generator() -> Any:
        yield 1

    flow, only = one(generator)
    with caplog.at_level(logging.DEBUG, "tenuto"):
        assert run(flow).result[only].is_successful()
    assert len([r for r in caplog.records if "only" in r.getMessage() and "kept" in r.getMessage()]) == 1


# R-CACHE-12, all three ways
def test_finished_work_is_reused_in_retries_with_task_states_and_on_resume() -> None:
    calls: list[str] = []
    broken = True

    def first() -> int:
        calls.append("first")
        return 1

    def second(x: int) -> int:
        calls.append("second")
        if broken:
            raise OSError("not yet")
        return x + 1

    with Flow("continued") as flow:
        a = task(first, name="first")()
        b = task(second, name="second", max_retries=1, retry_delay=NOW)(a)
    failed = run(flow)
    assert failed.is_failed()
    assert calls == ["first", "second", "second"]
    broken = False
    calls.clear()
    assert run(flow, task_states={a: failed.result[a]}).result[b].result == 2
    assert calls == ["second"]
    broken = True
    run(flow)
    broken = False
    calls.clear()
    assert run(flow, resume=True).result[b].result == 2
    assert calls == ["second"]


# The example of section 9
def test_the_example_of_the_specification(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    out = LocalResult(dir="out")

    @task(result=out, target="{flow_name}/{task_name}-{n}.pickle")
    def squares(n: Any) -> list[int]:
        return [i * i for i in range(n)]

    @task(result=LocalResult(dir="out", location="{today}/total.json", serializer=JSONSerializer()))
    def total(xs: list[int]) -> int:
        return sum(xs)

    with Flow("sums") as flow:
        n = Parameter("n", default=4)
        s = squares(n)
        t = total(s)
    with checkpointing():
        first, second = run(flow), run(flow)
    assert first.result[s].message == "Task run succeeded."
    assert second.result[s].is_cached()
    assert os.path.exists("out/sums/squares-4.pickle")
    assert out.read("sums/squares-4.pickle").value == [0, 1, 4, 9]
    assert second.result[t].result == 14
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    assert json.loads((tmp_path / "out" / today / "total.json").read_text()) == 14


# R-LOC-9
def test_a_written_result_can_be_read_by_other_tools(out: Path) -> None:
    flow, _ = one(lambda: {"a": 1}, result=LocalResult(dir=out, location="x.p"))
    with checkpointing():
        run(flow)
    assert pickle.loads((out / "x.p").read_bytes()) == {"a": 1}


# S-10
def test_pickles_are_refused_in_a_run_where_the_setting_says_so(out: Path) -> None:
    flow, only = one(lambda: 5, result=LocalResult(dir=out), target="x.p")
    with set_temporary_config({"flows.checkpointing": True, "results.pickle": "off"}):
        state = run(flow).result[only]
    assert type(state) is Failed
    assert "results.pickle" in str(state.message)
    assert not files(out)
