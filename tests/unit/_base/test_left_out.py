"""Names that Tenuto leaves out import, and say what to do instead."""

import inspect
import pickle
from typing import Any

import pytest

import tenuto.backend
import tenuto.tasks.database
import tenuto.tasks.files
import tenuto.tasks.notifications
from tenuto import Task
from tenuto._base.left_out import REQUIRED, LeftOut, left_out_class, left_out_function

TASKS = [
    *(getattr(tenuto.tasks.files, name) for name in tenuto.tasks.files.__all__),
    *(getattr(tenuto.tasks.database, name) for name in tenuto.tasks.database.__all__),
    tenuto.tasks.notifications.PushbulletTask,
]


@pytest.mark.parametrize("cls", TASKS, ids=lambda cls: cls.__name__)
def test_tasks_that_are_left_out_can_be_taken_for_tasks_until_one_is_made(cls: Any) -> None:
    # R-INV-8, tier C
    assert issubclass(cls, Task)
    assert cls.__module__.startswith("tenuto.tasks.")
    with pytest.raises(LeftOut, match=rf"^{cls.__name__} is not part of Tenuto\. \w.*\.$"):
        cls(name="a task option")

    class Derived(cls):  # type: ignore[misc]  # a base that is known at run time only
        """Defining it fails nothing."""

    with pytest.raises(NotImplementedError):
        Derived()


def test_what_is_no_task_is_none_either() -> None:
    # R-INV-8; R-API-18
    with pytest.raises(LeftOut, match=r"TenantView is not part of Tenuto\. A server has one tenant"):
        tenuto.backend.TenantView()


def test_signatures_are_those_of_the_older_api() -> None:
    made = left_out_class("Thing", {"x": REQUIRED, "y": 2}, "Do that.", base=object, module="m")
    assert str(inspect.signature(made)) == "(x, y=2, **kwargs)"
    function = left_out_function("thing", {"x": REQUIRED, "y": 2}, "Do that.")
    assert str(inspect.signature(function)) == "(x, y=2)"
    assert function.__name__ == "thing"
    with pytest.raises(LeftOut, match=r"^thing is not part of Tenuto\. Do that\.$"):
        function(1, 2, 3, z=4)


def test_error_survives_the_way_to_another_process() -> None:
    error = pickle.loads(pickle.dumps(LeftOut("thing", "Do that.")))
    assert (error.name, error.instead, str(error)) == (
        "thing",
        "Do that.",
        "thing is not part of Tenuto. Do that.",
    )
