"""Errors as `application/problem+json` (RFC 9457): what happened, for people and for programs."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from tenuto.exceptions import PrefectException
from tenuto.server.domain.group_settings import BadSettings
from tenuto.server.domain.new_runs import MissingParameters, UnknownParameters
from tenuto.server.store.sql.database import BadValue, StoreUnavailable
from tenuto.server.store.sql.flows import AlreadyExists, NotFound
from tenuto.server.store.sql.ingest import BadBatch, Conflict, Gap
from tenuto.server.store.sql.leases import Fenced
from tenuto.server.store.sql.new_runs import Archived, BadTarget
from tenuto.server.store.sql.pages import BadQuery
from tenuto.server.store.sql.restarts import CannotRestart
from tenuto.server.store.sql.runs import IdempotencyMismatch, LeaseHeld, VersionConflict
from tenuto.server.store.sql.stream import IllegalTransition, UnknownRun

__all__ = ["Problem", "install", "problem_of", "problem_response"]

logger = logging.getLogger("tenuto.server")


class Problem(Exception):
    """
    What a client is told.

    Args:
        status: the HTTP status.
        slug: which kind of problem, for programs.
        detail: a sentence, for people.
        members: further facts, for programs.
        headers: of the response.
    """

    def __init__(
        self,
        status: int,
        slug: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.status, self.slug, self.detail = status, slug, detail
        self.members, self.headers = members, headers


def problem_of(error: Exception) -> Problem | None:
    """Return what a client is told of an error of the store; None of one that nobody foresaw."""
    text = str(error)
    match error:
        case Problem():
            return error
        case UnknownRun() | NotFound():
            return Problem(404, "not-found", text)
        case Fenced():
            return Problem(409, "fenced", text, epoch=error.epoch)
        case Gap():
            return Problem(409, "gap", text, expected=error.expected)
        case Conflict():
            return Problem(409, "conflict", text, pseq=error.pseq)
        case IllegalTransition(pseq=None):
            return Problem(409, "illegal-transition", text, current_state=error.current)
        case IllegalTransition():
            facts: dict[str, Any] = {"pseq": error.pseq, "from": error.current, "to": error.wanted}
            return Problem(409, "illegal", text, **facts)
        case BadBatch(is_too_large=True):
            return Problem(413, "payload-too-large", text)
        case BadBatch():
            return Problem(422, "invalid-request", text)
        case IdempotencyMismatch():
            return Problem(409, "idempotency-mismatch", text, fields=error.fields)
        case Archived():
            return Problem(409, "archived", text, current_flow_id=error.current_id)
        case AlreadyExists():
            return Problem(409, "already-exists", text, id=error.id)
        case MissingParameters():
            return Problem(422, "missing-parameters", text, names=error.names)
        case BadQuery() | BadValue() | UnknownParameters() | BadTarget() | BadSettings():
            return Problem(422, "invalid-request", text)
        case VersionConflict():
            facts = {"current_version": error.version, "current_state": error.state}
            return Problem(409, "version-conflict", text, **facts)
        case UnicodeEncodeError():
            return Problem(422, "invalid-request", "The request has half of a pair for a character.")
        case LeaseHeld() | CannotRestart():
            return Problem(409, "illegal-transition", text)
        case StoreUnavailable():
            return Problem(503, "overloaded", text, code=error.code, headers={"Retry-After": "1"})
    return None


def problem_response(request: Request, problem: Problem) -> JSONResponse:
    """Return the response that tells a problem."""
    body = {
        "type": f"urn:tenuto:problem:{problem.slug}",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "instance": request.url.path,
        "request_id": request_id(request),
        **problem.members,
    }
    return JSONResponse(body, problem.status, headers=problem.headers, media_type="application/problem+json")


def request_id(request: Request) -> str:
    """Return the id by which the logs of the server know a request."""
    known = getattr(request.state, "request_id", None)
    if known is None:
        known = request.state.request_id = uuid.uuid4().hex
    return str(known)


def install(app: FastAPI) -> None:
    """Have all errors of an application told as problems."""

    async def told(request: Request, error: Exception) -> JSONResponse:
        problem = problem_of(error)
        if problem is None:
            # The last boundary: the client learns a number, the log everything, and the server goes on.
            number = request_id(request)
            logger.error("Request %s failed: %s %s", number, request.method, request.url.path, exc_info=error)
            problem = Problem(500, "internal", f"The server made a mistake. Its log tells more: {number}")
        return problem_response(request, problem)

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        errors = [
            {
                "pointer": "/" + "/".join(str(part) for part in found["loc"]),
                "code": found["type"],
                "message": found["msg"],
            }
            for found in error.errors()
        ]
        where = errors[0] if errors else {"pointer": "", "message": "it cannot be read"}
        detail = f"The request is not valid: {where['pointer']}: {where['message']}."
        return problem_response(request, Problem(422, "invalid-request", detail, errors=errors))

    async def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        slug = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "invalid-request")
        return problem_response(request, Problem(error.status_code, slug, str(error.detail)))

    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    for kind in (Problem, PrefectException, UnicodeEncodeError, Exception):
        app.add_exception_handler(kind, told)
