from collections.abc import Callable
from typing import Any

import pytest

from domain.http import Flow, HttpRequest, HttpResponse
from domain.oauth.answer import TokenGrant
from domain.oauth.token import ClientCredentials
from providers.flows import Upstream, refresh_flow, revocation_flow
from providers.model import Provider
from providers.quirks import REGISTRY, errors_in_200, with_quirks

CLIENT = ClientCredentials("app", "secret")
Answer = Callable[..., HttpResponse]
Step = Callable[..., tuple[Any, list[HttpRequest]]]
Make = Callable[[str], Provider]
QUIRK = 'quirks = ["errors_in_200"]\n'


@pytest.mark.parametrize("document", [{"error": "invalid_grant"}, {"ok": False, "error": "invalid_grant"}])
def test_an_error_inside_200_is_a_refusal_where_the_file_says_so(
    make: Make, step: Step, answer: Answer, document: object
) -> None:
    failure, _ = step(refresh_flow(make(QUIRK), CLIENT, refresh_token="rt"), answer(document))
    assert (failure.code, failure.status) == ("grant_revoked", 400)


def test_an_error_inside_200_that_nobody_knows_is_no_answer_to_trust_elsewhere(
    make: Make, step: Step, answer: Answer
) -> None:
    failure, _ = step(refresh_flow(make(""), CLIENT, refresh_token="rt"), answer({"error": "bad_refresh_token"}))
    assert (failure.code, failure.in_doubt) == ("unknown_error", True)


def test_a_token_beside_an_error_is_kept(make: Make, step: Step, answer: Answer) -> None:
    document = {"ok": False, "error": "invalid_grant", "access_token": "at"}
    grant, _ = step(refresh_flow(make(QUIRK), CLIENT, refresh_token="rt"), answer(document))
    assert grant.access_token == "at"


@pytest.mark.parametrize("error", [{}, {"error": None}, {"error": ""}])
def test_a_good_answer_passes_the_quirk_unchanged(
    make: Make, step: Step, answer: Answer, error: dict[str, object]
) -> None:
    grant, _ = step(
        refresh_flow(make(QUIRK), CLIENT, refresh_token="rt"), answer({"ok": True, "access_token": "at", **error})
    )
    assert isinstance(grant, TokenGrant)
    garbage, _ = step(refresh_flow(make(QUIRK), CLIENT, refresh_token="rt"), HttpResponse(200, body=b"<"))
    assert garbage.code == "unreadable_answer"


def test_a_revocation_refused_inside_200_is_not_confirmed(make: Make, step: Step, answer: Answer) -> None:
    provider = make(QUIRK + '[revocation]\nurl = "https://as.acme.example/revoke"\n')
    flow = revocation_flow(provider, CLIENT, refresh_token="rt", access_token=None)
    assert step(flow, answer({"ok": False, "error": "x"}))[0] is Upstream.UNCONFIRMED


def test_a_quirk_wraps_a_flow_of_any_number_of_steps(step: Step, answer: Answer) -> None:
    def two() -> Flow[list[int]]:
        first = yield HttpRequest("GET", "https://a.example/1", {})
        second = yield HttpRequest("GET", "https://a.example/2", {})
        return [first.status, second.status]

    def none() -> Flow[str]:
        return "nothing asked"
        yield

    statuses, asked = step(errors_in_200(two()), answer({"error": "x"}), answer({}))
    assert (statuses, len(asked)) == ([400, 200], 2)
    assert step(errors_in_200(none())) == ("nothing asked", [])


def test_a_driver_that_gives_up_closes_the_flow_inside(answer: Answer) -> None:
    closed = []

    def inner() -> Flow[None]:
        try:
            yield HttpRequest("GET", "https://a.example", {})
        finally:
            closed.append(True)

    flow = with_quirks(["errors_in_200"], inner())
    next(flow)
    flow.close()
    assert closed == [True]


def test_every_quirk_is_documented_in_its_own_words() -> None:
    assert all(quirk.__doc__ for quirk in REGISTRY.values())
