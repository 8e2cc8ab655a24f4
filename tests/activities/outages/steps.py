"""The steps of a story about a held provider config."""

from collections import Counter
from typing import Any

from activities.breaker import Released, look_at, release
from activities.ids import config_ids_of
from activities.messages import ConfigIds, Ending
from domain.errors import Problem
from domain.life import Kind
from vault.tables import Event, Life

TOKEN = "plain.token"


class Told:
    """Stands in for the engine: which breakers are tripped, which lives woken, and what it refuses."""

    def __init__(self) -> None:
        self.tripped: list[ConfigIds] = []
        self.woken: list[str] = []
        self.refuses: Any = lambda _life: False
        self.on_wake: Any = None

    async def trip(self, config: ConfigIds) -> None:
        self.tripped.append(config)

    async def wake(self, life: Life) -> None:
        if self.refuses(life):
            raise Problem("temporal_unavailable")
        self.woken.append(life.id)
        if self.on_wake:
            await self.on_wake(life)


async def connected(stage: Any, count: int) -> list[Any]:
    """So many connections of three tenants, all of them due."""
    whose = [{"tenant_id": f"t{n % 3}", "user_id": f"user-{n}"} for n in range(count)]
    lives = [await stage.connected(Kind.CONNECTION, "plain", **whom) for whom in whose]
    stage.clock.advance(minutes=55)
    return lives


async def endings(stage: Any, lives: list[Any]) -> Counter[Ending]:
    return Counter([(await stage.refresh(life)).ending for life in lives])


async def events_of_configs(stage: Any) -> list[tuple[str, Any]]:
    events = sorted(await stage.all(Event, life_id=""), key=lambda event: event.sequence)
    return [(event.type, event.data["reason"]) for event in events]


async def calls(stage: Any, before: int) -> int:
    return await stage.asked(TOKEN) - before


async def down(stage: Any, **more: Any) -> None:
    await stage.fault(TOKEN, "status", **{"status": 503, "times": None, **more})


async def up(stage: Any) -> None:
    await stage.ask("DELETE", "faults")


async def looked(stage: Any, turn: int = 0) -> Any:
    return await look_at(stage.deps, await stage.config("plain"), turn)


async def released(stage: Any) -> Released:
    async def at_once() -> None:
        pass

    return await release(stage.deps, config_ids_of(await stage.config("plain")), at_once)
