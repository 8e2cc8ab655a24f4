"""A few days of a few lives, so that the simulation and what it checks stay sound; `make year` lives long ones."""

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from domain.life import LifeState, Refused, Stumbled
from domain.transitions import apply
from tests.years import one_life
from tests.years.one_life import Tally
from tests.years.simulation import Year
from tests.years.weather import Sky


def lived(seed: int = 9, days: float = 12) -> Tally:
    year = Year(seed, lives=6, days=days)
    year.run()
    return year.tally


def test_weeks_of_lives_pass_with_everything_that_befalls_them() -> None:
    tally = lived()
    assert tally.refreshes > 1500
    assert tally.checkups > 200
    assert tally.stumbles
    assert tally.held, "no life met a wrong secret"
    assert tally.gaps_in_fair_weather == 0


def test_one_seed_is_one_course_of_events() -> None:
    assert lived(3, 2) == lived(3, 2) != lived(4, 2)


def test_spells_do_not_overlap() -> None:
    spells = Year(5, 1, 365).weather.spells
    assert {spell.sky for spell in spells} == {Sky.OUTAGE, Sky.WRONG_SECRET}
    assert all(a.ends < b.begins for a, b in pairwise(spells))


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        (lambda state, fact, now: apply(state, fact, now) if not state.failures else state, "it spins"),
        (
            lambda state, fact, now: replace(apply(state, fact, now), refresh_at=None, retry_at=None),
            "waits for nothing|sleeps",
        ),
    ],
)
def test_a_machine_that_forgets_its_next_step_is_caught(
    monkeypatch: pytest.MonkeyPatch, broken: Any, complaint: str
) -> None:
    monkeypatch.setattr(one_life, "apply", broken)
    with pytest.raises(AssertionError, match=complaint):
        lived()


def test_a_grant_that_is_given_up_while_it_lives_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stumble that is read as the end."""

    def hasty(state: LifeState, fact: Any, now: Any) -> LifeState:
        return apply(state, Refused("rotation_lost") if isinstance(fact, Stumbled) else fact, now)

    monkeypatch.setattr(one_life, "apply", hasty)
    with pytest.raises(AssertionError, match="although the workflow gave it up"):
        lived()


def test_late_refreshes_are_counted_in_fair_weather(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(state: LifeState, fact: Any, now: Any) -> LifeState:
        after = apply(state, fact, now)
        end = after.credential.expires_at if after.credential else None
        return replace(after, refresh_at=end and end + timedelta(minutes=1))

    monkeypatch.setattr(one_life, "apply", late)
    assert lived(days=1).gaps_in_fair_weather > 20
