"""Law 4's table, row by row."""

import json

import pytest

from domain.http import HttpResponse
from domain.oauth.failures import (
    Endpoint,
    Failure,
    FailureCode,
    FailureKind,
    FailureRule,
    GrantType,
    api_failure,
    retry_after,
    token_failure,
)

USER, OPERATOR, MOMENT = FailureKind.USER, FailureKind.OPERATOR, FailureKind.MOMENT
CODE, REFRESH = GrantType.CODE, GrantType.REFRESH


def refusal(status: int, error: object = None, **headers: str) -> HttpResponse:
    body = b"" if error is None else json.dumps({"error": error, "error_description": "words"}).encode()
    return HttpResponse(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


TABLE = [
    # status, error, grant -> kind, code, in doubt
    (400, "invalid_grant", REFRESH, USER, "grant_revoked", False),
    (403, "invalid_grant", REFRESH, USER, "grant_revoked", False),
    (400, "INVALID_GRANT", REFRESH, USER, "grant_revoked", False),
    (400, "invalid_grant", CODE, USER, "code_refused", False),
    (401, "invalid_client", REFRESH, OPERATOR, "client_refused", False),
    (400, "invalid_client", CODE, OPERATOR, "client_refused", False),
    (400, "unauthorized_client", REFRESH, OPERATOR, "client_not_allowed", False),
    (403, "unauthorized_client", REFRESH, OPERATOR, "client_not_allowed", False),
    (400, "unsupported_grant_type", REFRESH, OPERATOR, "request_refused", False),
    (400, "invalid_scope", CODE, OPERATOR, "request_refused", False),
    (400, "invalid_request", CODE, OPERATOR, "request_refused", False),
    (400, "temporarily_unavailable", REFRESH, MOMENT, "server_error", True),
    (400, "server_error", REFRESH, MOMENT, "server_error", True),
    (500, None, REFRESH, MOMENT, "server_error", True),
    (503, None, CODE, MOMENT, "server_error", True),
    (502, "invalid_grant", REFRESH, MOMENT, "server_error", True),
    (429, None, REFRESH, MOMENT, "rate_limited", False),
    (429, "invalid_grant", REFRESH, MOMENT, "rate_limited", False),
    (400, None, REFRESH, MOMENT, "unreadable_answer", False),
    (401, None, REFRESH, MOMENT, "unreadable_answer", False),
    (403, None, REFRESH, MOMENT, "unreadable_answer", False),
    (404, None, REFRESH, MOMENT, "unreadable_answer", False),
    (302, None, REFRESH, MOMENT, "unreadable_answer", False),
    (400, {"code": "invalid_grant"}, REFRESH, MOMENT, "unreadable_answer", False),
    (400, "The invalid_grant was revoked", REFRESH, MOMENT, "unreadable_answer", False),
    (400, "a" * 65, REFRESH, MOMENT, "unreadable_answer", False),
    (400, "access_denied", REFRESH, MOMENT, "unknown_error", False),
    (400, "something_new", REFRESH, MOMENT, "unknown_error", False),
]


@pytest.mark.parametrize(("status", "error", "grant", "kind", "code", "in_doubt"), TABLE)
def test_law_04_each_row_of_the_table(
    status: int, error: object, grant: GrantType, kind: FailureKind, code: str, in_doubt: bool
) -> None:
    failure = token_failure(refusal(status, error), grant)
    assert (failure.kind, failure.code, failure.in_doubt, failure.status) == (kind, code, in_doubt, status)


def test_an_html_page_that_mentions_invalid_grant_is_the_moments() -> None:
    page = HttpResponse(400, body=b'<html>{"error":"invalid_grant"}</html>')
    assert token_failure(page, REFRESH).kind is MOMENT


def test_duplicate_error_codes_are_not_believed() -> None:
    body = b'{"error":"invalid_request","error":"invalid_grant"}'
    assert token_failure(HttpResponse(400, body=body), REFRESH).code == "unreadable_answer"


def test_the_providers_description_is_nowhere_in_a_failure() -> None:
    failure = token_failure(refusal(400, "invalid_grant"), REFRESH)
    assert "words" not in repr(failure)
    assert failure.provider_error == "invalid_grant"


def test_an_error_code_may_stand_where_the_providers_file_points() -> None:
    body = b'{"ECODE":"OAUTH_019","err":"Token not found"}'
    rule = FailureRule(USER, FailureCode.GRANT_REVOKED, error="oauth_019")
    failure = token_failure(HttpResponse(400, body=body), REFRESH, [rule], "/ECODE")
    assert (failure.kind, failure.provider_error) == (USER, "oauth_019")


RULE = FailureRule(USER, FailureCode.GRANT_REVOKED, grant=REFRESH, status=403, error="unauthorized_client")


@pytest.mark.parametrize(
    ("status", "error", "grant", "kind"),
    [
        (403, "unauthorized_client", REFRESH, USER),
        (400, "unauthorized_client", REFRESH, OPERATOR),
        (403, "unauthorized_client", CODE, OPERATOR),
        (403, "invalid_client", REFRESH, OPERATOR),
        (403, None, REFRESH, MOMENT),
    ],
)
def test_a_refinement_decides_only_what_it_matches(
    status: int, error: str | None, grant: GrantType, kind: FailureKind
) -> None:
    assert token_failure(refusal(status, error), grant, [RULE]).kind is kind


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_refinement_without_a_status_leaves_an_overloaded_provider_alone(status: int) -> None:
    rule = FailureRule(OPERATOR, FailureCode.CLIENT_REFUSED, error="access_denied")
    assert token_failure(refusal(403, "access_denied"), REFRESH, [rule]).kind is OPERATOR
    assert token_failure(refusal(status, "access_denied"), REFRESH, [rule]).kind is MOMENT


def test_a_refinement_of_one_endpoint_leaves_the_others_alone() -> None:
    rule = FailureRule(USER, FailureCode.GRANT_REVOKED, endpoint=Endpoint.SITES, status=404)
    assert token_failure(refusal(404), REFRESH, [rule]).kind is MOMENT
    assert api_failure(refusal(404), Endpoint.IDENTITY, [rule]).kind is MOMENT
    assert api_failure(refusal(404), Endpoint.SITES, [rule]).kind is USER


def test_a_refinement_to_the_moments_stays_in_doubt_after_a_server_error() -> None:
    rule = FailureRule(MOMENT, FailureCode.SERVER_ERROR, status=502)
    assert token_failure(refusal(502), REFRESH, [rule]).in_doubt


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_product_api_never_says_revoked(status: int) -> None:
    failure = api_failure(refusal(status, "invalid_grant"), Endpoint.SITES)
    assert (failure.kind, failure.code, failure.in_doubt) == (MOMENT, "api_refused", False)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "120"}, 120.0),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "86400"}, 3600.0),
        ({"Retry-After": "9" * 400}, 3600.0),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "²"}, None),
        ({}, None),
        (
            {"Retry-After": "Wed, 21 Oct 2026 07:29:00 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"},
            60.0,
        ),
        (
            {"Retry-After": "Wed, 21 Oct 2026 07:20:00 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"},
            0.0,
        ),
        ({"Retry-After": "Wed, 21 Oct 2026 07:29:00 GMT"}, None),
        ({"Retry-After": "Wed, 21 Oct 2026 07:29:00 GMT", "Date": "garbage"}, None),
        ({"Retry-After": "Wed, 21 Oct 2026 07:29:00 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 -0000"}, None),
    ],
)
def test_retry_after_is_read_as_seconds_and_as_a_date(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(HttpResponse(429, headers)) == seconds


def test_retry_after_is_honoured_for_the_moments_failures_only() -> None:
    assert token_failure(refusal(429, retry_after="7"), REFRESH).retry_after == 7
    assert token_failure(refusal(503, retry_after="7"), REFRESH).retry_after == 7
    assert token_failure(refusal(400, "invalid_grant", retry_after="7"), REFRESH).retry_after is None


def test_a_failure_needs_no_more_than_kind_and_code() -> None:
    assert not Failure(MOMENT, FailureCode.UNREACHABLE).in_doubt
