"""Requests to a token or revocation endpoint, as values (RFC 6749 sections 2.3, 4.1.3 and 6, RFC 7009)."""

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import quote_plus, urlencode

from domain.http import HttpRequest


class ClientAuth(StrEnum):
    """How the app proves itself (RFC 6749 section 2.3.1)."""

    BODY = "body"
    BASIC = "basic"
    NONE = "none"
    """A public client: the client id in the body, no secret."""


class BodyFormat(StrEnum):
    """How parameters are written into the body. RFC 6749 says form; some vendors take JSON."""

    FORM = "form"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """The builder's OAuth app at a provider. An empty secret makes it a public client."""

    client_id: str
    client_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class TokenEndpoint:
    """Where and how to ask. Our own parameters and headers (`accept` excepted) win over the given ones."""

    url: str
    client_auth: ClientAuth = ClientAuth.BODY
    body_format: BodyFormat = BodyFormat.FORM
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


def code_request(
    endpoint: TokenEndpoint, client: ClientCredentials, *, code: str, redirect_uri: str, verifier: str | None
) -> HttpRequest:
    """Exchanges an authorization code (RFC 6749 section 4.1.3), with the PKCE verifier where one was used."""
    parameters = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
    if verifier is not None:
        parameters["code_verifier"] = verifier
    return _post(endpoint, client, parameters)


def refresh_request(endpoint: TokenEndpoint, client: ClientCredentials, *, refresh_token: str) -> HttpRequest:
    """Renews (RFC 6749 section 6). Without `scope`, which means the scopes granted before."""
    return _post(endpoint, client, {"grant_type": "refresh_token", "refresh_token": refresh_token})


def revocation_request(endpoint: TokenEndpoint, client: ClientCredentials, *, token: str, hint: str) -> HttpRequest:
    """Revokes `token` (RFC 7009 section 2.1); `hint` is `refresh_token` or `access_token`."""
    return _post(endpoint, client, {"token": token, "token_type_hint": hint})


def _post(endpoint: TokenEndpoint, client: ClientCredentials, own: Mapping[str, str]) -> HttpRequest:
    body_credentials, authorization = _credentials(endpoint.client_auth, client)
    content_type, body = _encoded(endpoint.body_format, {**endpoint.params, **own, **body_credentials})
    # Files spell header names in any case; one spelling keeps ours from being sent beside theirs.
    given = {name.lower(): value for name, value in endpoint.headers.items()}
    headers = {"accept": "application/json", **given, "content-type": content_type, **authorization}
    return HttpRequest("POST", endpoint.url, headers, body)


def _credentials(how: ClientAuth, client: ClientCredentials) -> tuple[dict[str, str], dict[str, str]]:
    """(body parameters, headers). RFC 6749 section 2.3.1 form-encodes id and secret before Basic's base64."""
    if how is ClientAuth.NONE or not client.client_secret:
        return {"client_id": client.client_id}, {}
    if how is ClientAuth.BODY:
        return {"client_id": client.client_id, "client_secret": client.client_secret}, {}
    pair = f"{quote_plus(client.client_id)}:{quote_plus(client.client_secret)}"
    return {}, {"authorization": f"Basic {b64encode(pair.encode()).decode()}"}


def _encoded(body_format: BodyFormat, parameters: Mapping[str, str]) -> tuple[str, bytes]:
    if body_format is BodyFormat.JSON:
        return "application/json", json.dumps(dict(parameters)).encode()
    return "application/x-www-form-urlencoded", urlencode(parameters).encode()
