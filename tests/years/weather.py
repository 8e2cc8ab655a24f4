"""What befalls a provider and its app in a year: outages, secrets changed, workers away. Drawn from one seed."""

from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from random import Random

from tests.properties.tiny_provider import Mood

OUTAGES_A_YEAR = 20
WRONG_SECRETS_A_YEAR = 3
ROTTEN = (Mood.LOST, Mood.CUT, Mood.CUT, Mood.LIMITED)
# Of a thousand calls on a fair day; the rest is answered.
SLIPS = ((Mood.LOST, 1.0), (Mood.CUT, 1.0), (Mood.CRASH_BEFORE, 0.3), (Mood.CRASH_AFTER, 0.3))


class Sky(StrEnum):
    FAIR = "fair"
    OUTAGE = "outage"
    WRONG_SECRET = "wrong secret"


@dataclass(frozen=True, slots=True)
class Spell:
    begins: datetime
    ends: datetime
    sky: Sky


class Weather:
    """The spells of one provider config, which do not overlap."""

    def __init__(self, random: Random, start: datetime, days: float) -> None:
        self._random = random
        self.spells = self._drawn(start, days)
        self._begins = [spell.begins for spell in self.spells]

    def _drawn(self, start: datetime, days: float) -> list[Spell]:
        spells: list[Spell] = []
        for sky, a_year, longest in ((Sky.OUTAGE, OUTAGES_A_YEAR, 120), (Sky.WRONG_SECRET, WRONG_SECRETS_A_YEAR, 90)):
            for _ in range(round(a_year * days / 365) or 1):
                begins = start + timedelta(days=self._random.uniform(0.2, days))
                spells.append(Spell(begins, begins + timedelta(minutes=self._random.uniform(1, longest)), sky))
        apart: list[Spell] = []
        for spell in sorted(spells, key=lambda s: s.begins):
            if not apart or spell.begins > apart[-1].ends + timedelta(hours=2):
                apart.append(spell)
        return apart

    def at(self, now: datetime) -> Spell | None:
        """The spell that goes on at `now`."""
        place = bisect_right(self._begins, now) - 1
        return self.spells[place] if place >= 0 and now < self.spells[place].ends else None

    def mood(self, now: datetime) -> Mood:
        """How a call goes that is made now."""
        spell = self.at(now)
        if spell is not None:
            return Mood.APP_REFUSED if spell.sky is Sky.WRONG_SECRET else self._random.choice(ROTTEN)
        slip = self._random.random() * 1000
        for mood, weight in SLIPS:
            slip -= weight
            if slip < 0:
                return mood
        return Mood.ANSWERS
