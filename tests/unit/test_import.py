"""What the bare import offers, and what it must not load."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tenuto

# What `from tenuto import *` gives.
NAMES = {
    "Client",
    "Flow",
    "Parameter",
    "Task",
    "api",
    "apply_map",
    "case",
    "config",
    "context",
    "flatten",
    "mapped",
    "models",
    "plugins",
    "resource_manager",
    "tags",
    "task",
    "unmapped",
}
# Reachable as attributes besides.
SUB_PACKAGES = {
    "agent",
    "artifacts",
    "backend",
    "client",
    "configuration",
    "core",
    "engine",
    "exceptions",
    "executors",
    "run_configs",
    "schedules",
    "serialization",
    "storage",
    "tasks",
    "triggers",
    "utilities",
}


def python(code: str) -> str:
    """Run `code` in a process of its own, in which nothing of ours is loaded yet; return what it printed."""
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("TENUTO__", "PREFECT__"))
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_names_are_there_without_further_import() -> None:
    # R-INV-2
    names = sorted(NAMES | SUB_PACKAGES)
    assert python(f"import tenuto; print([n for n in {names} if not hasattr(tenuto, n)])") == "[]"


def test_star_import_gives_the_names() -> None:
    # R-INV-3
    code = (
        "before = set(globals()); from tenuto import *; print(sorted(set(globals()) - before - {'before'}))"
    )
    assert python(code) == str(sorted(NAMES))
    assert set(tenuto.__all__) == NAMES
    assert set(dir(tenuto)) >= NAMES


@pytest.mark.parametrize(
    "path",
    [
        "engine.signals.SKIP",
        "engine.state.Failed",
        "engine.results.LocalResult",
        "engine.results.local_result.LocalResult",
        "triggers.all_failed",
        "core.task.Task",
        "core.edge.Edge",
        "configuration.Config",
        "exceptions.PrefectException",
        "executors.LocalExecutor",
        "engine.results.s3_result.S3Result",
        "storage.github.GitHub",
        "storage.Docker",
        "run_configs.kubernetes.KubernetesRun",
        "run_configs.DockerRun",
        "client.Secret",
        "client.secrets.Secret",
        "tasks.secrets.base.PrefectSecret",
        "tasks.control_flow.case",
        "tasks.core.constants.Constant",
        "tasks.notifications.slack_task.SlackTask",
        "tasks.prefect.flow_run.StartFlowRun",
        "tasks.tenuto.StartFlowRun",
        "tasks.shell.ShellTask",
        "backend.kv_store.set_key_value",
        "backend.FlowRunView",
        "artifacts.create_link",
        "utilities.tasks.unmapped",
        "utilities.debug.raise_on_exception",
        "utilities.notifications.slack_notifier",
        "utilities.exceptions.ClientError",
    ],
)
def test_sub_packages_are_reachable_from_the_bare_import(path: str) -> None:
    # R-INV-2, R-REAL-1, R-REAL-2
    assert python(f"import tenuto; print(tenuto.{path} is not None)") == "True"


def test_import_loads_nothing_heavy() -> None:
    # R-INV-2, R-DBG-3, R-INV-5, design: no server, HTTP client, database, pandas, Dask
    heavy = [
        "urllib3",
        "pandas",
        "numpy",
        "dask",
        "sqlite3",
        "rich",
        "click",
        "asyncio",
        "cloudpickle",
        "msgspec",
        "psutil",
        "dateutil",
        "smtplib",
        "tenuto.tasks.prefect",
        "graphviz",
        "tenuto.hello_world",
        "tenuto.utilities.debug",
        "tenuto.engine.flow_runner",
        "tenuto.core.flow",
    ]
    assert python(f"import sys, tenuto; print([m for m in {heavy} if m in sys.modules])") == "[]"


def test_unknown_attribute_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'tenuto' has no attribute 'no_such_thing'"):
        _ = tenuto.no_such_thing
    with pytest.raises(ImportError, match="no_such_thing"):
        importlib.import_module("tenuto.no_such_thing")


def test_version_is_that_of_the_distribution() -> None:
    # R-INV-4
    import tomllib

    assert isinstance(tenuto.__version__, str)
    project = Path(__file__).parents[2] / "pyproject.toml"
    declared = tomllib.loads(project.read_text())["project"]
    assert declared.get("version", tenuto.__version__) == tenuto.__version__


@pytest.mark.parametrize(
    "door",
    [
        "exceptions",
        "configuration",
        "client",
        "client.secrets",
        "tasks.secrets",
        "tasks.secrets.base",
        "tasks.secrets.env_var",
        "utilities.collections",
        "utilities.configuration",
        "utilities.context",
        "utilities.datetimes",
        "utilities.debug",
        "utilities.edges",
        "utilities.exceptions",
        "utilities.importtools",
        "utilities.logging",
        "utilities.notifications",
        "utilities.tasks",
    ],
)
def test_doors_offer_what_they_promise(door: str) -> None:
    # R-INV-1
    module = importlib.import_module(f"tenuto.{door}")
    for name in module.__all__:
        assert hasattr(module, name)


@pytest.mark.parametrize(
    ("module", "names"),
    [
        (
            "configuration",
            "Config create_user_config interpolate_config interpolate_env_vars load_configuration",
        ),
        (
            "configuration",
            "load_default_config load_toml process_task_defaults validate_config string_to_type",
        ),
        ("configuration", "to_environment_variables"),
        (
            "exceptions",
            "AuthorizationError ObjectNotFoundError ClientError FlowStorageError PrefectException",
        ),
        ("exceptions", "PrefectSignal TaskTimeoutSignal VersionLockMismatchSignal"),
        ("utilities.collections", "CompoundKey DotDict as_nested_dict dict_to_flatdict flatdict_to_dict"),
        ("utilities.collections", "flatten_seq merge_dicts"),
        (
            "utilities.logging",
            "get_logger configure_logging configure_extra_loggers create_diagnostic_logger",
        ),
        ("utilities.logging", "temporary_logger_config RedirectToLog"),
        ("utilities.notifications", "callback_factory gmail_notifier jira_notifier slack_message_formatter"),
        ("utilities.notifications", "slack_notifier snowflake_logger snowflake_message_formatter"),
        ("utilities.tasks", "apply_map as_task defaults_from_attrs pause_task tags task"),
        ("utilities.edges", "EdgeAnnotation flatten mapped unmapped"),
        ("utilities.debug", "is_serializable raise_on_exception"),
        ("utilities.context", "Context"),
        ("utilities.configuration", "set_temporary_config"),
        ("utilities.datetimes", "retry_delay"),
        ("utilities.importtools", "import_object"),
        ("client.secrets", "Secret"),
        ("tasks.secrets", "EnvVarSecret PrefectSecret SecretBase"),
        ("hello_world", "hello_flow say_hello capitalize"),
    ],
)
def test_names_are_at_their_known_addresses(module: str, names: str) -> None:
    # R-INV-1
    loaded = importlib.import_module(f"tenuto.{module}")
    assert [name for name in names.split() if not hasattr(loaded, name)] == []
