"""One refresh flight per life and process: readers that need a newer credential at the same time share it."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any, Protocol

from api.deps import ApiDeps
from api.lives import Named
from vault.holds import holds_still

# Processes that ask within the same bucket send the same update, which the engine carries out once.
BUCKET_SECONDS = 5
# Seconds after which a reader that was told `refresh_pending` does well to ask again.
RETRY_AFTER = 2
# More updates at once only wait in the engine, before its own timers: they would keep from refreshing what is due.
AT_ONCE = 32
# A provider that hangs may keep its own readers waiting, not those of the others.
AT_ONE_PROVIDER = 16


class Flights:
    """The flights under way, by life; each asks the engine when it is its turn, among all and at its provider."""

    def __init__(self) -> None:
        self._flying: dict[str, asyncio.Task[None]] = {}
        self.turns = asyncio.Semaphore(AT_ONCE)
        self.at_provider: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(AT_ONE_PROVIDER))

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


class OfConfig(Named, Protocol):
    """A life, and the config it may be refreshed by."""

    @property
    def provider_config_id(self) -> str: ...


async def renew(deps: ApiDeps, flights: Flights, life: OfConfig, seen: int, within: timedelta) -> bool:
    """Ask for a newer generation than the one seen, in the flight of this life; `within` is for how long it is waited.

    The row says what came of it. False if nobody was asked, since the config is held: no refresh may be sent, and all
    that expired is read again and again.
    """
    if await holds_still(deps.db, life.provider_config_id):
        return False
    bucket = int(deps.clock().timestamp()) // BUCKET_SECONDS

    async def ask() -> None:
        with suppress(TimeoutError):
            async with (
                asyncio.timeout(deps.wait.total_seconds()),
                flights.at_provider[life.provider_id],
                flights.turns,
            ):
                await deps.lives.ensure_fresh(life, seen, bucket, deps.wait)

    await flights.join(life.id, ask, within)
    return True
