"""How much gets done by how many processes: each number of them twice in one run, on the way up and on the way down."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.report import Figure

STAT = Path("/proc/stat")
IDLE = (3, 4)
"""Of the first line of proc(5)'s stat, after its name: idle and waiting for a disk."""


@dataclass(frozen=True, slots=True)
class Window:
    """What so many processes did in a stretch of time. `busy`: the share of the machine's processors, None: unknown."""

    processes: int
    seconds: float
    done: int
    busy: float | None = None

    @property
    def rate(self) -> float:
        """Done in a second."""
        return self.done / self.seconds


def up_and_down(most: int) -> list[int]:
    """1, 2, 3, 3, 2, 1: what the machine does better or worse with time befalls every number alike."""
    return [*range(1, most + 1), *range(most, 0, -1)]


def per_second(windows: Iterable[Window], processes: int) -> float:
    """Of all windows with that many processes together."""
    mine = [window for window in windows if window.processes == processes]
    return sum(window.done for window in mine) / sum(window.seconds for window in mine)


def figures(what: str, one: str, more: str, windows: Sequence[Window]) -> list[Figure]:
    """One line for each number of processes, as a rate and as a ratio to one; `one` and `more` name them."""
    base = per_second(windows, 1)
    return [
        Figure(f"{what} a second, {count} {one if count == 1 else more}", _told(windows, count, base))
        for count in sorted({window.processes for window in windows})
    ]


def _told(windows: Sequence[Window], count: int, base: float) -> str:
    mine = [window for window in windows if window.processes == count]
    each = [window.rate for window in mine]
    rate = per_second(windows, count)
    ratio = f"{rate / base:.2f} of one" if base else "nothing done by one"
    busy = [window.busy for window in mine if window.busy is not None]
    shown = f"; processors {sum(busy) / len(busy):.0%} busy" if busy else ""
    return f"{rate:,.1f}  ({ratio}; windows of {min(each):,.1f} to {max(each):,.1f}{shown})"


@dataclass(frozen=True, slots=True)
class Ticks:
    """What the processors of this machine did since it started, in ticks of the kernel."""

    all: int
    idle: int

    def busy_until(self, later: "Ticks") -> float | None:
        """The share that was not idle; None if no time has passed."""
        passed = later.all - self.all
        return 1 - (later.idle - self.idle) / passed if passed > 0 else None


def ticks(line: str) -> Ticks:
    """From the first line of /proc/stat. A guest's time is part of another field already."""
    fields = [int(field) for field in line.split()[1:9]]
    return Ticks(sum(fields), sum(fields[place] for place in IDLE))


def ticks_now() -> Ticks:
    """None passed where the kernel does not tell."""
    return ticks(STAT.read_text(encoding="ascii").partition("\n")[0]) if STAT.exists() else Ticks(0, 0)


def cores() -> int:
    """How many of them this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
