"""Routes, each with the permission that it asks for: one without fails the start of the server."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import msgspec
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from tenuto.server.api.access import principal_of
from tenuto.server.api.limits import check_depth
from tenuto.server.api.problems import Problem
from tenuto.server.api.recording import record_denial, record_use
from tenuto.server.domain.access import Permission, Principal

__all__ = ["Route", "all_routes", "check_permissions", "new_router"]

_DECLARED = "x-permission"
_DENIED = (401, 403)


class Route(APIRoute):
    """A route that looks at who asks before it reads what they say."""

    @property
    def permission(self) -> Permission | None:
        declared = (self.openapi_extra or {}).get(_DECLARED)
        return None if declared is None else Permission(declared)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def checked(request: Request) -> Response:
            request.state.permission, request.state.route = self.permission, self.path
            await authorize(request, self.permission)
            if self.body_field is not None:
                check_depth(await request.body())
            return await handle(request)

        return checked


async def authorize(request: Request, permission: Permission | None) -> Principal | None:
    """
    Let through only who may; put them into `request.state.principal`.

    Raises:
        Problem: 401 without a valid key, 403 for one that may not, 429 for one that asks too often.
    """
    request.state.principal = None
    if permission in (Permission.PUBLIC, Permission.LEASE):
        return None
    try:
        principal = await principal_of(request)
    except Problem as problem:
        if problem.status in _DENIED:
            await record_denial(request, None)
        raise
    if permission is not Permission.WORK and principal.key_id:
        # The key of the server's machine has no limit: whoever has that can stop the process as well.
        request.app.state.limits.requests.check(principal.key_id)
    if permission is None or not principal.may(permission):
        await record_denial(request, principal)
        raise Problem(403, "forbidden", f"The role {principal.role} may not do this; it takes {permission}.")
    await record_use(request, principal)
    request.state.principal = principal
    return principal


def new_router(prefix: str = "", *, tags: list[str] | None = None) -> APIRouter:
    """Return a router whose routes are declared with `**asks(permission)`."""
    return APIRouter(prefix=prefix, tags=list(tags or []), route_class=Route)


def asks(permission: Permission, body: type[msgspec.Struct] | dict[str, Any] | None = None) -> dict[str, Any]:
    """
    Return what declares the permission of a route.

    Args:
        permission: what who asks must have.
        body: what the route decodes by itself, or its schema: it is told in the OpenAPI document.
    """
    declared: dict[str, Any] = {_DECLARED: str(permission)}
    if body is not None:
        schema = body if isinstance(body, dict) else msgspec.json.schema(body)["$defs"][body.__name__]
        declared["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return {"openapi_extra": declared}


def check_permissions(app: FastAPI) -> None:
    """
    Refuse routes that nobody is asked a permission for.

    Raises:
        RuntimeError: naming them.
    """
    missing = [getattr(route, "path", repr(route)) for route in all_routes(app) if not _is_guarded(route)]
    if missing:
        raise RuntimeError(f"These routes declare no permission: {', '.join(sorted(missing))}.")


def all_routes(router: Any) -> Iterator[BaseRoute]:
    """Yield the routes of an application, with those of the routers that it includes."""
    for route in router.routes:
        included = getattr(route, "original_router", None)  # newer releases of FastAPI include lazily
        if included is None:
            yield route
        else:
            yield from all_routes(included)


def _is_guarded(route: BaseRoute) -> bool:
    if isinstance(route, Route):
        return route.permission is not None
    return bool(getattr(getattr(route, "endpoint", None), "is_guarded", False))
