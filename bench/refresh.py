"""Refreshes a second beside a bare loop of timer and activity on the same engine, and what a refresh leaves in history.

A round is a wave: many wait for a timer each, more of them come due in a second than the machine can serve, and it is
over when all wait for their next. None comes due twice: what is due again when it is heard of goes on without a timer,
and would be cheaper. Calls are not what is counted: at the last of them, workflows have yet to hear of hundreds.

The two sides take turns, since at once they would measure how they share. The product is whole: the engine as `authpipe
dev` starts it, a worker process, the vault, and a token endpoint in a process of its own.
"""

import asyncio
import time
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

DUE_WITHIN = timedelta(seconds=2.5)
"""Of a wave, from the first to the last."""
START_SECONDS_EACH = 0.02
PATIENCE_SECONDS = 240.0
LOOKS_EVERY_SECONDS = 0.1
QUIET = 0.25
"""Of one core: at rest its processes take less together, under load both cores."""
REST_SECONDS = 1.0
"""So long nothing may be to do; timers are fired in a batch for each second."""
GOAL = 0.7
SERVED = 0.9
"""Of what was due: where more was served, not the machine may have been what bounded it."""
BARE, PRODUCT = "bare loop", "refresh"
ENGINE = "temporal"
"""Its name among what took processor time."""


@dataclass(frozen=True, slots=True)
class Wave:
    """What one turn of one side came to: how many a second, and milliseconds of processor time for each, by process."""

    per_second: float
    cpu: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: how a wave of it is started, how many calls there were and what its processes took, so far."""

    start: Callable[[int, datetime], Awaitable[None]]
    count: Callable[[], Awaitable[int]]
    cpu: Callable[[], Mapping[str, float]]


async def measure(sizes: Sizes) -> Report:
    rows, goals = [], []
    due = sizes.refreshing / DUE_WITHIN.total_seconds()
    for vault in (SQLITE, POSTGRES):
        async with own_stand(vault, Lifetimes(86_400, 0), provider_calls_per_second=10_000) as stand:
            waves, sown = await _in_turn(stand, sizes)
            left = await history.left_by_a_refresh(stand, sown)
        rows += [_row(f"{vault}: {name}", waves[name], waves[BARE]) for name in waves]
        served = max(wave.per_second for of_one in waves.values() for wave in of_one) / due
        goals += [
            Goal(f"refreshes of the bare loop, {vault}", _rate(waves[PRODUCT], waves[BARE]), GOAL),
            Goal(f"most that was served of what was due, {vault}", served, SERVED, at_most=True),
        ]
    columns = ("", "a second", "from, to", "of the bare loop", "by the engine's time", "processor time of each, ms")
    tables = [Table(f"Refreshing, with {due:.0f} due in a second", columns, rows), left.table()]
    return Report("refresh", tables, [*goals, *left.goals()])


def _row(name: str, waves: Sequence[Wave], bare_waves: Sequence[Wave]) -> tuple[str, ...]:
    rates = [wave.per_second for wave in waves]
    each = {part: median(wave.cpu[part] for wave in waves) for part in waves[0].cpu}
    told = ", ".join(f"{part} {cost:.1f}" for part, cost in each.items())
    ratios = (f"{_rate(waves, bare_waves):.2f}", f"{_by_engine(waves, bare_waves):.2f}")
    return name, f"{median(rates):.0f}", spread(rates), *ratios, f"{sum(each.values()):.1f} ({told})"


def _rate(waves: Sequence[Wave], others: Sequence[Wave]) -> float:
    """Median over the rounds."""
    return median(one.per_second / other.per_second for one, other in zip(waves, others, strict=True))


def _by_engine(waves: Sequence[Wave], others: Sequence[Wave]) -> float:
    return median(other.cpu[ENGINE] / max(one.cpu[ENGINE], 0.01) for one, other in zip(waves, others, strict=True))


async def _in_turn(stand: Stand, sizes: Sizes) -> tuple[dict[str, list[Wave]], list[Life]]:
    file, sown = stand.folder / "bare.txt", list[Life]()
    waves: dict[str, list[Wave]] = {BARE: [], PRODUCT: []}
    async with running(bare.command(stand.engine_address, file), stand.folder / "bare.log") as worker:
        sides = {BARE: _bare(stand, sizes, file, worker.pid), PRODUCT: _product(stand, sizes, sown)}
        for number in range(sizes.refresh_rounds):
            for name, side in sides.items():
                waves[name].append(await _turn(side, number, sizes.refreshing))
    return waves, sown


async def _turn(side: Side, number: int, size: int) -> Wave:
    """Start all, wait for the moment at which the first are due, and then until all wait again."""
    seen = await side.count()
    begins = datetime.now(UTC) + timedelta(seconds=10 + size * START_SECONDS_EACH)
    await side.start(number, begins)
    await _busy(side)
    late = (datetime.now(UTC) - begins).total_seconds()
    assert late < 0, f"starting took {late:.0f} s too long for {size}"
    await asyncio.sleep(-late)
    before = side.cpu()
    seconds = await _busy(side, DUE_WITHIN.total_seconds())
    assert seconds, "the machine was never busy"
    spent = differences(side.cpu(), before)
    had = await side.count() - seen
    assert had == size, f"{had} of {size} had their turn when it was quiet"
    return Wave(size / seconds, {part: 1000 * each / size for part, each in spent.items()})


async def _busy(side: Side, least: float = 0) -> float:
    """Wait until its processes have nothing to do, `least` seconds on; answers for how many they had, in between."""
    begins = at = time.perf_counter()
    worked: list[float] = []
    took = sum(side.cpu().values())
    async with asyncio.timeout(PATIENCE_SECONDS):
        while at < max(begins + least, worked[-1] if worked else begins) + REST_SECONDS:
            await asyncio.sleep(LOOKS_EVERY_SECONDS)
            before, at = (at, took), time.perf_counter()
            took = sum(side.cpu().values())
            if took - before[1] > QUIET * (at - before[0]):
                worked += [at] if worked else [before[0], at]
    return worked[-1] - worked[0] if worked else 0


def _bare(stand: Stand, sizes: Sizes, file: Path, worker: int) -> Side:
    async def start(number: int, begins: datetime) -> None:
        plan = Plan(begins.timestamp(), DUE_WITHIN.total_seconds())
        await bare.start(stand.client, f"bare-{number}", sizes.refreshing, plan)

    async def count() -> int:
        return bare.count(file)

    def cpu() -> dict[str, float]:
        return {ENGINE: stand.cpu()[ENGINE], "worker": cpu_seconds([worker])}

    return Side(start, count, cpu)


def _product(stand: Stand, sizes: Sizes, sown: list[Life]) -> Side:
    async def start(number: int, begins: datetime) -> None:
        tokens = Tokens.due(begins, DUE_WITHIN)
        sown[:] = await stand.sow(sizes.refreshing, tokens, first=number * sizes.refreshing)
        await stand.start(sown)

    return Side(start, stand.count, stand.cpu)
