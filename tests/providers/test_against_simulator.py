"""The flows, driven over the simulator's application: our reading of a provider meets an independent one."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from domain.http import Flow, HttpResponse
from domain.oauth.answer import TokenGrant
from domain.oauth.authorize import code_challenge
from domain.oauth.failures import Failure, ProbeResult
from domain.oauth.token import ClientCredentials
from providers.catalog import Catalog, load_catalog
from providers.flows import (
    Upstream,
    consent_url,
    exchange_flow,
    identity_flow,
    issuer_is,
    refresh_flow,
    revocation_flow,
    sites_flow,
)
from providers.model import Provider, ScopeKind
from providers.scopes import missing, requested_scopes
from tests.applications import the_simulator

ORIGIN = "http://127.0.0.1:9300"
REDIRECT = "http://localhost:5000/oauth/callback"
VERIFIER = "v" * 43
CLIENT = ClientCredentials("authpipe-dev", "authpipe-dev-secret")
WRONG = ClientCredentials("authpipe-dev", "wrong")


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    examples = Path(__file__).parents[2] / "docs" / "examples"
    return load_catalog(examples, allow_loopback_http=True, origins={"jira": ORIGIN})


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(the_simulator()), base_url=ORIGIN) as client:
        yield client


async def drive(http: httpx.AsyncClient, flow: Flow[Any]) -> Any:
    try:
        request = next(flow)
        while True:
            answer = await http.request(
                request.method, request.url, headers=dict(request.headers), content=request.body
            )
            request = flow.send(HttpResponse(answer.status_code, answer.headers, answer.content))
    except StopIteration as done:
        return done.value


async def consent(http: httpx.AsyncClient, provider: Provider, sites: int = 0) -> tuple[str, str | None]:
    """(code, iss) of one consent, for the scopes we would ask for."""
    url = consent_url(
        provider,
        client_id=CLIENT.client_id,
        redirect_uri=REDIRECT,
        scopes=requested_scopes(provider, ScopeKind.USER, None, {}),
        state="s",
        challenge=code_challenge(VERIFIER),
    )
    path, page = urlsplit(url).path, (await http.get(url)).text
    signed_in = {"request": re.findall(r'name="request" value="([^"]+)"', page)[0], "person": "admin"}
    page = (await http.post(path, data=signed_in)).text
    offered = re.findall(r'name="site" value="([^"]+)"', page)
    decision = signed_in | {"decision": "allow", "site": offered[:sites]}
    leads_to = (await http.post(path, data=decision)).headers["location"]
    query = parse_qs(urlsplit(leads_to).query)
    return query["code"][0], query.get("iss", [None])[0]


async def granted(http: httpx.AsyncClient, provider: Provider, sites: int = 0) -> TokenGrant:
    code, iss = await consent(http, provider, sites)
    assert issuer_is(provider, iss)
    flow = exchange_flow(provider, CLIENT, code=code, redirect_uri=REDIRECT, verifier=VERIFIER)
    grant = await drive(http, flow)
    assert isinstance(grant, TokenGrant)
    return grant


async def test_a_jira_connection_walks_from_consent_to_a_refresh(http: httpx.AsyncClient, catalog: Catalog) -> None:
    jira = catalog["jira"]
    grant = await granted(http, jira, sites=1)
    assert missing(requested_scopes(jira, ScopeKind.USER, None, {}), grant.scopes) == ()
    (site,) = await drive(http, sites_flow(jira, access_token=grant.access_token))
    identity = await drive(http, identity_flow(jira, access_token=grant.access_token, site_id=site.id))
    assert identity.result is ProbeResult.HEALTHY
    renewed = await drive(http, refresh_flow(jira, CLIENT, refresh_token=grant.refresh_token or ""))
    assert isinstance(renewed, TokenGrant)
    assert renewed.refresh_token not in (None, grant.refresh_token)


async def test_jiras_refusals_are_told_apart(http: httpx.AsyncClient, catalog: Catalog) -> None:
    jira = catalog["jira"]
    grant = await granted(http, jira, sites=1)
    wrong = await drive(http, refresh_flow(jira, WRONG, refresh_token=grant.refresh_token or ""))
    unknown = await drive(http, refresh_flow(jira, CLIENT, refresh_token="never-issued"))
    used = await drive(http, exchange_flow(jira, CLIENT, code="never-issued", redirect_uri=REDIRECT, verifier=VERIFIER))
    assert (wrong.kind, wrong.code) == ("operator", "client_refused")
    assert (unknown.kind, unknown.code) == ("user", "grant_revoked")
    assert (used.kind, used.code) == ("user", "code_refused")


async def test_a_refused_access_token_is_refused_and_no_more(http: httpx.AsyncClient, catalog: Catalog) -> None:
    refused = await drive(http, identity_flow(catalog["plain"], access_token="never-issued"))
    assert (refused.result, refused.account_id) == (ProbeResult.REFUSED, None)
    sites = await drive(http, sites_flow(catalog["jira"], access_token="never-issued"))
    assert isinstance(sites, Failure)
    assert sites.kind == "moment"


async def test_a_provider_of_ten_lines_walks_the_same_life(http: httpx.AsyncClient, catalog: Catalog) -> None:
    plain = catalog["plain"]
    grant = await granted(http, plain)
    identity = await drive(http, identity_flow(plain, access_token=grant.access_token))
    assert identity.account_id
    renewed = await drive(http, refresh_flow(plain, CLIENT, refresh_token=grant.refresh_token or ""))
    assert isinstance(renewed, TokenGrant)
    flow = revocation_flow(plain, CLIENT, refresh_token=renewed.refresh_token, access_token=renewed.access_token)
    assert await drive(http, flow) is Upstream.CONFIRMED
    dead = await drive(http, refresh_flow(plain, CLIENT, refresh_token=renewed.refresh_token or ""))
    assert (dead.kind, dead.code) == ("user", "grant_revoked")
    wrong = await drive(http, refresh_flow(plain, WRONG, refresh_token="x"))
    assert (wrong.kind, wrong.code) == ("operator", "client_refused")
