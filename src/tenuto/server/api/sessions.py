"""Sessions of browsers: opened with a ticket or a key, kept by the server, ended at any time."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from tenuto.server.api.access import SESSION_COOKIE, Access, csrf_token, principal_of_key
from tenuto.server.api.limits import Limits
from tenuto.server.api.models import Given
from tenuto.server.api.problems import Problem
from tenuto.server.api.recording import entry_of, record_denial
from tenuto.server.api.requests import StoreOf
from tenuto.server.api.routing import asks, new_router
from tenuto.server.domain.access import Permission, Principal
from tenuto.server.store.sql import sessions
from tenuto.server.store.sql.audit import record
from tenuto.server.store.sql.database import Transaction
from tenuto.server.store.sql.sessions import SESSION_AGE, TICKET_AGE

__all__ = ["login", "router", "tickets"]

login = new_router(tags=["access"])
router = new_router("/session", tags=["access"])
tickets = new_router("/tickets", tags=["access"])


class Login(Given):
    """What opens a session."""

    key: str = Field(max_length=500, description="An API key.")


class SessionOut(BaseModel):
    """Who asks, and what they may."""

    name: str
    role: str
    csrf_token: str = Field(description="Sent as `X-CSRF-Token` with each change; empty without a session.")


class TicketOut(BaseModel):
    """A ticket: it opens one session."""

    url: str = Field(description="Where a browser opens the session.")
    expires_seconds: float


@login.get("/login", status_code=303, response_class=RedirectResponse, **asks(Permission.PUBLIC))
async def login_by_ticket(
    request: Request, ticket: Annotated[str, Query(max_length=200, description="Works once, for 30 s.")]
) -> Response:
    """Open a session by the address that was printed, and go on to the pages."""
    access: Access = request.app.state.access
    _check_rate(request)

    def work(transaction: Transaction) -> str | None:
        token = sessions.use_ticket(transaction, ticket)
        if token is not None:
            principal = sessions.find_session(transaction, token, access.machine)
            record(transaction, entry_of(request, principal, "done"))
        return token

    token = await run_in_threadpool(access.database.write, work)
    if token is None:
        await record_denial(request, None)
        raise Problem(
            401, "unauthenticated", "The ticket was used, or is too old. A new one: tenuto server open"
        )
    base = request.scope.get("root_path", "")
    response = RedirectResponse(f"{base}/", 303)
    _set_cookie(request, response, token)
    return response


@router.post("", response_model=SessionOut, **asks(Permission.PUBLIC))
async def login_by_key(request: Request, response: Response, body: Login) -> Any:
    """Open a session by a key that somebody has typed in."""
    access: Access = request.app.state.access
    _check_rate(request)
    try:
        principal = await principal_of_key(access, body.key)
    except Problem:
        await record_denial(request, None)
        raise
    machine = b"" if principal.key_id else access.machine

    def work(transaction: Transaction) -> str:
        record(transaction, entry_of(request, principal, "done"))
        return sessions.open_session(transaction, principal.key_id, machine)

    token = await run_in_threadpool(access.database.write, work)
    _set_cookie(request, response, token)
    return {"name": principal.name, "role": principal.role, "csrf_token": csrf_token(token)}


@router.get("", response_model=SessionOut, **asks(Permission.READ))
def get_session(request: Request, store: StoreOf) -> Any:
    """Say who asks, and give the token that changes are sent along with."""
    token = request.cookies.get(SESSION_COOKIE, "") if store.principal.session else ""
    return {
        "name": store.principal.name,
        "role": store.principal.role,
        "csrf_token": csrf_token(token) if token else "",
    }


@router.delete("", status_code=204, response_class=Response, response_model=None, **asks(Permission.READ))
def logout(request: Request, store: StoreOf) -> Response:
    """End the session."""
    token = request.cookies.get(SESSION_COOKIE, "")
    store.write(lambda tx: sessions.end_session(tx, token))
    response = Response(status_code=204)
    response.delete_cookie(SESSION_COOKIE, path=_path(request), httponly=True, samesite="strict")
    return response


@tickets.post("", response_model=TicketOut, status_code=201, **asks(Permission.READ))
def create_ticket(request: Request, store: StoreOf) -> Any:
    """Make a ticket, by which a browser on its way here needs no key."""
    ticket = store.write(lambda tx: sessions.create_ticket(tx, *_holder(request, store.principal)))
    return {"url": store.url(f"/login?ticket={ticket}"), "expires_seconds": TICKET_AGE.total_seconds()}


def _check_rate(request: Request) -> None:
    address = "" if request.client is None else request.client.host
    limits: Limits = request.app.state.limits
    limits.logins.check(address)


def _holder(request: Request, principal: Principal) -> tuple[str, bytes]:
    access: Access = request.app.state.access
    return principal.key_id, b"" if principal.key_id else access.machine


def _set_cookie(request: Request, response: Response, token: str) -> None:
    public: str = request.app.state.settings.public_url
    response.set_cookie(
        SESSION_COOKIE,
        token,
        max_age=int(SESSION_AGE.total_seconds()),
        path=_path(request),
        secure=request.url.scheme == "https" or public.startswith("https:"),
        httponly=True,
        samesite="strict",
    )


def _path(request: Request) -> str:
    return str(request.scope.get("root_path", "")) or "/"
