"""Law 4's table, row by row, and what the operators' page says of it."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.http import HttpResponse
from domain.oauth.failures import (
    ANY_CODE,
    API_TABLE,
    TOKEN_TABLE,
    Endpoint,
    Failure,
    FailureCode,
    FailureKind,
    FailureRule,
    GrantType,
    Row,
    api_failure,
    retry_after,
    row_for,
    token_failure,
)

PAGE = (Path(__file__).parents[3] / "docs" / "failures.md").read_text(encoding="utf-8")

USER, OPERATOR, MOMENT = FailureKind.USER, FailureKind.OPERATOR, FailureKind.MOMENT
CODE, REFRESH = GrantType.CODE, GrantType.REFRESH


def refusal(status: int, error: object = None, **headers: str) -> HttpResponse:
    body = b"" if error is None else json.dumps({"error": error, "error_description": "words"}).encode()
    return HttpResponse(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


CASES = [
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
    (999, None, REFRESH, MOMENT, "server_error", True),
    (200, "invalid_grant", REFRESH, USER, "grant_revoked", False),
    (200, "invalid_grant", CODE, USER, "code_refused", False),
    (200, "invalid_client", REFRESH, OPERATOR, "client_refused", False),
    (200, "bad_refresh_token", REFRESH, MOMENT, "unknown_error", True),
    (201, "bad_refresh_token", CODE, MOMENT, "unknown_error", True),
    (200, None, REFRESH, MOMENT, "unreadable_answer", True),
    (204, None, REFRESH, MOMENT, "unreadable_answer", True),
    (400, {"code": "invalid_grant"}, REFRESH, MOMENT, "unreadable_answer", False),
    (400, "The invalid_grant was revoked", REFRESH, MOMENT, "unreadable_answer", False),
    (400, "a" * 65, REFRESH, MOMENT, "unreadable_answer", False),
    (400, "access_denied", REFRESH, MOMENT, "unknown_error", False),
    (400, "something_new", REFRESH, MOMENT, "unknown_error", False),
]


API_CASES = [
    # status -> code, in doubt
    (401, "api_refused", False),
    (403, "api_refused", False),
    (404, "api_refused", False),
    (410, "api_refused", False),
    (204, "api_refused", False),
    (302, "api_refused", False),
    (429, "rate_limited", False),
    (500, "server_error", True),
    (503, "server_error", True),
]


@pytest.mark.parametrize(("status", "error", "grant", "kind", "code", "in_doubt"), CASES)
def test_law_04_each_row_of_the_table(
    status: int, error: object, grant: GrantType, kind: FailureKind, code: str, in_doubt: bool
) -> None:
    failure = token_failure(refusal(status, error), grant)
    assert (failure.kind, failure.code, failure.in_doubt, failure.status) == (kind, code, in_doubt, status)


def decided_by(status: int, error: object, grant: GrantType) -> Row:
    readable = error.lower() if isinstance(error, str) and re.fullmatch(r"\w{1,64}", error) else None
    return row_for(TOKEN_TABLE, status, readable, grant)


@pytest.mark.parametrize("row", TOKEN_TABLE, ids=lambda row: f"{row.code} {row.error}")
def test_no_row_is_without_a_source_and_a_case_of_its_own(row: Row) -> None:
    assert row.source
    deciding = [case for case in CASES if decided_by(*case[:3]) is row]
    assert deciding
    assert {(case[3], case[4], case[5]) for case in deciding} == {(row.code.kind, row.code, row.in_doubt)}


@pytest.mark.parametrize("row", API_TABLE, ids=lambda row: row.code)
def test_no_row_of_a_product_api_is_without_a_source_and_a_case(row: Row) -> None:
    assert row.source
    deciding = [case for case in API_CASES if row_for(API_TABLE, case[0], None) is row]
    assert {case[1:] for case in deciding} == {(row.code, row.in_doubt)}


@pytest.mark.parametrize("table", [TOKEN_TABLE, API_TABLE])
def test_every_answer_there_can_be_has_its_row(table: tuple[Row, ...]) -> None:
    for status in range(1000):
        for error in (None, "invalid_grant", "x"):
            assert row_for(table, status, error, REFRESH) in table


def of_the_page(heading: str) -> list[list[str]]:
    """The cells of the rows under a heading, the code marks taken off."""
    section = PAGE.partition(f"{heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return [[cell.replace("`", "") for cell in row] for row in rows]


def test_the_operators_page_explains_every_code_and_no_other() -> None:
    header, *rows = of_the_page("## Codes")
    assert header == ["code", "kind", "what it does to a connection", "what to do"]
    assert [(row[0], row[1]) for row in rows] == [(code, code.kind) for code in FailureCode]
    assert all(len(row) == 4 and all(row) for row in rows)


def as_written(row: Row) -> list[str]:
    said = {None: "no error", ANY_CODE: "another error"}.get(row.error, f"error {row.error}")
    if row.statuses.start >= 429:
        said = f"status {row.statuses.start}" if len(row.statuses) == 1 else "status 5xx"
    said += ", status 2xx" if row.statuses == range(200, 300) else ""
    said += ", of an exchange" if row.grant is CODE else ""
    return [said, f"{row.code}{', in doubt' if row.in_doubt else ''}", row.source]


def test_the_operators_page_shows_the_table_as_it_is() -> None:
    rows = of_the_page("## What decides")
    api = next(at for at, row in enumerate(rows) if row[0] == "answer of an identity or sites call")
    assert rows[1:api] == [as_written(row) for row in TOKEN_TABLE]
    assert [row[1:] for row in rows[api + 1 :]] == [as_written(row)[1:] for row in API_TABLE]


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
    rule = FailureRule(OPERATOR, FailureCode.CLIENT_NOT_ALLOWED, endpoint=Endpoint.SITES, status=404)
    assert token_failure(refusal(404), REFRESH, [rule]).kind is MOMENT
    assert api_failure(refusal(404), Endpoint.IDENTITY, [rule]).kind is MOMENT
    assert api_failure(refusal(404), Endpoint.SITES, [rule]).kind is OPERATOR


@pytest.mark.parametrize("endpoint", [Endpoint.IDENTITY, Endpoint.SITES])
def test_no_rule_lets_a_product_api_say_that_a_grant_is_dead(endpoint: Endpoint) -> None:
    with pytest.raises(ValueError, match="product API"):
        FailureRule(USER, FailureCode.GRANT_REVOKED, endpoint=endpoint, status=401)


SILENT = FailureRule(USER, FailureCode.GRANT_REVOKED, grant=REFRESH, status=403, empty_body=True)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (403, b"", USER),
        (403, b" \r\n", USER),
        (403, b"{}", MOMENT),
        (403, b"<html>", MOMENT),
        (400, b"", MOMENT),
        (200, b"", MOMENT),
    ],
)
def test_a_rule_for_an_empty_body_takes_no_other_answer(status: int, body: bytes, kind: FailureKind) -> None:
    assert token_failure(HttpResponse(status, body=body), REFRESH, [SILENT]).kind is kind


@pytest.mark.parametrize("status", [400, 403])
def test_an_empty_refusal_is_the_moments_without_a_rule(status: int) -> None:
    assert token_failure(HttpResponse(status), REFRESH).kind is MOMENT


@pytest.mark.parametrize("status", [None, 200])
def test_a_rule_without_an_error_never_reads_a_success(status: int | None) -> None:
    rule = FailureRule(USER, FailureCode.GRANT_REVOKED, status=status)
    for body in (b"", b"{}", b'{"access_token":"cut off', b'{"error":{"code":"x"}}', b'{"error":"x"}'):
        failure = token_failure(HttpResponse(200, body=body), REFRESH, [rule])
        assert (failure.kind, failure.in_doubt) == (MOMENT, True)


@pytest.mark.parametrize("status", [None, 200])
def test_a_rule_reads_a_code_inside_a_success(status: int | None) -> None:
    rule = FailureRule(USER, FailureCode.GRANT_REVOKED, status=status, error="bad_refresh_token")
    failure = token_failure(refusal(200, "bad_refresh_token"), REFRESH, [rule])
    assert (failure.kind, failure.code, failure.in_doubt) == (USER, "grant_revoked", False)


@pytest.mark.parametrize("status", [200, 500])
def test_a_rule_to_the_moments_leaves_what_may_have_been_handled_in_doubt(status: int) -> None:
    rule = FailureRule(MOMENT, FailureCode.RATE_LIMITED, status=status, error="slow_down")
    assert token_failure(refusal(status, "slow_down"), REFRESH, [rule]).in_doubt
    elsewhere = FailureRule(MOMENT, FailureCode.RATE_LIMITED, error="slow_down")
    assert not token_failure(refusal(400, "slow_down"), REFRESH, [elsewhere]).in_doubt


def test_a_refinement_to_the_moments_stays_in_doubt_after_a_server_error() -> None:
    rule = FailureRule(MOMENT, FailureCode.SERVER_ERROR, status=502)
    assert token_failure(refusal(502), REFRESH, [rule]).in_doubt


@pytest.mark.parametrize(("status", "code", "in_doubt"), API_CASES)
def test_a_product_api_never_says_revoked(status: int, code: str, in_doubt: bool) -> None:
    for endpoint in (Endpoint.IDENTITY, Endpoint.SITES):
        for error in (None, "invalid_grant"):
            failure = api_failure(refusal(status, error), endpoint)
            assert (failure.kind, failure.code, failure.in_doubt) == (MOMENT, code, in_doubt)


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
        ({"Retry-After": " 30 "}, 30.0),
        ({"Retry-After": "1.5"}, None),
        ({"Retry-After": "5, 10"}, None),
        ({"Retry-After": ""}, None),
        ({"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT", "Date": "Mon, 01 Jan 0001 00:00:00 GMT"}, 3600.0),
        ({"Retry-After": "Wed, 99 Oct 2026 07:29:00 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
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


@given(value=st.text(max_size=60), date=st.text(max_size=60))
def test_no_retry_after_whatever_raises_or_goes_beyond_an_hour(value: str, date: str) -> None:
    for until in (value, f"Wed, 21 Oct 2026 {value}", "Wed, 21 Oct 2026 07:29:00 GMT"):
        seconds = retry_after(HttpResponse(429, {"Retry-After": until, "Date": date}))
        assert seconds is None or 0 <= seconds <= 3600


def test_retry_after_is_honoured_for_the_moments_failures_only() -> None:
    assert token_failure(refusal(429, retry_after="7"), REFRESH).retry_after == 7
    assert token_failure(refusal(503, retry_after="7"), REFRESH).retry_after == 7
    assert token_failure(refusal(400, "invalid_grant", retry_after="7"), REFRESH).retry_after is None


def test_a_failure_needs_no_more_than_kind_and_code() -> None:
    assert not Failure(MOMENT, FailureCode.UNREACHABLE).in_doubt
