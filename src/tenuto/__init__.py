"""
Tenuto: write a flow, run it, keep what succeeded.

Names and sub-packages load when they are first used, so that `import tenuto` stays quick.
"""

from typing import TYPE_CHECKING

from tenuto._base import logging as _logging  # noqa: F401  # importing it configures the package's logger
from tenuto._base.context import context
from tenuto._base.importtools import lazy_names
from tenuto.configuration import config

if TYPE_CHECKING:
    from tenuto import agent as agent
    from tenuto import api as api
    from tenuto import artifacts as artifacts
    from tenuto import backend as backend
    from tenuto import client as client
    from tenuto import core as core
    from tenuto import engine as engine
    from tenuto import exceptions as exceptions
    from tenuto import executors as executors
    from tenuto import models as models
    from tenuto import plugins as plugins
    from tenuto import run_configs as run_configs
    from tenuto import schedules as schedules
    from tenuto import serialization as serialization
    from tenuto import storage as storage
    from tenuto import tasks as tasks
    from tenuto import triggers as triggers
    from tenuto import utilities as utilities
    from tenuto.client.client import Client
    from tenuto.core.annotations import flatten, mapped, unmapped
    from tenuto.core.authoring import apply_map, tags, task
    from tenuto.core.flow import Flow
    from tenuto.core.parameter import Parameter
    from tenuto.core.task import Task
    from tenuto.tasks.control_flow.case import case
    from tenuto.tasks.core.resource_manager import resource_manager

__version__ = "0.1.0"

__all__ = [
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
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Client": "tenuto.client.client",
        "Flow": "tenuto.core.flow",
        "Parameter": "tenuto.core.parameter",
        "Task": "tenuto.core.task",
        "apply_map": "tenuto.core.authoring",
        "case": "tenuto.tasks.control_flow.case",
        "flatten": "tenuto.core.annotations",
        "mapped": "tenuto.core.annotations",
        "resource_manager": "tenuto.tasks.core.resource_manager",
        "tags": "tenuto.core.authoring",
        "task": "tenuto.core.authoring",
        "unmapped": "tenuto.core.annotations",
    },
)
