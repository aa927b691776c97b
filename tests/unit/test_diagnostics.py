"""What a report of a mistake says about a flow and its surroundings."""

import json
import platform
from typing import Any

import pytest

import tenuto
from tenuto import Flow
from tenuto.run_configs import LocalRun
from tenuto.utilities.configuration import set_temporary_config


def report(**options: Any) -> dict[str, Any]:
    flow = Flow("private name", run_config=LocalRun(), tasks=[tenuto.Task(name="private task")])
    text = flow.diagnostics(**options)
    assert "private" not in text
    found: dict[str, Any] = json.loads(text)
    return found


def test_it_names_versions_and_kinds_of_parts() -> None:
    # R-INV-1: Flow.diagnostics
    found = report()
    assert found["system_information"]["tenuto_version"] == tenuto.__version__
    assert found["system_information"]["python_version"] == platform.python_version()
    assert found["flow_information"]["task_count"] == 1
    assert found["flow_information"]["run_config"] == "LocalRun"
    assert found["flow_information"]["storage"] is None


def test_it_names_what_is_set_and_tells_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENUTO__CONTEXT__SECRETS__canary_name", "canary value")
    monkeypatch.setenv("PREFECT__LOGGING__LEVEL", "canary value")
    settings = {"context.secrets.other_canary": "canary value", "logging.format": "canary value"}
    with set_temporary_config(settings):
        found, full = report(), report(include_secret_names=True)
    assert "canary" not in json.dumps(found)
    assert "logging.format" in found["config_overrides"]
    assert "logging.datefmt" not in found["config_overrides"]
    assert "PREFECT__LOGGING__LEVEL" in found["env_vars"]
    assert "context.secrets.other_canary" in full["config_overrides"]
    assert "TENUTO__CONTEXT__SECRETS__canary_name" in full["env_vars"]
    assert "canary value" not in json.dumps(full)
