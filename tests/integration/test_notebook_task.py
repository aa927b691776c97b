"""Notebooks as tasks, carried out by papermill on a real kernel."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tenuto import Flow, task
from tenuto.engine.signals import FAIL
from tenuto.executors import LocalDaskExecutor
from tenuto.tasks.jupyter import ExecuteNotebook


def notebook(path: Path, *cells: str) -> str:
    """Write a notebook whose first cell has the default parameters, and return its path."""
    made: list[dict[str, Any]] = [
        {
            "id": f"cell-{number}",
            "cell_type": "code",
            "execution_count": None,
            "metadata": {"tags": ["parameters"]} if number == 0 else {},
            "outputs": [],
            "source": source,
        }
        for number, source in enumerate(cells)
    ]
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    path.write_text(
        json.dumps({"cells": made, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5})
    )
    return str(path)


@pytest.fixture
def sums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    # A kernel writes into the user's folders otherwise.
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    return notebook(tmp_path / "sums.ipynb", "x, word = 1, 'default'", "print(word, x + 1)")


def printed(text: Any) -> str:
    return "".join(
        part
        for cell in json.loads(text)["cells"]
        for output in cell.get("outputs", [])
        for part in output.get("text", [])
    )


def test_notebook_runs_with_the_parameters_of_the_flow(sums: str) -> None:
    # R-INV-8: notebook tasks
    @task
    def number() -> int:
        return 41

    with Flow("notebook") as flow:
        done = ExecuteNotebook(sums)(parameters={"x": number(), "word": 'it\'s "x" $HOME'})
    assert printed(flow.run().result[done].result) == 'it\'s "x" $HOME 42\n'


def test_notebook_runs_beside_others_in_threads_and_can_be_exported(sums: str) -> None:
    with Flow("notebook") as flow:
        page = ExecuteNotebook(sums, output_format="html", exporter_kwargs={"exclude_input": True})()
        text = ExecuteNotebook(sums, output_format="markdown")()
    state = flow.run(executor=LocalDaskExecutor(num_workers=2))
    assert "default 2" in state.result[page].result
    assert "print(" not in state.result[page].result
    assert "default 2" in state.result[text].result


def test_cell_that_raises_fails_the_task(sums: str, tmp_path: Path) -> None:
    path = notebook(tmp_path / "bad.ipynb", "x = 1", "1 / 0")
    with pytest.raises(FAIL, match="ZeroDivisionError: division by zero"):
        ExecuteNotebook().run(path=path)


def test_missing_notebook_kernel_and_path_are_told(sums: str, tmp_path: Path) -> None:
    with pytest.raises(FAIL, match="No such file"):
        ExecuteNotebook(str(tmp_path / "nothing.ipynb")).run()
    with pytest.raises(FAIL, match="No such kernel named no-such"):
        ExecuteNotebook(sums, kernel_name="no-such").run()
    with pytest.raises(ValueError, match="Give ExecuteNotebook a `path`"):
        ExecuteNotebook().run()


def test_interrupt_kills_the_kernel(sums: str, tmp_path: Path) -> None:
    # R-TIME-4 for notebooks: what ends the task early, be it an alarm or Ctrl-C, ends the kernel
    pid = tmp_path / "pid"
    cell = (
        f"import os, pathlib, time\npart = pathlib.Path({str(pid)!r} + '.part')\n"
        "part.write_text(str(os.getpid())); part.rename(str(part)[:-5]); time.sleep(1000)"
    )
    path = notebook(tmp_path / "long.ipynb", "x = 1", cell)

    def interrupt_when_the_cell_runs() -> None:
        while not pid.exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    watcher = threading.Thread(target=interrupt_when_the_cell_runs)
    watcher.start()
    with pytest.raises(KeyboardInterrupt):
        ExecuteNotebook(path).run()
    watcher.join()
    kernel = int(pid.read_text())
    _, alive = psutil.wait_procs([psutil.Process(kernel)] if psutil.pid_exists(kernel) else [], timeout=5)
    assert not alive


def test_missing_library_is_named_with_the_line_that_installs_it(
    sums: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # R-INV-5
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        ImportError, match=r"needs papermill\. Install with: pip install 'tenuto\[notebook\]'"
    ):
        ExecuteNotebook(sums).run()
    with pytest.raises(ImportError, match="needs papermill and nbconvert"):
        ExecuteNotebook(sums, output_format="html").run()
