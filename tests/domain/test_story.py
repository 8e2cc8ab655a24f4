"""What happened, in words and in order, and the same again and again only once."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.holds import SECRET_REPLACED
from domain.reasons import because
from domain.story import ATTEMPTS, EVENTS, TOLD, Happened, tell
from vault import ledger

ROOT = Path(__file__).parents[2]
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def at(minute: int, kind: str, code: str = "", generation: int | None = None, **data: object) -> Happened:
    return Happened(NOON + timedelta(minutes=minute), kind, code, generation, data)


def test_a_life_is_told_in_order() -> None:
    told = tell(
        [
            at(0, "created"),
            at(0, "activated"),
            *(at(n, "refreshed", generation=n + 1) for n in range(1, 15)),
            at(15, "refresh.not_handled", "server_error", 16),
            at(15, "degraded", "server_error"),
            at(16, "refreshed", generation=17),
            at(16, "recovered", "server_error"),
            at(17, "refresh.refused", "grant_revoked", 18),
            at(17, "needs_reauth", "grant_revoked"),
            at(18, "deleted", upstream="confirmed"),
        ]
    )
    assert [entry.what for entry in told] == [
        "Connected for the first time.",
        "A consent brought a credential.",
        "Refreshed 14 times, first at 2026-03-01 12:01:00 UTC, last at 2026-03-01 12:14:00 UTC.",
        "The provider did not refresh it: the provider stumbled (server_error).",
        "Degraded, and still served: the provider stumbled (server_error).",
        "Refreshed.",
        "Recovered from: the provider stumbled (server_error).",
        f"The provider refused the refresh token{because('grant_revoked')}.",
        f"Needs a new consent from now on{because('grant_revoked')}.",
        "Deleted. The provider confirmed that the grant is revoked.",
    ]
    assert [entry.by for entry in told][:3] == ["user", "user", "authpipe"]
    assert (told[2].times, told[2].generation, told[2].at) == (14, 15, NOON + timedelta(minutes=14))
    assert (told[3].code, told[3].generation, told[3].by) == ("server_error", 16, "provider")


def test_the_same_failure_in_a_row_is_told_once_and_another_one_is_not_the_same() -> None:
    codes = ["no_answer", "no_answer", "server_error", "no_answer"]
    told = tell(at(n, "refresh.not_handled", code) for n, code in enumerate(codes))
    assert [(entry.code, entry.times) for entry in told] == [("no_answer", 2), ("server_error", 1), ("no_answer", 1)]


@pytest.mark.parametrize(
    ("happened", "what"),
    [
        (
            at(0, "reauth_due", "inactivity", days=3),
            f"Notice that the consent ends by itself, in 3 days at most{because('inactivity')}.",
        ),
        (
            at(0, "scopes_changed", "provider", lost=["admin\n<b>"], gained=[]),
            "The granted scopes changed: 1 fewer, 0 more: the provider said so (provider).",
        ),
        (at(0, "recovered"), "Recovered."),
        (
            at(0, "provider_config.recovered", SECRET_REPLACED),
            "The provider accepts the app again: there is a new client secret (client_secret_replaced).",
        ),
        (
            at(0, "provider_config.recovered", "client_not_allowed"),
            f"The provider accepts the app again, after{because('client_not_allowed')}.",
        ),
        (at(0, "deleted"), "Deleted."),
        (at(0, "deleted", upstream="kept\nshared"), "Deleted."),
        (at(0, "degraded", "Bearer secret"), "Degraded, and still served."),
    ],
)
def test_a_sentence_says_what_its_event_says_and_no_text_of_the_provider(happened: Happened, what: str) -> None:
    assert [entry.what for entry in tell([happened])] == [what]


def test_what_nobody_has_words_for_is_left_out() -> None:
    assert tell([at(0, "of_tomorrow"), at(1, "refreshed")]) == tell([at(1, "refreshed")])


def test_every_event_that_is_recorded_has_a_sentence() -> None:
    recorded = set()
    for path in (*ROOT.glob("activities/*.py"), *ROOT.glob("vault/*.py")):
        text = path.read_text(encoding="utf-8")
        recorded |= set(re.findall(r'append_event\(\s*tx, \w+, "(\w+)"', text))
        recorded |= {
            f"provider_config.{name}" for name in re.findall(r'append_config_event\(\s*tx, \w+, "(\w+)"', text)
        }
    assert recorded  # `degraded` and its counterpart have their names from one variable
    assert recorded | {"degraded", "recovered"} == EVENTS.keys()


def test_every_event_of_the_documentation_has_a_sentence() -> None:
    page = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| `(?:connection\.)?((?:provider_config\.)?\w+)` \|", page, re.MULTILINE)
    assert EVENTS.keys() <= set(told)
    assert {name for name in told if f"`connection.{name}`" in page or "." in name} == EVENTS.keys()


def test_every_outcome_of_the_ledger_has_a_sentence() -> None:
    outcomes = (
        ledger.SUCCEEDED,
        ledger.NOT_SENT,
        ledger.NOT_HANDLED,
        ledger.REFUSED,
        ledger.OPERATOR,
        ledger.SUPERSEDED,
        ledger.UNKNOWN,
    )
    kinds = (ledger.REFRESH, ledger.EXCHANGE)
    assert {*kinds, *(f"{kind}.{outcome}" for kind in kinds for outcome in outcomes)} == ATTEMPTS.keys()


@given(
    st.lists(st.tuples(st.sampled_from([*TOLD, "unknown"]), st.sampled_from(["", "server_error", "x"])), max_size=40)
)
def test_nothing_is_lost_and_nothing_is_told_twice(happened: list[tuple[str, str]]) -> None:
    rows = [at(n, kind, code) for n, (kind, code) in enumerate(happened)]
    told = tell(rows)
    assert sum(entry.times for entry in told) == sum(kind in TOLD for kind, _ in happened)
    assert [entry.at for entry in told] == sorted(entry.at for entry in told)
    assert all(entry.what.endswith(".") for entry in told)
