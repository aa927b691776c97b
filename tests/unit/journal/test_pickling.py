import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """\
import sys
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
import msgspec
from tenuto.journal.event import ResultRef
from tenuto.journal.values import keep, load

LOCK = Lock()

@dataclass
class Model:
    weight: int

    def double(self):
        return self.weight * FACTOR

FACTOR = 2

class Guarded:
    def enter(self):
        with LOCK:
            return 1

def helper(x):
    return x * FACTOR

if __name__ == "__main__" and sys.argv[1] == "keep":
    folder = Path(sys.argv[2])
    (folder / "kept").mkdir()
    values = {"model": [Model(3)], "function": helper, "class": Model, "guarded": Guarded()}
    for name, value in values.items():
        ref = keep(value, folder / "kept" / name, 1 << 30)
        (folder / f"{name}.json").write_bytes(msgspec.json.encode(ref))

def loaded(folder, name):
    return load(msgspec.json.decode((folder / f"{name}.json").read_bytes(), type=ResultRef), folder)
"""

CHECK_SAME = """
if __name__ == "__main__" and sys.argv[1] == "load":
    folder = Path(sys.argv[2])
    assert loaded(folder, "model") == [Model(3)]
    assert type(loaded(folder, "model")[0]) is Model
    assert loaded(folder, "function") is helper
    assert loaded(folder, "class") is Model
    assert type(loaded(folder, "guarded")) is Guarded
"""

ELSEWHERE = """
import sys, msgspec
from pathlib import Path
from tenuto.exceptions import ResultCorrupt
from tenuto.journal.event import ResultRef
from tenuto.journal.values import load
folder = Path(sys.argv[1])
def loaded(name):
    return load(msgspec.json.decode((folder / f"{name}.json").read_bytes(), type=ResultRef), folder)
assert loaded("model")[0].double() == 6
assert loaded("function")(4) == 8
assert loaded("class")(5).double() == 10
try:
    loaded("guarded")
except ResultCorrupt as error:
    assert "is not loaded here" in str(error)
else:
    raise AssertionError
"""

LOADED_FROM_ITS_PATH = """
import runpy, sys, types
from pathlib import Path
script = sys.argv[1]
module = types.ModuleType("<flow>")
module.__file__ = script
sys.modules["<flow>"] = module
sys.argv = [script, "", sys.argv[2]]
exec(compile(Path(script).read_text(), script, "exec"), module.__dict__)
folder = Path(sys.argv[2])
assert type(module.loaded(folder, "model")[0]) is module.Model
assert module.loaded(folder, "function") is module.helper
import msgspec
ref = module.keep([module.Model(4)], folder / "kept" / "other", 1 << 30)
(folder / "other.json").write_bytes(msgspec.json.encode(ref))
"""


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A folder with results that a script has kept, and the script."""
    (tmp_path / "flow.py").write_text(SCRIPT + CHECK_SAME)
    (tmp_path / "run").mkdir()
    run([str(tmp_path / "flow.py"), "keep", str(tmp_path / "run")])
    return tmp_path


def run(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_a_script_defines_is_found_again_where_the_same_script_runs(kept: Path) -> None:
    run([str(kept / "flow.py"), "load", str(kept / "run")])


def test_in_another_program_it_comes_back_by_value(kept: Path) -> None:
    run(["-c", ELSEWHERE, str(kept / "run")])


def test_a_script_that_the_command_line_has_loaded_is_the_same_script(kept: Path) -> None:
    run(["-c", LOADED_FROM_ITS_PATH, str(kept / "flow.py"), str(kept / "run")])
    check = "\nif sys.argv[1] == 'other':\n    assert type(loaded(Path(sys.argv[2]), 'other')[0]) is Model\n"
    (kept / "flow.py").write_text(SCRIPT + check)
    run([str(kept / "flow.py"), "other", str(kept / "run")])
