"""Every conversation with a provider as a sans-I/O generator: yields requests, is sent responses, returns a value.

What a provider refuses or garbles is returned as a value, never raised.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from urllib.parse import quote

from domain.http import Flow, HttpRequest, HttpResponse
from domain.oauth.answer import TokenGrant, read_token_answer
from domain.oauth.authorize import authorization_url, issuer_matches
from domain.oauth.document import DocumentError, Json, identifier, read_json, resolve
from domain.oauth.failures import (
    Endpoint,
    Failure,
    FailureCode,
    GrantType,
    ProbeResult,
    api_failure,
    error_code,
    token_failure,
    unreadable,
)
from domain.oauth.token import ClientCredentials, code_request, refresh_request, revocation_request
from providers.model import IdentityCall, Pkce, Provider, Revocation, SitesCall, TokenKind
from providers.quirks import with_quirks


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose access token it is. `failure` says more where the result is `unknown`."""

    result: ProbeResult
    account_id: str | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """One site (workspace, instance) that an access token reaches."""

    id: str
    name: str
    url: str | None = None
    scopes: tuple[str, ...] = ()


class Upstream(StrEnum):
    """What the provider made of a revocation."""

    CONFIRMED = "confirmed"
    UNSUPPORTED = "unsupported"
    """It has no endpoint for it, or none for the tokens at hand."""
    UNCONFIRMED = "unconfirmed"
    """It did not say that it was done; asking again may help."""


def consent_url(
    provider: Provider,
    *,
    client_id: str,
    redirect_uri: str,
    scopes: Sequence[str],
    state: str,
    challenge: str | None,
) -> str:
    """The provider's consent page for one visit; the challenge is left out where the provider breaks on PKCE."""
    return authorization_url(
        provider.authorization_url,
        client_id=client_id,
        redirect_uri=redirect_uri,
        scopes=scopes,
        separator=provider.scope_separator,
        state=state,
        challenge=challenge if provider.pkce is Pkce.S256 else None,
        params=provider.authorization_params,
    )


def issuer_is(provider: Provider, iss: str | None) -> bool:
    """Whether a callback's `iss` (`None`: it has none) may come from this provider (RFC 9207)."""
    endpoints = (provider.authorization_url, provider.token.url)
    return issuer_matches(iss, issuer=provider.issuer, required=provider.issuer_required, endpoints=endpoints)


def exchange_flow(
    provider: Provider, client: ClientCredentials, *, code: str, redirect_uri: str, verifier: str | None
) -> Flow[TokenGrant | Failure]:
    """Exchanges a code. To be driven once: a code sent twice may revoke what it issued (RFC 6749 section 4.1.2)."""
    proof = verifier if provider.pkce is Pkce.S256 else None
    request = code_request(provider.token, client, code=code, redirect_uri=redirect_uri, verifier=proof)
    return with_quirks(provider.quirks, _token_flow(provider, request, GrantType.CODE))


def refresh_flow(provider: Provider, client: ClientCredentials, *, refresh_token: str) -> Flow[TokenGrant | Failure]:
    """Renews an access token; `refresh_token` of the result is `None` where the one used stays in force."""
    endpoint = replace(provider.token, url=provider.refresh_url or provider.token.url)
    request = refresh_request(endpoint, client, refresh_token=refresh_token)
    return with_quirks(provider.quirks, _token_flow(provider, request, GrantType.REFRESH))


def identity_flow(provider: Provider, *, access_token: str, site_id: str | None = None) -> Flow[Identity]:
    """Asks whose token it is; `unknown` without a request where the provider has no such call.

    Raises ValueError where the call needs a site and none is given.
    """
    call = provider.identity
    if call is not None and call.needs_site and site_id is None:
        raise ValueError(f"The identity call of {provider.id} needs a site; choose one first.")
    return with_quirks(provider.quirks, _identity_flow(provider, call, access_token, site_id))


def sites_flow(provider: Provider, *, access_token: str) -> Flow[tuple[Site, ...] | Failure]:
    """The sites the token reaches, in no meaningful order; none where the provider has no sites."""
    return with_quirks(provider.quirks, _sites_flow(provider, provider.sites, access_token))


def revocation_flow(
    provider: Provider, client: ClientCredentials, *, refresh_token: str | None, access_token: str | None
) -> Flow[Upstream | Failure]:
    """Revokes the grant upstream (RFC 7009) through the most thorough token at hand.

    A failure is answered only where the client itself was refused: another client secret may do better.
    """
    at_hand = {TokenKind.REFRESH: refresh_token, TokenKind.ACCESS: access_token}
    return with_quirks(provider.quirks, _revocation_flow(provider, provider.revocation, client, at_hand))


def _token_flow(provider: Provider, request: HttpRequest, grant: GrantType) -> Flow[TokenGrant | Failure]:
    response = yield request
    return read_token_answer(response, grant, provider.answer_rules)


def _identity_flow(
    provider: Provider, call: IdentityCall | None, access_token: str, site_id: str | None
) -> Flow[Identity]:
    if call is None:
        return Identity(ProbeResult.UNKNOWN)
    url = call.url.replace("{site}", quote(site_id or "", safe=""))
    response = yield _api_request(provider, call.method, url, access_token, call.body)
    if response.status == call.healthy_status:
        return _read_identity(call, response)
    if response.status == 401:
        return Identity(ProbeResult.REFUSED)
    failure = api_failure(response, Endpoint.IDENTITY, provider.failures, provider.error_pointer)
    return Identity(ProbeResult.UNKNOWN, failure=failure)


def _read_identity(call: IdentityCall, response: HttpResponse) -> Identity:
    """A healthy status without an account is a login page or a changed API: it says nothing about the token."""
    try:
        account_id = identifier(resolve(read_json(response.body), call.account_id))
    except DocumentError:
        account_id = None
    if account_id is None:
        return Identity(ProbeResult.UNKNOWN, failure=_api_unreadable(response))
    return Identity(ProbeResult.HEALTHY, account_id)


def _sites_flow(provider: Provider, call: SitesCall | None, access_token: str) -> Flow[tuple[Site, ...] | Failure]:
    if call is None:
        return ()
    response = yield _api_request(provider, "GET", call.url, access_token)
    if not response.ok:
        return api_failure(response, Endpoint.SITES, provider.failures, provider.error_pointer)
    sites = _read_sites(call, response)
    return _api_unreadable(response) if sites is None else sites


def _read_sites(call: SitesCall, response: HttpResponse) -> tuple[Site, ...] | None:
    """One entry that cannot be read spoils the list: a shortened one could make a choice look like a certainty."""
    try:
        items = resolve(read_json(response.body), call.items)
    except DocumentError:
        return None
    if not isinstance(items, list):
        return None
    merged: dict[str, Site] = {}
    for item in items:
        site = _site(call, item)
        if site is None:
            return None
        known = merged.get(site.id, site)
        # A vendor may list a site once per product, each entry with that product's scopes.
        merged[site.id] = replace(known, scopes=tuple(dict.fromkeys(known.scopes + site.scopes)))
    return tuple(merged.values())


def _site(call: SitesCall, item: Json) -> Site | None:
    site_id = identifier(resolve(item, call.id))
    if site_id is None:
        return None
    scopes = resolve(item, call.scopes)
    return Site(
        id=site_id,
        name=identifier(resolve(item, call.name)) or site_id,
        url=identifier(resolve(item, call.site_url)),
        scopes=tuple(word for word in scopes if isinstance(word, str)) if isinstance(scopes, list) else (),
    )


def _revocation_flow(
    provider: Provider,
    revocation: Revocation | None,
    client: ClientCredentials,
    at_hand: Mapping[TokenKind, str | None],
) -> Flow[Upstream | Failure]:
    kinds = revocation.tokens if revocation else ()
    kind = next((kind for kind in kinds if at_hand[kind]), None)
    token = at_hand[kind] if kind else None
    if revocation is None or kind is None or token is None:
        return Upstream.UNSUPPORTED
    response = yield revocation_request(revocation.endpoint, client, token=token, hint=kind)
    if response.ok:
        return Upstream.CONFIRMED
    failure = token_failure(response, GrantType.REFRESH, provider.failures, provider.error_pointer)
    if failure.code == FailureCode.CLIENT_REFUSED:
        return failure
    # RFC 7009 section 2.2.1
    unsupported = response.status == 400 and error_code(response) == "unsupported_token_type"
    return Upstream.UNSUPPORTED if unsupported else Upstream.UNCONFIRMED


def _api_request(provider: Provider, method: str, url: str, access_token: str, body: str | None = None) -> HttpRequest:
    """A call with the token as a bearer (RFC 6750 section 2.1)."""
    given = {name.lower(): value for name, value in provider.api_headers.items()}
    headers = {"accept": "application/json", **given, "authorization": f"Bearer {access_token}"}
    if body is not None:
        headers["content-type"] = "application/json"
    return HttpRequest(method, url, headers, None if body is None else body.encode())


def _api_unreadable(response: HttpResponse) -> Failure:
    return replace(unreadable(response), in_doubt=False)
