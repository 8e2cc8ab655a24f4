"""Atlassian's authorization server, as at auth.atlassian.com (OAuth 2.0 3LO).

Rotation, replay window and error bodies: developer.atlassian.com, "OAuth 2.0 (3LO) apps". That a wrong
client secret is answered `access_denied`, and an unreadable refresh token `unauthorized_client`, is known
from other people's clients only.
"""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from simulator.consent import Face, ask, decide
from simulator.errors import oauth_refusal, token_json
from simulator.faults import FaultyRoute
from simulator.model import App
from simulator.tokens import Issued, Outcome, TokenRefusedError, exchange, refresh
from simulator.wire import FORM, JSON, authenticated_client, required, token_params
from simulator.world import World, world_of

router = APIRouter(route_class=FaultyRoute, include_in_schema=False)
FACE = Face("atlassian", demands=(("audience", "api.atlassian.com"), ("prompt", "consent")))
CODE_REFUSALS = {
    Outcome.WRONG_REDIRECT_URI: "The redirect_uri differs from the one of the authorization request.",
    Outcome.WRONG_VERIFIER: "Failed to verify code verifier",
}


@router.get("/authorize", name="authorize")
async def authorize(request: Request) -> Response:
    return await ask(FACE, request)


@router.post("/authorize", name="consent")
async def consent(request: Request) -> Response:
    return await decide(FACE, request)


@router.post("/oauth/token", name="token")
async def token(request: Request) -> Response:
    world = world_of(request)
    params = await token_params(request, JSON, FORM)
    app = authenticated_client(world, request, params)
    if app is None or app.secret_sha256 is None:  # there are no public clients
        raise oauth_refusal(401, "access_denied", "Unauthorized")
    match required(params, "grant_type"):
        case "authorization_code":
            return _answer(_exchange(world, app, params))
        case "refresh_token":
            return _answer(_refresh(world, app, params))
        case _:
            raise oauth_refusal(400, "unsupported_grant_type", "Unsupported grant type.")


def _exchange(world: World, app: App, params: dict[str, str]) -> Issued:
    code, redirect_uri = required(params, "code"), required(params, "redirect_uri")
    try:
        return exchange(world, "atlassian", app, code, redirect_uri, params.get("code_verifier"))
    except TokenRefusedError as refused:
        description = CODE_REFUSALS.get(refused.outcome, "Invalid authorization code")
        raise oauth_refusal(403, "invalid_grant", description) from None


def _refresh(world: World, app: App, params: dict[str, str]) -> Issued:
    try:
        return refresh(world, "atlassian", app, required(params, "refresh_token"))
    except TokenRefusedError as refused:
        never_issued = refused.outcome is Outcome.UNKNOWN
        if never_issued and world.rules(app).unknown_refresh_error == "unauthorized_client":
            raise oauth_refusal(403, "unauthorized_client", "refresh_token is invalid") from None
        raise oauth_refusal(403, "invalid_grant", "Unknown or invalid refresh token.") from None


def _answer(issued: Issued) -> Response:
    refresh_token = {"refresh_token": issued.refresh_token} if issued.refresh_token else {}
    return token_json(
        {
            "access_token": issued.access_token,
            **refresh_token,
            "token_type": "Bearer",
            "expires_in": issued.expires_in,
            "scope": " ".join(issued.scopes),
        }
    )
