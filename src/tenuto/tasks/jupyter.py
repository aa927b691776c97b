"""Notebooks as tasks."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

from tenuto._base.commands import lines_of, running
from tenuto.core.authoring import defaults_from_attrs
from tenuto.core.task import Task
from tenuto.engine.signals import FAIL

__all__ = ["ExecuteNotebook"]


class ExecuteNotebook(Task):
    """
    Carries out a Jupyter notebook and returns it with its output.

    Papermill does the work, in a process of its own, which is killed with the notebook's kernel when the time
    of the task is up. Values of `parameters` replace those of the notebook's cell tagged `parameters`.

    Args:
        path: of the notebook; it may also be given by the call, as may all but `kernel_name`.
        parameters: name -> value, of what JSON can express.
        output_format: `notebook` for its JSON text, or a format of nbconvert, such as `html` or `markdown`.
        exporter_kwargs: options of that nbconvert exporter.
        kernel_name: of the Jupyter kernel; default: the one that the notebook names.
        **kwargs: those of `Task`.
    """

    def __init__(
        self,
        path: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        output_format: str = "notebook",
        exporter_kwargs: Mapping[str, Any] | None = None,
        kernel_name: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.path = path
        self.parameters = parameters
        self.output_format = output_format
        self.exporter_kwargs = exporter_kwargs
        self.kernel_name = kernel_name
        super().__init__(**kwargs)

    @defaults_from_attrs("path", "parameters", "output_format", "exporter_kwargs")
    def run(
        self,
        path: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        output_format: str = "notebook",
        exporter_kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """
        Return the notebook as it is afterwards: a text, or bytes for formats that are none.

        Raises:
            ValueError: without a path.
            TypeError: if a parameter is not for JSON.
            ImportError: without the `notebook` extra.
            FAIL: if a cell raises, or there is no such notebook or kernel; its result is the output.
        """
        if path is None:
            raise ValueError("Give ExecuteNotebook a `path`, in its constructor or when it is called.")
        needed = ["papermill"] if output_format == "notebook" else ["papermill", "nbconvert"]
        missing = [name for name in needed if importlib.util.find_spec(name) is None]
        if missing:
            raise ImportError(
                f"ExecuteNotebook needs {' and '.join(missing)}. Install with: pip install 'tenuto[notebook]'"
            )
        notebook = self._executed(path, dict(parameters or {}))
        return (
            notebook if output_format == "notebook" else _exported(notebook, output_format, exporter_kwargs)
        )

    def _executed(self, path: str, parameters: dict[str, Any]) -> str:
        with tempfile.TemporaryDirectory(prefix="tenuto-notebook-") as folder:
            given, made = os.path.join(folder, "parameters.json"), os.path.join(folder, "output.ipynb")
            with open(given, "w", encoding="utf-8") as file:
                json.dump(parameters, file)  # JSON is YAML, which papermill reads.
            command = [sys.executable, "-m", "papermill", path, made, "-f", given, "--no-progress-bar"]
            if self.kernel_name is not None:
                command += ["-k", self.kernel_name]
            with running(command, timeout=self.timeout) as process:
                lines = list(lines_of(process))
                code = process.wait()
            if code:
                self.logger.error("%s", "\n".join([f"Notebook {path!r} failed:", *lines]))
                reason = next((line for line in reversed(lines) if line), f"exit code {code}")
                raise FAIL(f"Notebook {path!r} failed: {reason}", result=lines)
            with open(made, encoding="utf-8") as file:
                return file.read()


def _exported(notebook: str, output_format: str, options: Mapping[str, Any] | None) -> Any:
    import io

    import nbconvert

    exporter_named: Any = nbconvert.get_exporter  # It has no types.
    exporter = exporter_named(output_format)(**(options or {}))
    exported, _ = exporter.from_file(io.StringIO(notebook))
    return exported
