"""Errors as RFC 9457 problem JSON, for every way a request can fail; never a traceback, never an echoed value."""

from collections.abc import Sequence
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from activities.causes import REQUEST_ID
from domain.errors import CODES, FieldError, Problem, where
from vault.crypto import SealBroken
from vault.database import is_full

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:authpipe:problem:"
MOST_ERRORS = 20
BY_STATUS = {
    400: "malformed_json",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    401: "unauthenticated",
}

FORESEEN = (Problem, DBAPIError, PoolTimeout, OSError, SealBroken)

log = structlog.get_logger(__name__)


def problem_body(problem: Problem, instance: str) -> dict[str, Any]:
    """The contract's ErrorModel, with `code`, `remedy` and, where several fit, `candidates`."""
    row = problem.row
    body: dict[str, Any] = {
        "type": TYPE_PREFIX + row.code,
        "title": row.title,
        "status": row.status,
        "detail": problem.detail,
        "instance": instance,
        "code": row.code,
        "remedy": row.remedy,
    }
    if problem.errors:
        body["errors"] = [{"location": e.location, "message": e.message} for e in problem.errors]
    if problem.candidates:
        body["candidates"] = list(problem.candidates)
    return body


def respond(request: Request, problem: Problem) -> JSONResponse:
    """One problem as a response."""
    headers = {"cache-control": "no-store"}
    if problem.retry_after is not None:
        headers["retry-after"] = str(problem.retry_after)
    if problem.row.status == 401:
        headers["www-authenticate"] = 'Bearer realm="authpipe"'
    body = problem_body(problem, request.url.path) | _asked_as(request)
    return JSONResponse(body, problem.row.status, headers, MEDIA_TYPE)


def _asked_as(request: Request) -> dict[str, str]:
    """The request's id, by which whoever asks us about this answer names it."""
    return {REQUEST_ID: request.scope[REQUEST_ID]} if REQUEST_ID in request.scope else {}


def install(app: FastAPI) -> None:
    """Handlers for all but paths and methods that are not there (`home`)."""

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return respond(request, _from_validation(error.errors()))

    for kind in FORESEEN:
        app.add_exception_handler(kind, _failed)
    app.add_middleware(LastResort)


def problem_of_status(status: int) -> Problem:
    """What the framework refuses by itself, such as a path or a method that is not there."""
    return Problem(BY_STATUS.get(status, "bad_request" if status < 500 else "internal"))


async def _failed(request: Request, error: Exception) -> JSONResponse:
    return respond(request, problem_of(request, error))


def code_of(error: Exception) -> str:
    """The code under which an error is told."""
    match error:
        case Problem():
            return error.row.code
        case DBAPIError() if is_full(error):
            return "database_full"
        case DBAPIError() | PoolTimeout() | OSError():
            return "database_unavailable"
        case SealBroken():
            return "seal_broken"
    return "internal"


def problem_of(request: Request, error: Exception) -> Problem:
    """What the caller is told of an error; the log has the rest."""
    path, kind = request.url.path, type(error).__name__
    if isinstance(error, Problem):
        return error
    if isinstance(error, HTTPException):
        return problem_of_status(error.status_code)
    if isinstance(error, ClientDisconnect):
        return Problem("malformed_json")  # nobody hears it
    match code_of(error):
        case "database_full" as code:
            log.error("the database's disk is full: nothing can be written; make room", path=path)
            return Problem(code, retry_after=30)
        case "database_unavailable" as code:
            log.error("the database did not answer", path=path, error=type(error.__cause__ or error).__name__)
            return Problem(code, retry_after=2)
        case "seal_broken" as code:
            log.error("a sealed secret does not open", path=path)
            return Problem(code)
    log.error("unexpected error", path=path, error=kind, where=where(error))
    return Problem("internal")


def _from_validation(errors: Sequence[Any]) -> Problem:
    if any(error["type"] == "json_invalid" for error in errors):
        return Problem("malformed_json")
    fields = tuple(
        FieldError(".".join(str(part)[:64] for part in e["loc"]), str(e["msg"])) for e in errors[:MOST_ERRORS]
    )
    named = ", ".join(f"{f.location}: {f.message}" for f in fields[:3])
    return Problem("bad_request", f"{named}.", errors=fields)


def documented(*codes: str) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`: which refusals it has, by status."""
    by_status: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        row = CODES[code]
        said = by_status.setdefault(row.status, {"description": "", "content": {MEDIA_TYPE: {}}})
        said["description"] = f"{said['description']} `{code}`: {row.title}.".strip()
    return by_status


class LastResort:
    """Answers what nothing else foresaw; left to the framework, its message would reach the server's log."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = False

        async def noting(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception as error:
            if scope["type"] != "http" or began:
                raise
            request = Request(scope)
            await respond(request, problem_of(request, error))(scope, receive, send)
