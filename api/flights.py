"""One refresh flight per life and process: readers that need a newer credential at the same time share it."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from functools import partial
from typing import Any

from api.deps import ApiDeps
from vault.holds import holds_still
from vault.tables import Life

# Processes that ask within the same bucket send the same update, which the engine carries out once.
BUCKET_SECONDS = 5
# Seconds after which a reader that was told `refresh_pending` does well to ask again.
RETRY_AFTER = 2


class Flights:
    """The flights under way, by life."""

    def __init__(self) -> None:
        self._flying: dict[str, asyncio.Task[None]] = {}

    async def join(self, life_id: str, start: Callable[[], Coroutine[Any, Any, None]], within: timedelta) -> None:
        """Join the flight of this life, or start it. It goes on for the others when one leaves or waits no longer."""
        flight = self._flying.get(life_id)
        if flight is None:
            flight = asyncio.create_task(start())
            self._flying[life_id] = flight
            flight.add_done_callback(partial(self._landed, life_id))
        done, _ = await asyncio.wait({flight}, timeout=within.total_seconds())
        if done:
            flight.result()  # raises what the flight did

    def _landed(self, life_id: str, flight: asyncio.Task[None]) -> None:
        self._flying.pop(life_id, None)
        if not flight.cancelled():
            flight.exception()  # nobody may wait any more, and a failure that nobody saw would be warned of


async def renew(deps: ApiDeps, flights: Flights, life: Life, seen: int, within: timedelta) -> None:
    """Ask for a newer generation than the one seen, in the flight of this life; `within` is for how long it is waited.

    The row says what came of it. While the config is held nobody is asked: no refresh may be sent, and all that expired
    is read again and again.
    """
    bucket = int(deps.clock().timestamp()) // BUCKET_SECONDS

    async def ask() -> None:
        if not await holds_still(deps.db, life.provider_config_id):
            await deps.lives.ensure_fresh(life, seen, bucket, deps.wait)

    await flights.join(life.id, ask, within)
