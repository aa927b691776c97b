"""Flows as plain data."""

import json
import subprocess
import sys
import textwrap
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tenuto import Flow, Parameter, Task, mapped, tags, task
from tenuto._base.masking import register_secret
from tenuto.core.nodes import Constant
from tenuto.engine.results import LocalResult
from tenuto.serialization.flow import canonical_graph
from tenuto.triggers import any_failed


@task
def add(x: int, y: "int" = 1, **more: Any) -> int:
    return x + y


def build() -> Flow:
    with Flow("pages") as flow:
        page = Parameter("page", default=3, schema={"type": "integer"})
        with tags("b", "a"):
            first: Any = add(page, 5)
        over: Any = add(mapped([1, 2]), first)
        add(over, upstream_tasks=[3])
    return flow


# R-GRAPH-12
def test_serialized_flow_has_the_documented_keys_and_is_json() -> None:
    described = build().serialize()
    assert {"name", "type", "schedule", "parameters", "tasks", "edges"} <= described.keys()
    assert {"reference_tasks", "run_config", "storage", "__version__", "constants"} <= described.keys()
    assert json.loads(json.dumps(described)) == described
    assert described["name"] == "pages"
    assert described["type"] == "tenuto.core.flow.Flow"
    assert described["schedule"] is None


# R-GRAPH-12
def test_graph_is_told_by_slugs() -> None:
    described = build().serialize()
    assert [one["slug"] for one in described["tasks"]] == [
        "page",
        "add-a-b-1",
        "[1, 2]-1",
        "add-1",
        "3-1",
        "add-2",
    ]
    assert described["edges"][1] == {
        "upstream_slug": "[1, 2]-1",
        "downstream_slug": "add-1",
        "key": "x",
        "mapped": True,
        "flattened": False,
    }
    assert described["constants"] == {"add-a-b-1": {"y": 5}}
    assert described["reference_tasks"] == ["add-2"]
    assert described["parameters"] == [
        {
            "name": "page",
            "slug": "page",
            "type": "tenuto.core.parameter.Parameter",
            "default": 3,
            "required": False,
            "schema": {"type": "integer"},
        }
    ]


# R-GRAPH-12
def test_task_is_told_with_its_options() -> None:
    node = task(
        add.run,
        name="n",
        slug="s",
        tags=["t"],
        max_retries=2,
        retry_delay=timedelta(seconds=90),
        timeout=5,
        trigger=any_failed,
        cache_for=timedelta(hours=1),
        checkpoint=False,
        log_stdout=True,
        nout=2,
        result=LocalResult(location="{x}.bin"),
    )
    described = node.serialize()
    expected = {
        "slug": "s",
        "name": "n",
        "type": "tenuto.core.function.FunctionTask",
        "tags": ["t"],
        "max_retries": 2,
        "retry_delay": 90.0,
        "timeout": 5,
        "trigger": "tenuto.triggers.any_failed",
        "skip_on_upstream_skip": True,
        "cache_for": 3600.0,
        "checkpoint": False,
        "log_stdout": True,
        "nout": 2,
        "target": None,
        "location": "{x}.bin",
        "result": "tenuto.engine.results.local_result.LocalResult",
        "auto_generated": False,
        "inputs": {
            "x": {"type": "int", "default": None, "required": True},
            "y": {"type": "int", "default": 1, "required": False},
        },
        "outputs": "int",
    }
    assert {key: described[key] for key in expected} == expected
    assert (
        task(lambda: 1, result=LocalResult(), target=lambda **kwargs: "x")
        .serialize()["target"]
        .endswith("<lambda>")
    )
    assert Constant([1]).serialize()["value"] == [1]
    assert Parameter("p").serialize()["required"] is True


def test_values_that_are_no_short_json_are_described_in_few_words() -> None:
    class Thing:
        pass

    values: dict[str, Any] = {
        "array": np.zeros((1000, 3)),
        "thing": Thing(),
        "set": {"b", "a"},
        "long": ["x" * 50] * 1000,
        "text": "y" * 10_000,
        "nan": float("nan"),
    }
    flow = Flow("f")
    node = Task(name="n")
    flow.add_task(node)
    flow.constants[node].update(values)
    found = flow.serialize()["constants"]["n-1"]
    assert found["array"] == {"repr": "ndarray of shape (1000, 3)"}
    assert found["set"] == {"repr": "set('a', 'b')"}
    assert found["long"] == {"repr": "list of length 1000"}
    assert found["text"] == {"repr": "str of length 10000"}
    assert "0x" not in found["thing"]["repr"]
    assert found["nan"] == {"repr": "nan"}
    assert all(len(json.dumps(one)) < 300 for one in found.values())


# R-GRAPH-12
def test_hash_is_that_of_what_was_built() -> None:
    flow = build()
    assert flow.serialized_hash() == flow.serialized_hash() == build().serialized_hash()
    assert len(flow.serialized_hash()) == 64
    add(7, flow=flow)
    assert flow.serialized_hash() != build().serialized_hash()


# R-GRAPH-12
def test_hash_is_the_same_in_every_process() -> None:
    source = textwrap.dedent("""
        from tenuto import Flow, task, tags
        def cut(n): return lambda value: value
        class Thing: pass
        thing = Thing()
        @task
        def add(x, y=thing, z=None): return x
        with Flow("f") as flow:
            with tags("c", "a", "b"):
                add({"b", "a", "c"}, thing, z=cut(1))
        print(flow.serialized_hash())
    """)
    hashes = {
        subprocess.run(
            [sys.executable, "-c", source],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path), "HOME": "/nowhere"},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(hashes) == 1


def test_build_needs_a_storage_and_uses_it() -> None:
    flow = build()
    with pytest.raises(ValueError, match="no storage to build"):
        flow.serialize(build=True)

    class Storage:
        built = 0

        def build(self) -> None:
            self.built += 1

        def serialize(self) -> dict[str, Any]:
            return {"type": "Storage"}

    flow.storage = storage = Storage()
    assert flow.serialize(build=True)["storage"] == {"type": "Storage"}
    flow.serialized_hash(build=True)
    flow.serialize()
    assert storage.built == 2


def test_kept_graph_shows_no_known_secret() -> None:
    register_secret("correct horse")
    with Flow("f") as flow:
        add(1, 2, key="correct horse")
    graph = canonical_graph(flow)
    assert b"correct horse" not in graph
    assert json.loads(graph)["constants"]["add-1"]["y"] == 2
    assert flow.serialize()["constants"]["add-1"]["key"] == "correct horse"


def test_parts_without_a_form_of_their_own_are_told_by_their_class() -> None:
    flow = Flow("f", run_config=timedelta(1))
    assert flow.serialize()["run_config"] == {"type": "datetime.timedelta"}


# R-GRAPH-12
def test_option_to_fail_fast_is_part_of_the_flow(tmp_path: Path) -> None:
    fast, slow = Flow("f", fail_fast=True), Flow("f")
    assert (fast.serialize()["fail_fast"], slow.serialize()["fail_fast"]) == (True, False)
    assert fast.serialized_hash() != slow.serialized_hash()
    assert Flow.load(fast.save(tmp_path / "fast.flow")).fail_fast
    assert fast.copy().fail_fast
