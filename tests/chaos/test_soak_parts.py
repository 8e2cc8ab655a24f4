"""What counts as what in a soak, and what its judges call an offence."""

from collections import Counter
from itertools import combinations, pairwise
from random import Random

import pytest

from tests.chaos.counting import End, Fate, Fetch, Gaps, Tally, cause, fate, served, unserved
from tests.chaos.judging import Judgement
from tests.chaos.plan import DECK, FAULTS, KILLS, LONG, NONE, PROVIDERS, RESTS, ROTATES, WINDOW, Blow, Kind, drawn
from tests.chaos.report import Figure, lines, missed, of_configs, of_lives, of_readers, percent
from tests.chaos.sends import Presented, Sent, first_in_doubt, offends, sent_twice, told
from tests.chaos.striking import Struck

TEN_MINUTES = 600.0


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (409, "needs_reauth", Fetch.CONFLICT),
        (503, "refresh_pending", Fetch.UNAVAILABLE),
        (503, "database_unavailable", Fetch.UNAVAILABLE),
        (409, "ambiguous", Fetch.OTHER),
        (404, "not_connected", Fetch.OTHER),
        (500, "internal", Fetch.OTHER),
        (503, "", Fetch.OTHER),
    ],
)
def test_an_answer_without_a_token_is_honest_only_if_it_says_what_is_so(status: int, code: str, kind: Fetch) -> None:
    assert unserved(status, code) is kind


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, Fetch.ACCEPTED),
        (401, Fetch.REFUSED),
        (403, Fetch.REFUSED),
        (404, Fetch.REFUSED),
        (503, Fetch.UNJUDGED),
        (None, Fetch.UNJUDGED),
    ],
)
def test_only_the_providers_verdict_makes_a_token_accepted_or_refused(status: int | None, kind: Fetch) -> None:
    assert served(status, revoked=False) is kind


def test_a_token_of_a_grant_that_the_test_took_away_says_nothing() -> None:
    assert {served(status, revoked=True) for status in (200, 401, None)} == {Fetch.LEFT_OUT}


def test_the_share_is_of_the_tokens_that_were_judged() -> None:
    tally = Tally(Counter({Fetch.ACCEPTED: 3, Fetch.REFUSED: 1, Fetch.LEFT_OUT: 5, Fetch.UNJUDGED: 7, Fetch.OTHER: 9}))
    assert (tally.share, tally.answered_200, tally.fetches) == (0.75, 16, 25)


def test_without_a_verdict_there_is_no_share_and_the_goal_is_missed() -> None:
    figures = {figure.name: figure for figure in of_readers(Tally(), 0)}
    assert (figures["share accepted"].value, figures["share accepted"].met) == ("none", False)


@pytest.mark.parametrize(
    ("status", "alive", "revoked", "expected"),
    [
        ("active", True, False, Fate.LIVES),
        ("needs_reauth", True, False, Fate.NEEDLESS),
        ("needs_reauth", False, False, Fate.LOST),
        ("active", False, False, Fate.LOST),
        ("needs_reauth", False, True, Fate.REVOKED),
        ("active", False, True, Fate.UNNOTICED),
    ],
)
def test_the_fate_of_a_connection(status: str, alive: bool, revoked: bool, expected: Fate) -> None:
    assert fate(End("conn", WINDOW, status, alive, revoked)) is expected


def test_a_loss_is_put_down_to_the_nearest_blow_that_can_have_made_it() -> None:
    blows = [
        Blow(90, Kind.CUT_AFTER, NONE),
        Blow(101, Kind.WORKER),
        Blow(99.9, Kind.CUT_AFTER, WINDOW),
        Blow(99.9, Kind.UNAVAILABLE, NONE),
        Blow(99.9, Kind.CUT_BEFORE, NONE),
        Blow(100.1, Kind.OUTAGE, NONE),
    ]
    assert cause(100, NONE, blows, within=12) == blows[1]
    assert cause(100, NONE, [blows[0]], within=12) == blows[0]
    assert cause(100, NONE, [Blow(101, Kind.CUT_AFTER, NONE)], within=12) is None


def test_a_kill_long_before_or_after_a_send_did_not_lose_its_answer() -> None:
    assert cause(100, NONE, [Blow(80, Kind.WORKER), Blow(113, Kind.API)], within=12) is None
    assert cause(100, NONE, [Blow(96, Kind.DATABASE, seconds=4)], within=12) is not None
    assert cause(None, NONE, [Blow(100, Kind.WORKER)], within=12) is None


def row(expires_at: float, issued_at: float = 0, status: str = "active") -> tuple[str, str, float, float]:
    return ("conn", status, expires_at, issued_at)


def test_a_gap_lasts_from_the_expiry_to_the_next_credential_whenever_one_looks() -> None:
    gaps = Gaps()
    for now, seen in ((99, row(100)), (103, row(100)), (104, row(100)), (109, row(200, issued_at=107))):
        gaps.look([seen], now)
    assert (gaps.longest, gaps.whose, gaps.now_without) == (7, "conn", [])


def test_whoever_is_without_a_credential_at_the_end_is_named_unless_the_user_has_to_come() -> None:
    gaps = Gaps()
    gaps.look([row(100)], 101)
    assert gaps.now_without == ["conn"]
    gaps.look([row(100, status="needs_reauth")], 102)
    assert (gaps.now_without, gaps.longest) == ([], 0)


@pytest.mark.parametrize(
    ("provider", "uses", "offence"),
    [
        (WINDOW, [(10, "rotated"), (20, "replayed")], False),
        (WINDOW, [(10, "rotated"), (900, "reused")], True),
        (NONE, [(10, "rotated"), (90, "reused")], True),
        (NONE, [(10, "rotated"), (101, "reused")], False),
        (NONE, [(10, "rotated"), (99, "reused")], False),
        (NONE, [(10, "rotated"), (20, "ended")], False),
    ],
)
def test_a_token_may_come_again_inside_the_window_or_after_expiry(
    provider: str, uses: list[tuple[float, str]], offence: bool
) -> None:
    """The access token beside it lives until 100; the request may be two seconds on its way."""
    assert offends(Presented("token", provider, uses, access_until=100)) is offence


def sent(at: float, leased: float = 12, settled: float | None = None, outcome: str = "succeeded") -> Sent:
    return Sent("conn", "print", at, at + leased, settled, outcome)


@pytest.mark.parametrize(
    ("sends", "window", "offences"),
    [
        ([sent(0, settled=1), sent(2, settled=3)], 600, 0),
        ([sent(0), sent(11)], 600, 1),
        ([sent(0, settled=20), sent(11, settled=20)], 600, 1),
        ([sent(0), sent(13)], 600, 0),
        ([sent(0), sent(13), sent(570)], 600, 1),
        ([sent(0), sent(13), sent(569)], 600, 0),
        ([sent(0), sent(5000)], 0, 0),
        ([sent(0), sent(5)], 0, 1),
        ([sent(0, outcome="not_sent"), sent(5)], 0, 0),
    ],
    ids=[
        "answered",
        "leased",
        "leased_though_settled_later",
        "in_the_window",
        "after_the_window",
        "just_in_the_window",
        "without_a_window",
        "leased_without_a_window",
        "never_sent",
    ],
)
def test_the_ledger_shows_who_sent_against_the_rule(sends: list[Sent], window: float, offences: int) -> None:
    assert len(sent_twice(reversed(sends), window)) == offences


def test_two_tokens_or_two_lives_are_not_one() -> None:
    other = Sent("conn", "other", 1, 13, None, "")
    elsewhere = Sent("conn-2", "print", 1, 13, None, "")
    assert sent_twice([sent(0), other, elsewhere], 600) == []


def test_an_offence_is_told_with_all_sends_of_its_token() -> None:
    other, again = Sent("conn", "other", 1, 13, None, ""), Sent("conn", "print", 20, 32, 21, "succeeded")
    line = told(again, [again, other, Sent("conn", "print", 3, 15, None, "")], 2)
    assert line == "conn: 1.0-13.0 s, never settled; 18.0-30.0 s, succeeded at 19.0"


def test_a_grant_was_lost_with_the_first_send_of_its_last_token() -> None:
    earlier = Sent("conn", "before", 0, 12, 1, "succeeded")
    elsewhere = Sent("conn-2", "print", 50, 62, None, "")
    sends = [sent(130), earlier, sent(20), elsewhere]
    assert first_in_doubt(sends, "conn") == sent(20)
    assert first_in_doubt(sends, "conn-3") is None


def test_the_same_seed_draws_the_same_blows_and_another_one_others() -> None:
    assert drawn(Random(5), TEN_MINUTES) == drawn(Random(5), TEN_MINUTES)
    assert drawn(Random(5), TEN_MINUTES) != drawn(Random(6), TEN_MINUTES)


@pytest.mark.parametrize("seed", range(40))
def test_a_run_has_every_kind_of_blow_and_leaves_nothing_broken_at_its_end(seed: int) -> None:
    blows = drawn(Random(seed), TEN_MINUTES)
    assert {blow.kind for blow in blows} == set(DECK)
    assert all(3 <= after.at - before.at <= 8 for before, after in pairwise(blows))
    assert all(b.at + b.seconds < TEN_MINUTES for b in blows if b.kind in (*LONG, Kind.DATABASE))
    assert all(b.times <= 2 for b in blows if b.provider == NONE and b.kind in ROTATES)


@pytest.mark.parametrize("seed", range(40))
def test_what_was_struck_is_left_alone_until_it_is_well_again(seed: int) -> None:
    blows = drawn(Random(seed), TEN_MINUTES)
    for first, second in combinations(blows, 2):
        gap = second.at - first.at
        if first.kind in KILLS and second.kind is first.kind:
            assert gap >= 20
        assert gap >= first.seconds or first.kind not in LONG or second.kind not in LONG
        if first.provider and first.provider == second.provider:
            assert gap >= (20 if first.kind in FAULTS and second.kind in LONG else 0)
            assert first.kind not in LONG or gap >= first.seconds + (RESTS[first.kind] if second.kind in LONG else 0)


@pytest.mark.parametrize("seed", range(40))
def test_of_the_wrong_secrets_just_the_second_is_set_right_through_the_api(seed: int) -> None:
    wrong = [b for b in drawn(Random(seed), TEN_MINUTES) if b.kind is Kind.WRONG_SECRET]
    assert [b.patched for b in wrong] == [number == 1 for number in range(len(wrong))]


def test_a_share_that_misses_its_goal_by_little_does_not_read_as_met() -> None:
    assert percent(0.99989999) == "99.9899 %"
    assert percent(1.0) == "100.0000 %"


def test_a_run_fails_if_any_goal_is_missed() -> None:
    assert not missed([Figure("a", "1"), Figure("b", "0", "0", True)])
    assert missed([Figure("a", "0", "0", True), Figure("b", "1", "0", False)])


def test_a_grant_lost_without_a_window_is_told_and_with_one_is_a_goal_missed() -> None:
    none = Judgement({provider: {which: [] for which in Fate} for provider in PROVIDERS})
    told = {provider: Judgement({p: {which: [] for which in Fate} for p in PROVIDERS}) for provider in PROVIDERS}
    for provider, found in told.items():
        found.fates[provider][Fate.LOST].append(None)  # type: ignore[arg-type]
    assert not missed(of_lives(none, Gaps()))
    assert missed(of_lives(told[WINDOW], Gaps()))
    assert not missed(of_lives(told[NONE], Gaps()))


@pytest.mark.parametrize(("misconfigured", "recovered"), [(2, 2), (1, 0), (1, 2), (0, 0)])
def test_each_wrong_secret_makes_one_pair_of_events(misconfigured: int, recovered: int) -> None:
    struck = Struck(secrets=Counter({WINDOW: 1}))
    found = Judgement({})
    found.misconfigured["cfg"], found.recovered["cfg"] = misconfigured, recovered
    assert missed(of_configs(found, struck, {WINDOW: "cfg"}))
    found.misconfigured["cfg"] = found.recovered["cfg"] = 1
    assert not missed(of_configs(found, struck, {WINDOW: "cfg"}))


def test_the_figures_stand_below_each_other() -> None:
    first, second = lines([Figure("one", "1", "0", False), Figure("a longer one", "12,345", "0", True)])
    assert first.index("goal") == second.index("goal")
    assert (first.split()[-1], second.split()[-1]) == ("MISSED", "met")
