"""Ten thousand connections whose tokens all end at the same moment.

The arithmetic of refreshing is the product's own, and so is its limit of calls to one provider. Clocks are real. A
token lives half an hour instead of an hour: refreshes are due within three minutes instead of six, and six minutes
before the end instead of ten. That is harder than the real thing, and takes minutes, not an hour.
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx

from bench.report import Goal, Report, Table
from bench.seeding import Tokens, users
from bench.sizes import Sizes
from bench.stand import SQLITE, Lifetimes, Stand, own_stand
from domain.schedule import JITTER_SHARE, LEAD_SHARE
from vault.tables import Life

FIRST_DUE = LEAD_SHARE + JITTER_SHARE
"""Share of its life before the end of the token, which is less than the longest lead here."""
START_SECONDS_EACH = 0.03
READS_PER_SECOND = 10
AFTER_SECONDS = 60.0
"""How long after the end is waited for those that are late."""
STEPS = 100


@dataclass(frozen=True, slots=True)
class Herd:
    """How it went: when each was refreshed, and how many of those who read meanwhile were not answered with a token."""

    expires_at: datetime
    times: Sequence[datetime]
    count: int
    reads: int
    refused: int

    @property
    def unserved(self) -> int:
        """Those whose token ended before it was refreshed."""
        return self.count - sum(at < self.expires_at for at in self.times)

    def before_the_end(self, share: float) -> float:
        """Seconds from when that share of them was refreshed to the end of their tokens."""
        at = self.times[min(int(share * len(self.times)), len(self.times) - 1)]
        return (self.expires_at - at).total_seconds()


async def measure(sizes: Sizes) -> Report:
    async with own_stand(SQLITE, Lifetimes(86_400, 0)) as stand:
        herd = await _run(stand, sizes.herd, sizes.herd_life)
        rate = stand.settings.provider_calls_per_second
    return _report(herd, rate)


async def _run(stand: Stand, count: int, life: timedelta) -> Herd:
    first_due = datetime.now(UTC) + timedelta(seconds=10 + count * START_SECONDS_EACH)
    expires_at = first_due + life * FIRST_DUE
    sown = await stand.sow(count, Tokens(expires_at - life, expires_at))
    await stand.start(sown)
    late = (datetime.now(UTC) - first_due).total_seconds()
    assert late < 0, f"starting {count} took {late:.0f} s too long: the first were due before the last were started"
    readers = asyncio.create_task(_read(stand, sown, expires_at + timedelta(seconds=5)))
    within = (expires_at - datetime.now(UTC)).total_seconds() + AFTER_SECONDS
    try:
        times = await stand.refreshed(count, within)
    except TimeoutError:
        times = await stand.times()
    return Herd(expires_at, times, count, *await readers)


async def _read(stand: Stand, sown: Sequence[Life], until: datetime) -> tuple[int, int]:
    """Read any of them, ten times a second until a little after the end; how often, and how often in vain."""
    bodies, answers = users(sown, stand.config_id), list[int]()
    headers = {"authorization": f"Bearer {stand.where.secret_key}"}
    async with httpx.AsyncClient(base_url=stand.where.api, headers=headers, timeout=30) as api:
        while datetime.now(UTC) < until:
            answer = await api.post("/api/credentials", json=random.choice(bodies))  # noqa: S311
            answers.append(answer.status_code)
            await asyncio.sleep(1 / READS_PER_SECOND)
    return len(answers), sum(status != httpx.codes.OK for status in answers)


def _report(herd: Herd, rate: float) -> Report:
    first, last = herd.before_the_end(0), herd.before_the_end(1)
    rows = [
        ("connections with one expiry", f"{herd.count:,}"),
        ("calls to the provider in a second, at most", f"{rate:.0f}"),
        ("first refresh, before the expiry", f"{first:.0f} s"),
        ("half of them, before the expiry", f"{herd.before_the_end(0.5):.0f} s"),
        ("last refresh, before the expiry", f"{last:.0f} s"),
        ("refreshes a second, from the first to the last", f"{len(herd.times) / (first - last):.0f}"),
        ("longest lateness past the expiry", f"{max(0.0, -last):.0f} s"),
        ("unserved past the expiry", f"{herd.unserved:,}"),
        ("read meanwhile, and a few seconds longer", f"{herd.reads:,}"),
        ("of these without a token", f"{herd.refused:,}"),
    ]
    goals = [
        Goal("of the herd unserved past the expiry", herd.unserved, 0, at_most=True),
        Goal("reads of the herd without a token", herd.refused, 0, at_most=True),
    ]
    step = max(1, len(herd.times) // STEPS)
    done = [((at - herd.expires_at).total_seconds(), float(n)) for n, at in enumerate(herd.times, 1) if n % step == 0]
    return Report("herd", [Table("A herd", ("", ""), rows)], goals, {"refreshed": done})
