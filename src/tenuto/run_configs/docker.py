"""DockerRun: runs in containers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tenuto.run_configs.base import RunConfig

__all__ = ["DockerRun"]


class DockerRun(RunConfig):
    """
    Runs in a container of `image`. Kept as data for a Docker agent.
    """

    def __init__(
        self,
        *,
        image: str | None = None,
        env: Mapping[str, str] | None = None,
        labels: Iterable[str] | None = None,
        ports: Iterable[int] | None = None,
        host_config: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(env=env, labels=labels)
        self.image = image
        self.ports = None if ports is None else list(ports)
        self.host_config = host_config
