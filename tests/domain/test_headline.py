"""In a sentence or two: how a life stands, why, what is next, and what somebody should do."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from domain import headline as heads
from domain.headline import SAYS, UPSTREAM, Standing, headline, upcoming
from domain.life import Status
from domain.reasons import WHY, because
from domain.wakeup import Step

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
WELL = Standing(Status.ACTIVE, expires_at=NOON + timedelta(hours=1), next_step=Step.REFRESH, next_at=NOON)
WITHHELD = "its token is not served, since the provider refused it. Next: refresh at 2026-03-01 12:00:00 UTC."
SERVED = "it is served until 2026-03-01 13:00:00 UTC. Next: refresh at 2026-03-01 12:00:00 UTC."


@pytest.mark.parametrize(
    ("standing", "what", "to_do"),
    [
        (WELL, f"It works: {SERVED}", heads.NOTHING),
        (
            replace(WELL, failures=3, last_error="server_error"),
            f"Refreshing failed 3 times in a row: the provider stumbled (server_error); {SERVED}",
            heads.BY_ITSELF,
        ),
        (
            replace(WELL, failures=1, last_error="request_refused"),
            f"Refreshing failed once{because('request_refused')}; {SERVED}",
            heads.THE_REQUEST,
        ),
        (
            replace(WELL, held_reason="client_refused", failures=1, doubt="site_lost"),
            "No connection is to blame: the provider refuses the app's client id or client secret (client_refused); "
            + SERVED,
            heads.THE_APP,
        ),
        (
            replace(WELL, held_reason="no_answer", failures=5, last_error="no_answer"),
            "The provider fails for one connection after the other: the provider did not answer (no_answer); " + SERVED,
            heads.BY_ITSELF,
        ),
        (
            replace(WELL, doubt="site_lost"),
            f"It may not work any more: the account does not reach its site any more (site_lost); {SERVED}",
            heads.DOUBTS["site_lost"],
        ),
        (
            replace(WELL, doubt="token_refused", withheld=True),
            f"It may not work any more{because('token_refused')}; {WITHHELD}",
            heads.BY_ITSELF,
        ),
        (
            replace(WELL, last_error="in_doubt", withheld=True),
            f"It may not work any more; {WITHHELD}",
            heads.BY_ITSELF,
        ),
        (
            replace(WELL, last_error="in_doubt"),
            f"It waits: a refresh was sent and its answer is not known (in_doubt); {SERVED}",
            heads.BY_ITSELF,
        ),
        (Standing(Status.ACTIVE, next_step=Step.WAIT), "It works: it is served.", heads.NOTHING),
        (
            Standing(Status.NEEDS_REAUTH, "grant_expired"),
            "It needs a new consent: the provider says that the grant reached its end (grant_expired).",
            heads.CONNECT_AGAIN,
        ),
        (Standing(Status.NEEDS_REAUTH), "It needs a new consent.", heads.CONNECT_AGAIN),
        (
            Standing(Status.PENDING, next_step=Step.WAIT),
            "Nobody has connected it yet.",
            "Send the person the link of the session.",
        ),
        (
            Standing(Status.REVOKED, upstream="confirmed"),
            f"It was deleted on our side and is served no more. {UPSTREAM['confirmed']}",
            heads.NOTHING,
        ),
        (
            Standing(Status.REVOKED, upstream="unsupported"),
            f"It was deleted on our side and is served no more. {UPSTREAM['unsupported']}",
            heads.IN_PERSON,
        ),
        (Standing(Status.REVOKED), "It was deleted on our side and is served no more.", heads.NOTHING),
    ],
)
def test_how_a_life_stands_is_said_with_what_to_do(standing: Standing, what: str, to_do: str) -> None:
    said = headline(standing)
    assert (said.what, said.to_do) == (what, to_do)


def test_every_step_has_words() -> None:
    assert SAYS.keys() == set(Step)
    assert upcoming(Step.PROBE, NOON) == "ask the provider whether the credential works at 2026-03-01 12:00:00 UTC"
    assert upcoming(Step.WAIT, None) == upcoming("", NOON) == ""


def test_every_doubt_that_has_its_own_advice_is_a_reason() -> None:
    assert heads.DOUBTS.keys() <= WHY.keys()


def test_whatever_the_state_there_is_a_sentence_and_an_advice() -> None:
    for status in Status:
        for code in ("", "unheard_of", "a\nb", *WHY):
            odd = Standing(status, code, NOON, 2, code, code, code, code, NOON, code)
            for standing in (odd, replace(odd, held_reason=""), replace(odd, held_reason="", failures=0)):
                said = headline(standing)
                assert said.what.endswith(".")
                assert said.to_do.endswith(".")
                assert "\n" not in said.what
