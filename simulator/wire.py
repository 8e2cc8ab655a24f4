"""Reading requests strictly: parameters once each, bodies of the declared type, client authentication."""

import base64
import binascii
import hmac
import json
from collections.abc import Iterable
from urllib.parse import parse_qsl, unquote_plus

from fastapi import Request

from simulator.errors import oauth_refusal
from simulator.model import App, fingerprint
from simulator.world import World

Pairs = list[tuple[str, str]]
FORM, JSON = "application/x-www-form-urlencoded", "application/json"


def query_pairs(request: Request) -> Pairs:
    return parse_qsl(request.url.query, keep_blank_values=True)


async def form_pairs(request: Request) -> Pairs:
    try:
        return parse_qsl((await request.body()).decode(), keep_blank_values=True)
    except UnicodeDecodeError:
        raise oauth_refusal(400, "invalid_request", "The body is not UTF-8.") from None


def once_each(pairs: Iterable[tuple[str, object]]) -> dict[str, str]:
    """Parameters by name. A repeated one is refused, an empty one is as if omitted (RFC 6749 section 3.1)."""
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise oauth_refusal(400, "invalid_request", f"Parameter {name} is repeated.")
        if not isinstance(value, str):
            raise oauth_refusal(400, "invalid_request", f"Parameter {name} is not a string.")
        found[name] = value
    return {name: value for name, value in found.items() if value}


async def token_params(request: Request, *accepted: str) -> dict[str, str]:
    """The parameters of a token request whose body is of one of the accepted media types."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in accepted:
        raise oauth_refusal(400, "invalid_request", f"Send the body as {' or '.join(accepted)}.")
    pairs = await (_json_pairs(request) if media_type == JSON else form_pairs(request))
    return once_each(pairs)


async def _json_pairs(request: Request) -> Iterable[tuple[str, object]]:
    try:
        pairs = json.loads(await request.body(), object_pairs_hook=_JsonObject)
    except ValueError:
        pairs = None
    if not isinstance(pairs, _JsonObject):
        raise oauth_refusal(400, "invalid_request", "The body is not a JSON object.")
    return pairs


class _JsonObject(list[tuple[str, object]]):
    """A JSON object with its repetitions kept."""


def required(params: dict[str, str], name: str) -> str:
    if name not in params:
        raise oauth_refusal(400, "invalid_request", f"Missing required parameter: {name}")
    return params[name]


def authenticated_client(world: World, request: Request, params: dict[str, str]) -> App | None:
    """The client of this request, by Basic or by body (RFC 6749 section 2.3.1); None if it fails.

    A public client identifies itself by `client_id` and presents no secret.
    """
    client_id, secret = client_credentials(request, params)
    app = world.state.apps.get(client_id or "")
    if app is None or (app.secret_sha256 is None) != (secret is None):
        return None
    if app.secret_sha256 and not hmac.compare_digest(app.secret_sha256, fingerprint(secret or "")):
        return None
    return app


def client_credentials(request: Request, params: dict[str, str]) -> tuple[str | None, str | None]:
    """Client id and secret as presented, not checked."""
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return params.get("client_id"), params.get("client_secret")
    if "client_secret" in params:
        raise oauth_refusal(400, "invalid_request", "Authenticate the client in one way, not in two.")
    try:
        client_id, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None, None
    if params.get("client_id", unquote_plus(client_id)) != unquote_plus(client_id):
        raise oauth_refusal(400, "invalid_request", "client_id differs between header and body.")
    return unquote_plus(client_id), unquote_plus(secret)


def bearer_token(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None
