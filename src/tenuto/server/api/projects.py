"""Projects."""

from __future__ import annotations

from functools import partial
from typing import Any

from tenuto.server.api.models import Given, Listed, Name, ProjectOut, listed
from tenuto.server.api.requests import PageOf, PathId, StoreOf
from tenuto.server.api.routing import asks, new_router
from tenuto.server.domain.access import Permission
from tenuto.server.store.sql import flows

__all__ = ["router"]

router = new_router("/projects", tags=["projects"])


class NewProject(Given):
    """A project to be made."""

    name: Name
    description: str = ""


class ProjectChange(Given):
    """What is to be changed; what is left out stays."""

    name: Name | None = None
    description: str | None = None


@router.get("", response_model=Listed[ProjectOut], **asks(Permission.READ))
def list_projects(store: StoreOf, page: PageOf, q: str = "") -> Any:
    """List projects, by name."""
    return listed(store.read(lambda tx: flows.list_projects(tx, page, q)), lambda row: row)


@router.post("", response_model=ProjectOut, status_code=201, **asks(Permission.EDIT))
def create_project(store: StoreOf, body: NewProject) -> Any:
    """Make a project."""
    project_id = store.write(partial(flows.create_project, name=body.name, description=body.description))
    return store.read(lambda tx: flows.get_project(tx, project_id))


@router.get("/{id}", response_model=ProjectOut, **asks(Permission.READ))
def get_project(store: StoreOf, id: PathId) -> Any:
    """Return a project."""
    return store.read(lambda tx: flows.get_project(tx, id))


@router.patch("/{id}", response_model=ProjectOut, **asks(Permission.EDIT))
def change_project(store: StoreOf, id: PathId, body: ProjectChange) -> Any:
    """Rename a project, or describe it."""
    changed = body.model_dump(exclude_none=True)
    if changed:
        store.write(lambda tx: flows.update_project(tx, id, changed))
    return store.read(lambda tx: flows.get_project(tx, id))
