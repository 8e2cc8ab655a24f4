"""Why something is done reaches the activities, ends soon, and is no command: runs replay with it and without it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Tracer
from structlog.contextvars import bound_contextvars, get_contextvars
from temporalio import activity
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Interceptor, Replayer, Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from activities.causes import HEADER, REQUEST_ID, TRACE, UNTRACED, cause_now, span
from activities.guard import Guard
from activities.messages import LifeIds, RefreshOrder, RefreshResult
from api.causes import CallCauses
from domain.identity import workflow_id
from domain.life import Loaded
from runtime.tracing import mark_with
from tests.workflows.conftest import HOUR, Life, Script, StandIns
from worker import WORKFLOWS
from workflows.causes import Causes
from workflows.life import ConnectionLife
from workflows.messages import LifeStart
from workflows.queues import provider_queue

QUEUE, CAUSED = "causes", "caused"
TRACER = TracerProvider().get_tracer("test")


class Noting(StandIns):
    """Stand-ins that note beside each call why it is made, and which names its log lines have."""

    def __init__(self) -> None:
        super().__init__()
        self.causes: list[tuple[str, dict[str, str], dict[str, Any]]] = []

    async def _enter(self, life: LifeIds, order: Any) -> Any:
        self.causes.append((activity.info().activity_type, dict(cause_now()), get_contextvars()))
        return await super()._enter(life, order)

    @activity.defn
    async def load(self, life: LifeIds) -> Loaded:
        return await StandIns.load(self, life)

    @activity.defn
    async def refresh(self, order: RefreshOrder) -> RefreshResult:
        return await StandIns.refresh(self, order)

    def of(self, name: str) -> list[dict[str, str]]:
        return [cause for called, cause, _ in self.causes if called == name]


@asynccontextmanager
async def a_life(
    engine: WorkflowEnvironment, strict: SandboxedWorkflowRunner, name: str, tracer: Tracer
) -> AsyncIterator[tuple[Life, Noting]]:
    """A life whose client and workers say why, and trace where the tracer does."""
    config = engine.client.config() | {"interceptors": [CallCauses(tracer)]}
    client, acts = Client(**config), Noting()  # type: ignore[arg-type]
    ids = LifeIds("default", "connection", f"{CAUSED}-{name}", f"conn_{name}", "acme", "ann")
    now = await engine.get_current_time()
    script = Script(Loaded("active"), HOUR)
    script.grant(1, now)
    acts.scripts[ids.life_id] = script
    guard = Guard(tracer)
    lives = Worker(
        client,
        task_queue=f"{QUEUE}-{name}",
        workflows=WORKFLOWS,
        activities=[acts.load],
        workflow_runner=strict,
        interceptors=[guard, Causes(mark_with(tracer))],
    )
    providers = Worker(
        client, task_queue=provider_queue(ids.provider_id), activities=[acts.refresh], interceptors=[guard]
    )
    async with lives, providers:
        handle = await client.start_workflow(
            ConnectionLife.run,
            LifeStart(ids),
            id=workflow_id(ids.workspace_id, ids.kind, ids.provider_id, ids.life_id),
            task_queue=f"{QUEUE}-{name}",
        )
        life = Life(engine, ids, script, handle)
        await life.until(lambda view: view.generation == 1)
        yield life, acts
        await handle.terminate()


async def test_a_readers_request_is_known_to_the_refresh_it_causes(
    engine: WorkflowEnvironment, strict: SandboxedWorkflowRunner
) -> None:
    async with a_life(engine, strict, "asked", UNTRACED) as (life, acts):
        with bound_contextvars(request_id="asked-1"):
            await life.fresh()
        assert acts.of("refresh") == [{REQUEST_ID: "asked-1"}]
        _, _, names = acts.causes[-1]
        assert names == {
            "activity": "refresh",
            "workflow_id": life.handle.id,
            "life_id": life.ids.life_id,
            "provider": life.ids.provider_id,
            "request_id": "asked-1",
        }


async def test_what_a_timer_begins_has_no_cause(engine: WorkflowEnvironment, strict: SandboxedWorkflowRunner) -> None:
    async with a_life(engine, strict, "timer", UNTRACED) as (life, acts):
        with bound_contextvars(request_id="asked-1"):
            await life.fresh()
        await life.sleep(hours=1)
        await life.called("refresh", 2)
        assert acts.of("refresh") == [{REQUEST_ID: "asked-1"}, {}]


async def test_the_trace_of_a_request_leads_to_the_activity(
    engine: WorkflowEnvironment, strict: SandboxedWorkflowRunner
) -> None:
    async with a_life(engine, strict, "traced", TRACER) as (life, acts):
        with span(TRACER, "request"):
            asked = cause_now()[TRACE]
            await life.fresh()
        (cause,) = acts.of("refresh")
        assert cause[TRACE].split("-")[1] == asked.split("-")[1]


@pytest.mark.parametrize("recorded", [UNTRACED, TRACER], ids=["untraced", "traced"])
async def test_law_13_a_run_replays_with_traces_and_without(
    engine: WorkflowEnvironment, strict: SandboxedWorkflowRunner, recorded: Tracer
) -> None:
    name = "replayed" if recorded is UNTRACED else "replayed-traced"
    async with a_life(engine, strict, name, recorded) as (life, _):
        with span(recorded, "request"), bound_contextvars(request_id="asked-1"):
            await life.fresh()
        await life.sleep(hours=1)
        await life.called("refresh", 2)
        (history,) = await life.runs()
    assert HEADER in history.to_json()
    every: Sequence[Sequence[Interceptor]] = ([], [Causes()], [Causes(mark_with(TRACER))])
    for interceptors in every:
        replayer = Replayer(workflows=WORKFLOWS, workflow_runner=strict, interceptors=interceptors)
        await replayer.replay_workflow(history)
