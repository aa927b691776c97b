"""The OpenAPI document of the API: what clients, the pages and generated requests are made from."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi

from tenuto.server.api.routing import asks, new_router
from tenuto.server.domain.access import Permission

__all__ = ["openapi_document", "openapi_text", "router"]

router = new_router(tags=["health"])

_PUBLIC = ("public",)
_PROBLEM = {
    "type": "object",
    "title": "Problem",
    "description": "What went wrong (RFC 9457); members beside these depend on `type`.",
    "required": ["type", "title", "status", "detail", "instance", "request_id"],
    "properties": {
        "type": {"type": "string", "description": "`urn:tenuto:problem:SLUG`"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "code", "message"],
                "properties": {name: {"type": "string"} for name in ("pointer", "code", "message")},
            },
        },
    },
}
_TOLD = {
    "description": "A problem.",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


@router.get("/openapi.json", **asks(Permission.READ))
def openapi(request: Request) -> Response:
    """Return this document."""
    return Response(openapi_text(request.app), media_type="application/json")


def openapi_text(app: FastAPI) -> bytes:
    """Return the document as text: the same bytes for the same routes."""
    return msgspec.json.format(msgspec.json.encode(openapi_document(app), order="sorted"), indent=1)


def openapi_document(app: FastAPI) -> dict[str, Any]:
    """Return the document of an application, OpenAPI 3.1."""
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title,
            # Of the API, not of the program: each release would change the document otherwise.
            version="1",
            openapi_version="3.1.0",
            routes=app.routes,
            summary="The API of a Tenuto server.",
        )
        _tell_problems(made)
        _tell_access(made)
        app.openapi_schema = made
    return app.openapi_schema


def _tell_problems(document: dict[str, Any]) -> None:
    """Say how this server tells errors, in place of how FastAPI would."""
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Problem"] = _PROBLEM
    for operation in _operations(document):
        operation["responses"].pop("422", None)
        operation["responses"]["default"] = _TOLD


def _tell_access(document: dict[str, Any]) -> None:
    document["components"]["securitySchemes"] = {
        "key": {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key; where `x-permission` is `lease`, the token of the run's lease.",
        }
    }
    for operation in _operations(document):
        operation["security"] = [] if operation["x-permission"] in _PUBLIC else [{"key": []}]


def _operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for path in document["paths"].values() for operation in path.values()]
