"""`python -m bench [PART …] [--small] [--write]`: measure, print, and end with 1 if a goal was missed.

`--write` keeps the figures in bench/figures and renews the tables and pictures of docs/performance.md.
"""

import argparse
import sys
import time
from collections.abc import Awaitable, Callable, Mapping

import uvloop

from bench import herd, idle, read, refresh, replay, wake
from bench.published import publish
from bench.report import Report, goals_table
from bench.sizes import SMALL, Sizes

PARTS: Mapping[str, Callable[[Sizes], Awaitable[Report]]] = {
    "read": read.measure,
    "refresh": refresh.measure,
    "wake": wake.measure,
    "replay": replay.measure,
    "idle": idle.measure,
    "herd": herd.measure,
}


async def run(parts: list[str], sizes: Sizes) -> list[Report]:
    """One part after the other; each is printed as soon as it is known."""
    reports = []
    for part in parts:
        began = time.monotonic()
        report = await PARTS[part](sizes)
        print(f"\n{report.markdown()}\n\n({part}: {time.monotonic() - began:.0f} s)", flush=True)
        reports.append(report)
    return reports


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description="Measure Authpipe, as ratios in one run.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one or more of {', '.join(PARTS)}; all by default")
    parser.add_argument("--small", action="store_true", help="few of everything: to see that it measures at all")
    parser.add_argument("--write", action="store_true", help="renew the tables and pictures of docs/performance.md")
    given = parser.parse_args()
    if unknown := sorted(set(given.parts) - set(PARTS)):
        parser.error(f"there is no part {unknown[0]!r}; the parts are {', '.join(PARTS)}")
    reports = uvloop.run(run(given.parts or list(PARTS), SMALL if given.small else Sizes()))
    goals = [goal for report in reports for goal in report.goals]
    if goals:
        print(f"\n{goals_table(reports).markdown()}")
    if given.write:
        publish(reports)
    return 0 if all(goal.met for goal in goals) else 1


if __name__ == "__main__":
    sys.exit(main())
