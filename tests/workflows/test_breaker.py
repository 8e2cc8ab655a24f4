"""The breaker of a held config waits, sends one life first, releases all, and ends; over stand-ins, time skipped."""

import itertools
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import WorkflowHandle
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from activities.breaker import Look, LookOrder, Released
from activities.messages import ConfigIds
from tests.workflows.conftest import until
from worker import WORKFLOWS
from workflows import breaker
from workflows.breaker import Breaker, details, summary
from workflows.messages import BreakerStart
from workflows.queues import LIFE_QUEUE

MINUTE = timedelta(minutes=1)
FREE = Look()
numbers = itertools.count(1)


@dataclass
class Script:
    """What the stand-ins answer for one config; each look is made with the time it happens at. Empty: it is free."""

    looks: deque[Callable[[datetime], Look]] = field(default_factory=deque)
    releases: deque[Released] = field(default_factory=deque)
    seen: list[tuple[str, datetime, int]] = field(default_factory=list)

    def times(self, name: str) -> list[datetime]:
        return [at for called, at, _ in self.seen if called == name]


class StandIns:
    def __init__(self) -> None:
        self.scripts: dict[str, Script] = {}

    @activity.defn
    async def look(self, order: LookOrder) -> Look:
        script, at = self.scripts[order.config.config_id], activity.info().started_time
        script.seen.append(("look", at, order.turn))
        return script.looks.popleft()(at) if script.looks else FREE

    @activity.defn
    async def release(self, config: ConfigIds) -> Released:
        script = self.scripts[config.config_id]
        script.seen.append(("release", activity.info().started_time, 0))
        return script.releases.popleft() if script.releases else Released(3)


def held(after: timedelta, scout: str = "", kind: str = "outage") -> Callable[[datetime], Look]:
    return lambda now: Look(kind, "server_error", now + after, 7, scout)


@pytest.fixture(scope="module")
async def stand_ins(engine: WorkflowEnvironment, strict: SandboxedWorkflowRunner) -> AsyncIterator[StandIns]:
    acts = StandIns()
    worker = Worker(
        engine.client,
        task_queue=LIFE_QUEUE,
        workflows=WORKFLOWS,
        activities=[acts.look, acts.release],
        workflow_runner=strict,
    )
    async with worker:
        yield acts


Begin = Callable[..., Awaitable[tuple[Script, WorkflowHandle[Any, Any]]]]


@pytest.fixture
def begin(engine: WorkflowEnvironment, stand_ins: StandIns) -> Begin:
    """`await begin(held(MINUTE), …)`: a running breaker and its script."""

    async def start(*looks: Callable[[datetime], Look], releases: tuple[Released, ...] = ()) -> Any:
        config = ConfigIds("default", "sample", f"cfg_{next(numbers)}")
        script = stand_ins.scripts[config.config_id] = Script(deque(looks), deque(releases))
        id_ = f"default/provider-config/sample/{config.config_id}"
        handle = await engine.client.start_workflow(Breaker.run, BreakerStart(config), id=id_, task_queue=LIFE_QUEUE)
        return script, handle

    return start


async def test_it_waits_until_the_hold_is_over_then_releases_and_ends(begin: Begin) -> None:
    script, handle = await begin(held(MINUTE), held(2 * MINUTE, scout="conn_1"))
    await handle.result()
    first, second, third = script.times("look")
    assert second - first >= MINUTE
    assert third - second >= 2 * MINUTE
    assert [name for name, _, _ in script.seen] == ["look", "look", "look", "release"]


async def test_a_message_ends_the_wait_and_several_are_one(engine: WorkflowEnvironment, begin: Begin) -> None:
    script, handle = await begin(held(60 * MINUTE))
    await _reaches(script, "look", 1)
    for _ in range(3):
        await handle.signal(Breaker.look)
    await handle.result()
    looks = script.times("look")
    assert looks[1] - looks[0] < 10 * MINUTE
    assert len(looks) <= 4


async def test_each_scout_is_another_life(begin: Begin) -> None:
    script, handle = await begin(*(held(MINUTE, scout=f"conn_{n}") for n in range(3)), held(MINUTE))
    await handle.result()
    assert [turn for name, _, turn in script.seen if name == "look"] == [0, 1, 2, 3, 3]


async def test_a_release_that_was_held_again_is_waited_for_again(begin: Begin) -> None:
    again = Released(2, held=True)
    script, handle = await begin(lambda _now: FREE, held(MINUTE), releases=(again,))
    await handle.result()
    assert [name for name, _, _ in script.seen] == ["look", "release", "look", "look", "release"]


async def test_the_breaker_of_a_config_that_is_gone_ends_and_releases_nobody(begin: Begin) -> None:
    script, handle = await begin(lambda _now: Look(gone=True))
    await handle.result()
    assert [name for name, _, _ in script.seen] == ["look"]


async def test_a_clock_that_lags_behind_is_not_asked_in_a_circle(begin: Begin) -> None:
    script, handle = await begin(*[held(-MINUTE)] * 3)
    await handle.result()
    looks = script.times("look")
    assert all(later - earlier >= timedelta(seconds=1) for earlier, later in itertools.pairwise(looks))


async def test_a_long_hold_goes_on_in_another_run_and_keeps_its_count(
    begin: Begin, engine: WorkflowEnvironment
) -> None:
    looks = breaker.LOOKS_PER_RUN + 5
    script, handle = await begin(*[held(MINUTE, scout="conn_1")] * looks)
    await handle.result()
    first = await engine.client.get_workflow_handle(handle.id, run_id=handle.first_execution_run_id).describe()
    assert first.status is not None
    assert first.status.name == "CONTINUED_AS_NEW"
    assert [turn for name, _, turn in script.seen if name == "look"] == list(range(looks + 1))


async def _reaches(script: Script, name: str, times: int) -> None:
    async def calls() -> int:
        return len(script.times(name))

    await until(calls, lambda count: count >= times)


def test_its_details_say_why_since_when_when_next_and_how_many_wait() -> None:
    noon = datetime.fromisoformat("2026-03-01T12:00:00+00:00")
    config = ConfigIds("default", "sample", "cfg_1")
    start = BreakerStart(config, since=noon, turn=2)
    look = Look("misconfigured", "client_refused", noon + MINUTE, 7, "conn_1")
    assert summary(config) == "Breaker of provider config cfg_1 of sample"
    assert details(start, look).splitlines() == [
        "**Breaker of provider config cfg_1 of sample**",
        "",
        "- Held: **misconfigured** (client_refused)",
        "- Since: 2026-03-01 12:00:00 UTC",
        "- Next try: 2026-03-01 12:01:00 UTC",
        "- Sent last: conn_1",
        "- Scouts so far: 2",
        "- Waiting: 7",
    ]
    assert "- Held: no\n" in details(start, Look())
