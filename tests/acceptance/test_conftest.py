"""The fixtures that every test relies on do what they promise."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"

LEAVING = """
import subprocess, sys, threading, time

def test_leaves_a_thread():
    threading.Thread(target=time.sleep, args=(1.5,)).start()

def test_leaves_a_process():
    global process
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])

def test_leaves_nothing():
    thread = threading.Thread(target=time.sleep, args=(0.1,))
    thread.start()
    subprocess.run([sys.executable, "-c", ""], check=True)
"""

CHANGING = """
import logging, os
import pytest
import tenuto

@pytest.mark.parametrize("number", [1, 2])
def test_changes_everything(number, tmp_path):
    assert tenuto.config.home_dir == os.environ["TENUTO__HOME_DIR"] == str(tmp_path / "home")
    assert tenuto.config.logging.level == "INFO"
    assert "added" not in tenuto.config
    assert "value" not in tenuto.context
    assert not logging.getLogger("tenuto.added").handlers
    tenuto.config.logging.level = "DEBUG"
    tenuto.config.added = {"deep": number}
    tenuto.context["value"] = number
    tenuto.context.enter({"value": number})
    logging.getLogger("tenuto.added").addHandler(logging.NullHandler())
"""


def outcome(pytester: pytest.Pytester, program: str) -> tuple[dict[str, int], str]:
    conftest = CONFTEST.read_text(encoding="utf-8").replace("SECONDS_MAX = 2.0", "SECONDS_MAX = 0.5")
    pytester.path.joinpath("conftest.py").write_text(conftest, encoding="utf-8")
    pytester.makepyfile(program)
    result = pytester.runpytest_subprocess("-p", "no:randomly", "-p", "no:cacheprovider")
    return result.parseoutcomes(), str(result.stdout)


def test_what_is_left_running_fails_the_test_that_left_it(pytester: pytest.Pytester) -> None:
    counts, output = outcome(pytester, LEAVING)
    assert counts == {"passed": 3, "errors": 2}
    assert "ERROR at teardown of test_leaves_a_thread" in output
    assert "ERROR at teardown of test_leaves_a_process" in output


def test_settings_context_and_logging_are_put_back(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENUTO__LOGGING__LEVEL", "ERROR")  # of the person who runs the tests
    counts, output = outcome(pytester, CHANGING)
    assert counts == {"passed": 2}, output
