"""Looks every 20 seconds for what nobody heard and what is overdue: the guarantee behind signals, which are hints."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

import structlog
from temporalio.client import Client

from activities.deps import nobody_to_tell
from activities.ids import config_ids_of
from activities.messages import ConfigIds
from api.lives import Lives
from domain.checkup import DEFAULT_INTERVAL
from domain.errors import Problem, where
from runtime.daily import ensure_retention
from runtime.pace import Pace
from runtime.reconcile_daily import ask_for_pass, ensure_schedule, passed_lately
from vault import endpoints, holds, inbound, outbox, reconciling, unheard
from vault.configs import destroy_retired
from vault.database import Database
from vault.notices import notice_secrets
from vault.paging import Page, Place
from vault.tables import Life

EVERY = timedelta(seconds=20)
AT_ONCE = 200
# Most that are late run, and only wait for a busy engine: each wake costs it a signal, a task and a read of the row.
WAKES_AT_ONCE = 40
log = structlog.get_logger(__name__)

T = TypeVar("T")
Found = tuple[Life, Callable[[], Awaitable[None]]]
Look = Callable[[Place | None], Awaitable[Page[Found]]]


async def sweep_for_ever(sweeper: "Sweeper", client: Client) -> None:
    """Ask for a full pass unless one ended lately, sweep now and every 20 seconds; what fails is tried again then."""
    asked = False
    while True:
        try:
            asked = await _keep_scheduled(client, sweeper.clock(), asked=asked)
            await sweeper.sweep()
        except Exception as error:  # noqa: BLE001 - whatever it is: a sweep that ended would end for ever, in silence
            log.warning("the sweep is tried again later", error=type(error).__name__, where=where(error))
        await _see_to_retention(client)
        await asyncio.sleep(EVERY.total_seconds())


async def _see_to_retention(client: Client) -> None:
    """Apart: it may be a day late, what is swept may not."""
    try:
        await ensure_retention(client)
    except Exception as error:  # noqa: BLE001 - whatever it is: an engine that refuses this may keep no sweep waiting
        log.warning("retention is not scheduled; tried again later", error=type(error).__name__, where=where(error))


async def _keep_scheduled(client: Client, now: datetime, *, asked: bool) -> bool:
    """A store without our schedule is new: whatever lived in the one before it has to be started again at once."""
    made = await ensure_schedule(client)
    if made or (not asked and not await passed_lately(client, now)):
        await ask_for_pass(client)
    return True


class Sweeper:
    """Keeps its place between sweeps: rows that stay overdue must not hide those behind them."""

    def __init__(
        self,
        db: Database,
        lives: Lives,
        clock: Callable[[], datetime],
        pace: Pace,
        start_breaker: Callable[[ConfigIds], Awaitable[None]] = nobody_to_tell,
    ) -> None:
        self._db = db
        self._lives = lives
        self.clock = clock
        self._pace = pace
        self._start_breaker = start_breaker
        self._places: dict[str, Place | None] = {}
        self._workspace = ""

    async def sweep(self) -> int:
        """Wake what is overdue, and signal every callback and deletion that went unheard for ten seconds.

        Signals are idempotent. Client secrets whose grace period is over go with it, and those that end soon are told
        of. A part that fails keeps no other from its turn. Answers how many were signalled. Raises the Problem of an
        engine that is away: the looks behind it would find it away too.
        """
        now = self.clock()
        await self._part("upkeep", partial(self._keep_up, now))
        await self._part("secrets", partial(self._notice_secrets, now))
        await self._part("breakers", self._start_breakers)
        try:
            counts = await self._look_around(now)
        finally:
            await self._part("deliveries", partial(self._hint_deliveries, now))
        if any(counts.values()):
            log.info("signalled again", **counts)
        return sum(counts.values())

    async def _look_around(self, now: datetime) -> dict[str, int]:
        looks = self._looks(now).items()
        told = {name: await self._part(name, partial(self._next, name, look), Problem) for name, look in looks}
        return {name: count or 0 for name, count in told.items()}

    async def _part(self, name: str, work: Callable[[], Awaitable[T]], *raised: type[Exception]) -> T | None:
        """One part of the sweep; None if it failed with anything but what is to be `raised`."""
        try:
            return await work()
        except raised:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is: it must not keep the other parts from their turn
            kind = type(error).__name__
            log.warning("a part of the sweep is tried again later", part=name, error=kind, where=where(error))
            return None

    async def _keep_up(self, now: datetime) -> None:
        async with self._db.transaction() as tx:
            await destroy_retired(tx, now)
            await endpoints.destroy_retired(tx, now)
            await inbound.forget(tx, now)
            await reconciling.schedule_checkups(tx, now, DEFAULT_INTERVAL, AT_ONCE)

    async def _notice_secrets(self, now: datetime) -> None:
        """In a transaction of its own: it locks configs, and nobody may lock a config before a life."""
        async with self._db.transaction() as tx:
            await notice_secrets(tx, now)

    async def _start_breakers(self) -> None:
        """One for each held config; where it runs already, nothing happens."""
        for config in await holds.held(self._db):
            await self._start_breaker(config_ids_of(config))

    async def _hint_deliveries(self, now: datetime) -> None:
        """One hint for each workspace whose events are overdue; in order of id, some at a time."""
        async with self._db.reading() as tx:
            found = await outbox.overdue_workspaces(
                tx, now - unheard.PATIENCE, now, after=self._workspace, limit=AT_ONCE
            )
        for workspace_id in found:
            self._db.on_events(workspace_id)
        self._workspace = found[-1] if len(found) == AT_ONCE else ""

    def _looks(self, now: datetime) -> dict[str, Look]:
        before = now - unheard.PATIENCE

        async def callbacks(after: Place | None) -> Page[Found]:
            page = await unheard.unacknowledged(self._db, before, after, AT_ONCE)
            return Page([(life, partial(self._lives.returned, life, s)) for life, s in page.rows], page.after)

        async def deletions(after: Place | None) -> Page[Found]:
            return _to(self._lives.delete, await unheard.undeleted(self._db, before, after, AT_ONCE))

        async def overdue(after: Place | None) -> Page[Found]:
            return _to(self._lives.wake, await reconciling.overdue(self._db, now, after, WAKES_AT_ONCE))

        async def probes(after: Place | None) -> Page[Found]:
            return _to(self._lives.wake, await reconciling.to_probe(self._db, now, after, WAKES_AT_ONCE))

        return {"callbacks": callbacks, "deletions": deletions, "overdue": overdue, "probes": probes}

    async def _next(self, name: str, look: Look) -> int:
        page = await look(self._places.get(name))
        told = await self._tell(page.rows)
        self._places[name] = page.after
        return told

    async def _tell(self, found: Sequence[Found]) -> int:
        """One life that the engine will not take must not keep the others from hearing."""
        told = 0
        for life, act in found:
            await self._pace.turn()
            try:
                told += await self._lives.unless_failing(life, act)
            except Problem:
                if not await self._lives.ping():
                    raise
                log.warning("a life was not told; it is tried again later", life_id=life.id)
        return told


def _to(act: Callable[[Life], Awaitable[None]], page: Page[Life]) -> Page[Found]:
    return Page([(life, partial(act, life)) for life in page.rows], page.after)
