from typing import Any

import pytest

from tenuto.cli.errors import Foreseen, NotFound
from tenuto.cli.run_tasks import TaskGroup, find_task, groups, inputs_of
from tenuto.journal.event import ResultRef
from tenuto.journal.fold import RunView, TaskView


def graph(*slugs: str, **more: Any) -> dict[str, Any]:
    tasks = [
        {"slug": slug, "name": slug.partition("-")[0], "auto_generated": False, "type": "T"} for slug in slugs
    ]
    return {"tasks": tasks, "edges": [], "constants": {}, **more}


def run(*views: TaskView) -> RunView:
    return RunView(tasks={(view.slug, view.index): view for view in views})


def test_tasks_that_the_run_never_came_to_are_pending() -> None:
    found = groups(run(TaskView("load-1", state="Failed")), graph("load-1", "save-1"))
    assert [(group.name, group.state) for group in found] == [("load", "Failed"), ("save", "Pending")]


def test_constants_are_no_tasks_for_people() -> None:
    constant = {"slug": "5-1", "name": "5", "auto_generated": True, "type": "tenuto.core.nodes.Constant"}
    assert groups(run(TaskView("5-1", state="Success")), {"tasks": [constant]}) == []


def test_without_the_graph_the_record_names_what_it_can() -> None:
    found = groups(run(TaskView("load-1", state="Success")), {})
    assert [(group.slug, group.name, group.state) for group in found] == [("load-1", "load-1", "Success")]


@pytest.mark.parametrize(
    ("count", "states", "text"),
    [
        (3, ["Success", "Failed", "Success"], "3 children: 2 Success, 1 Failed"),
        (3, ["Success"], "3 children: 2 Pending, 1 Success"),
        (1, ["Success"], "1 child: 1 Success"),
        (0, [], "no children"),
    ],
)
def test_children_are_counted_by_state(count: int, states: list[str], text: str) -> None:
    parent = TaskView("inc-1", state="Mapped", children=count)
    children = [TaskView("inc-1", index, state=name) for index, name in enumerate(states)]
    [group] = groups(run(parent, *children), graph("inc-1"))
    assert group.children_text == text


def test_a_mapped_task_lasts_from_its_first_start_to_its_last_end() -> None:
    children = [
        TaskView("inc-1", 0, state="Success", started=5_000_000, ended=6_000_000),
        TaskView("inc-1", 1, state="Success", started=4_000_000, ended=4_500_000),
        TaskView("inc-1", 2, state="Cached", ended=4_100_000),
    ]
    [group] = groups(run(TaskView("inc-1", state="Mapped", children=3), *children), graph("inc-1"))
    assert group.seconds == 2.0


@pytest.fixture
def tasks() -> list[TaskGroup]:
    return groups(
        run(
            TaskView("inc-1", state="Success"),
            TaskView("inc-2", state="Mapped", children=1),
            TaskView("inc-2", 0),
        ),
        graph("inc-1", "inc-2", "load-1", "odd[3]-1"),
    )


@pytest.mark.parametrize(
    ("text", "slug", "index"),
    [
        ("inc-1", "inc-1", -1),
        ("inc-2[0]", "inc-2", 0),
        ("load", "load-1", None),
        ("odd[3]-1", "odd[3]-1", None),
    ],
)
def test_a_task_is_found_by_slug_or_name(
    tasks: list[TaskGroup], text: str, slug: str, index: int | None
) -> None:
    group, view = find_task(tasks, text)
    assert (group.slug, view.index if view is not None else None) == (slug, index)


def test_a_name_of_several_tasks_asks_for_a_slug(tasks: list[TaskGroup]) -> None:
    with pytest.raises(
        Foreseen, match="More than one task is called 'inc'. Give one of their slugs: inc-1, inc-2"
    ):
        find_task(tasks, "inc")


@pytest.mark.parametrize("text", ["laod", "inc-2[7]", "load[0]", "", "[0]"])
def test_what_is_not_there_is_not_found(tasks: list[TaskGroup], text: str) -> None:  # R-CLI-2, R-CLI-14
    with pytest.raises(NotFound) as caught:
        find_task(tasks, text)
    assert caught.value.exit_code == 5
    if text == "laod":
        assert caught.value.remedies == ("Did you mean 'load'?",)


def test_inputs_know_where_they_came_from() -> None:
    edges = [
        {"upstream_slug": "n", "downstream_slug": "inc-1", "key": "x", "mapped": False},
        {"upstream_slug": "n", "downstream_slug": "inc-1", "key": None, "mapped": False},
        {"upstream_slug": "many-1", "downstream_slug": "inc-1", "key": "y", "mapped": True},
        {"upstream_slug": "n", "downstream_slug": "other-1", "key": "z", "mapped": False},
    ]
    whole = ResultRef("inline", sha256="aa")
    view = TaskView("inc-1", 0, inputs={"x": "aa", "y": "bb", "c": "cc"})
    record = run(TaskView("n", result=whole), TaskView("many-1", result=whole), view)
    c, x, y = inputs_of(record, graph("inc-1", edges=edges, constants={"inc-1": {"c": 3}}), view)
    assert (c.name, c.source, c.constant, c.digest) == ("c", "", 3, "cc")
    assert (x.name, x.source, x.mapped, x.result) == ("x", "n", False, whole)
    assert (y.name, y.source, y.mapped, y.result) == ("y", "many-1", True, None)
