"""The full pass: what should run, by the vault, is compared with what runs, by the engine, and mended.

Every step is idempotent, and two passes at once do no harm: a workflow's id follows from its row, and a message that
comes twice changes nothing. What ends a pass early (engine or vault go away) leaves the rest to the next one.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from functools import partial

from sqlalchemy.exc import SQLAlchemyError
from temporalio.client import Client
from temporalio.service import RPCError

from api.lives import Lives, workflow_of
from domain.errors import Problem
from domain.life import Status
from domain.wakeup import Step
from runtime.errors import StartError
from runtime.pace import Pace
from runtime.progress import Told, say_nothing
from runtime.reconcile_report import Case, Report
from runtime.running import running_lives, stuck_lives, wake_running
from runtime.temporal import register_search_attributes
from vault import reconciling, unheard
from vault.database import Database
from vault.deletions import entomb
from vault.paging import PAGE, pages
from vault.tables import Life
from workflows.attributes import KEYS
from workflows.messages import LifeView

PATIENCE = unheard.PATIENCE
TRIES = 3
BETWEEN_TRIES_SECONDS = 1.0
# More workflows without a row than with one, and more than this: the vault is not the one they belong to.
FEW_ROWLESS = 10
ASKED_AT_ONCE = 8
# Asking a life that is not in a worker's cache costs a replay; of very many only some are asked.
MOST_ASKED = 5000

Act = Callable[[Life], Awaitable[object]]


class PassEnded(StartError):
    """The engine or the vault went away in the middle; what was mended stays so, and the rest is for the next pass."""

    code = "pass_ended"


async def reconcile(
    db: Database,
    lives: Lives,
    client: Client,
    clock: Callable[[], datetime],
    pace: Pace,
    told: Told = say_nothing,
) -> Report:
    """Compare and mend everything once. `told` hears of each step, how far it is, and of how much.

    Raises `PassEnded`, or `SearchAttributeError` if the engine cannot hold our workflows.
    """
    try:
        # A store that was lost knows none of our attributes, and refuses every start.
        await register_search_attributes(client, KEYS)
        return await _Pass(db, lives, client, clock(), pace, told).run()
    except (Problem, RPCError) as error:
        status = error.status.name if isinstance(error, RPCError) else error.row.code
        raise PassEnded(f"Temporal did not answer ({status}); reconcile again once it does") from error
    except (SQLAlchemyError, OSError) as error:
        raise PassEnded(f"the vault did not answer ({type(error).__name__}); reconcile again once it does") from error


def life_id_of(workflow_id: str) -> str:
    """The row that a workflow's id names."""
    return workflow_id.rsplit("/", 1)[-1]


class _Pass:
    def __init__(self, db: Database, lives: Lives, client: Client, now: datetime, pace: Pace, told: Told) -> None:
        self._db = db
        self._lives = lives
        self._client = client
        self._now = now
        self._pace = pace
        self._told = told
        self._report = Report()
        self._running: set[str] = set()
        self._living: set[str] = set()
        self._overdue: set[str] = set()
        self._spoken_to: set[str] = set()

    async def run(self) -> Report:
        self._told("listing workflows", 0, 0)
        self._running = await running_lives(self._client)
        self._report.running = len(self._running)
        await self._start_missing()
        for name, step in (
            ("callbacks", self._callbacks),
            ("deletions", self._deletions),
            ("connections cut off", self._cut_off),
            ("overdue rows", self._late),
            ("probes", self._probes),
            ("stuck workflows", self._stuck),
            ("workflows without a row", self._rowless),
            ("generations in the vault", self._credentials),
            ("generations in the workflows", self._generations),
        ):
            self._told(name, 0, 0)
            await step()
        return self._report

    async def _start_missing(self) -> None:
        of = await reconciling.count_living(self._db)
        async for rows in pages(partial(reconciling.living, self._db)):
            self._living.update(map(workflow_of, rows))
            missing = [life for life in rows if workflow_of(life) not in self._running]
            await self._each(Case.NOT_RUNNING, [(life, self._lives.wake) for life in missing])
            self._told("starting what does not run", len(self._living), of)
        self._report.living = len(self._living)

    async def _callbacks(self) -> None:
        async for found in pages(partial(unheard.unacknowledged, self._db, self._now - PATIENCE)):
            await self._each(
                Case.SESSION,
                [
                    (life, self._unless_failing(partial(self._lives.returned, session_id=session)))
                    for life, session in found
                ],
            )

    async def _deletions(self) -> None:
        async for rows in pages(partial(unheard.undeleted, self._db, self._now - PATIENCE)):
            await self._each(Case.TOMBSTONE, [(life, self._unless_failing(self._lives.delete)) for life in rows])

    async def _cut_off(self) -> None:
        async for rows in pages(partial(reconciling.cut_off, self._db)):
            await self._each(Case.CUT_OFF, [(life, self._delete) for life in rows])

    async def _delete(self, life: Life) -> object:
        await entomb(self._db, life.id, self._now)
        return await self._unless_failing(self._lives.delete)(life)

    def _unless_failing(self, act: Act) -> Act:
        """The same, but a life whose task fails is left alone, and False answered."""
        return lambda life: self._lives.unless_failing(life, partial(act, life))

    async def _late(self) -> None:
        async for rows in pages(partial(reconciling.overdue, self._db, self._now)):
            self._overdue.update(map(workflow_of, rows))
            await self._wake(Case.OVERDUE, rows)

    async def _probes(self) -> None:
        async for rows in pages(partial(reconciling.to_probe, self._db, self._now)):
            await self._wake(Case.PROBE_DUE, rows)

    async def _stuck(self) -> None:
        suspected = self._overdue & self._running
        stuck = await stuck_lives(self._client, suspected) & self._living
        for some in _portions(sorted(stuck), PAGE):
            rows = await reconciling.rows_of(self._db, map(life_id_of, some))
            await self._each(Case.STUCK, [(life, self._lives.start_anew) for life in rows], left=True)

    async def _rowless(self) -> None:
        gone, ended = await self._without_living_row()
        self._report.wrong_database = len(gone) > max(FEW_ROWLESS, len(self._running) - len(gone))
        if self._report.wrong_database:
            for workflow_id in gone:
                self._report.note(Case.WITHOUT_ROW, workflow_id, mended=False)
        else:
            await self._end_running(Case.WITHOUT_ROW, gone, left=True)
        await self._end_running(Case.ENDED_ROW, ended)

    async def _without_living_row(self) -> tuple[list[str], list[str]]:
        gone, ended = [], []
        for some in _portions(sorted(self._running - self._living), PAGE):
            known = await reconciling.statuses(self._db, map(life_id_of, some))
            gone += [found for found in some if life_id_of(found) not in known]
            ended += [found for found in some if known.get(life_id_of(found)) is Status.REVOKED]
        return gone, ended

    async def _end_running(self, case: Case, workflow_ids: Iterable[str], *, left: bool = False) -> None:
        """A workflow that reads its row and finds none, or a revoked one, ends by itself."""
        for workflow_id in workflow_ids:
            await self._pace.turn()
            # Listed although it has ended meanwhile: there is nothing to report.
            if await wake_running(self._client, workflow_id):
                self._report.note(case, workflow_id, mended=True, left=left)

    async def _credentials(self) -> None:
        async for rows in pages(partial(reconciling.at_odds, self._db)):
            for life in rows:
                self._report.note(Case.CREDENTIAL_GENERATION, life.id, mended=False)

    async def _generations(self) -> None:
        asked = [life_id for life_id in map(life_id_of, self._running & self._living) if self._untouched(life_id)]
        asked = random.sample(asked, min(len(asked), MOST_ASKED))
        for some in _portions(asked, ASKED_AT_ONCE):
            views = await self._views(some)
            if not any(view for _, view in views):
                return  # no worker answers, and each question would take its whole deadline
            apart = [life.id for life, view in views if _differ(life, view)]
            if apart:
                await self._wake(Case.WORKFLOW_GENERATION, await self._still_apart(apart))

    async def _still_apart(self, life_ids: Sequence[str]) -> list[Life]:
        """A refresh that was committed between the two questions is no disagreement; neither is one under way."""
        await asyncio.sleep(BETWEEN_TRIES_SECONDS)
        return [life for life, view in await self._views(life_ids) if _differ(life, view)]

    async def _views(self, life_ids: Sequence[str]) -> list[tuple[Life, LifeView | None]]:
        rows = await reconciling.rows_of(self._db, life_ids)
        return list(zip(rows, await asyncio.gather(*map(self._lives.view, rows)), strict=True))

    def _untouched(self, life_id: str) -> bool:
        return life_id not in self._spoken_to

    async def _wake(self, case: Case, rows: Iterable[Life]) -> None:
        """A life that was spoken to in this pass reads its row anyway."""
        for life in (row for row in rows if not self._untouched(row.id)):
            self._report.note(case, life.id, mended=True)
        await self._each(
            case, [(life, self._unless_failing(self._lives.wake)) for life in rows if self._untouched(life.id)]
        )

    async def _each(self, case: Case, acts: Iterable[tuple[Life, Act]], *, left: bool = False) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for life, act in acts:
                    group.create_task(self._mend(case, life, act, left=left))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None

    async def _mend(self, case: Case, life: Life, act: Act, *, left: bool) -> None:
        await self._pace.turn()
        done = await self._done(life, act)
        if done:
            self._spoken_to.add(life.id)
            self._report.note(case, life.id, mended=True, left=left)
        else:
            self._report.note(Case.REFUSED if done is None else case, life.id, mended=False)

    async def _done(self, life: Life, act: Act) -> bool | None:
        """Try a few times; False if the life's task fails, which was left alone, None if the engine will not take it.

        One such life must not keep the others from being mended.
        """
        for attempt in range(1, TRIES + 1):
            try:
                return await act(life) is not False
            except Problem:
                if attempt == TRIES and not await self._lives.ping():
                    raise
            await asyncio.sleep(BETWEEN_TRIES_SECONDS)
        return None


def _differ(life: Life, view: LifeView | None) -> bool:
    return (
        view is not None
        and life.deleted_at is None
        and view.next_step != Step.LOAD
        and view.generation != life.generation
    )


def _portions(items: Sequence[str], size: int) -> Iterable[Sequence[str]]:
    return (items[start : start + size] for start in range(0, len(items), size))
