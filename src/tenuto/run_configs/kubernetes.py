"""KubernetesRun: runs as jobs on Kubernetes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tenuto.run_configs.base import RunConfig

__all__ = ["KubernetesRun"]


class KubernetesRun(RunConfig):
    """
    Runs as a job on Kubernetes. Kept as data for a Kubernetes agent.
    """

    def __init__(
        self,
        *,
        job_template_path: str | None = None,
        job_template: Mapping[str, Any] | str | None = None,
        image: str | None = None,
        env: Mapping[str, str] | None = None,
        cpu_limit: float | str | None = None,
        cpu_request: float | str | None = None,
        memory_limit: str | None = None,
        memory_request: str | None = None,
        service_account_name: str | None = None,
        image_pull_secrets: Iterable[str] | None = None,
        labels: Iterable[str] | None = None,
        image_pull_policy: str | None = None,
    ) -> None:
        super().__init__(env=env, labels=labels)
        self.job_template_path = job_template_path
        self.job_template = job_template
        self.cpu_limit = cpu_limit
        self.cpu_request = cpu_request
        self.memory_limit = memory_limit
        self.memory_request = memory_request
        self.service_account_name = service_account_name
        self.image_pull_policy = image_pull_policy
        self.image_pull_secrets = None if image_pull_secrets is None else list(image_pull_secrets)
