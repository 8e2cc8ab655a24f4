"""`/oauth/visit/{id}`: the link a browser opens. It says who connects what to whom, and leads on to the provider."""

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from fastapi import APIRouter, Request, Response
from starlette.responses import RedirectResponse

from api.cookies import set_cookie
from api.deps import ApiDeps, DepsOf
from api.fields import is_row_id
from api.hosted import HEADERS, application_of, host_for, page, refusal, shown
from api.request_ids import about
from domain.errors import Problem
from domain.life import AttemptState, Kind
from domain.oauth.authorize import code_challenge
from providers.flows import consent_url
from providers.model import Provider, ScopeKind
from vault import configs, sessions
from vault.api_keys import digest
from vault.ids import new_id
from vault.sealing import VERIFIER, visit_owner
from vault.tables import AuthSession, ProviderConfig, Visit

router = APIRouter(tags=["pages"])

# For the page at the end to be looked at.
READING = timedelta(minutes=15)


@router.get("/oauth/visit/{session_id}", summary="The link a user opens", response_class=Response)
async def visit(session_id: str, request: Request, deps: DepsOf) -> Response:
    return await shown(request, _visit(session_id, request, deps))


async def _visit(session_id: str, request: Request, deps: ApiDeps) -> Response:
    """Our page is passed over only where the config demands that the builder confirms the person of every session.

    Of a session that a page opened in anybody's name this is the one place that tells its visitor in whose.
    """
    session, config = await _rows(session_id, deps)
    if over := _over(session, deps.clock()):
        return refusal(request, Problem(over), application_of(session, config))
    state, cookie, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    made = await _record(deps, session, state, cookie, verifier)
    url = consent_url(
        deps.catalog[session.provider_id],
        client_id=config.client_id,
        redirect_uri=session.oauth_redirect_url,
        scopes=session.scopes or (),
        state=state,
        challenge=code_challenge(verifier),
    )
    told_apart = config.verify_user and session.needs_verification
    response = RedirectResponse(url, 303, HEADERS) if told_apart else _page(deps, session, config, url)
    set_cookie(response, session, made.id, cookie, int(_lasting(session, deps).total_seconds()))
    return response


def _lasting(session: AuthSession, deps: ApiDeps) -> timedelta:
    """How long the browser may have to show that it is the one: until the last step a session can wait for is over."""
    return session.expires_at - deps.clock() + deps.selection_life + deps.verification_life + READING


async def _rows(session_id: str, deps: ApiDeps) -> tuple[AuthSession, ProviderConfig]:
    async with deps.db.reading() as tx:
        session = await sessions.get_session(tx, session_id) if is_row_id(session_id) else None
        config = await configs.get(tx, session.workspace_id, session.provider_config_id) if session else None
    if session is None or config is None or session.provider_id not in deps.catalog:
        raise Problem("session_unknown")
    about(session)
    return session, config


def _over(session: AuthSession, now: datetime) -> str | None:
    """Why the link leads nowhere any more."""
    if session.state != AttemptState.PENDING:
        return "session_expired" if session.reason == "expired" else "session_used"
    return "session_expired" if session.expires_at <= now else None


async def _record(deps: ApiDeps, session: AuthSession, state: str, cookie: str, verifier: str) -> Visit:
    visit_id = new_id("visit")
    sealed = await deps.sealer.seal(visit_owner(session, visit_id), VERIFIER, 1, verifier)
    made = Visit(
        id=visit_id,
        session_id=session.id,
        state_hash=digest(state),
        cookie_hash=digest(cookie),
        sealed_verifier=sealed,
        created_at=deps.clock(),
    )
    async with deps.db.transaction() as tx:
        if not await sessions.add_visit(tx, made, deps.clock()):
            raise Problem("too_many_visits" if session.visits >= sessions.MAX_VISITS else "session_used")
    return made


def _page(deps: ApiDeps, session: AuthSession, config: ProviderConfig, url: str) -> Response:
    provider = deps.catalog[session.provider_id]
    application, host = application_of(session, config), host_for(session)
    return page(
        "visit.html",
        provider=provider.name,
        installation=session.kind == Kind.INSTALLATION,
        tenant=session.tenant_id,
        user=session.user_id,
        application=application,
        host=host if host != application else "",
        rights=_rights(provider, session.scopes or ()),
        consent_url=url,
    )


def _rights(provider: Provider, scopes: Sequence[str]) -> list[str]:
    """What will be asked for, in the catalog's words; a scope it does not describe stands for itself."""
    described = {scope.id: scope.description for kind in ScopeKind for scope in provider.scopes.of(kind)}
    return list(dict.fromkeys(described.get(scope) or scope for scope in scopes))
