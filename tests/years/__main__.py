"""`make year`, its first half: as many connection-years of the pure machine as a minute allows; counts are printed."""

import argparse
import os
import random
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields
from functools import partial

from tests.years.one_life import Tally
from tests.years.simulation import Year

BATCH = 20
LEAST_TRANSITIONS = 1_000_000


def main() -> int:
    asked = _arguments()
    seed = asked.seed if asked.seed is not None else random.SystemRandom().randrange(2**32)
    print(f"seed {seed}", flush=True)
    began, cores = time.monotonic(), os.cpu_count() or 1
    with ProcessPoolExecutor(cores) as pool:
        if asked.connections:
            batches = range(0, asked.connections, BATCH)
            sizes = (min(BATCH, asked.connections - first) for first in batches)
            done = list(pool.map(partial(_whole, asked.days), (seed + first for first in batches), sizes))
        else:
            done = list(pool.map(partial(_while, asked.seconds, asked.days), (seed + core for core in range(cores))))
    tally = _sum(tally for tally, _ in done)
    _report(tally, sum(lived for _, lived in done), time.monotonic() - began)
    enough = bool(asked.connections) or asked.seconds < 60 or tally.transitions >= LEAST_TRANSITIONS
    return 0 if enough and not tally.gaps_in_fair_weather else 1


def _whole(days: float, seed: int, lives: int) -> tuple[Tally, float]:
    tally = Tally()
    return tally, Year(seed, lives, days, tally=tally).run()


def _while(seconds: float, days: float, seed: int) -> tuple[Tally, float]:
    tally, lived, until, batch = Tally(), 0.0, time.monotonic() + seconds, 0
    while time.monotonic() < until:
        lived += Year(seed + 1000 * batch, BATCH, days, tally=tally).run(until)
        batch += 1
    return tally, lived


def _sum(tallies: Iterable[Tally]) -> Tally:
    whole = Tally()
    for tally in tallies:
        for each in fields(Tally):
            mine, theirs = getattr(whole, each.name), getattr(tally, each.name)
            setattr(whole, each.name, mine + theirs if isinstance(mine, int) else max(mine, theirs))
    return whole


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make year")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--connections", type=int, default=0, help="live so many whole years instead")
    parser.add_argument("--days", type=float, default=365)
    parser.add_argument("--seed", type=int)
    return parser.parse_args()


def _report(tally: Tally, lived: float, took: float) -> None:
    print(f"{'connection-years':<40}{lived / 365:>14,.1f}")
    for each in fields(tally):
        value = getattr(tally, each.name)
        shown = f"{value:,}" if isinstance(value, int) else str(value).partition(".")[0]
        print(f"{each.name.replace('_', ' '):<40}{shown:>14}")
    print(f"{'seconds':<40}{took:>14.1f}")


if __name__ == "__main__":
    sys.exit(main())
