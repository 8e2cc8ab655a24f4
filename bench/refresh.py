"""Refreshes a second beside a bare loop of timer and activity on the same engine, and what a refresh leaves in history.

Both loops have the same pace, and somewhat more of each run than the machine can serve: what is measured is what it
serves. Far more would measure something else: what is due again when it is heard of goes on without its timer.
They take turns, since two at once would measure how they share. The product is whole: the engine as `authpipe dev`
starts it, a worker process, the vault, and a token endpoint in a process of its own.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench import bare, history
from bench.bare import Plan
from bench.processes import cpu_seconds, differences, running
from bench.report import Goal, Report, Table, median, spread
from bench.seeding import Tokens
from bench.sizes import Sizes
from bench.stand import POSTGRES, SQLITE, Lifetimes, Stand, own_stand
from vault.tables import Life

TOKEN_SECONDS = 10
"""Refreshed after 7 to 8 seconds."""
LEAST, MOST = 0.7 * TOKEN_SECONDS, 0.8 * TOKEN_SECONDS
FIRST_SPREAD = timedelta(seconds=MOST)
START_SECONDS_EACH = 0.03
PATIENCE_SECONDS = 240.0
RAMP, TAIL = 0.1, 0.2
"""Shares of a burst at its beginning and end that are left out: not all loops run yet, or still."""
GOAL = 0.7
BARE, PRODUCT = "bare loop", "refresh"
ENGINE = "temporal"
"""Its name among what took processor time."""


@dataclass(frozen=True, slots=True)
class Burst:
    """What one turn of one side came to: how many a second, and milliseconds of processor time for each, by process."""

    per_second: float
    cpu: Mapping[str, float]

    @classmethod
    def of(cls, times: Sequence[datetime], cpu: Mapping[str, float]) -> "Burst":
        ordered = sorted(times)
        kept = ordered[int(len(ordered) * RAMP) : len(ordered) - int(len(ordered) * TAIL)]
        seconds = (kept[-1] - kept[0]).total_seconds()
        return cls((len(kept) - 1) / seconds, {part: 1000 * spent / len(ordered) for part, spent in cpu.items()})


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: how it is started, how many calls there were and when, and what its processes took so far.

    `count` is asked while it is measured, so it has to cost next to nothing on either side.
    """

    loops: int
    start: Callable[[int, datetime], Awaitable[None]]
    count: Callable[[], Awaitable[int]]
    times: Callable[[], Awaitable[Sequence[datetime]]]
    cpu: Callable[[], Mapping[str, float]]


async def measure(sizes: Sizes) -> Report:
    rows, goals = [], []
    for vault in (SQLITE, POSTGRES):
        lifetimes = Lifetimes(TOKEN_SECONDS, sizes.refresh_times - 1)
        async with own_stand(vault, lifetimes, provider_calls_per_second=10_000) as stand:
            bursts, sown = await _in_turn(stand, sizes)
            left = await history.left_by_a_refresh(stand, sown)
        pairs = list(zip(bursts[PRODUCT], bursts[BARE], strict=True))
        ratio = median(ours.per_second / theirs.per_second for ours, theirs in pairs)
        engine = median(theirs.cpu[ENGINE] / max(ours.cpu[ENGINE], 0.01) for ours, theirs in pairs)
        rows += [
            _row(f"{vault}: {BARE}", bursts[BARE], 1, 1),
            _row(f"{vault}: {PRODUCT}", bursts[PRODUCT], ratio, engine),
        ]
        goals.append(Goal(f"refreshes of the bare loop, {vault}", ratio, GOAL))
    columns = ("", "a second", "from, to", "of the bare loop", "by the engine's time", "processor time of each, ms")
    tables = [Table("Refreshing, with more due than can be served", columns, rows), left.table()]
    return Report("refresh", tables, [*goals, *left.goals()])


def _row(name: str, bursts: Sequence[Burst], ratio: float, engine: float) -> tuple[str, ...]:
    rates = [burst.per_second for burst in bursts]
    each = {part: median(burst.cpu[part] for burst in bursts) for part in bursts[0].cpu}
    told = ", ".join(f"{part} {cost:.1f}" for part, cost in each.items())
    taken = f"{sum(each.values()):.1f} ({told})"
    return name, f"{median(rates):.0f}", spread(rates), f"{ratio:.2f}", f"{engine:.2f}", taken


async def _in_turn(stand: Stand, sizes: Sizes) -> tuple[dict[str, list[Burst]], list[Life]]:
    file, sown = stand.folder / "bare.txt", list[Life]()
    bursts: dict[str, list[Burst]] = {BARE: [], PRODUCT: []}
    async with running(tuple(bare.command(stand.engine_address, file)), stand.folder / "bare.log") as worker:
        sides = {BARE: _bare(stand, sizes, file, worker.pid), PRODUCT: _product(stand, sizes, sown)}
        for number in range(sizes.refresh_rounds):
            for name, side in sides.items():
                bursts[name].append(await _turn(side, number, sizes))
    return bursts, sown


async def _turn(side: Side, number: int, sizes: Sizes) -> Burst:
    """Start all, wait for the moment at which the first are due, and then until all had their turns."""
    seen, wanted = await side.count(), side.loops * sizes.refresh_times
    begins = datetime.now(UTC) + timedelta(seconds=10 + side.loops * START_SECONDS_EACH)
    await side.start(number, begins)
    late = (datetime.now(UTC) - begins).total_seconds()
    assert late < 0, f"starting took {late:.0f} s too long for {side.loops}"
    await asyncio.sleep(-late)
    before = side.cpu()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await side.count() < seen + wanted:
            await asyncio.sleep(0.5)
    spent = differences(side.cpu(), before)
    return Burst.of(sorted(await side.times())[seen:], spent)


def _bare(stand: Stand, sizes: Sizes, file: Path, worker: int) -> Side:
    async def start(number: int, begins: datetime) -> None:
        plan = Plan(begins, FIRST_SPREAD.total_seconds(), sizes.refresh_times, LEAST, MOST)
        await bare.start(stand.client, f"bare-{number}", sizes.looping, plan)

    async def count() -> int:
        return bare.count(file)

    async def times() -> Sequence[datetime]:
        return bare.times(file)

    def cpu() -> dict[str, float]:
        return {ENGINE: stand.cpu()[ENGINE], "worker": cpu_seconds([worker])}

    return Side(sizes.looping, start, count, times, cpu)


def _product(stand: Stand, sizes: Sizes, sown: list[Life]) -> Side:
    async def start(number: int, begins: datetime) -> None:
        tokens = Tokens.due(begins, FIRST_SPREAD)
        sown[:] = await stand.sow(sizes.refreshing, tokens, first=number * sizes.refreshing)
        await stand.start(sown)

    return Side(sizes.refreshing, start, stand.count, stand.times, stand.cpu)
