"""What runs on the workers of a Dask cluster beside the calls themselves; needs Dask to be imported."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Sequence
from typing import Any

from distributed import WorkerPlugin

from tenuto._base.importtools import IMPORT_FIRST, import_first

__all__ = ["WITHDRAWN", "ModulePaths", "Withdrawal"]


class ModulePaths(WorkerPlugin):
    """
    Lets each worker find modules where the flow's process finds them: helpers that lie beside a flow.

    Modules that change what an import finds (`import_first`) are imported there, too.
    It has to be there before any call is: Dask itself unpickles values that one worker takes from another.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.name = f"tenuto-{uuid.uuid4().hex}"  # Other runs on the cluster have theirs.
        self.paths = list(paths)
        self.first = os.environ.get(IMPORT_FIRST, "")

    def setup(self, worker: Any) -> None:
        """Add what exists on the worker's machine, after all that it has by itself."""
        sys.path.extend(path for path in self.paths if path not in sys.path and os.path.isdir(path))
        import_first(self.first)


WITHDRAWN: set[str] = set()
"""The runs whose calls are not to be begun any more, on this worker."""


class Withdrawal(WorkerPlugin):
    """
    Lets each worker, and those that join, begin no more calls of a run that may be withdrawn.

    What the scheduler knows does not tell which calls have begun: only the worker itself decides in time.
    """

    def __init__(self, run: str) -> None:
        self.name = f"{run}-withdrawn"
        self.run = run

    def setup(self, worker: Any) -> None:
        """Take the run's calls for withdrawn."""
        WITHDRAWN.add(self.run)

    def teardown(self, worker: Any) -> None:
        """Forget the run."""
        WITHDRAWN.discard(self.run)
