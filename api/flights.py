"""One refresh flight per life and process: readers that need a newer credential at the same time share it."""

import asyncio
from collections.abc import Awaitable, Callable

from api.deps import ApiDeps
from vault.holds import holds_still
from vault.tables import Life
from workflows.messages import Freshness

# Processes that ask within the same bucket send the same update, which the engine carries out once.
BUCKET_SECONDS = 5
# Seconds after which a reader that was told `refresh_pending` does well to ask again.
RETRY_AFTER = 2


class Flights:
    """The flights under way, by life."""

    def __init__(self) -> None:
        self._flying: dict[str, asyncio.Task[Freshness]] = {}

    async def join(self, life_id: str, start: Callable[[], Awaitable[Freshness]]) -> Freshness:
        """Join the flight of this life, or start it. A reader that goes away does not end it for the others."""
        flight = self._flying.get(life_id)
        if flight is None:
            flight = asyncio.create_task(_fly(start))
            self._flying[life_id] = flight
            flight.add_done_callback(lambda _: self._flying.pop(life_id, None))
        return await asyncio.shield(flight)


async def renew(deps: ApiDeps, flights: Flights, life: Life, seen: int) -> Freshness:
    """Ask for a newer generation than the one seen, in the flight of this life; the row says what came of it.

    While the config is held nobody is asked: no refresh may be sent, and all that expired is read again and again.
    """
    bucket = int(deps.clock().timestamp()) // BUCKET_SECONDS

    async def ask() -> Freshness:
        if await holds_still(deps.db, life.provider_config_id):
            return Freshness(seen, pending=True)
        return await deps.lives.ensure_fresh(life, seen, bucket, deps.wait)

    return await flights.join(life.id, ask)


async def _fly(start: Callable[[], Awaitable[Freshness]]) -> Freshness:
    return await start()
