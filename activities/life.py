"""The activities of a life, by the names Temporal knows. Each is idempotent: it starts from the rows."""

from temporalio import activity

from activities import attempt as attempts
from activities import checkup
from activities import load as loading
from activities import refresh as refreshing
from activities import revoke as revoking
from activities.deps import Deps
from activities.messages import (
    AttemptOrder,
    AttemptResult,
    LifeIds,
    ProbeOrder,
    ProbeReport,
    RefreshOrder,
    RefreshResult,
    RevokeResult,
)
from domain.life import Loaded
from domain.points import Point


class LifeActivities:
    """Bound to what the worker built; nothing here is global."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    @activity.defn
    async def load(self, life: LifeIds) -> Loaded:
        return await loading.load(self._deps, life)

    @activity.defn
    async def refresh(self, order: RefreshOrder) -> RefreshResult:
        result = await refreshing.refresh(self._deps, order)
        self._deps.measures.refreshed(order.life.provider_id, result.ending)
        await self._deps.reached(Point.REFRESH_BEFORE_HEARD, order.life.life_id)
        return result

    @activity.defn
    async def advance_attempt(self, order: AttemptOrder) -> AttemptResult:
        result = await attempts.advance_attempt(self._deps, order)
        await self._deps.reached(Point.EXCHANGE_BEFORE_HEARD, order.life.life_id)
        return result

    @activity.defn
    async def close_attempt(self, order: AttemptOrder) -> AttemptResult:
        return await attempts.close_attempt(self._deps, order)

    @activity.defn
    async def probe(self, order: ProbeOrder) -> ProbeReport:
        return await checkup.check_up(self._deps, order)

    @activity.defn
    async def revoke(self, life: LifeIds) -> RevokeResult:
        return await revoking.revoke(self._deps, life)
