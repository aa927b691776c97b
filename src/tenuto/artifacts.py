"""Older names of the functions in `tenuto.backend.artifacts`."""

import warnings

from tenuto.backend import artifacts

__all__ = ["create_link", "create_markdown", "delete_artifact", "update_link", "update_markdown"]


def create_link(link: str) -> str | None:
    """Call `create_link_artifact`."""
    _warn("create_link", "create_link_artifact")
    return artifacts.create_link_artifact(link)


def update_link(task_run_artifact_id: str, link: str) -> None:
    """Call `update_link_artifact`."""
    _warn("update_link", "update_link_artifact")
    artifacts.update_link_artifact(task_run_artifact_id, link)


def create_markdown(markdown: str) -> str | None:
    """Call `create_markdown_artifact`."""
    _warn("create_markdown", "create_markdown_artifact")
    return artifacts.create_markdown_artifact(markdown)


def update_markdown(task_run_artifact_id: str, markdown: str) -> None:
    """Call `update_markdown_artifact`."""
    _warn("update_markdown", "update_markdown_artifact")
    artifacts.update_markdown_artifact(task_run_artifact_id, markdown)


def delete_artifact(task_run_artifact_id: str) -> None:
    """Call `tenuto.backend.delete_artifact`."""
    _warn("delete_artifact", "delete_artifact")
    artifacts.delete_artifact(task_run_artifact_id)


def _warn(old: str, new: str) -> None:
    warnings.warn(
        f"tenuto.artifacts.{old} is an older name: use tenuto.backend.{new}.", UserWarning, stacklevel=3
    )
