"""The name of a task run is in its record."""

from __future__ import annotations

from tenuto import Flow, task
from tenuto.configuration import home_path
from tenuto.journal.fold import fold
from tenuto.journal.home import Home, newest_journal
from tenuto.journal.reader import read_events


def test_name_of_a_task_run_is_recorded() -> None:
    # R-CTX-7
    @task(task_run_name="greets-{who}")
    def greet(who: str) -> str:
        return f"hello {who}"

    with Flow("names") as flow:
        greet.map(["ann", "bob"])
    flow.run(flow_run_id="01a20b69-87eb-7014-8c66-71dc98bd0cb4")

    path = newest_journal(Home(home_path()).run_folder("01a20b69-87eb-7014-8c66-71dc98bd0cb4"))
    assert path is not None
    tasks = fold(read_events(path)).tasks
    assert [tasks["greet-1", index].name for index in (0, 1)] == ["greets-ann", "greets-bob"]
