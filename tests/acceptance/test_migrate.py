"""A flow of Prefect 1 is rewritten by the command, and runs."""

import sys
from pathlib import Path

import pytest

from tests.acceptance.commands import TENUTO, OnTerminal, shell, tenuto

FLOW = '''\
"""Prices of a shop, as somebody wrote this for Prefect 0.14: see https://docs.prefect.io"""
import os
import subprocess
from datetime import timedelta

os.environ["PREFECT__FLOWS__CHECKPOINTING"] = "true"

import prefect
from prefect import Flow, Parameter, case, task, unmapped
from prefect.engine import signals
from prefect.engine.executors import LocalExecutor   # moved since
from prefect.engine.results import LocalResult
from prefect.engine.state import Failed, Success
from prefect.environments.storage import Local
from prefect.tasks.control_flow import merge
from prefect.tasks.secrets import PrefectSecret
from prefect.triggers import all_finished
from prefect.utilities.exceptions import PrefectError
from prefect.utilities.logging import get_logger
from prefect.utilities.notifications import callback_factory

RESULT = LocalResult(dir=os.path.join(os.path.dirname(os.path.abspath(__file__)), "prices"))


def note(obj, state: "prefect.engine.state.State"):
    get_logger("notes").info("%s: %s", obj.name, state.message)


handler = callback_factory(note, lambda state: state.is_skipped())


@task(max_retries=2, retry_delay=timedelta(seconds=0.01))
def fetch(shop, password):
    if prefect.context.task_run_count == 1:
        raise PrefectError(f"{shop} is closed")
    return [3, -1, 4]


@task(result=RESULT, target="{task_name}-{map_index}.pkl", state_handlers=[handler])
def price(number, rate):
    if number < 0:
        raise signals.SKIP("no price")
    return number * rate


@task(trigger=all_finished, skip_on_upstream_skip=False)
def total(prices):
    prefect.context.get("logger").info("prefect is the name of a pupil")
    return sum(price for price in prices if isinstance(price, int))


@prefect.task(skip_on_upstream_skip=False)
def command():
    return subprocess.run(["prefect", "version"], capture_output=True, text=True).stdout.strip()


with Flow("prices", storage=Local(), executor=LocalExecutor()) as flow:
    rate = Parameter("rate", default=2)
    prices = price.map(fetch(Parameter("shop", "corner"), PrefectSecret("SHOP")), unmapped(rate))
    with case(rate, 0):
        nothing = prefect.tasks.core.collections.List().bind(flow=flow)
    result = merge(nothing, total(prices))
    version = command()

if __name__ == "__main__":
    with prefect.context(secrets={"SHOP": "sesame"}):
        state = flow.run()
    assert isinstance(state, Success) and not isinstance(state, Failed), state
    assert state.result[result].result == 14
    print("done with", state.result[version].result, "and", prefect.config.flows.checkpointing)
'''


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "prices.py").write_text(FLOW, encoding="utf-8")
    return tmp_path


def test_a_flow_of_prefect_1_is_rewritten_and_runs(project: Path) -> None:  # R-REAL-2, R-REAL-17, R-REAL-20
    import tenuto as installed

    before = shell([sys.executable, "prices.py"], project)
    assert before.returncode == 1
    assert "No module named 'prefect'" in before.stderr

    migrated = tenuto("migrate", "--yes", "prices.py", cwd=project)
    assert (migrated.returncode, migrated.stderr) == (0, "")
    assert migrated.stdout.endswith("1 of 1 file changes.\n1 file written.\n")

    after = shell([sys.executable, "prices.py"], project)
    assert after.returncode == 0, after.stdout + after.stderr
    assert after.stdout.endswith(f"done with {installed.__version__} and True\n")
    assert sorted(path.name for path in (project / "prices").glob("*.pkl")) == ["price-0.pkl", "price-2.pkl"]
    kept = [line for line in (project / "prices.py").read_text().splitlines() if "prefect" in line.lower()]
    assert [line.strip() for line in kept] == [
        '"""Prices of a shop, as somebody wrote this for Prefect 0.14: see https://docs.prefect.io"""',
        "from tenuto.tasks.secrets import PrefectSecret",
        "from tenuto.exceptions import PrefectException as PrefectError",
        'raise PrefectError(f"{shop} is closed")',
        'tenuto.context.get("logger").info("prefect is the name of a pupil")',
        'prices = price.map(fetch(Parameter("shop", "corner"), PrefectSecret("SHOP")), unmapped(rate))',
    ]


@pytest.mark.parametrize(("answer", "is_written"), [("y", True), ("n", False), ("", False)])
def test_on_a_terminal_it_shows_colours_and_asks(project: Path, answer: str, is_written: bool) -> None:
    with OnTerminal(TENUTO, "migrate", "prices.py", cwd=project) as command:
        shown = command.until(is_asking)
        assert "\x1b[31m-import prefect\x1b[0m\n" in shown
        assert "\x1b[32m+import tenuto\x1b[0m\n" in shown
        command.type(f"{answer}\n")
        assert command.end()[0] == 0
    assert ((project / "prices.py").read_text() != FLOW) == is_written


def test_a_question_that_nobody_answers_writes_nothing(project: Path) -> None:  # R-CLI-2
    with OnTerminal(TENUTO, "migrate", "prices.py", cwd=project) as command:
        command.until(is_asking)
        command.type("\x04")  # Ctrl-D
        assert command.end()[0] == 130
    assert (project / "prices.py").read_text() == FLOW


def is_asking(output: str) -> bool:
    return "Write these changes? [y/N]: " in output
