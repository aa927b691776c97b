"""Artifacts where no task runs; those that tasks leave are in tests/integration/test_artifacts_in_runs.py."""

from collections.abc import Callable
from typing import Any

import pytest

from tenuto import artifacts, backend


def test_outside_of_a_task_run_they_do_nothing() -> None:
    # R-ART-1, R-BE-158
    assert backend.create_link_artifact("https://example.org") is None
    assert backend.create_markdown_artifact("# Title") is None
    calls: list[Callable[..., Any]] = [backend.update_link_artifact, backend.update_markdown_artifact]
    for call in calls:
        assert call("id", "new") is None
    backend.delete_artifact("id")


@pytest.mark.parametrize("name", artifacts.__all__)
def test_older_names_warn(name: str) -> None:
    # R-ART-1
    arguments = ["id", "text"] if name.startswith("update") else ["text"]
    with pytest.warns(
        UserWarning, match=rf"tenuto\.artifacts\.{name} is an older name: use tenuto\.backend\."
    ):
        assert getattr(artifacts, name)(*arguments) is None
