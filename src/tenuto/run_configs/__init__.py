"""How the process of a run is started: one module per kind."""

from tenuto.run_configs.base import RunConfig
from tenuto.run_configs.docker import DockerRun
from tenuto.run_configs.ecs import ECSRun
from tenuto.run_configs.kubernetes import KubernetesRun
from tenuto.run_configs.local import LocalRun
from tenuto.run_configs.universal import UniversalRun
from tenuto.run_configs.vertex import VertexRun

__all__ = [
    "DockerRun",
    "ECSRun",
    "KubernetesRun",
    "LocalRun",
    "RunConfig",
    "UniversalRun",
    "VertexRun",
]
