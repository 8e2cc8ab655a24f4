"""Many lives through a year, as fast as they go: the pure machine alone, on a clock of its own."""

import heapq
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random

from domain.life import Status
from tests.properties.tiny_provider import HOLD
from tests.years.one_life import Tally, YearLife
from tests.years.weather import Sky, Weather

START = datetime(2026, 1, 1, tzinfo=UTC)
WITHDRAWN_AFTER_DAYS = 700.0
"""On average, per life."""
BACK_WITHIN_DAYS = 5.0
FORGOTTEN_EVERY = 20_000
"""Steps between two losses of a workflow."""
WINDOWS = (timedelta(minutes=10), timedelta(0))


@dataclass
class Year:
    """A batch of lives that share a provider config, until its days are over or the time is up."""

    seed: int
    lives: int
    days: float
    lifetime: timedelta = timedelta(hours=1)
    tally: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.weather = Weather(self.random, START, self.days)
        self.end = START + timedelta(days=self.days)
        self._order = count()
        self._queue: list[tuple[datetime, int, str, YearLife]] = []
        self.all = [self._born(number) for number in range(self.lives)]
        self.now = START
        for spell in self.weather.spells:
            if spell.sky is Sky.WRONG_SECRET:
                for life in self.all:
                    self._plan(spell.ends + HOLD, "release", life)

    def _born(self, number: int) -> YearLife:
        at = START + timedelta(seconds=self.random.uniform(0, 3600))
        window = WINDOWS[number % len(WINDOWS)]
        life = YearLife(f"conn_{number}", self.random, self.weather, self.tally, at, window, self.lifetime)
        self._plan_withdrawal(at, life)
        self._plan(life.due_at(), "act", life)
        return life

    def run(self, until: float = float("inf")) -> float:
        """Live; answers the connection-days that were lived when the days or the time (monotonic) were over."""
        steps = 0
        while self._queue and self._queue[0][0] < self.end:
            self.now, _, what, life = heapq.heappop(self._queue)
            self._step(what, life)
            steps += 1
            if steps % FORGOTTEN_EVERY == 0:
                life.forget()
                self._plan(self.now, "act", life)
            if steps % 1000 == 0 and time.monotonic() > until:
                break
        return self.lives * (min(self.now, self.end) - START) / timedelta(days=1)

    def _step(self, what: str, life: YearLife) -> None:
        match what:
            case "withdraw":
                life.withdraw()
                return
            case "release":
                life.wake(self.now)
            case "return":
                self._come_back(life)
            case _:
                life.act(self.now)
        self._go_on(life)

    def _come_back(self, life: YearLife) -> None:
        withdrawn = life.provider.ended == "withdrawn"
        life.consent(self.now)
        if withdrawn:
            self._plan_withdrawal(self.now, life)

    def _go_on(self, life: YearLife) -> None:
        if life.row.status is Status.NEEDS_REAUTH and life.state.status is Status.NEEDS_REAUTH:
            if life.provider.ended == "withdrawn":
                self.tally.withdrawn += 1
            elif life.window:
                self.tally.lost_after_the_window += 1
            else:
                self.tally.lost_without_a_window += 1
            life.row.status = Status.PENDING  # counted; until the person comes back
            self._plan(self.now + timedelta(days=self.random.uniform(0, BACK_WITHIN_DAYS)), "return", life)
            return
        if life.row.status is Status.ACTIVE:
            self._plan(life.due_at(), "act", life)

    def _plan_withdrawal(self, after: datetime, life: YearLife) -> None:
        days = self.random.expovariate(1 / WITHDRAWN_AFTER_DAYS)
        self._plan(after + timedelta(days=days), "withdraw", life)

    def _plan(self, at: datetime | None, what: str, life: YearLife) -> None:
        if at is not None:
            heapq.heappush(self._queue, (max(at, getattr(self, "now", START)), next(self._order), what, life))
