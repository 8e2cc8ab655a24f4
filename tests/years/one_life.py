"""One connection through a year: its state, its row, its grant, and what must hold at every step."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random

from domain.checkup import DEFAULT_INTERVAL, next_checkup
from domain.credential import CredentialRef
from domain.holds import wait_of
from domain.life import Credentialed, Fact, Held, LifeState, Loaded, Probed, Status
from domain.schedule import MAX_BACKOFF
from domain.serving import Verdict, after_waiting
from domain.transitions import apply
from domain.wakeup import Step, Wakeup, next_wakeup
from tests.properties.tiny_provider import Mood, Provider, Vault
from tests.years.weather import Sky, Weather

SKEW = timedelta(seconds=10)
"""Between two workers' clocks, at most; the provider's lies in the middle."""
LAST_MOMENT = timedelta(seconds=2)
"""A token that ends before it is used is no use (docs/adr/0017): for so long before its end it may be withheld."""
KEPT_TOKENS = 4
MOST_AT_ONCE = 20


@dataclass
class SkewedProvider(Provider):
    """Reads its own clock, whatever the worker's says, and remembers the last few tokens alone."""

    skew: timedelta = timedelta(0)

    def refresh(self, token: int, now: datetime) -> int | None:
        for old in [used for used in self.first_use if used < token - KEPT_TOKENS]:
            del self.first_use[old]
        return super().refresh(token, now - self.skew)


@dataclass
class Row(Vault):
    """The vault's rows, with the hold of the config as lives meet it: they wait for a wake."""

    life_id: str = ""
    probe_at: datetime | None = None
    lifetime: timedelta = timedelta(hours=1)

    def load(self, jitter: float) -> Loaded:
        return replace(super().load(jitter), probe_at=self.probe_at, knows_holds=True, moves_waiting=True)

    def refresh(self, known: int, mood: Mood, jitter: float) -> Fact | None:
        fact = super().refresh(known, mood, jitter)
        if isinstance(fact, Held):
            return Held(wait_of(self.life_id, fact.until, self.now), fact.reason)
        return fact

    def _commit(self, sent_at: datetime) -> CredentialRef:
        ref = replace(super()._commit(sent_at), expires_at=sent_at + self.lifetime)
        self.credential = ref
        return ref


@dataclass
class Tally:
    """What happened, over all lives."""

    transitions: int = 0
    refreshes: int = 0
    checkups: int = 0
    held: int = 0
    stumbles: int = 0
    withdrawn: int = 0
    lost_without_a_window: int = 0
    """The provider rotated, its answer was lost, and it takes no token twice."""
    lost_after_the_window: int = 0
    """Nobody got through to the provider while its window was open."""
    consents: int = 0
    longest_gap: timedelta = timedelta(0)
    """Without a valid credential, of a grant that lived."""
    gaps_in_fair_weather: int = 0


@dataclass
class YearLife:
    """Driven by `act`, whenever it says that something is due."""

    life_id: str
    random: Random
    weather: Weather
    tally: Tally
    now: datetime
    window: timedelta
    lifetime: timedelta
    state: LifeState = field(default_factory=LifeState)
    seen: int = 0
    at_once: int = 0
    troubled: bool = False
    """Whether anything stood in the way since the credential was issued."""

    def __post_init__(self) -> None:
        self.provider = SkewedProvider(self.window)
        self.row = Row(self.provider, self.now, life_id=self.life_id, lifetime=self.lifetime)
        self.consent(self.now)

    def due_at(self) -> datetime | None:
        """When its workflow wakes; None: it waits for a message."""
        return next_wakeup(self.state, self.now).at

    def consent(self, now: datetime) -> None:
        self._set_clock(now)
        self.tally.consents += 1
        probe_at = next_checkup(now, DEFAULT_INTERVAL, self.random.random())
        self.row.probe_at = probe_at
        self._learn(Credentialed(self.row.consent(), self.random.random(), probe_at, consented=True))
        self.state = replace(self.state, reload=False)
        self.troubled = False

    def withdraw(self) -> None:
        self.provider.ended = self.provider.ended or "withdrawn"

    def wake(self, now: datetime) -> None:
        """A release, or a message: the row is read again."""
        self._set_clock(now)
        self.row.held_until = None
        self.state = replace(self.state, reload=True)

    def forget(self) -> None:
        """The engine lost its store, and the workflow is started anew."""
        self.state = LifeState()

    def act(self, now: datetime) -> None:
        """Do what is due, and check what must hold."""
        self.at_once = self.at_once + 1 if now == self.now else 0
        assert self.at_once < MOST_AT_ONCE, "it spins"
        self._set_clock(now)
        wakeup = next_wakeup(self.state, self.row.now)
        if wakeup.at is None or wakeup.at > self.row.now:
            return
        self._do(wakeup)
        self._holds()

    def _set_clock(self, now: datetime) -> None:
        """Each step may run on another worker, whose clock is its own."""
        self.provider.skew = SKEW * self.random.uniform(-1, 1)
        # A worker whose clock lags behind does not act before the engine's timer says so.
        self.now = now
        self.row.now = now + max(self.provider.skew, timedelta(0))
        self.provider.skew = self.row.now - now

    def _do(self, wakeup: Wakeup) -> None:
        jitter = self.random.random()
        match wakeup.step:
            case Step.LOAD:
                self._learn(self.row.load(jitter))
            case Step.PROBE:
                self.tally.checkups += 1
                self.row.probe_at = next_checkup(self.row.now, DEFAULT_INTERVAL, jitter)
                refused = not self.row.accepted()
                self._learn(Probed(self.state.generation, refused=refused, next_at=self.row.probe_at))
            case Step.REFRESH:
                self._refresh(jitter)
            case other:
                raise AssertionError(f"{other} cannot be due here")

    def _refresh(self, jitter: float) -> None:
        mood = self.weather.mood(self.now)
        self.troubled = self.troubled or mood is not Mood.ANSWERS
        before = self.row.credential
        fact = self.row.refresh(self.state.generation, mood, jitter)
        if fact is None:
            self.state = replace(self.state, reload=True)
            return
        if isinstance(fact, Credentialed) and fact.credential is not before:
            self._renewed(before)
        self.tally.held += isinstance(fact, Held)
        self._learn(fact)

    def _renewed(self, before: CredentialRef | None) -> None:
        self.tally.refreshes += 1
        assert before is not None
        assert before.expires_at is not None
        gap = self.now - before.expires_at
        if gap > timedelta(0):
            self.tally.longest_gap = max(self.tally.longest_gap, gap)
            self.tally.gaps_in_fair_weather += not self.troubled
        spell = self.weather.at(self.now)
        self.troubled = spell is not None and spell.sky is not Sky.FAIR

    def _learn(self, fact: Fact) -> None:
        self.tally.transitions += 1
        failures = self.state.failures
        self.state = apply(self.state, fact, self.row.now)
        self.tally.stumbles += self.state.failures > failures

    # --- what always holds ------------------------------------------------------------------------------------------

    def _holds(self) -> None:
        row, state = self.row, self.state
        known = row.credential.generation if row.credential else 0
        assert self.seen <= known, "a generation went back"
        assert state.generation <= known, "the workflow knows a generation that nobody committed"
        self.seen = known
        if row.status is Status.NEEDS_REAUTH:
            self._is_dead()
        elif row.status is Status.ACTIVE and not state.reload:
            assert state.status is Status.ACTIVE, "the grant lives, although the workflow gave it up"
        if row.status is Status.ACTIVE and row.accepted(LAST_MOMENT) and row.refused_at is None:
            assert after_waiting(row.reading(), row.now).verdict is Verdict.SERVE, "what works is withheld"
        self._will_act()

    def _is_dead(self) -> None:
        assert self.provider.ended, "the user is asked to come again although the grant lives"
        if self.row.reason == "rotation_lost" and self.provider.ended == "reused":
            first_use = self.provider.first_use[self.row.token]
            assert self.now - first_use >= self.window, "a rotation was lost inside the window"

    def _will_act(self) -> None:
        state, at = self.state, self.due_at()
        if state.status is Status.ACTIVE and not state.reload:
            assert at is not None, "an active life waits for nothing"
            ends = state.credential.expires_at if state.credential else None
            assert ends is not None
            horizon = max(self.row.now, ends, state.held_until or ends)
            assert at <= horizon + MAX_BACKOFF, "it sleeps past its end"
