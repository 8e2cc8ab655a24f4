"""The API's one way to the workflows: start, signal, update, query; each with a deadline of its own."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Protocol, TypeVar

import structlog
from temporalio.client import Client, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import TemporalError
from temporalio.service import RPCError, RPCStatusCode

from activities.ids import ids_of
from api.engine import task_attempt, within_a_call
from domain.errors import Problem
from domain.identity import workflow_id
from vault.tables import Life
from workflows.attributes import attributes_of
from workflows.details import summary
from workflows.life import ConnectionLife
from workflows.messages import EnsureFresh, Freshness, LifeStart, LifeView, SessionRef, Settlement
from workflows.queues import LIFE_QUEUE, SOON, priority

log = structlog.get_logger(__name__)
T = TypeVar("T")
Answer = TypeVar("Answer", Freshness, Settlement)

QUERY = timedelta(seconds=2)
STARTS_AT_ONCE = 32


class Named(Protocol):
    """What the id of a workflow follows from: a life's row, or what a read knows of it."""

    @property
    def workspace_id(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def provider_id(self) -> str: ...
    @property
    def id(self) -> str: ...


def workflow_of(life: Named) -> str:
    """The id of the workflow that owns this row."""
    return workflow_id(life.workspace_id, life.kind, life.provider_id, life.id)


async def woken(lives: "Lives", life: Life) -> bool:
    """Wake a life whose row was marked before; False if the engine does not answer: then the sweep finds it."""
    try:
        await lives.wake(life)
    except Problem:
        log.warning("a life that was marked waits for the next sweep", life_id=life.id)
        return False
    return True


class Lives:
    """Speaks to the workflows of lives. Temporal being away is one `Problem`, told within seconds."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._starts = asyncio.Semaphore(STARTS_AT_ONCE)

    async def wake(self, life: Life) -> None:
        """Make sure the workflow runs, and let it read its row again."""
        await self._signal_with_start(life, ConnectionLife.wake.__name__, [])

    async def unless_failing(self, life: Life, tell: Callable[[], Awaitable[object]]) -> bool:
        """`tell` it something, but leave alone a run whose task failed and is tried again; whether it was told.

        A signal is a new event, and with each Temporal counts a task's failures anew: a life that is told again and
        again would never be seen as stuck, and its history would fill.
        """
        async with within_a_call():
            failing = await task_attempt(self._handle(life)) > 1
        if not failing:
            await tell()
        return not failing

    async def start_anew(self, life: Life) -> None:
        """End the run there is, whatever it is at, and start from the row.

        What it had under way is safe: the ledger keeps a second run from sending what the first one sent.
        """
        conflict = WorkflowIDConflictPolicy.TERMINATE_EXISTING
        await self._signal_with_start(life, ConnectionLife.wake.__name__, [], conflict)

    async def returned(self, life: Life, session_id: str) -> None:
        """The browser came back to a session of this life."""
        await self._signal_with_start(life, ConnectionLife.authorization_returned.__name__, [SessionRef(session_id)])

    async def delete(self, life: Life) -> None:
        """The tombstone is committed."""
        await self._signal_with_start(life, ConnectionLife.delete.__name__, [])

    async def settled(self, life: Life, session_id: str, within: timedelta) -> bool:
        """Wait until an attempt has come to rest; False if it has not, or the engine does not say."""
        return await self._settle(life, ConnectionLife.settled, session_id, within)

    async def choose_site(self, life: Life, session_id: str, within: timedelta) -> bool:
        """The choice is in the session's row: go on with it, and wait as `settled` does."""
        return await self._settle(life, ConnectionLife.choose_site, session_id, within)

    async def ensure_fresh(self, life: Named, seen: int, bucket: int, within: timedelta) -> Freshness:
        """Ask for a newer generation than the one seen. An answer that is not there in time is pending."""
        pending = Freshness(seen, pending=True)
        request, handle = EnsureFresh(seen), self._handle(life)
        # The SDK's types lose the handler's own when its decorator takes arguments.
        update: Any = ConnectionLife.ensure_fresh

        async def ask(attempt: int) -> Freshness:
            answer: Freshness = await handle.execute_update(update, request, id=f"fresh-{seen}-{bucket}-{attempt}")
            return answer

        return await self._in_time(self._once_more(ask), within, pending)

    async def view(self, life: Life) -> LifeView | None:
        """The live state, or None when no worker answers."""
        asked: Awaitable[LifeView] = self._handle(life).query(ConnectionLife.life_view, rpc_timeout=QUERY)
        return await self._in_time(asked, QUERY, None)

    async def ping(self) -> bool:
        """Whether Temporal answers."""
        try:
            async with within_a_call():
                return await self._client.service_client.check_health()
        except Problem:
            return False

    async def _settle(self, life: Life, update: Any, session_id: str, within: timedelta) -> bool:
        handle = self._handle(life)

        async def ask(_attempt: int) -> Settlement:
            # No id of our own: a session comes to rest more than once, and each time is a question of its own.
            answer: Settlement = await handle.execute_update(update, SessionRef(session_id))
            return answer

        said = await self._in_time(self._once_more(ask), within, Settlement(settled=False))
        return said.settled

    async def _once_more(self, ask: Callable[[int], Awaitable[Answer]]) -> Answer:
        """An update that met continue-as-new, answered or lost, is sent again, once."""
        try:
            answer = await ask(1)
            return await ask(2) if answer.continuing else answer
        except WorkflowUpdateFailedError:
            return await ask(2)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return await ask(2)

    async def _in_time(self, asked: Awaitable[T], within: timedelta, otherwise: T) -> T:
        try:
            return await asyncio.wait_for(asked, within.total_seconds())
        except (TimeoutError, TemporalError, RuntimeError):
            # Also a worker's word that it cannot carry the run on (`WorkflowQueryFailedError`).
            return otherwise

    def _handle(self, life: Named) -> WorkflowHandle[ConnectionLife, None]:
        return self._client.get_workflow_handle_for(ConnectionLife.run, workflow_of(life))

    async def _signal_with_start(
        self,
        life: Life,
        signal: str,
        args: list[Any],
        conflict: WorkflowIDConflictPolicy = WorkflowIDConflictPolicy.USE_EXISTING,
    ) -> None:
        ids = ids_of(life)
        async with self._starts, within_a_call():
            await self._client.start_workflow(
                ConnectionLife.run,
                LifeStart(ids),
                id=workflow_of(life),
                task_queue=LIFE_QUEUE,
                start_signal=signal,
                start_signal_args=args,
                id_conflict_policy=conflict,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                search_attributes=attributes_of(ids, life.status),
                static_summary=summary(ids),
                priority=priority(ids, SOON),
            )
