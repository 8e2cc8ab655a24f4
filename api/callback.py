"""`/oauth/callback`: the provider sends the browser back. Right cookie, right state, right issuer, and only once."""

from typing import Annotated

import structlog
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel
from starlette.responses import JSONResponse

from api.cookies import is_visitor
from api.deps import ApiDeps, DepsOf
from api.done import end_of, leave, send_on
from api.hosted import HEADERS, wants_json
from api.problems import documented, problem_of
from api.refused import refuse
from api.request_ids import about
from api.sessions import hand_over
from domain.errors import Problem
from domain.life import AttemptState
from domain.oauth.failures import bounded_code
from domain.points import Point
from providers.flows import issuer_is
from vault import sessions
from vault.api_keys import digest
from vault.lives import get_life
from vault.sealing import CODE, session_owner
from vault.tables import AuthSession, Visit

router = APIRouter(tags=["pages"])
log = structlog.get_logger(__name__)

LONGEST = 8192
PARAMETERS = ("state", "code", "error", "iss")
# No bound here: what is too long gets a page, not a validation error.
Text = Annotated[str | None, Query()]


class CallbackOutputBody(BaseModel):
    redirect_url: str


@router.get(
    "/oauth/callback",
    summary="Where the provider sends the browser back",
    response_class=Response,
    responses={
        200: {"model": CallbackOutputBody, "description": "Where the browser is to go, if JSON was asked for"},
        303: {"description": "On to the builder, with the outcome in the query, or to our page that asks or says it"},
        # Only if JSON was asked for: a browser is sent on to the page that says so.
        **documented(
            "state_unknown",
            "wrong_browser",
            "foreign_issuer",
            "session_used",
            "session_expired",
            "database_unavailable",
        ),
    },
)
async def callback(
    request: Request, deps: DepsOf, state: Text = None, code: Text = None, error: Text = None, iss: Text = None
) -> Response:
    try:
        return await _callback(request, deps, state, code, error, iss)
    except Exception as failure:  # noqa: BLE001 - whatever it is: this address, with the code in it, must be left
        return refuse(request, problem_of(request, failure))


async def _callback(
    request: Request, deps: ApiDeps, state: str | None, code: str | None, error: str | None, iss: str | None
) -> Response:
    _check_form(request)
    session, visit = await _visitor(request, deps, state, iss)
    if error or not code:
        return await _without_code(request, deps, session, visit, error)
    await _consume(deps, session, visit, code)
    await deps.reached(Point.CALLBACK_AFTER_CONSUMING, session.life_id)
    await hand_over(deps, session)
    return await _go_back(request, deps, session)


def _check_form(request: Request) -> None:
    """Each parameter at most once (RFC 6749 section 3.1), and none too long to be what it says it is."""
    given = [(name, value) for name, value in request.query_params.multi_items() if name in PARAMETERS]
    if len(given) != len(dict(given)) or any(len(value) > LONGEST for _, value in given):
        raise Problem("state_unknown")


async def _visitor(request: Request, deps: ApiDeps, state: str | None, iss: str | None) -> tuple[AuthSession, Visit]:
    """The session this answer belongs to. No refusal here uses the session up: the right browser may yet come."""
    async with deps.db.reading() as tx:
        found = await sessions.find_visit(tx, digest(state or ""))
    if found is None:
        raise Problem("state_unknown")
    visit, session = found
    about(session)
    if not is_visitor(request, session, visit):
        raise Problem("wrong_browser")
    provider = deps.catalog.get(session.provider_id)
    if provider is None or not issuer_is(provider, iss):
        raise Problem("foreign_issuer", "The answer names another authorization server than the one that was asked.")
    if session.state != AttemptState.PENDING:
        raise Problem("session_expired" if session.reason == "expired" else "session_used")
    if session.expires_at <= deps.clock():
        raise Problem("session_expired")
    return session, visit


async def _without_code(
    request: Request, deps: ApiDeps, session: AuthSession, visit: Visit, error: str | None
) -> Response:
    """A denial, or another refusal of the provider: the attempt is over, the life stays as it was."""
    reason = (bounded_code(error) or "provider_error") if error else "code_missing"
    async with deps.db.transaction() as tx:
        if not await sessions.deny(tx, visit, reason, deps.clock()):
            raise Problem("session_used")
    await _tell(deps, session)
    return await _go_back(request, deps, session)


async def _consume(deps: ApiDeps, session: AuthSession, visit: Visit, code: str) -> None:
    sealed = await deps.sealer.seal(session_owner(session), CODE, 1, code)
    async with deps.db.transaction() as tx:
        if not await sessions.consume(tx, visit, sealed, deps.clock()):
            raise Problem("session_used")


async def _tell(deps: ApiDeps, session: AuthSession) -> None:
    async with deps.db.reading() as tx:
        life = await get_life(tx, session.life_id)
    if life is None:
        return
    try:
        await deps.lives.wake(life)
    except Problem:
        log.warning("the engine is away; it will read the row later", session_id=session.id)


async def _go_back(request: Request, deps: ApiDeps, session: AuthSession) -> Response:
    """303, so that the code leaves the address bar; the builder's page reads the outcome from our API."""
    async with deps.db.reading() as tx:
        fresh = await sessions.get_session(tx, session.id) or session
    if wants_json(request):
        return leave(JSONResponse({"redirect_url": end_of(fresh)}, headers=HEADERS), fresh)
    return send_on(fresh)
