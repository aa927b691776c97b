"""`import tenuto` loads what an import needs, and leaves the rest for when it is used."""

import json
import subprocess
import sys

import pytest

# Libraries of parts that most scripts never reach, and whatever would take a good share of the 120 ms.
HEAVY = {
    "IPython",
    "asyncio",
    "click",
    "cloudpickle",
    "concurrent.futures.process",
    "dask",
    "distributed",
    "email",
    "fastapi",
    "graphviz",
    "http",
    "httpx",
    "matplotlib",
    "multiprocessing",
    "numpy",
    "pandas",
    "pendulum",
    "prefect",
    "psutil",
    "pyarrow",
    "pydantic",
    "ray",
    "requests",
    "rich",
    "scipy",
    "sklearn",
    "socket",
    "sqlalchemy",
    "sqlite3",
    "ssl",
    "starlette",
    "urllib3",
    "uvicorn",
    "xml",
}
# Rooms of other processes, or of a run that has begun.
ROOMS = {
    "tenuto.cli",
    "tenuto.engine.flow_runner",
    "tenuto.engine.task_runner",
    "tenuto.journal",
    "tenuto.server",
}


def loaded_by(statement: str) -> set[str]:
    """Return the modules that a new Python has loaded after a statement and had not before."""
    program = (
        "import sys; before = set(sys.modules)\n"
        f"{statement}\n"
        "import json; print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    modules: list[str] = json.loads(done.stdout)
    return set(modules)


@pytest.mark.parametrize(
    "statement",
    [
        "import tenuto",
        "from tenuto import Flow, Parameter, task, unmapped, case",
        "from tenuto.engine.results import LocalResult",
    ],
)
def test_import_loads_nothing_heavy(statement: str) -> None:  # R-INV-2, R-INV-5
    loaded = loaded_by(statement)
    assert "tenuto" in loaded
    assert not loaded & HEAVY
    assert not loaded & ROOMS


def test_bare_import_loads_neither_graph_nor_engine() -> None:
    loaded = loaded_by("import tenuto")
    assert not {
        name for name in loaded if name.startswith(("tenuto.core.", "tenuto.engine.", "tenuto.tasks."))
    }
