"""
Artifacts: links and texts that a task leaves with its run, for people to look at.

They are part of the run's record. Outside of a task run these functions do nothing and return None.
"""

from __future__ import annotations

import uuid

from tenuto._base.artifacts import leave

__all__ = [
    "create_link_artifact",
    "create_markdown_artifact",
    "delete_artifact",
    "update_link_artifact",
    "update_markdown_artifact",
]


def create_link_artifact(link: str) -> str | None:
    """Leave a link with the task run that calls this; return its id, or None where no task runs."""
    return _create("link", {"link": link})


def update_link_artifact(task_run_artifact_id: str, link: str) -> None:
    """Put another link in the place of one that this run has left."""
    leave("link", task_run_artifact_id, {"link": link})


def create_markdown_artifact(markdown: str) -> str | None:
    """
    Leave a text in Markdown with the task run that calls this; return its id, or None where no task runs.

    Of a text larger than 16 KB the record holds the beginning only.
    """
    return _create("markdown", {"markdown": markdown})


def update_markdown_artifact(task_run_artifact_id: str, markdown: str) -> None:
    """Put another text in the place of one that this run has left."""
    leave("markdown", task_run_artifact_id, {"markdown": markdown})


def delete_artifact(task_run_artifact_id: str) -> None:
    """Take back what this run has left."""
    leave("", task_run_artifact_id, None)


def _create(kind: str, body: dict[str, str]) -> str | None:
    key = str(uuid.uuid4())
    return key if leave(kind, key, body) else None
