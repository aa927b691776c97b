"""ECSRun: runs on AWS ECS."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tenuto.run_configs.base import RunConfig

__all__ = ["ECSRun"]


class ECSRun(RunConfig):
    """
    Runs as a task of AWS ECS. Kept as data: there is no agent for it.
    """

    def __init__(
        self,
        *,
        task_definition: Mapping[str, Any] | None = None,
        task_definition_path: str | None = None,
        task_definition_arn: str | None = None,
        image: str | None = None,
        env: Mapping[str, str] | None = None,
        cpu: str | int | None = None,
        memory: str | int | None = None,
        task_role_arn: str | None = None,
        execution_role_arn: str | None = None,
        run_task_kwargs: Mapping[str, Any] | None = None,
        labels: Iterable[str] | None = None,
    ) -> None:
        super().__init__(env=env, labels=labels)
        self.task_definition = task_definition
        self.task_definition_path = task_definition_path
        self.task_definition_arn = task_definition_arn
        self.image = image
        self.cpu = cpu
        self.memory = memory
        self.task_role_arn = task_role_arn
        self.execution_role_arn = execution_role_arn
        self.run_task_kwargs = run_task_kwargs
