# Append-only: these types travel through workflow histories; add fields with defaults, never rename or remove.
"""What a breaker does between its waits: look at a held config and send one life first, or release all that wait."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from temporalio import activity

from activities.deps import Deps
from activities.ending import interrupted, unless
from activities.messages import ConfigIds
from domain.errors import Problem
from domain.holds import kind_of
from vault import holds
from vault.tables import Life, ProviderConfig

# How long a scout's silence is waited for before another one goes: its call and its commit lie inside the lease.
IDLE = timedelta(minutes=10)
BATCH = 10
REFUSED_IN_A_ROW = 20
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LookOrder:
    """`turn` counts the scouts that were sent; each turn another life goes."""

    config: ConfigIds
    turn: int = 0


@dataclass(frozen=True, slots=True)
class Look:
    """How the config stands, and when to look again. Without a `kind` it is not held any more.

    `scout` is the life that was sent, `waiting` how many are due.
    """

    kind: str = ""
    reason: str = ""
    next_at: datetime | None = None
    waiting: int = 0
    scout: str = ""
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Released:
    """How many were woken; `held`: the config was held again before all were."""

    woken: int = 0
    held: bool = False


class BreakerActivities:
    """Bound to what the worker built. `turn` waits until the next life of a provider may be woken."""

    def __init__(self, deps: Deps, turn: Callable[[str], Awaitable[None]]) -> None:
        self._deps = deps
        self._turn = turn

    @activity.defn
    async def look(self, order: LookOrder) -> Look:
        """See how the config stands, and send one life first where that is due."""
        config = await holds.state_of(self._deps.db, order.config.config_id)
        if config is None:
            return Look(gone=True)
        held = kind_of(config.hold_kind, config.held_until)
        return await look_at(self._deps, config, order.turn) if held else Look()

    @activity.defn
    async def release(self, config: ConfigIds) -> Released:
        """Wake every due life, in order and at the provider's pace, until the config is held again."""
        releasing = release(self._deps, config, lambda: self._turn(config.provider_id))
        released = await unless(releasing, activity.wait_for_worker_shutdown())
        if released is None:
            raise interrupted()
        return released


async def look_at(deps: Deps, config: ProviderConfig, turn: int) -> Look:
    """The state of a held config; once its pause is over, with a scout sent."""
    now = deps.clock()
    waiting = await holds.count_due(deps.db, config.id, now)
    seen = Look(kind_of(config.hold_kind, config.held_until).value, config.held_reason, config.held_until, waiting)
    if config.held_until and config.held_until > now:
        return seen
    life = await holds.scout(deps.db, config.id, now, turn)
    if life is None:
        due_at = await holds.next_due_at(deps.db, config.id)
        soon = now + IDLE
        return Look(seen.kind, seen.reason, min(due_at or soon, soon), waiting)
    await deps.wake(life)
    return Look(seen.kind, seen.reason, now + deps.limits.lease, waiting, life.id)


async def release(deps: Deps, config: ConfigIds, turn: Callable[[], Awaitable[None]]) -> Released:
    """In batches, since one start after the other would be as slow as the engine answers.

    One life that the engine will not take keeps no other from being woken: the sweep finds it. Raises `Problem` if the
    engine takes none any more.
    """
    woken = refused = 0
    ids = await holds.in_order_of_release(deps.db, config.config_id, deps.clock())
    for start in range(0, len(ids), BATCH):
        batch = await holds.still_due(deps.db, ids[start : start + BATCH], deps.clock())
        if await holds.holds_still(deps.db, config.config_id):
            return Released(woken, held=True)
        failed = [said for said in await asyncio.gather(*(_wake(deps, life, turn) for life in batch)) if said]
        woken += len(batch) - len(failed)
        refused = refused + len(failed) if len(failed) == len(batch) else 0
        if refused >= REFUSED_IN_A_ROW:
            raise failed[-1]
    return Released(woken)


async def _wake(deps: Deps, life: Life, turn: Callable[[], Awaitable[None]]) -> Problem | None:
    await turn()
    try:
        await deps.wake(life)
    except Problem as problem:
        log.warning("a life was not released; the sweep tries it again", life_id=life.id)
        return problem
    return None
