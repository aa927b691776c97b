"""The package `tenuto.engine`: what it offers, and what it loads when."""

import subprocess
import sys

import pytest

import tenuto
from tenuto import engine
from tenuto.engine.flow_runner import FlowRunner
from tenuto.engine.task_runner import TaskRunner
from tenuto.executors import LocalExecutor
from tenuto.utilities.configuration import set_temporary_config


# R-INV-1, R-INV-2
def test_runners_and_modules_are_reached_through_the_package() -> None:
    assert engine.FlowRunner is FlowRunner
    assert engine.TaskRunner is TaskRunner
    assert engine.signals.SKIP is tenuto.engine.signals.SKIP
    assert engine.results.LocalResult.__name__ == "LocalResult"
    with pytest.raises(AttributeError, match="no_such"):
        _ = engine.no_such
    assert set(engine.__all__) <= set(dir(engine))


# R-EXEC-7
def test_the_old_address_of_the_executors_is_valid() -> None:
    from tenuto.engine.executors import Executor
    from tenuto.engine.executors import LocalExecutor as OldLocalExecutor

    assert OldLocalExecutor is LocalExecutor
    assert issubclass(LocalExecutor, Executor)


def test_states_are_loaded_without_runners_and_adapters() -> None:
    code = (
        "import sys, tenuto.triggers, tenuto.engine.signals, tenuto.engine.result\n"
        "rooms = ('tenuto.engine', 'tenuto.core', 'tenuto.journal')\n"
        "loaded = [m for m in sys.modules if m.startswith(rooms)]\n"
        "runners = ('tenuto.engine.flow_runner', 'tenuto.engine.task_runner', 'tenuto.engine.results')\n"
        "assert not set(runners) & set(loaded), loaded\n"
        "assert not [m for m in loaded if m.startswith(('tenuto.core', 'tenuto.journal'))], loaded\n"
        "assert not {'cloudpickle', 'pandas', 'numpy', 'msgspec'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# R-RUN-8
def test_default_classes_are_those_of_the_settings() -> None:
    assert engine.get_default_executor_class() is LocalExecutor
    assert engine.get_default_flow_runner_class() is FlowRunner
    assert engine.get_default_task_runner_class() is TaskRunner
    with set_temporary_config({"engine.task_runner.default_class": "tenuto.engine.runner.Runner"}):
        assert engine.get_default_task_runner_class() is engine.runner.Runner


# R-RUN-8
@pytest.mark.parametrize("path", ["no.such.Module", "tenuto.executors.NoSuchExecutor", "Nothing"])
def test_a_class_that_cannot_be_imported_is_replaced_with_a_warning(path: str) -> None:
    with (
        set_temporary_config({"engine.executor.default_class": path}),
        pytest.warns(UserWarning, match=f"^Could not import '{path}'.*using LocalExecutor"),
    ):
        assert engine.get_default_executor_class() is LocalExecutor
