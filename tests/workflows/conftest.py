"""The real workflow in the strict sandbox, on a server that skips time; its activities are stand-ins a test scripts."""

import asyncio
import itertools
import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from temporalio import activity, workflow
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.client import WorkflowHandle, WorkflowHistory, WorkflowUpdateHandle, WorkflowUpdateStage
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.messages import (
    AttemptOrder,
    AttemptResult,
    Ending,
    LifeIds,
    ProbeOrder,
    ProbeReport,
    RefreshOrder,
    RefreshResult,
    RevokeResult,
)
from domain.credential import CredentialRef
from domain.identity import workflow_id
from domain.life import Attempt, AttemptState, Loaded, Status
from tests.time_skipping import pass_time
from worker import WORKFLOWS
from workflows.attributes import KEYS, attributes_of
from workflows.details import summary
from workflows.life import ConnectionLife
from workflows.messages import EnsureFresh, Freshness, LifeStart, LifeView
from workflows.queues import LIFE_QUEUE, SOON, priority, provider_queue

PROVIDER = "sample"
HOUR = timedelta(hours=1)
T = TypeVar("T")


@dataclass(frozen=True)
class Call:
    """One activity that ran: when by the server's clock, and with what."""

    name: str
    at: datetime
    order: Any


@dataclass
class Script:
    """What the stand-ins answer for one life. An empty queue means: all goes well."""

    row: Loaded
    lifetime: timedelta = HOUR
    refreshes: deque[Any] = field(default_factory=deque)
    attempts: deque[AttemptResult] = field(default_factory=deque)
    closings: deque[AttemptResult] = field(default_factory=deque)
    revocations: deque[RevokeResult] = field(default_factory=deque)
    probes: deque[ProbeReport] = field(default_factory=deque)
    calls: list[Call] = field(default_factory=list)
    gates: dict[str, asyncio.Event] = field(default_factory=dict)

    def grant(self, generation: int, at: datetime) -> CredentialRef:
        """A new credential, in the row too."""
        ref = CredentialRef(generation, at, at + self.lifetime, refreshable=True)
        self.row = replace(self.row, status=Status.ACTIVE, reason="", credential=ref)
        return ref

    def named(self, name: str) -> list[Call]:
        return [call for call in self.calls if call.name == name]


class StandIns:
    """The activities by their real names; each looks up the script of its life."""

    def __init__(self) -> None:
        self.scripts: dict[str, Script] = {}

    async def _enter(self, life: LifeIds, order: Any) -> tuple[Script, datetime]:
        info = activity.info()
        script = self.scripts[life.life_id]
        script.calls.append(Call(info.activity_type, info.started_time, order))
        if gate := script.gates.get(info.activity_type):
            await gate.wait()
        return script, info.started_time

    @activity.defn
    async def load(self, life: LifeIds) -> Loaded:
        read = self.scripts[life.life_id].row
        await self._enter(life, life)
        return read

    @activity.defn
    async def refresh(self, order: RefreshOrder) -> RefreshResult:
        script, at = await self._enter(order.life, order)
        answer = script.refreshes.popleft() if script.refreshes else None
        if isinstance(answer, RefreshResult):
            return answer
        if answer is not None:
            return answer(script, order, at)  # type: ignore[no-any-return]
        return RefreshResult(Ending.CREDENTIALED, script.grant(order.generation + 1, at))

    @activity.defn
    async def advance_attempt(self, order: AttemptOrder) -> AttemptResult:
        script, at = await self._enter(order.life, order)
        if script.attempts:
            return script.attempts.popleft()
        generation = script.row.credential.generation + 1 if script.row.credential else 1
        script.row = replace(
            script.row, attempts=[a for a in script.row.attempts if a.session_id != order.session_id], returned=[]
        )
        return AttemptResult(Ending.CREDENTIALED, AttemptState.COMPLETED, at, script.grant(generation, at))

    @activity.defn
    async def close_attempt(self, order: AttemptOrder) -> AttemptResult:
        script, at = await self._enter(order.life, order)
        return script.closings.popleft() if script.closings else AttemptResult(Ending.MOVED, AttemptState.FAILED, at)

    @activity.defn
    async def probe(self, order: ProbeOrder) -> ProbeReport:
        script, _ = await self._enter(order.life, order)
        script.row = replace(script.row, probe_at=None)
        return script.probes.popleft() if script.probes else ProbeReport(Ending.DONE)

    @activity.defn
    async def revoke(self, life: LifeIds) -> RevokeResult:
        script, _ = await self._enter(life, life)
        return script.revocations.popleft() if script.revocations else RevokeResult(Ending.DONE, "confirmed")


@dataclass
class Life:
    """A running workflow and its script."""

    engine: WorkflowEnvironment
    ids: LifeIds
    script: Script
    handle: WorkflowHandle[ConnectionLife, None]

    async def view(self) -> LifeView:
        return await self.handle.query(ConnectionLife.life_view)

    async def until(self, fact: Callable[[LifeView], bool]) -> LifeView:
        """Poll the workflow for a fact."""
        return await until(self.view, fact)

    async def called(self, name: str, times: int = 1) -> Call:
        """Poll until an activity was called that often; the last of the calls."""

        async def calls() -> list[Call]:
            return self.script.named(name)

        return (await until(calls, lambda found: len(found) >= times))[times - 1]

    async def fresh(self) -> Freshness:
        """Ask for a newer generation than there is; sent once more if continue-as-new came between, as the API does."""
        seen = self.script.row.credential.generation if self.script.row.credential else 0
        return await self.ask(ConnectionLife.ensure_fresh, EnsureFresh(seen))

    async def ask(self, update: Any, argument: Any) -> Any:
        try:
            return await self.handle.execute_update(update, argument)
        except Exception:  # noqa: BLE001 - any failure counts as one; the second is the test's
            return await self.handle.execute_update(update, argument)

    async def begin(self, update: Any, argument: Any) -> WorkflowUpdateHandle[Any]:
        """Send an update and know that it has arrived, so that time may pass while it waits."""
        return await self.handle.start_update(update, argument, wait_for_stage=WorkflowUpdateStage.ACCEPTED)

    async def now(self) -> datetime:
        return await self.engine.get_current_time()

    async def sleep(self, **by: float) -> None:
        """Let the server's time pass, and all that is due in it."""
        await pass_time(self.engine, timedelta(**by))

    async def runs(self) -> list[WorkflowHistory]:
        """The histories of all runs, the first one first."""
        found, run_id = [], self.handle.first_execution_run_id
        while run_id:
            history = await self.engine.client.get_workflow_handle(self.handle.id, run_id=run_id).fetch_history()
            found.append(history)
            last = history.events[-1]
            run_id = last.workflow_execution_continued_as_new_event_attributes.new_execution_run_id
        return found


async def until(ask: Callable[[], Awaitable[T]], fact: Callable[[T], bool]) -> T:
    async with asyncio.timeout(30):
        while not fact(found := await ask()):  # noqa: ASYNC110 (the server sets no event of ours)
            await asyncio.sleep(0.01)
    return found


@pytest.fixture(scope="session")
def strict() -> SandboxedWorkflowRunner:
    """A module that a workflow imports without saying so is an error."""
    policy = (
        workflow.SandboxImportNotificationPolicy.WARN_ON_DYNAMIC_IMPORT
        | workflow.SandboxImportNotificationPolicy.RAISE_ON_UNINTENTIONAL_PASSTHROUGH
    )
    return SandboxedWorkflowRunner(restrictions=replace(SandboxRestrictions.default, import_notification_policy=policy))


@pytest.fixture(scope="module")
async def engine() -> AsyncIterator[WorkflowEnvironment]:
    """One for each file: an activity under way in a run that was ended stops its time for half a minute."""
    program = Path(sys.executable).parent / "temporal-test-server"
    async with await WorkflowEnvironment.start_time_skipping(test_server_existing_path=str(program)) as environment:
        keys = {key.name: int(key.indexed_value_type) for key in KEYS}
        # This server cannot list them, so the product's own comparison is left to the tests of `runtime`.
        request = AddSearchAttributesRequest(namespace=environment.client.namespace, search_attributes=keys)  # type: ignore[arg-type]
        await environment.client.operator_service.add_search_attributes(request)
        yield environment


@pytest.fixture(scope="module")
async def stand_ins(engine: WorkflowEnvironment, strict: SandboxedWorkflowRunner) -> AsyncIterator[StandIns]:
    acts = StandIns()
    at_providers = [acts.refresh, acts.advance_attempt, acts.close_attempt, acts.probe, acts.revoke]
    lives = Worker(
        engine.client, task_queue=LIFE_QUEUE, workflows=WORKFLOWS, activities=[acts.load], workflow_runner=strict
    )
    providers = Worker(engine.client, task_queue=provider_queue(PROVIDER), activities=at_providers)
    async with lives, providers:
        yield acts


NewLife = Callable[..., Awaitable[Life]]
numbers = itertools.count(1)


@pytest.fixture
async def new_life(engine: WorkflowEnvironment, stand_ins: StandIns) -> AsyncIterator[NewLife]:
    """`await new_life(generation=1, attempts=[...])`: a life whose row says so, ended with the test."""
    begun: list[Life] = []

    async def begin(
        generation: int = 1,
        *,
        status: Status | None = None,
        lifetime: timedelta = HOUR,
        prepare: Callable[[Script], None] | None = None,
        shown: str = "pending",
        provider: str = PROVIDER,
        **row: Any,
    ) -> Life:
        ids = LifeIds("default", "connection", provider, f"conn_{next(numbers)}", "acme", "user-1")
        loaded = Loaded(status or (Status.ACTIVE if generation else Status.PENDING), **row)
        script = Script(loaded, lifetime)
        if generation:
            now = await engine.get_current_time()
            script.row = replace(loaded, credential=CredentialRef(generation, now, now + lifetime, refreshable=True))
        if prepare:
            prepare(script)
        stand_ins.scripts[ids.life_id] = script
        begun.append(Life(engine, ids, script, await start(engine, ids, shown)))
        return begun[-1]

    yield begin
    for life in begun:
        for gate in life.script.gates.values():
            gate.set()
        description = await life.handle.describe()
        if description.status and description.status.name == "RUNNING":
            await life.handle.terminate()


async def start(engine: WorkflowEnvironment, ids: LifeIds, shown: str) -> WorkflowHandle[ConnectionLife, None]:
    """As the API starts it."""
    return await engine.client.start_workflow(
        ConnectionLife.run,
        LifeStart(ids),
        id=workflow_id(ids.workspace_id, ids.kind, ids.provider_id, ids.life_id),
        task_queue=LIFE_QUEUE,
        search_attributes=attributes_of(ids, shown),
        static_summary=summary(ids),
        priority=priority(ids, SOON),
    )


@pytest.fixture
def again(engine: WorkflowEnvironment) -> Callable[[Life], Awaitable[Life]]:
    """Starts the workflow of a life once more, as reconcile does."""

    async def restart(life: Life) -> Life:
        return replace(life, handle=await start(engine, life.ids, "active"))

    return restart


@pytest.fixture
async def attempt(engine: WorkflowEnvironment) -> Callable[..., Attempt]:
    """An open attempt that ends in so many minutes of the server's time."""
    now = await engine.get_current_time()

    def make(session_id: str = "ses_1", state: AttemptState = AttemptState.PENDING, minutes: float = 15) -> Attempt:
        return Attempt(session_id, state, now + timedelta(minutes=minutes))

    return make
