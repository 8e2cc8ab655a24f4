"""`/oauth/sites/{id}`: the person who gave the consent chooses one of the sites it reaches. A plain form."""

import hmac
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response

from api.cookies import cookie_name
from api.deps import ApiDeps, DepsOf
from api.done import elsewhere, send_on, visitors_session
from api.hosted import application_of, page_with_form, refusal, shown
from api.outcomes import is_choosing
from api.sessions import choose
from domain.errors import Problem
from domain.redirects import origin_text
from vault import configs, sessions
from vault.api_keys import digest
from vault.tables import AuthSession

router = APIRouter(tags=["pages"])

OWN_PAGE = ("same-origin", "none")
FORM = "application/x-www-form-urlencoded"


@router.get("/oauth/sites/{session_id}", summary="The page to choose a site on", response_class=Response)
async def show_sites(session_id: str, request: Request, deps: DepsOf) -> Response:
    return await shown(request, _show(session_id, request, deps))


@router.post("/oauth/sites/{session_id}", summary="Choose a site there", response_class=Response)
async def choose_site(session_id: str, request: Request, deps: DepsOf) -> Response:
    return await shown(request, _choose(session_id, request, deps))


async def _show(session_id: str, request: Request, deps: ApiDeps) -> Response:
    session = await visitors_session(session_id, request, deps)
    if session is None:
        return elsewhere()
    if not is_choosing(session):
        return send_on(session)
    return await _form(request, deps, session)


async def _choose(session_id: str, request: Request, deps: ApiDeps) -> Response:
    session = await visitors_session(session_id, request, deps)
    if session is None:
        return elsewhere()
    given = await _fields(request)
    _check_sender(request, session, given.get("form", ""))
    if not is_choosing(session):
        return send_on(session)
    if given.get("site", "") not in {site["id"] for site in session.sites or ()}:
        return await _form(request, deps, session, status=422)
    return send_on(await choose(deps, session, given["site"]))


async def _form(request: Request, deps: ApiDeps, session: AuthSession, status: int = 200) -> Response:
    async with deps.db.reading() as tx:
        config = await configs.get(tx, session.workspace_id, session.provider_config_id)
    application = application_of(session, config)
    if sessions.deadline_of(session) <= deps.clock():
        return refusal(request, Problem("session_expired", "The time to choose a site is over."), application)
    provider = deps.catalog.get(session.provider_id)
    return page_with_form(
        "sites.html",
        status,
        origin_text(session.redirect_url),
        application=application,
        provider=provider.name if provider else session.provider_id,
        tenant=session.tenant_id,
        sites=session.sites,
        form=_form_token(request, session),
        missing=status != 200,
    )


async def _fields(request: Request) -> dict[str, str]:
    """What the form says; of a field that is there twice, the first. Any other body says nothing."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        return {}
    try:
        text = (await request.body()).decode("ascii")
        return {name: values[0] for name, values in parse_qs(text, max_num_fields=20).items()}
    except ValueError:
        return {}


def _form_token(request: Request, session: AuthSession) -> str:
    """Follows from the cookie, which no other page can read; the cookie does not follow from it."""
    value = request.cookies.get(cookie_name(session, session.consumed_visit_id), "")
    return digest(f"choose {session.id} {value}")


def _check_sender(request: Request, session: AuthSession, token: str) -> None:
    """A page of another site may make this browser send a form with our cookie, but not a form that we rendered."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    # Our pages send no referrer, and so browsers may write their origin as null.
    origin = request.headers.get("origin", "null")
    ours = site in OWN_PAGE and origin in ("null", origin_text(session.oauth_redirect_url))
    if not ours or not hmac.compare_digest(token.encode(), _form_token(request, session).encode()):
        raise Problem("cross_site_form", "The choice did not come from our own page.")
