"""What tasks leave with their run, beside the values that they return."""

from __future__ import annotations

from typing import Any

import pytest

from tenuto import Flow, artifacts, task
from tenuto.backend import (
    create_link_artifact,
    create_markdown_artifact,
    delete_artifact,
    update_link_artifact,
    update_markdown_artifact,
)
from tenuto.configuration import home_path
from tenuto.engine.signals import SKIP
from tenuto.executors import Executor, LocalDaskExecutor, LocalExecutor
from tenuto.journal.home import Home
from tenuto.journal.runs import read_run

EXECUTORS = [
    LocalExecutor(),
    LocalDaskExecutor(scheduler="threads", num_workers=2),
    LocalDaskExecutor(scheduler="processes", num_workers=1),
]


def left_by_last_run() -> list[dict[str, Any]]:
    home = Home(home_path())
    view = read_run(home, home.find_run("last"))
    assert view is not None
    return view.artifacts


@pytest.mark.parametrize("executor", EXECUTORS, ids=["inline", "threads", "processes"])
def test_artifacts_of_a_task_are_in_the_record_of_its_run(executor: Executor) -> None:
    # R-ART-1, R-BE-158
    @task
    def report(x: int) -> str | None:
        link = create_link_artifact(f"https://example.org/{x}")
        text = create_markdown_artifact("# draft")
        gone = create_markdown_artifact("# not that")
        assert link is not None and text is not None and gone is not None  # noqa: PT018  # for the types
        update_link_artifact(link, f"https://example.org/{x}/final")
        update_markdown_artifact(text, f"# report {x}")
        delete_artifact(gone)
        return link

    with Flow("reports") as flow:
        reports = report.map([1, 2])
    ids = flow.run(executor=executor).result[reports].result

    found = sorted(left_by_last_run(), key=lambda artifact: (artifact["index"], artifact["kind"]))
    assert [(a["slug"], a["index"], a["kind"], a["body"]) for a in found] == [
        ("report-1", 0, "link", {"link": "https://example.org/1/final"}),
        ("report-1", 0, "markdown", {"markdown": "# report 1"}),
        ("report-1", 1, "link", {"link": "https://example.org/2/final"}),
        ("report-1", 1, "markdown", {"markdown": "# report 2"}),
    ]
    assert [a["key"] for a in found if a["kind"] == "link"] == ids


def test_what_failed_and_skipped_tasks_left_stays() -> None:
    # R-BE-158
    @task
    def fails() -> None:
        create_link_artifact("https://example.org/why")
        raise ValueError("on purpose")

    @task
    def skips() -> None:
        create_link_artifact("https://example.org/skip")
        raise SKIP("nothing to do")

    with Flow("unlucky") as flow:
        fails()
        skips()
    flow.run()
    assert {a["body"]["link"] for a in left_by_last_run()} == {
        "https://example.org/why",
        "https://example.org/skip",
    }


def test_flow_run_inside_of_a_task_keeps_its_own() -> None:
    @task
    def inner() -> None:
        create_link_artifact("https://example.org/inner")

    with Flow("inside") as inside:
        inner()

    @task
    def outer() -> None:
        create_link_artifact("https://example.org/before")
        inside.run()
        create_link_artifact("https://example.org/after")

    with Flow("outside") as flow:
        outer()
    flow.run(flow_run_name="outside-run")
    home = Home(home_path())
    view = read_run(home, home.find_run("outside-run"))
    assert view is not None
    assert [a["body"]["link"] for a in view.artifacts] == [
        "https://example.org/before",
        "https://example.org/after",
    ]


def test_older_names_leave_them_too() -> None:
    # R-ART-1: the older names do the same
    @task
    def old() -> None:
        with pytest.warns(UserWarning, match="older name"):
            artifacts.create_markdown("# from an older flow")

    with Flow("older") as flow:
        old()
    assert flow.run().is_successful()
    assert [a["body"] for a in left_by_last_run()] == [{"markdown": "# from an older flow"}]
