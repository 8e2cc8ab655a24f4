import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from domain.http import HttpRequest, HttpResponse
from domain.oauth.answer import TokenGrant
from domain.oauth.failures import Failure, FailureKind, ProbeResult
from domain.oauth.token import ClientCredentials
from providers.catalog import load_catalog
from providers.flows import (
    Site,
    Upstream,
    consent_url,
    exchange_flow,
    identity_flow,
    issuer_is,
    refresh_flow,
    revocation_flow,
    sites_flow,
)
from providers.model import Provider

CLIENT = ClientCredentials("app", "secret")
TOKENS = {"access_token": "at", "refresh_token": "rt2", "expires_in": 10, "scope": "a b"}
Answer = Callable[..., HttpResponse]
Step = Callable[..., tuple[Any, list[HttpRequest]]]
Make = Callable[[str], Provider]

IDENTITY = '[identity]\nurl = "https://api.acme.example/me"\naccount_id = "/user/id"\n'
SITES = '[sites]\nurl = "https://api.acme.example/sites"\n'
REVOCATION = '[revocation]\nurl = "https://as.acme.example/revoke"\n'


def fields(request: HttpRequest) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs((request.body or b"").decode()).items()}


def query(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def test_an_exchange_is_one_request_and_yields_the_grant(make: Make, step: Step, answer: Answer) -> None:
    flow = exchange_flow(make(""), CLIENT, code="c", redirect_uri="https://b.example/cb", verifier="v")
    grant, asked = step(flow, answer(TOKENS))
    assert grant == TokenGrant("at", "rt2", 10, ("a", "b"))
    assert [request.url for request in asked] == ["https://as.acme.example/token"]
    assert fields(asked[0])["code_verifier"] == "v"


def test_a_provider_without_pkce_gets_neither_challenge_nor_verifier(make: Make, step: Step, answer: Answer) -> None:
    provider = make('pkce = "none"')
    url = consent_url(provider, client_id="app", redirect_uri="r", scopes=("a",), state="s", challenge="ch")
    assert "code_challenge" not in query(url)
    _, asked = step(exchange_flow(provider, CLIENT, code="c", redirect_uri="r", verifier="v"), answer(TOKENS))
    assert "code_verifier" not in fields(asked[0])


def test_a_used_code_and_a_dead_refresh_token_have_their_own_codes(make: Make, step: Step, answer: Answer) -> None:
    refusal = answer({"error": "invalid_grant"}, 400)
    exchange, _ = step(exchange_flow(make(""), CLIENT, code="c", redirect_uri="r", verifier="v"), refusal)
    refresh, _ = step(refresh_flow(make(""), CLIENT, refresh_token="rt"), refusal)
    assert (exchange.code, refresh.code) == ("code_refused", "grant_revoked")


def test_a_refresh_goes_to_its_own_address_where_there_is_one(make: Make, step: Step, answer: Answer) -> None:
    provider = make('refresh_url = "https://as.acme.example/refresh"\ntoken_params = { resource = "x" }')
    _, asked = step(refresh_flow(provider, CLIENT, refresh_token="rt"), answer(TOKENS))
    assert asked[0].url == "https://as.acme.example/refresh"
    assert fields(asked[0]) | {"client_secret": ""} == {
        "grant_type": "refresh_token",
        "refresh_token": "rt",
        "resource": "x",
        "client_id": "app",
        "client_secret": "",
    }


def test_the_issuer_is_the_declared_one_or_shares_an_origin(make: Make) -> None:
    declared = make('issuer = "https://issuer.example"\nissuer_required = true')
    assert issuer_is(declared, "https://issuer.example")
    assert not issuer_is(declared, "https://as.acme.example")
    assert not issuer_is(declared, None)
    assert issuer_is(make(""), "https://as.acme.example/x")
    assert not issuer_is(make(""), "https://evil.example")


def test_identity_sends_the_token_and_reads_the_account(make: Make, step: Step, answer: Answer) -> None:
    provider = make('api_headers = { "User-Agent" = "Acme (ops@b.example)" }\n' + IDENTITY)
    identity, asked = step(identity_flow(provider, access_token="at"), answer({"user": {"id": 7}}))
    assert (identity.result, identity.account_id) == (ProbeResult.HEALTHY, "7")
    assert asked[0].headers["authorization"] == "Bearer at"
    assert asked[0].headers["user-agent"] == "Acme (ops@b.example)"
    assert asked[0].body is None


def test_identity_may_be_a_query_in_a_body(make: Make, step: Step, answer: Answer) -> None:
    provider = make(IDENTITY + 'method = "POST"\nbody = \'{"query":"{ viewer { id } }"}\'\n')
    _, asked = step(identity_flow(provider, access_token="at"), answer({}))
    assert asked[0].method == "POST"
    assert asked[0].headers["content-type"] == "application/json"
    assert json.loads(asked[0].body or b"") == {"query": "{ viewer { id } }"}


@pytest.mark.parametrize(
    ("status", "body", "result", "code"),
    [
        (401, b"", ProbeResult.REFUSED, None),
        (403, b"", ProbeResult.UNKNOWN, "api_refused"),
        (404, b"", ProbeResult.UNKNOWN, "api_refused"),
        (429, b"", ProbeResult.UNKNOWN, "rate_limited"),
        (500, b"", ProbeResult.UNKNOWN, "server_error"),
        (302, b"", ProbeResult.UNKNOWN, "api_refused"),
        (204, b"", ProbeResult.UNKNOWN, "api_refused"),
        (200, b"<html>Sign in</html>", ProbeResult.UNKNOWN, "unreadable_answer"),
        (200, b"{}", ProbeResult.UNKNOWN, "unreadable_answer"),
        (200, b'{"user":{"id":""}}', ProbeResult.UNKNOWN, "unreadable_answer"),
    ],
)
def test_a_probe_never_says_more_than_the_answer_does(
    make: Make, step: Step, status: int, body: bytes, result: ProbeResult, code: str | None
) -> None:
    identity, _ = step(identity_flow(make(IDENTITY), access_token="at"), HttpResponse(status, body=body))
    assert identity.result is result
    assert identity.account_id is None
    assert (identity.failure and identity.failure.code) == code
    assert identity.failure is None or identity.failure.kind is FailureKind.MOMENT


def test_without_an_identity_call_nothing_is_asked(make: Make, step: Step) -> None:
    identity, asked = step(identity_flow(make(""), access_token="at"))
    assert identity.result is ProbeResult.UNKNOWN
    assert asked == []


def test_a_site_is_put_into_the_address_and_cannot_leave_its_place(step: Step, answer: Answer) -> None:
    jira = load_catalog()["jira"]
    flow = identity_flow(jira, access_token="at", site_id="../x?y#z")
    _, asked = step(flow, answer({"accountId": "a"}))
    assert asked[0].url == "https://api.atlassian.com/ex/jira/..%2Fx%3Fy%23z/rest/api/3/myself"


def test_an_identity_call_that_needs_a_site_is_not_made_without_one() -> None:
    with pytest.raises(ValueError, match="needs a site"):
        identity_flow(load_catalog()["jira"], access_token="at")


def test_sites_are_read_whole_with_their_scopes(make: Make, step: Step, answer: Answer) -> None:
    listed = [
        {"id": "1", "name": "One", "url": "https://one.example", "scopes": ["a"], "avatarUrl": "x"},
        {"id": 2},
    ]
    sites, asked = step(sites_flow(make(SITES), access_token="at"), answer(listed))
    assert sites == (Site("1", "One", "https://one.example", ("a",)), Site("2", "2"))
    assert asked[0].url == "https://api.acme.example/sites"


def test_a_site_listed_once_per_product_is_one_site(make: Make, step: Step, answer: Answer) -> None:
    listed = [{"id": "1", "name": "One", "scopes": ["a"]}, {"id": "1", "name": "One", "scopes": ["b", "a"]}]
    sites, _ = step(sites_flow(make(SITES), access_token="at"), answer(listed))
    assert sites == (Site("1", "One", None, ("a", "b")),)


def test_sites_are_found_where_the_file_points(make: Make, step: Step, answer: Answer) -> None:
    provider = make(SITES + 'items = "/teams"\nid = "/team/id"\nname = "/team/title"\n')
    sites, _ = step(sites_flow(provider, access_token="at"), answer({"teams": [{"team": {"id": "t", "title": "T"}}]}))
    assert sites == (Site("t", "T"),)


def test_no_sites_is_an_empty_list_and_no_sites_call_asks_nothing(make: Make, step: Step, answer: Answer) -> None:
    assert step(sites_flow(make(SITES), access_token="at"), answer([]))[0] == ()
    assert step(sites_flow(make(""), access_token="at")) == ((), [])


@pytest.mark.parametrize(
    "document", [{}, None, "x", [{"name": "no id"}], [{"id": "1"}, {"id": None}], [[]], [{"id": "a\nb"}]]
)
def test_a_list_of_sites_that_cannot_be_read_whole_is_a_failure(
    make: Make, step: Step, answer: Answer, document: object
) -> None:
    failure, _ = step(sites_flow(make(SITES), access_token="at"), answer(document))
    assert isinstance(failure, Failure)
    assert (failure.code, failure.in_doubt) == ("unreadable_answer", False)


@pytest.mark.parametrize(("status", "code"), [(401, "api_refused"), (403, "api_refused"), (503, "server_error")])
def test_sites_that_are_refused_are_the_moments_failure(
    make: Make, step: Step, answer: Answer, status: int, code: str
) -> None:
    failure, _ = step(sites_flow(make(SITES), access_token="at"), answer({}, status))
    assert (failure.kind, failure.code) == (FailureKind.MOMENT, code)


@pytest.mark.parametrize(
    ("status", "document", "upstream"),
    [
        (200, None, Upstream.CONFIRMED),
        (204, None, Upstream.CONFIRMED),
        (400, {"error": "unsupported_token_type"}, Upstream.UNSUPPORTED),
        (400, {"error": "invalid_request"}, Upstream.UNCONFIRMED),
        (404, None, Upstream.UNCONFIRMED),
        (503, {"error": "unsupported_token_type"}, Upstream.UNCONFIRMED),
    ],
)
def test_a_revocation_says_what_the_provider_made_of_it(
    make: Make, step: Step, answer: Answer, status: int, document: object, upstream: Upstream
) -> None:
    flow = revocation_flow(make(REVOCATION), CLIENT, refresh_token="rt", access_token="at")
    outcome, asked = step(flow, answer(document, status))
    assert outcome is upstream
    assert fields(asked[0])["token"] == "rt"
    assert fields(asked[0])["token_type_hint"] == "refresh_token"


def test_a_revocation_by_a_refused_client_says_so_for_another_secret_may_do(
    make: Make, step: Step, answer: Answer
) -> None:
    flow = revocation_flow(make(REVOCATION), CLIENT, refresh_token="rt", access_token="at")
    failure, _ = step(flow, answer({"error": "invalid_client"}, 401))
    assert (failure.kind, failure.code) == (FailureKind.OPERATOR, "client_refused")


def test_a_revocation_sends_the_token_that_is_taken_and_at_hand(make: Make, step: Step, answer: Answer) -> None:
    flow = revocation_flow(make(REVOCATION), CLIENT, refresh_token=None, access_token="at")
    _, asked = step(flow, answer(None))
    assert fields(asked[0])["token_type_hint"] == "access_token"
    only_refresh = make(REVOCATION + 'tokens = ["refresh_token"]\n')
    flow = revocation_flow(only_refresh, CLIENT, refresh_token=None, access_token="at")
    assert step(flow) == (Upstream.UNSUPPORTED, [])


def test_without_a_revocation_endpoint_nothing_is_asked(make: Make, step: Step) -> None:
    flow = revocation_flow(make(""), CLIENT, refresh_token="rt", access_token="at")
    assert step(flow) == (Upstream.UNSUPPORTED, [])


def test_a_revocation_may_authenticate_otherwise_than_a_refresh(make: Make, step: Step, answer: Answer) -> None:
    provider = make(REVOCATION + 'client_auth = "basic"\nparams = { x = "y" }\nheaders = { "X-A" = "b" }\n')
    _, asked = step(revocation_flow(provider, CLIENT, refresh_token="rt", access_token=None), answer(None))
    assert asked[0].headers["authorization"].startswith("Basic ")
    assert asked[0].headers["x-a"] == "b"
    assert fields(asked[0])["x"] == "y"
