"""UniversalRun: runs wherever an agent takes them."""

from tenuto.run_configs.base import RunConfig

__all__ = ["UniversalRun"]


class UniversalRun(RunConfig):
    """Runs on an agent of any kind that has the labels; the default."""
