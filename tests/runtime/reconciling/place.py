"""An engine that is new and empty, a vault, and what a test of reconciling does to them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlmodel import col, select, update
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle

from activities.deps import Deps, Limits
from api.lives import Lives, workflow_of
from domain.life import Kind, Status
from domain.points import go_on
from runtime import running
from runtime.pace import Pace
from runtime.reconcile import reconcile
from runtime.reconcile_report import Case, Report
from runtime.temporal import register_search_attributes
from vault.crypto import Sealer
from vault.database import Database
from vault.ids import new_id
from vault.tables import Credential, Life
from worker import build_workers
from workflows.attributes import KEYS

PROVIDER = "sample"
HOUR = timedelta(hours=1)
FAST = 1000.0


def wall_clock() -> datetime:
    return datetime.now(UTC)


@dataclass
class Place:
    """An engine that is new and empty, a vault, and what a test does to them."""

    client: Client
    db: Database
    sealer: Sealer

    @property
    def lives(self) -> Lives:
        return Lives(self.client)

    async def row(self, user: str = "ann", **columns: Any) -> Life:
        """A life that is active and due in an hour, unless said otherwise; its credential is of the same generation."""
        now = wall_clock()
        values: dict[str, Any] = {
            "id": new_id("conn"),
            "workspace_id": "default",
            "kind": Kind.CONNECTION,
            "provider_id": PROVIDER,
            "provider_config_id": "cfg_1",
            "tenant_id": "acme",
            "user_id": user,
            "attachment": "user",
            "status": Status.ACTIVE,
            "generation": 1,
            "created_at": now,
            "updated_at": now,
            "next_due_at": now + HOUR,
        }
        life = Life(**(values | columns))
        async with self.db.transaction() as tx:
            tx.add(life)
            if life.status == Status.ACTIVE:
                tx.add(credential(life, 1, now))
        return life

    async def change(self, life: Life, **columns: Any) -> None:
        async with self.db.transaction() as tx:
            await tx.exec(update(Life).where(col(Life.id) == life.id).values(columns))

    async def read(self, life: Life) -> Life:
        async with self.db.reading() as tx:
            return (await tx.exec(select(Life).where(Life.id == life.id))).one()

    async def run(self) -> Report:
        """A full pass."""
        return await reconcile(self.db, self.lives, self.client, wall_clock, Pace(FAST))

    async def started(self, life: Life) -> WorkflowHandle[Any, Any]:
        """Its workflow, running and listed as such."""
        await register_search_attributes(self.client, KEYS)
        await self.lives.wake(life)
        await until(lambda: self.lists(workflow_of(life)))
        return self.handle(life)

    async def lists(self, workflow_id: str) -> bool:
        return workflow_id in await running.running_lives(self.client)

    def handle(self, life: Life) -> WorkflowHandle[Any, Any]:
        return self.client.get_workflow_handle(workflow_of(life))

    async def heard(self, life: Life) -> list[str]:
        """The signals in the history of its workflow."""
        signalled = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
        events = (await self.handle(life).fetch_history()).events
        found = [e.workflow_execution_signaled_event_attributes for e in events if e.event_type == signalled]
        return [attributes.signal_name for attributes in found]

    async def status(self, life: Life) -> WorkflowExecutionStatus | None:
        return (await self.handle(life).describe()).status

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Real workers; no provider can be reached."""
        nowhere: Any = None
        deps = Deps(self.db, self.sealer, {}, nowhere, wall_clock, Limits(), go_on)
        async with AsyncExitStack() as running:
            for worker in build_workers(self.client, deps, [PROVIDER], sandbox=False, starts_per_second=FAST):
                await running.enter_async_context(worker)
            yield


def credential(life: Life, generation: int, now: datetime) -> Credential:
    return Credential(
        id=new_id("cred"),
        life_id=life.id,
        role="current",
        generation=generation,
        credential_type="oauth_token",
        key_id="test",
        issued_at=now,
        expires_at=now + 2 * HOUR,
        sealed_access=b"sealed",
        sealed_refresh=b"sealed",
    )


async def until(fact: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(30):
        while not (found := await fact()):  # noqa: ASYNC110 (the engine sets no event of ours)
            await asyncio.sleep(0.02)
    return found


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def told(report: Report) -> dict[Case, tuple[int, int, int]]:
    """Found, mended, left."""
    return {case: (finding.found, finding.mended, finding.left) for case, finding in report.seen()}
