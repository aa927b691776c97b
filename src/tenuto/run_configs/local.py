"""LocalRun: runs as processes of the agent's machine."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from tenuto.run_configs.base import RunConfig

__all__ = ["LocalRun"]


class LocalRun(RunConfig):
    """
    Runs as a process of the agent's machine, in `working_dir` (made absolute here; None: the agent's own).
    """

    def __init__(
        self,
        *,
        env: Mapping[str, str] | None = None,
        working_dir: str | os.PathLike[str] | None = None,
        labels: Iterable[str] | None = None,
    ) -> None:
        super().__init__(env=env, labels=labels)
        self.working_dir = None if working_dir is None else os.path.abspath(working_dir)
