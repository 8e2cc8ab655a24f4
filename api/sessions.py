"""`/oauth/installs` and `/oauth/sessions`: open an attempt at consent, follow it, finish what waits for a person."""

from datetime import datetime
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field

from api.auth import AnyCaller, Presented, SecretCaller, secret_only
from api.cookies import holds_cookie
from api.deps import ApiDeps, DepsOf
from api.fields import Body, BuilderId, RowId, ScopeList, Url
from api.opening import Wish, open_session
from api.origins import PageOrigin, page_origin
from api.outcomes import SessionOutcome, outcome_of
from api.problems import documented
from api.request_ids import about
from domain.errors import Problem
from domain.life import ENDED, AttemptState, Kind
from domain.redirects import visit_url
from vault import sessions
from vault.lives import get_life
from vault.tables import AuthSession, Life

router = APIRouter(tags=["sessions"])
log = structlog.get_logger(__name__)

OPENING = documented(
    "bad_request", "unauthenticated", "provider_unknown", "config_missing", "ambiguous", "invalid_scope",
    "redirect_url_not_allowed", "origin_not_allowed", "session_token_spent", "session_token_mismatch",
    "deleted_meanwhile", "temporal_unavailable",
)  # fmt: skip
REDIRECT_URL = "Where the browser goes afterwards; the provider config must allow it. Left out: a page of ours."


class CreateInstallSessionParams(Body):
    provider: BuilderId
    tenant_id: BuilderId
    redirect_url: Url | None = Field(None, description=REDIRECT_URL)
    user_id: BuilderId | None = Field(None, description="Who installs, in your own words.")
    permissions: ScopeList | None = Field(None, description="Installation scopes; the config's, if left out.")
    provider_config_id: BuilderId | None = None
    label: BuilderId | None = Field(
        None, description="Tells several installations of one tenant apart; `default`, if left out."
    )


class CreateAuthSessionParams(Body):
    provider: BuilderId
    tenant_id: BuilderId
    redirect_url: Url | None = Field(None, description=REDIRECT_URL)
    user_id: BuilderId | None = None
    installation_id: BuilderId | None = None
    scopes: ScopeList | None = None
    template_variables: Annotated[dict[str, str], Field(max_length=0)] | None = Field(
        None, description="Reserved: no provider of the catalog takes any yet."
    )
    provider_config_id: BuilderId | None = None
    label: BuilderId | None = Field(
        None, description="Tells several connections of one user apart; `default`, if left out."
    )


class OpenedSession(BaseModel):
    session_id: str
    authorization_url: str = Field(description="Send the user's browser here.")
    expires_at: datetime


class Selection(Body):
    site_id: BuilderId


class Completion(Body):
    """The person and the tenant your own sign-in knows, not what the page says: the page may have named another's."""

    tenant_id: BuilderId
    user_id: BuilderId | None = Field(None, description="Required where the session was opened for a user.")


@router.post("/oauth/installs", status_code=201, responses=OPENING, summary="Open a session to install the app")
async def open_install(
    body: CreateInstallSessionParams, caller: AnyCaller, origin: PageOrigin, deps: DepsOf
) -> OpenedSession:
    wish = Wish(
        kind=Kind.INSTALLATION,
        provider_id=body.provider,
        tenant_id=body.tenant_id,
        redirect_url=body.redirect_url or "",
        user_id=body.user_id or "",
        provider_config_id=body.provider_config_id or "",
        label=body.label or "",
        opener_origin=origin,
        scopes=None if body.permissions is None else tuple(body.permissions),
    )
    return _opened(await open_session(deps, caller, wish))


@router.post("/oauth/sessions", status_code=201, responses=OPENING, summary="Open a session to connect a user")
async def open_connect(
    body: CreateAuthSessionParams, caller: AnyCaller, origin: PageOrigin, deps: DepsOf
) -> OpenedSession:
    wish = Wish(
        kind=Kind.CONNECTION,
        provider_id=body.provider,
        tenant_id=body.tenant_id,
        redirect_url=body.redirect_url or "",
        user_id=body.user_id or "",
        installation_id=body.installation_id or "",
        provider_config_id=body.provider_config_id or "",
        label=body.label or "",
        opener_origin=origin,
        scopes=None if body.scopes is None else tuple(body.scopes),
    )
    return _opened(await open_session(deps, caller, wish))


@router.get(
    "/oauth/sessions/{session_id}",
    dependencies=[Depends(page_origin)],
    responses=documented("unauthenticated", "origin_not_allowed", "not_found"),
    response_model_exclude_none=True,
    summary="The outcome of a session",
)
async def get_outcome(session_id: RowId, caller: AnyCaller, deps: DepsOf) -> SessionOutcome:
    session = await _session(deps, session_id)
    other_token = caller.token is not None and caller.token.session_id != session.id
    if session.workspace_id != caller.workspace_id or other_token:
        raise Problem("not_found")
    return outcome_of(session, in_full=caller.role == "secret", vouched=caller.token is not None)


@router.post(
    "/oauth/sessions/{session_id}/selection",
    responses=documented("unauthenticated", "forbidden", "not_found", "session_not_waiting", "site_unknown"),
    response_model_exclude_none=True,
    summary="Choose a site among several",
)
async def select_site(
    session_id: RowId, body: Selection, request: Request, deps: DepsOf, presented: Presented
) -> SessionOutcome:
    session = await _chooser(session_id, request, deps, presented)
    chosen = await choose(deps, session, body.site_id)
    return outcome_of(chosen, in_full=presented is not None)


async def choose(deps: ApiDeps, session: AuthSession, site_id: str) -> AuthSession:
    """Record the choice and wait a little for what comes of it; answers the session as it is then."""
    if session.state != AttemptState.AWAITING_SELECTION:
        raise Problem("session_not_waiting", f"The session is {session.state}, not awaiting a selection.")
    if site_id not in {site["id"] for site in session.sites or ()}:
        raise Problem("site_unknown", "That site is not among the ones the consent reaches.")
    async with deps.db.transaction() as tx:
        chosen = await sessions.choose(tx, session.id, site_id, deps.clock())
    if not chosen:
        raise Problem("session_not_waiting", "A site was chosen already, or the time for it has passed.")
    await deps.lives.choose_site(await _life(deps, session), session.id, deps.wait)
    return await _session(deps, session.id)


@router.post(
    "/oauth/sessions/{session_id}/complete",
    responses=documented("unauthenticated", "forbidden", "not_found", "session_not_waiting", "user_mismatch"),
    response_model_exclude_none=True,
    summary="Confirm whose consent it was",
)
async def complete(session_id: RowId, body: Completion, caller: SecretCaller, deps: DepsOf) -> SessionOutcome:
    session = await _session(deps, session_id)
    if session.workspace_id != caller.workspace_id:
        raise Problem("not_found")
    _check_person(session, body)
    await _verify(deps, session)
    await hand_over(deps, session)
    return outcome_of(await _session(deps, session_id), in_full=True)


async def _verify(deps: ApiDeps, session: AuthSession) -> None:
    """Record that the person is the right one. Saying so again is no error: the first answer may have been lost."""
    if session.verified_at is not None or session.state == AttemptState.COMPLETED:
        return
    if session.state != AttemptState.PENDING_VERIFICATION:
        raise Problem("session_not_waiting", f"The session is {session.state}, not pending verification.")
    async with deps.db.transaction() as tx:
        if not await sessions.verify(tx, session.id, deps.clock()):
            raise Problem("session_not_waiting", "The time to confirm the session has passed.")


async def hand_over(deps: ApiDeps, session: AuthSession) -> None:
    """Signal the workflow and wait a little for the outcome. Temporal being away loses nothing: the row says what a
    person did, and the sweeper signals what its workflow has not acknowledged.
    """
    async with deps.db.reading() as tx:
        life = await get_life(tx, session.life_id)
    if life is None or session.state in ENDED:
        return
    try:
        await deps.lives.returned(life, session.id)
    except Problem:
        log.warning("the engine is away; the session is kept and signalled later", session_id=session.id)
        return
    await deps.lives.settled(life, session.id, deps.wait)


def _check_person(session: AuthSession, body: Completion) -> None:
    """Both have to match: a page may have opened the session for its own user, but in another's tenant."""
    if session.user_id and body.user_id is None:
        raise Problem("bad_request", "Name the user_id that is confirmed.")
    if (body.tenant_id, body.user_id or "") != (session.tenant_id, session.user_id):
        raise Problem("user_mismatch", "The session was opened for another user or tenant.")


async def _chooser(session_id: str, request: Request, deps: ApiDeps, presented: Any) -> AuthSession:
    """A secret key, or the browser that brought the consent; never a publishable key."""
    session = await _session(deps, session_id)
    if presented is not None:
        caller = await secret_only(request, deps, presented)
        if caller.workspace_id != session.workspace_id:
            raise Problem("not_found")
        return session
    async with deps.db.reading() as tx:
        if not await holds_cookie(tx, request, session):
            raise Problem("unauthenticated", "Send a secret key, or choose in the browser that gave the consent.")
    return session


async def _session(deps: ApiDeps, session_id: str) -> AuthSession:
    async with deps.db.reading() as tx:
        session = await sessions.get_session(tx, session_id)
    if session is None:
        raise Problem("not_found")
    about(session)
    return session


async def _life(deps: ApiDeps, session: AuthSession) -> Life:
    async with deps.db.reading() as tx:
        life = await get_life(tx, session.life_id)
    if life is None:
        raise Problem("not_found")
    return life


def _opened(session: AuthSession) -> OpenedSession:
    return OpenedSession(
        session_id=session.id,
        authorization_url=visit_url(session.oauth_redirect_url, session.id),
        expires_at=session.expires_at,
    )
