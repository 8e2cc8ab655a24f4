"""The run: reads by one and two API processes, refreshes by one to three workers, then each process killed once."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import Random

from runtime.vault_setup import clock
from tests.chaos import report as told
from tests.chaos.counting import Gaps
from tests.chaos.judging import judge, settle, watch
from tests.chaos.plan import KILLS, Blow, Kind
from tests.chaos.readers import Reading
from tests.chaos.seeding import Seeded, Sower, start_all
from tests.chaos.stand import LEASE_SECONDS, SECOND_API, THIRD, Stand, own_stand
from tests.chaos.striking import Striker, Struck
from tests.topology import rates, report
from tests.topology.reads import read_rates
from tests.topology.refreshes import Worked, all_last, all_renewed, in_doubt, refresh_rates

CHECK_EVERY = 300
"""Seconds between two check-ups of a connection."""
CALLS_PER_SECOND = 1000
"""To a provider, of all workers together: so many that it is not this setting that is measured."""
DATABASE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Size:
    """How much, and how long. `window`, `reads`, `every` are seconds; the lives of tokens are from-to in seconds."""

    connections: int = 300
    window: float = 20
    """For each number of workers, twice."""
    reads: float = 5
    """For each number of API processes, twice."""
    every: float = 12
    """From one kill to the next."""
    readers: int = 40
    per_second: float = 100
    first: tuple[int, int] = (120, 150)
    """Long enough to be read until the workflows start."""
    hot: tuple[int, int] = (6, 8)
    """While refreshes are counted: more than can be had are asked for."""
    calm: tuple[int, int] = (90, 120)
    """While processes are killed: no more are asked for than one worker can do."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What was measured before anything was killed."""

    reads: list[rates.Window]
    worked: Worked
    resent: int
    in_doubt: int


def each_once(rng: Random, every: float) -> list[Blow]:
    """Every process is killed once, and the database stopped once, in an order that is drawn."""
    kinds = rng.sample(KILLS, len(KILLS))
    return [
        Blow((place + 1) * every, kind, seconds=DATABASE_SECONDS if kind is Kind.DATABASE else 0)
        for place, kind in enumerate(kinds)
    ]


async def topology(size: Size, drawn_by: int, keep: Path | None = None) -> int:
    """One run; answers the exit code."""
    sowing, reading, plan = (Random(f"{drawn_by} {what}") for what in ("sow", "read", "plan"))
    async with own_stand(keep, provider_calls_per_second=CALLS_PER_SECOND) as stand:
        await stand.add_worker(THIRD)
        await stand.add_api(SECOND_API)
        sower = Sower(stand, sowing, CHECK_EVERY, size.first)
        seeded = await sower.sow(size.connections)
        struck, gaps = Struck(), Gaps()
        counted = await _count(stand, struck, sower, seeded, size)
        shared = Reading(stand, seeded, {}, reading, size.readers, size.per_second)
        struck.say(f"each process is killed once, one every {size.every:g} s, while {size.readers} readers read")
        await _kill_each(stand, struck, shared, gaps, each_once(plan, size.every), size)
        found = await judge(stand, struck, seeded)
    figures = report.figures(counted.reads, counted.worked, counted.resent, counted.in_doubt)
    figures += [*report.of_readers(shared.tally), *told.of_lives(found, gaps), *told.of_blows(struck)]
    for title, rows in (("needless", found.needless), ("lost, and the blow that made it", found.losses)):
        if rows:
            print(f"\n{title}:", *rows, sep="\n  ")
    print(f"\n{rates.cores()} cores for everything, the readers too\n", *told.lines(figures), sep="\n")
    return int(told.missed(figures))


async def _count(stand: Stand, struck: Struck, sower: Sower, seeded: Sequence[Seeded], size: Size) -> Counted:
    struck.say(f"{size.connections} connections are in the vault; reading them, before anything else happens")
    reads = await read_rates(stand, seeded, size.reads)
    await sower.let_live(seeded, size.hot)
    await start_all(stand)
    struck.say("their workflows are started; waiting until each has a token that ends within seconds")
    await all_renewed(stand)
    struck.say("refreshing as fast as can be, while workers come and go")
    worked = await refresh_rates(stand, size.window, struck.say)
    await sower.let_live(seeded, size.calm)
    struck.say("over; waiting until each has a token that lasts")
    await all_last(stand, size.calm[0] / 3)
    doubt = await in_doubt(stand, clock() - timedelta(seconds=LEASE_SECONDS))
    return Counted(reads, worked, (await judge(stand, struck, seeded)).resent, len(doubt))


async def _kill_each(
    stand: Stand, struck: Struck, shared: Reading, gaps: Gaps, blows: Sequence[Blow], size: Size
) -> None:
    struck.began = time.time()
    watching = asyncio.create_task(watch(stand, gaps))
    try:
        striker = Striker(stand, struck)
        await asyncio.gather(striker.strike_all(blows), shared.read_for(size.every * (len(blows) + 1)))
        struck.say("over; waiting until all is settled")
        await settle(stand, gaps)
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
