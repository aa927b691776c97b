"""The engine: states, signals and results, and the runners that carry flows and tasks out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tenuto._base.importtools import import_object, lazy_names

if TYPE_CHECKING:
    from tenuto.engine.flow_runner import FlowRunner
    from tenuto.engine.task_runner import TaskRunner
    from tenuto.executors.base import Executor

__all__ = [
    "FlowRunner",
    "TaskRunner",
    "get_default_executor_class",
    "get_default_flow_runner_class",
    "get_default_task_runner_class",
]

# Loaded on first use: `import tenuto` and the rooms that only need states must not load the runners.
__getattr__, __dir__ = lazy_names(
    __name__, {"FlowRunner": "tenuto.engine.flow_runner", "TaskRunner": "tenuto.engine.task_runner"}
)


def get_default_executor_class() -> type[Executor]:
    """Return the class named by `engine.executor.default_class`; LocalExecutor when it cannot be imported."""
    cls: type[Executor] = _configured("executor", "tenuto.executors.LocalExecutor")
    return cls


def get_default_flow_runner_class() -> type[FlowRunner]:
    """Return the class named by `engine.flow_runner.default_class`; FlowRunner when it cannot be imported."""
    cls: type[FlowRunner] = _configured("flow_runner", "tenuto.engine.flow_runner.FlowRunner")
    return cls


def get_default_task_runner_class() -> type[TaskRunner]:
    """Return the class named by `engine.task_runner.default_class`; TaskRunner when it cannot be imported."""
    cls: type[TaskRunner] = _configured("task_runner", "tenuto.engine.task_runner.TaskRunner")
    return cls


def _configured(part: str, fallback: str) -> Any:
    from tenuto.configuration import config

    path = config.engine[part].default_class
    if not isinstance(path, str):
        return path
    try:
        return import_object(path)
    except (ImportError, AttributeError, ValueError) as error:
        import warnings

        default = import_object(fallback)
        warnings.warn(
            f"Could not import {path!r} ({error}); using {default.__name__} instead. "
            f"It is named by the setting engine.{part}.default_class.",
            UserWarning,
            stacklevel=3,
        )
        return default
