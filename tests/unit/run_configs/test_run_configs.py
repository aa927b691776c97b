"""Run configs, which hold what an agent needs and go through JSON unchanged."""

import json
import os

import pytest

from tenuto.run_configs import DockerRun, ECSRun, KubernetesRun, LocalRun, RunConfig, UniversalRun, VertexRun

ALL = [
    UniversalRun(env={"A": "1"}, labels=["b", "a"]),
    LocalRun(env={"A": "1"}, working_dir="sub", labels=["a"]),
    DockerRun(image="i", ports=[80], host_config={"auto_remove": True}),
    KubernetesRun(image="i", cpu_limit=0.5, memory_request="1G", image_pull_secrets=["s"], labels={"x"}),
    ECSRun(task_definition={"family": "f"}, cpu="1 vcpu", run_task_kwargs={"cluster": "c"}),
    VertexRun(image="i", scheduling={"timeout": "60s"}),
]


# R-BE-177
@pytest.mark.parametrize("run_config", ALL, ids=lambda run_config: type(run_config).__name__)
def test_a_run_config_goes_through_json_unchanged(run_config: RunConfig) -> None:
    described = json.loads(json.dumps(run_config.serialize()))
    assert described["type"] == type(run_config).__name__
    restored = RunConfig.deserialize(described)
    assert restored == run_config
    assert restored.serialize() == run_config.serialize()


def test_unequal_settings_are_unequal() -> None:
    assert UniversalRun(labels=["a"]) != UniversalRun(labels=["b"])
    assert UniversalRun() != LocalRun()


# R-BE-178
def test_the_working_folder_is_absolute_from_the_start() -> None:
    assert LocalRun(working_dir="sub").working_dir == os.path.join(os.getcwd(), "sub")


def test_a_text_as_labels_is_refused() -> None:
    with pytest.raises(TypeError, match="must be a list"):
        UniversalRun(labels="abc")


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="no kind 'Nope' of run config"):
        RunConfig.deserialize({"type": "Nope"})
