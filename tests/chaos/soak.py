"""`python -m tests.chaos.soak [--minutes N] [--seed N] …`: the product under fire, and its figures."""

import argparse
import asyncio
import secrets
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import Random

from tests.chaos import report
from tests.chaos.counting import Gaps
from tests.chaos.judging import Judgement, judge, settle, watch
from tests.chaos.plan import drawn
from tests.chaos.readers import MOST_LONGER, READERS, Reading
from tests.chaos.seeding import seed
from tests.chaos.stand import Stand, own_stand
from tests.chaos.striking import Striker, Struck, revoke_some

CHECK_EVERY = 300
"""Seconds between two check-ups: in ten minutes each connection has two."""


def options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="at least; each is good for 10,000 fetches")
    parser.add_argument("--seed", type=int, help="the run to repeat; drawn if left out")
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--keep", type=Path, help="a new folder for the stack's files and logs")
    return parser.parse_args(argv)


async def soak(minutes: float, connections: int, drawn_by: int, keep: Path | None) -> int:
    """One run; answers the exit code."""
    # Each has a generator of its own: how often readers draw must not change what befalls the stack.
    plan, sowing, reading, revoking = (Random(f"{drawn_by} {what}") for what in ("plan", "sow", "read", "revoke"))
    async with own_stand(keep) as stand:
        for app in stand.apps.values():
            await stand.configure(app, probe_interval_seconds=CHECK_EVERY)
        seeded = await seed(stand, connections, sowing, CHECK_EVERY)
        struck, gaps = Struck(), Gaps()
        shared = Reading(stand, seeded, struck.revoked, reading, over=struck.over)
        watching = asyncio.create_task(watch(stand, gaps))
        try:
            striker = Striker(stand, struck)
            await asyncio.gather(
                striker.strike_all(drawn(plan, minutes * 60 * MOST_LONGER)),
                revoke_some(stand, struck, seeded, revoking),
                shared.read_for(minutes * 60, round(minutes * report.FETCHES_PER_MINUTE)),
            )
            await striker.mend()
            struck.say(f"over after {shared.tally.fetches:,} fetches; waiting until all is settled")
            took = await settle(stand, gaps)
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
        return _told(stand, struck, shared, gaps, await judge(stand, struck, seeded), minutes, took)


def _told(
    stand: Stand, struck: Struck, shared: Reading, gaps: Gaps, found: Judgement, minutes: float, took: float
) -> int:
    configs = {provider: app.config_id for provider, app in stand.apps.items()}
    figures = [
        *report.of_readers(shared.tally, minutes),
        *report.of_lives(found, gaps),
        *report.of_configs(found, struck, configs),
        report.Figure("blows", str(struck.kinds.total())),
        *report.of_blows(struck),
    ]
    for title, rows in (
        ("needless re-authorisations", found.needless),
        ("lost although they lived, and the blow that made it", found.losses),
        ("sent twice by the ledger", found.twice),
        ("other answers", [f"{what}: {count}" for what, count in shared.tally.others.most_common()]),
    ):
        if rows:
            print(f"\n{title}:", *rows, sep="\n  ")
    shared.took.sort()
    middle, slow = (shared.took[int(len(shared.took) * share)] * 1000 for share in (0.5, 0.99))
    print(f"\nsettled in {took:.0f} s; an answer took {middle:.1f} ms (median), {slow:.0f} ms (99th of 100)\n")
    print(*report.lines(figures), sep="\n")
    return int(report.missed(figures))


def main() -> int:
    asked = options(sys.argv[1:])
    drawn_by = asked.seed if asked.seed is not None else secrets.randbelow(10**6)
    print(f"seed {drawn_by}: {asked.minutes:g} minutes, {asked.connections} connections, {READERS} readers", flush=True)
    began = time.monotonic()
    code = asyncio.run(soak(asked.minutes, asked.connections, drawn_by, asked.keep))
    print(f"\nin all {time.monotonic() - began:.0f} s; again with SEED={drawn_by}")
    return code


if __name__ == "__main__":
    sys.exit(main())
