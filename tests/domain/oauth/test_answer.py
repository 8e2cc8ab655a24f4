import json
from typing import Any

import pytest

from domain.http import HttpResponse
from domain.oauth.answer import AnswerRules, TokenGrant, read_token_answer
from domain.oauth.failures import Failure, FailureKind, FailureRule, GrantType

REFRESH = GrantType.REFRESH


def answer(**fields: Any) -> HttpResponse:
    whole = {"access_token": "at", "token_type": "Bearer", "expires_in": 60, **fields}
    return HttpResponse(200, body=json.dumps(whole).encode())


def granted(response: HttpResponse, rules: AnswerRules | None = None) -> TokenGrant:
    grant = read_token_answer(response, REFRESH, rules)
    assert isinstance(grant, TokenGrant)
    return grant


def failed(response: HttpResponse) -> Failure:
    failure = read_token_answer(response, REFRESH)
    assert isinstance(failure, Failure)
    return failure


def test_a_whole_answer_is_read() -> None:
    assert granted(answer(refresh_token="rt", scope="a b", odd=1, id_token="x")) == TokenGrant(
        "at", "rt", 60, ("a", "b"), None, ("odd",)
    )


def test_the_tokens_are_not_in_repr() -> None:
    shown = repr(granted(answer(access_token="canary-a", refresh_token="canary-r")))
    assert "canary" not in shown


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Service unavailable</html>",
        b"null",
        b"[]",
        b'"at"',
        b'{"access_token":"at","expires_in":3600',
        b'{"access_token":"at","access_token":"other"}',
        b'{"access_token":"at","x":{"y":1,"y":2}}',
        b'{"access_token":"\xff"}',
        b"{}",
        b'{"access_token":""}',
        b'{"access_token":null}',
        b'{"access_token":["at"]}',
        b'{"access_token":"a\\r\\nSet-Cookie: x"}',
        b'{"access_token":"\\ud800"}',
        b'{"access_token":"at","refresh_token":7}',
        b'{"access_token":"at","refresh_token":"r\\u0000"}',
        b'{"access_token":7,"error":"invalid_grant"}',
        b'{"refresh_token":"rt","error":"invalid_grant"}',
        '{"access_token":"at"}'.encode("utf-16"),
        b"[" * 100_000,
    ],
)
def test_an_answer_that_cannot_be_used_leaves_the_outcome_in_doubt(body: bytes) -> None:
    failure = failed(HttpResponse(200, body=body))
    assert (failure.kind, failure.code, failure.in_doubt) == (
        FailureKind.MOMENT,
        "unreadable_answer",
        True,
    )


@pytest.mark.parametrize("token_type", ["mac", "DPoP", "", 1, ["bearer"]])
def test_a_token_that_is_no_bearer_token_is_not_used(token_type: object) -> None:
    failure = failed(answer(token_type=token_type))
    assert (failure.kind, failure.code, failure.in_doubt) == (
        FailureKind.MOMENT,
        "token_type_unknown",
        True,
    )


@pytest.mark.parametrize("token_type", ["Bearer", "bearer", "BEARER", None])
def test_a_bearer_token_may_be_spelt_in_any_case_or_not_at_all(token_type: object) -> None:
    assert granted(answer(token_type=token_type)).access_token == "at"


@pytest.mark.parametrize(
    ("expires_in", "seconds"),
    [
        (10, 10),
        ("10", 10),
        (10.0, 10),
        (0, 900),
        (-1, 900),
        ("-1", 900),
        (None, 900),
        (True, 900),
        ("soon", 900),
        ("", 900),
        ([10], 900),
        ({"s": 10}, 900),
        (10**12, 900),
    ],
)
def test_a_senseless_life_falls_back_to_the_declared_one(expires_in: object, seconds: int) -> None:
    assert granted(answer(expires_in=expires_in), AnswerRules(lifetime=900)).expires_in == seconds


@pytest.mark.parametrize("number", ["1e999", "NaN", "Infinity", "-Infinity", "9" * 10_000, "-" + "9" * 300])
def test_a_number_that_is_none_costs_no_token(number: str) -> None:
    body = f'{{"access_token":"at","refresh_token":"rt","expires_in":{number}}}'
    grant = granted(HttpResponse(200, body=body.encode()))
    assert (grant.refresh_token, grant.expires_in, grant.lifetime_stated) == ("rt", 3600, False)


@pytest.mark.parametrize(
    ("expires_in", "stated"), [(10, True), ("10", True), (0, False), (-1, False), (None, False), (True, False)]
)
def test_a_grant_tells_whether_its_life_was_stated(expires_in: object, stated: bool) -> None:
    assert granted(answer(expires_in=expires_in)).lifetime_stated is stated
    assert granted(answer(expires_in=expires_in), AnswerRules(lifetime=None)).lifetime_stated is stated


@pytest.mark.parametrize("beside", [{"error": "invalid_grant"}, {"ok": False, "error": "invalid_auth"}])
def test_a_success_with_a_token_is_never_read_as_a_refusal(beside: dict[str, object]) -> None:
    rules = AnswerRules(failures=(FailureRule(FailureKind.USER, "grant_revoked", status=200, error="invalid_auth"),))
    assert granted(answer(**beside), rules).access_token == "at"


@pytest.mark.parametrize("token", [{}, {"access_token": None}, {"access_token": "", "refresh_token": None}])
def test_an_error_inside_a_success_without_a_token_is_read_by_the_table(token: dict[str, object]) -> None:
    body = json.dumps({"error": "invalid_grant", **token}).encode()
    failure = failed(HttpResponse(200, body=body))
    assert (failure.kind, failure.code, failure.in_doubt) == (FailureKind.USER, "grant_revoked", False)


def test_an_error_inside_a_success_that_nobody_knows_leaves_the_outcome_in_doubt() -> None:
    failure = failed(HttpResponse(200, body=b'{"ok":false,"error":"bad_refresh_token"}'))
    assert (failure.kind, failure.code, failure.in_doubt) == (FailureKind.MOMENT, "unknown_error", True)


def test_only_a_declaration_makes_a_token_live_for_ever() -> None:
    silent = HttpResponse(200, body=b'{"access_token":"at"}')
    assert granted(silent).expires_in == 3600
    assert granted(silent, AnswerRules(lifetime=None)).expires_in is None
    assert granted(answer(), AnswerRules(lifetime=None)).expires_in == 60


@pytest.mark.parametrize("refresh_token", [None, ""])
def test_an_absent_refresh_token_is_none(refresh_token: object) -> None:
    assert granted(answer(refresh_token=refresh_token)).refresh_token is None


@pytest.mark.parametrize(
    ("scope", "separator", "scopes"),
    [
        ("a b", " ", ("a", "b")),
        ("a,b", " ", ("a", "b")),
        ("a b", ",", ("a", "b")),
        ("a, b", ",", ("a", "b")),
        ("a+b", "+", ("a", "b")),
        ("read:x-y:z", " ", ("read:x-y:z",)),
        ("a a b", " ", ("a", "b")),
        (["a", "b"], " ", ("a", "b")),
        (["a", 1], " ", ("a",)),
        ("", " ", None),
        ([], " ", None),
        (None, " ", None),
        (7, " ", None),
    ],
)
def test_scopes_are_read_however_they_are_written(
    scope: object, separator: str, scopes: tuple[str, ...] | None
) -> None:
    assert granted(answer(scope=scope), AnswerRules(separator=separator)).scopes == scopes


@pytest.mark.parametrize(
    ("data", "account_id"),
    [
        ({"gid": "12"}, "12"),
        ({"gid": 12}, "12"),
        ({"gid": True}, None),
        ({"gid": ""}, None),
        ({"gid": "a\nb"}, None),
        ({"gid": "x" * 256}, None),
        ({}, None),
        ("no object", None),
    ],
)
def test_the_account_may_stand_in_the_answer(data: object, account_id: str | None) -> None:
    rules = AnswerRules(account_pointer="/data/gid")
    assert granted(answer(data=data), rules).account_id == account_id


def test_unknown_fields_are_told_by_name_only_and_few() -> None:
    noise = {f"f{number:02}": "value" for number in range(30)} | {"a name with spaces": "value"}
    names = granted(answer(**noise)).unknown_fields
    assert names == tuple(f"f{number:02}" for number in range(20))


def test_any_2xx_is_success_and_a_byte_order_mark_does_no_harm() -> None:
    assert granted(HttpResponse(201, body=b'\xef\xbb\xbf{"access_token":"at"}')).access_token == "at"


def test_a_refusal_is_read_by_the_table_with_the_providers_refinements() -> None:
    rule = FailureRule(FailureKind.USER, "grant_expired", status=418)
    outcome = read_token_answer(HttpResponse(418), REFRESH, AnswerRules(failures=(rule,)))
    assert isinstance(outcome, Failure)
    assert outcome.code == "grant_expired"
