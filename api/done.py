"""Where the browser ends: the builder's page with the outcome in its query, or ours, `/oauth/done/{id}`."""

from fastapi import APIRouter, Request, Response
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.responses import RedirectResponse

from api.cookies import drop_cookie, holds_cookie
from api.deps import ApiDeps, DepsOf
from api.fields import is_row_id
from api.hosted import HEADERS, application_of, page, page_with_script, shown
from api.outcomes import Words, is_choosing, outcome_of, words_for
from api.request_ids import about
from domain.life import ENDED, AttemptState
from domain.redirects import done_url, sites_url, with_query
from vault import configs, sessions
from vault.lives import get_life
from vault.tables import AuthSession, Life

router = APIRouter(tags=["pages"])

WORKING = (AttemptState.EXCHANGING, AttemptState.AWAITING_SELECTION)
LOOK_AGAIN_SECONDS = 2
# What failed has to be read, and stays.
CLOSE_AFTER_MS = {AttemptState.COMPLETED: 2_000, AttemptState.PENDING_VERIFICATION: 2_000}


@router.get("/oauth/done/{session_id}", summary="How a session ended", response_class=Response)
async def done(session_id: str, request: Request, deps: DepsOf) -> Response:
    return await shown(request, _done(session_id, request, deps))


async def visitors_session(session_id: str, request: Request, deps: ApiDeps) -> AuthSession | None:
    """The session, if this is the browser that brought its consent; nobody else learns whether there is one."""
    if not is_row_id(session_id):
        return None
    async with deps.db.reading() as tx:
        session = await sessions.get_session(tx, session_id)
        if session is None or not await holds_cookie(tx, request, session):
            return None
    about(session)
    return session


def elsewhere() -> Response:
    """For any other browser, the same whether there is such a session or not."""
    return page("elsewhere.html", 404)


def onward(session: AuthSession) -> str:
    """Where the browser goes next."""
    if is_choosing(session):
        return sites_url(session.oauth_redirect_url, session.id)
    return end_of(session)


def end_of(session: AuthSession) -> str:
    """The builder's page with the outcome, or our own where the builder has none."""
    if not session.redirect_url:
        return done_url(session.oauth_redirect_url, session.id)
    outcome = outcome_of(session, in_full=False)
    values = {"session_id": outcome.session_id, "status": str(outcome.status)}
    for name in ("reason", "installation_id", "connection_id"):
        if (value := getattr(outcome, name)) is not None:
            values[name] = value
    return with_query(session.redirect_url, values)


def send_on(session: AuthSession) -> Response:
    """303, so that neither a code stays in the address bar nor a form is sent twice."""
    return leave(RedirectResponse(onward(session), 303, HEADERS), session)


def leave(response: Response, session: AuthSession) -> Response:
    """Without the cookie, where the browser leaves us for good: our own page at the end still asks for it."""
    if session.redirect_url and session.state not in WORKING:
        drop_cookie(response, session, session.consumed_visit_id)
    return response


async def _done(session_id: str, request: Request, deps: ApiDeps) -> Response:
    session = await visitors_session(session_id, request, deps)
    if session is None:
        return elsewhere()
    if is_choosing(session):
        return RedirectResponse(onward(session), 303, HEADERS)
    async with deps.db.reading() as tx:
        config = await configs.get(tx, session.workspace_id, session.provider_config_id)
        life = await _life_to_name(tx, session)
    provider = deps.catalog.get(session.provider_id)
    names = {"provider": provider.name if provider else session.provider_id, "app": application_of(session, config)}
    if session.state in WORKING:
        return _waiting(names)
    words = words_for(session, **names)
    return page_with_script(
        "done.html",
        application=names["app"],
        words=words,
        state=session.state,
        reason=session.reason,
        facts=_facts(session, words, life, names["provider"]),
        session_id=session.id,
        opener=session.opener_origin,
        close_after=CLOSE_AFTER_MS.get(AttemptState(session.state), ""),
    )


def _waiting(names: dict[str, str]) -> Response:
    response = page("waiting.html", application=names["app"], provider=names["provider"])
    # A header: a page that reloads itself by a meta element may not be announced to screen readers.
    response.headers["refresh"] = str(LOOK_AGAIN_SECONDS)
    return response


async def _life_to_name(tx: AsyncSession, session: AuthSession) -> Life | None:
    """The life whose site says something here: the one that came to be, or the one that was there already."""
    if session.state == AttemptState.COMPLETED:
        return await get_life(tx, session.life_id)
    return await get_life(tx, session.expected) if session.reason == "already_installed" else None


def _facts(session: AuthSession, words: Words, life: Life | None, provider: str) -> list[tuple[str, str]]:
    """What is named beside the words. A consent whose person nobody vouched for learns nothing of what is there.

    Else a page could open a session in a foreign tenant's name and read what it expected.
    """
    vouched = not session.needs_verification or session.verified_at is not None
    site, completed = life.site_name if life else "", session.state == AttemptState.COMPLETED
    expected = words.meaning.format(session.expected) if session.expected else ""
    if life and not completed:
        expected = site or expected
    given = (
        ("Organisation", session.tenant_id),
        ("User", session.user_id),
        (f"Site at {provider}", site if vouched and completed else ""),
        (words.expected or "Expected", expected if vouched and session.state in ENDED else ""),
    )
    return [(name, value) for name, value in given if value]
