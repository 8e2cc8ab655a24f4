"""What it costs to wake a connection that is in no worker's cache any more: its run is replayed first.

Each is asked for its state: while the worker remembers it, and again after the worker was started anew, which
remembers nothing. The answer is the same, so the difference is the replay. Each is in the middle of a run.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bench.processes import cpu_seconds
from bench.report import Report, Table, median
from bench.seeding import Tokens
from bench.sizes import Sizes
from bench.stand import SQLITE, Lifetimes, Stand, own_stand
from vault.tables import Life
from workflows.life import ConnectionLife

REFRESHES = 6
TOKEN_SECONDS = 5
PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Asked:
    """Milliseconds that each answer took, and of the worker's processor time for each."""

    took: Sequence[float]
    cpu: float


async def measure(sizes: Sizes) -> Report:
    async with own_stand(SQLITE, Lifetimes(TOKEN_SECONDS, REFRESHES - 1), provider_calls_per_second=10_000) as stand:
        soon = datetime.now(UTC) + timedelta(seconds=10)
        sown = await stand.sow(sizes.waking, Tokens.due(soon, timedelta(seconds=2)))
        await stand.start(sown)
        await stand.refreshed(len(sown) * REFRESHES, PATIENCE_SECONDS)
        events = median([(await stand.handle(one).describe()).history_length for one in sown])
        await _ask(stand, sown)
        warm = await _ask(stand, sown)
        await stand.restart_worker()
        cold = await _ask(stand, sown)
    return _report(events, warm, cold)


def _report(events: float, warm: Asked, cold: Asked) -> Report:
    ratio = median(after / before for before, after in zip(warm.took, cold.took, strict=True))
    rows = [
        ("in the worker's cache", f"{median(warm.took):.1f}", f"{warm.cpu:.1f}", "1"),
        (f"evicted, {events:.0f} events", f"{median(cold.took):.1f}", f"{cold.cpu:.1f}", f"{ratio:.1f}"),
    ]
    return Report("wake", [Table("Waking a connection", ("", "ms", "worker's processor time, ms", "of warm"), rows)])


async def _ask(stand: Stand, sown: Sequence[Life]) -> Asked:
    worker, took = stand.pid("worker"), list[float]()
    before = cpu_seconds([worker])
    for one in sown:
        began = time.perf_counter()
        await stand.handle(one).query(ConnectionLife.life_view)
        took.append(1000 * (time.perf_counter() - began))
    return Asked(took, 1000 * (cpu_seconds([worker]) - before) / len(took))
