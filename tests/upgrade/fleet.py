"""The connections that live through an upgrade, with backends that read them all the while."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from tests.end_to_end.conftest import App
from tests.upgrade.stand import UpgradeStand

CONNECTIONS = 10
TOKEN_SECONDS = 8
TENANTS = [f"tenant-{number}" for number in range(CONNECTIONS)]


class Fleet:
    """The connections, read and refreshed all the while, as backends do that need more life than is left."""

    def __init__(self, stand: UpgradeStand, app: App) -> None:
        self.stand, self.app = stand, app
        self.refused: list[tuple[int, str]] = []

    async def connect(self) -> None:
        for tenant in TENANTS:
            await self.app.consent("/oauth/installs", "admin", ("Acme Engineering",), tenant_id=tenant)
        await self.stand.until(self._all_active)

    async def _all_active(self) -> bool:
        lives = (await self.stand.lives()).values()
        return len(lives) == CONNECTIONS and all(life.status == "active" for life in lives)

    @asynccontextmanager
    async def read_all_the_while(self) -> AsyncIterator[None]:
        """What a reader may be told meanwhile: a credential, or to wait while nobody renews an expired one."""
        reading = asyncio.create_task(self._read_for_ever())
        try:
            yield
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        assert self.refused == []

    async def _read_for_ever(self) -> None:
        while True:
            answers = await asyncio.gather(*(self.app.read(tenant, force_refresh=True) for tenant in TENANTS))
            for answer in answers:
                honest = answer.status_code == 200 or answer.json()["code"] == "refresh_pending"
                if not honest:
                    self.refused.append((answer.status_code, answer.text))

    async def generations(self) -> dict[str, int]:
        return {life.id: life.generation for life in (await self.stand.lives()).values()}

    async def refreshed_since(self, before: dict[str, int], times: int = 1) -> None:
        """Every connection has been refreshed so often since."""

        async def all_are() -> bool:
            now = await self.generations()
            return all(now[life] >= generation + times for life, generation in before.items())

        await self.stand.until(all_are, 90)

    async def come_to(self, fact: Callable[[list[Any]], bool]) -> dict[str, list[Any]]:
        """Wait until the present run of every life shows it."""

        async def all_have() -> Any:
            found = await self.stand.histories()
            return all(fact(events) for events in found.values()) and found

        found: dict[str, list[Any]] = await self.stand.until(all_have, 120)
        return found

    async def is_well(self) -> None:
        """None is stuck, none was blamed, and at the provider every grant lives and no used-up token was sent."""
        assert await self.stand.stuck() == []
        assert {life.status for life in (await self.stand.lives()).values()} == {"active"}
        grants = await self.app.grants()
        assert all(grant["alive"] for grant in grants)
        assert sum(grant["counters"]["reuses_outside"] for grant in grants) == 0
