"""What will befall the stack, drawn from a seed before it begins: the same seed draws the same blows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random

WINDOW, NONE = "jira", "plain"
PROVIDERS = (WINDOW, NONE)
"""One with a replay window and one without."""

BETWEEN = (3.0, 8.0)
"""Seconds from one blow to the next."""
REST = 20.0
"""Seconds in which a part that was struck is left alone, so that it is struck and not merely down."""


class Kind(StrEnum):
    """A blow, in the words of the report."""

    WORKER = "worker killed"
    SECOND = "second worker killed"
    THIRD = "third worker killed"
    API = "API killed"
    SECOND_API = "second API killed"
    ENGINE = "engine killed"
    DATABASE = "database stopped"
    UNAVAILABLE = "503"
    TOO_MANY = "429 with Retry-After"
    HTML = "a page instead of JSON"
    LATE = "answer after the timeout"
    CUT_BEFORE = "cut before the rotation"
    CUT_AFTER = "cut after the rotation"
    TRUNCATED = "half of the answer"
    OUTAGE = "outage"
    WRONG_SECRET = "client secret wrong"


IN_A_SOAK = (Kind.WORKER, Kind.SECOND, Kind.API, Kind.ENGINE, Kind.DATABASE)
KILLS = (*IN_A_SOAK, Kind.THIRD, Kind.SECOND_API)
FAULTS = (
    Kind.UNAVAILABLE,
    Kind.TOO_MANY,
    Kind.HTML,
    Kind.LATE,
    Kind.CUT_BEFORE,
    Kind.CUT_AFTER,
    Kind.TRUNCATED,
)
ROTATES = (Kind.HTML, Kind.LATE, Kind.CUT_BEFORE, Kind.CUT_AFTER, Kind.TRUNCATED)
"""After these we cannot tell whether the provider rotated the token."""
LOSES = (Kind.LATE, Kind.CUT_AFTER, Kind.TRUNCATED)
"""After these it did, and its answer never came."""
LONG = (Kind.OUTAGE, Kind.WRONG_SECRET)
RESTS = {Kind.OUTAGE: 45.0, Kind.WRONG_SECRET: 100.0}
"""Seconds until the hold is over that began with it: after a wrong secret its scout goes out once a minute."""
DECK = (*IN_A_SOAK, *IN_A_SOAK, *FAULTS, *LONG)


@dataclass(frozen=True, slots=True)
class Blow:
    """One thing that happens `at` seconds after the beginning.

    `times`: how many refreshes meet a fault; `seconds`: how long it lasts, or what Retry-After says. `patched`: the
    builder sets the provider's new client secret, instead of the provider taking the old one back.
    """

    at: float
    kind: Kind
    provider: str = ""
    times: int = 1
    seconds: float = 0
    patched: bool = False

    @property
    def lasts_until(self) -> float:
        return self.at + (self.seconds if self.kind in (*LONG, Kind.DATABASE) else 0)

    def disturbs(self, later: "Blow") -> bool:
        """Whether `later` would not have its whole effect so soon after this one.

        A part is struck while it runs, not while it is down. Faults that meet enough connections are an outage too, so
        those that come shortly before or during a long blow would hide it. One provider at least is always well.
        """
        if self.kind in LONG and later.kind in LONG and later.at < self.lasts_until:
            return True
        if self.kind in KILLS:
            return later.kind is self.kind and later.at < self.lasts_until + REST
        if self.provider != later.provider:
            return False
        if self.kind in FAULTS:
            return later.kind in LONG and later.at < self.at + REST
        rest = RESTS[self.kind] if later.kind in LONG else 0
        return later.at < self.lasts_until + rest

    def __str__(self) -> str:
        where = f" at {self.provider}" if self.provider else ""
        told = [f"{self.times} refreshes"] if self.kind in FAULTS else []
        told += [f"{self.seconds:.1f} s"] if self.seconds else []
        told += ["then set anew through the API"] if self.patched else []
        return f"{self.kind}{where}" + (f" ({', '.join(told)})" if told else "")


def drawn(rng: Random, seconds: float) -> list[Blow]:
    """The blows of a run. Kinds are dealt like cards, so that each comes up equally often; what lasts ends in time."""
    blows: list[Blow] = []
    cards: list[Kind] = []
    at = rng.uniform(*BETWEEN)
    while at < seconds:
        blow = _dealt(rng, cards, at, seconds, blows)
        if blow.kind is Kind.WRONG_SECRET and sum(b.kind is blow.kind for b in blows) == 1:
            blow = replace(blow, patched=True)
        blows.append(blow)
        at += rng.uniform(*BETWEEN)
    return blows


def _dealt(rng: Random, cards: list[Kind], at: float, end: float, before: Sequence[Blow]) -> Blow:
    """The first card that can be played now; those before it wait for their turn."""
    place = 0
    while True:
        if place == len(cards):
            cards.extend(rng.sample(DECK, len(DECK)))
        for provider in rng.sample(PROVIDERS, len(PROVIDERS)):
            blow = _blow(rng, cards[place], provider, at)
            if blow.lasts_until < end and not any(b.disturbs(blow) for b in before):
                cards.pop(place)
                return blow
        place += 1


def _blow(rng: Random, kind: Kind, provider: str, at: float) -> Blow:
    match kind:
        case Kind.DATABASE:
            return Blow(at, kind, seconds=rng.uniform(2, 5))
        case Kind.OUTAGE:
            return Blow(at, kind, provider, seconds=rng.uniform(20, 40))
        case Kind.WRONG_SECRET:
            return Blow(at, kind, provider, seconds=rng.uniform(20, 30))
        case Kind.WORKER | Kind.SECOND | Kind.API | Kind.ENGINE:
            return Blow(at, kind)
        case _:
            return _fault(rng, kind, provider, at)


def _fault(rng: Random, kind: Kind, provider: str, at: float) -> Blow:
    """Where there is no window, each of those that rotate may cost a grant: fewer of them."""
    most = 2 if provider == NONE and kind in ROTATES else 6
    seconds = rng.randint(1, 5) if kind is Kind.TOO_MANY else 0
    return Blow(at, kind, provider, times=rng.randint(1, most), seconds=seconds)
