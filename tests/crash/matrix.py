"""Which stack each fault is tried on, and how it strikes."""

import asyncio
import tempfile
from pathlib import Path

import httpx

from tests.crash.postgres import StoppablePostgres, own_postgres
from tests.crash.rounds import CUT, Blow, Outcome, ask_to_end, kill, play
from tests.crash.stack import HoldingStack, holding_stack
from tests.crash.table import Cell, Fault, expected
from worker import GRACE

SHORT = {"refresh_lease_seconds": 8, "provider_timeout_seconds": 4}
"""A killed worker is missed after ten seconds; its leases are over by then."""
LONG = {"refresh_lease_seconds": 30, "provider_timeout_seconds": 15}
"""Whoever was held, and not killed, goes on inside its lease."""
WITHHELD = {Fault.WORKER: 10.0, Fault.ASKED: 10.0}
"""Seconds. A worker that is to be killed must not get its answer, however slow this machine is; one that is asked to
end gets it when its time of grace is over."""
WITHHELD_ELSE = 5.0
PARTS = {Fault.WORKER: "worker", Fault.API: "api", Fault.TEMPORAL: "temporal"}
OUTAGE_SECONDS = 2.0


class Matrix:
    """Plays each fault's round once, when its first cell is asked for."""

    def __init__(self) -> None:
        self._rounds: dict[Fault, asyncio.Task[dict[Cell, Outcome]]] = {}

    async def outcome(self, cell: Cell) -> Outcome:
        """How this cell came out. Raises what its round raised."""
        if cell.fault not in self._rounds:
            self._rounds[cell.fault] = asyncio.create_task(_round(cell.fault))
        return (await asyncio.shield(self._rounds[cell.fault]))[cell]


async def _round(fault: Fault) -> dict[Cell, Outcome]:
    cells = [cell for cell in expected() if cell.fault is fault]
    settings = SHORT if fault is Fault.WORKER else LONG
    async with own_postgres() as postgres:
        with tempfile.TemporaryDirectory(prefix="authpipe-crash-") as folder:
            async with holding_stack(Path(folder), postgres.vault, **settings) as stack:
                return await play(stack, cells, _blow(fault, stack, postgres), WITHHELD.get(fault, WITHHELD_ELSE))


def _blow(fault: Fault, stack: HoldingStack, postgres: StoppablePostgres) -> Blow:
    if fault is Fault.DATABASE:
        return _outage(stack, postgres)
    if fault is Fault.ASKED:
        return ask_to_end(stack, PARTS[Fault.WORKER], beyond=GRACE.total_seconds() + 1)
    return kill(stack, PARTS[fault]) if fault in PARTS else CUT


def _outage(stack: HoldingStack, postgres: StoppablePostgres) -> Blow:
    async def mend() -> None:
        async def seen() -> bool:
            return (await stack.api.get("/health/ready")).status_code == httpx.codes.SERVICE_UNAVAILABLE

        await stack.until(seen)
        # Long enough for everyone let go to have tried in vain.
        await asyncio.sleep(OUTAGE_SECONDS)
        await postgres.start()

    return Blow(postgres.stop, mend)
