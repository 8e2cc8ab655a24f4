"""What a connection costs that waits: memory of engine and worker, and bytes in the engine's file."""

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.processes import resident_bytes
from bench.report import Goal, Report, Table
from bench.seeding import Tokens
from bench.sizes import Sizes
from bench.stand import SQLITE, Lifetimes, Stand, own_stand

TOKEN_LIFE = timedelta(days=30)
GOAL_KILOBYTES = 25


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes, at so many connections."""

    connections: int
    file: int
    engine: int
    worker: int
    vault: int


async def measure(sizes: Sizes) -> Report:
    async with own_stand(SQLITE, Lifetimes(3600, 0)) as stand:
        held = [_held(stand, 0)]
        for connections in sizes.idle:
            now, before = datetime.now(UTC), held[-1].connections
            sown = await stand.sow(connections - before, Tokens(now, now + TOKEN_LIFE), first=before)
            await stand.start(sown)
            held.append(_held(stand, connections))
    return _report(held)


def _held(stand: Stand, connections: int) -> Held:
    return Held(
        connections,
        _size(stand.engine_file),
        resident_bytes(stand.pid("temporal")),
        resident_bytes(stand.pid("worker")),
        _size(stand.settings.data_dir / "authpipe.db"),
    )


def _size(file: Path) -> int:
    """What the database holds, the part in its write-ahead log too."""
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as opened:
        (pages,), (size,) = (opened.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size"))
    opened.close()
    return int(pages) * int(size)


def _report(held: list[Held]) -> Report:
    empty, most = held[0], held[-1]
    each = [(one, one.connections) for one in held[1:]]
    rows = [_row(empty, None), *(_row(one, empty) for one, _ in each)]
    columns = ("idle connections", "engine's file", "each", "engine's memory", "each", "worker's memory", "vault, each")
    kilobytes = (most.file - empty.file) / most.connections / 1000
    goal = Goal("engine's file for each idle connection", kilobytes, GOAL_KILOBYTES, "KB", at_most=True)
    curves = {"engine's file, MB": [(one.connections, one.file / 1e6) for one in held]}
    return Report("idle", [Table("Connections that wait", columns, rows)], [goal], curves)


def _row(one: Held, empty: Held | None) -> tuple[str, ...]:
    def each(bytes_: int, before: int) -> str:
        return f"{(bytes_ - before) / one.connections / 1000:.1f} KB" if empty and one.connections else "–"

    zero = empty or one
    return (
        f"{one.connections:,}",
        f"{one.file / 1e6:.0f} MB",
        each(one.file, zero.file),
        f"{one.engine / 1e6:.0f} MB",
        each(one.engine, zero.engine),
        f"{one.worker / 1e6:.0f} MB",
        each(one.vault, zero.vault),
    )
