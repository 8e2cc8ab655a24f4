"""A plain RFC 6749 server: nothing but the standards, and no replay window.

PKCE (RFC 7636), issuer in the authorization response (RFC 9207), revocation (RFC 7009), introspection
(RFC 7662), metadata (RFC 8414). Each consent is a grant of its own; refresh tokens are always given.
"""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from simulator.consent import Face, ask, decide, issuer
from simulator.errors import RefusalError, bearer_refusal, oauth_refusal, token_json
from simulator.faults import FaultyRoute
from simulator.model import AccessToken, App, Grant, RefreshToken, fingerprint
from simulator.tokens import (
    Issued,
    Outcome,
    TokenRefusedError,
    access_verdict,
    check_access,
    exchange,
    refresh,
    refresh_verdict,
    revoke_grant,
)
from simulator.wire import FORM, authenticated_client, bearer_token, required, token_params
from simulator.world import World, world_of

router = APIRouter(route_class=FaultyRoute, include_in_schema=False)
SCOPES = ("read", "write", "offline_access")
FACE = Face("plain", default_scope="read", known_scopes=SCOPES, sends_issuer=True)


@router.get("/plain/authorize", name="plain.authorize")
async def authorize(request: Request) -> Response:
    return await ask(FACE, request)


@router.post("/plain/authorize", name="plain.consent")
async def consent(request: Request) -> Response:
    return await decide(FACE, request)


@router.post("/plain/token", name="plain.token")
async def token(request: Request) -> Response:
    app, params = await _client(request)
    match required(params, "grant_type"):
        case "authorization_code":
            return _answer(_exchange(world_of(request), app, params))
        case "refresh_token":
            return _answer(_refresh(world_of(request), app, params))
        case _:
            raise oauth_refusal(400, "unsupported_grant_type", "Use authorization_code or refresh_token.")


async def _client(request: Request) -> tuple[App, dict[str, str]]:
    params = await token_params(request, FORM)
    app = authenticated_client(world_of(request), request, params)
    if app is None:
        raise _bad_client()
    return app, params


def _bad_client() -> RefusalError:
    challenge = {"WWW-Authenticate": 'Basic realm="simulator"'}
    return oauth_refusal(401, "invalid_client", "Client authentication failed.", challenge)


def _exchange(world: World, app: App, params: dict[str, str]) -> Issued:
    code = required(params, "code")
    uri, verifier = params.get("redirect_uri"), params.get("code_verifier")
    try:
        return exchange(world, "plain", app, code, uri, verifier)
    except TokenRefusedError as refused:
        raise oauth_refusal(400, "invalid_grant", f"The code is refused: {refused.outcome}.") from None


def _refresh(world: World, app: App, params: dict[str, str]) -> Issued:
    raw = required(params, "refresh_token")
    known = world.state.refresh_tokens.get(fingerprint(raw))
    granted = world.state.grants[known.grant_id].scopes if known else []
    # RFC 6749 section 6: no scope beyond the original ones. Fewer are allowed, and not made use of here.
    if known and not set(params.get("scope", "").split()) <= set(granted):
        raise oauth_refusal(400, "invalid_scope", "A refresh cannot ask for more than was granted.")
    try:
        return refresh(world, "plain", app, raw)
    except TokenRefusedError as refused:
        raise oauth_refusal(400, "invalid_grant", f"The refresh token is refused: {refused.outcome}.") from None


def _answer(issued: Issued) -> Response:
    return token_json(
        {
            "access_token": issued.access_token,
            "token_type": "Bearer",
            "expires_in": issued.expires_in,
            "refresh_token": issued.refresh_token,
            "scope": " ".join(issued.scopes),
        }
    )


@router.post("/plain/revoke", name="plain.revoke")
async def revoke(request: Request) -> Response:
    """RFC 7009: a refresh token takes its whole grant with it, an access token only itself."""
    app, params = await _client(request)
    state, key = world_of(request).state, fingerprint(required(params, "token"))
    token = state.refresh_tokens.get(key) or state.access_tokens.get(key)
    grant = state.grants[token.grant_id] if token else None
    if grant is None or grant.server != "plain":
        return Response()
    if grant.client_id != app.client_id:
        raise oauth_refusal(400, "invalid_grant", "The token was issued to another client.")
    if key in state.refresh_tokens:
        revoke_grant(grant, "revoked_by_client")
    else:
        state.access_tokens[key].revoked = True
    return Response()


@router.post("/plain/introspect", name="plain.introspect")
async def introspect(request: Request) -> Response:
    """RFC 7662, for confidential clients. Asking is not using: nothing is counted for the token."""
    app, params = await _client(request)
    if app.secret_sha256 is None:
        raise _bad_client()
    world, key = world_of(request), fingerprint(required(params, "token"))
    token = world.state.access_tokens.get(key) or world.state.refresh_tokens.get(key)
    grant = world.state.grants[token.grant_id] if token else None
    if token is None or grant is None or (grant.server, grant.client_id) != ("plain", app.client_id):
        return token_json({"active": False})
    claims = _claims(world, token, grant)
    if claims is None:
        return token_json({"active": False})
    return token_json({"active": True, "iss": issuer(world, request), **claims})


def _claims(world: World, token: AccessToken | RefreshToken, grant: Grant) -> dict[str, str | int] | None:
    """What is told of a token that would be accepted now; None for any other."""
    claims: dict[str, str | int]
    claims = {"sub": grant.account_id, "client_id": grant.client_id, "scope": " ".join(grant.scopes)}
    if isinstance(token, RefreshToken):
        return claims if refresh_verdict(world, token, grant) is Outcome.ROTATED else None
    if access_verdict(world, token, grant) is not Outcome.ACCEPTED:
        return None
    return {**claims, "token_type": "Bearer", "exp": int(token.expires_at)}


@router.get("/plain/whoami", name="plain.whoami")
async def whoami(request: Request) -> Response:
    raw = bearer_token(request)
    if raw is None:
        challenge = {"WWW-Authenticate": "Bearer"}
        raise oauth_refusal(401, "invalid_request", "Send the access token as a bearer token.", challenge)
    try:
        grant = check_access(world_of(request), "plain", raw).grant
    except TokenRefusedError as refused:
        raise bearer_refusal(401, "invalid_token", f"The access token is refused: {refused.outcome}.") from None
    return JSONResponse({"sub": grant.account_id, "scope": " ".join(grant.scopes)})


# RFC 8414 section 3.1 puts the well-known part before an issuer's path; many servers append it.
@router.get("/.well-known/oauth-authorization-server/plain", name="plain.metadata")
@router.get("/plain/.well-known/oauth-authorization-server", name="plain.metadata")
async def metadata(request: Request) -> Response:
    base = issuer(world_of(request), request)
    methods = ["client_secret_basic", "client_secret_post"]
    return JSONResponse(
        {
            "issuer": base,
            "authorization_endpoint": f"{base}/authorize",
            "token_endpoint": f"{base}/token",
            "revocation_endpoint": f"{base}/revoke",
            "introspection_endpoint": f"{base}/introspect",
            "scopes_supported": list(SCOPES),
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_methods_supported": [*methods, "none"],
            "revocation_endpoint_auth_methods_supported": [*methods, "none"],
            "introspection_endpoint_auth_methods_supported": methods,
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
        }
    )
