"""Each thing that reconciling finds, and its mend, on a real engine of the test's own and a real vault."""

import asyncio
import io
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import delete
from sqlmodel import col, select, update
from structlog.testing import capture_logs
from temporalio import workflow
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, ScheduleOverlapPolicy, WorkflowExecutionStatus, WorkflowHandle
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker
from typer.testing import CliRunner

from activities.deps import Deps, Limits
from activities.guard import Guard
from activities.reconcile import ReconcileActivities, Reconciled
from api.lives import Lives, workflow_of
from domain.errors import Problem
from domain.life import AttemptState, Kind, Status
from domain.points import go_on
from runtime import reconcile as passes
from runtime import reconcile_daily, running
from runtime.cli import app, main
from runtime.pace import Pace
from runtime.ports import free_port
from runtime.reconcile import PassEnded, reconcile
from runtime.reconcile_command import progress
from runtime.reconcile_report import ADVICE, TITLES, Case, Report
from runtime.sweeper import Sweeper, sweep_for_ever
from runtime.temporal import register_search_attributes
from runtime.temporal_server import DYNAMIC_CONFIG, find_binary
from vault.crypto import Sealer
from vault.database import Database
from vault.deletions import entomb
from vault.ids import new_id
from vault.tables import AuthSession, Credential, Life, Tombstone
from worker import WORKFLOWS, build_workers
from workflows.attributes import KEYS
from workflows.life import ConnectionLife
from workflows.messages import LifeStart
from workflows.queues import LIFE_QUEUE
from workflows.reconcile import Reconcile

PROVIDER = "sample"
HOUR = timedelta(hours=1)
FAST = 1000.0
# The server lists a workflow as stuck after its first failed task, not its fifth: each takes ten seconds.
SOON_STUCK = {"system.numConsecutiveWorkflowTaskProblemsToTriggerSearchAttribute": "1"}


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


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


@pytest.fixture
async def place(db: Database, sealer: Sealer) -> AsyncIterator[Place]:
    tuned = (("--dynamic-config-value", f"{name}={value}") for name, value in (DYNAMIC_CONFIG | SOON_STUCK).items())
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(find_binary()), dev_server_extra_args=[word for pair in tuned for word in pair]
    ) as engine:
        yield Place(engine.client, db, sealer)


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


# --- what a pass finds -----------------------------------------------------------------------------------------------


async def test_living_rows_without_a_workflow_are_started_the_first_due_first(place: Place) -> None:
    now = wall_clock()
    rows = [await place.row(f"user-{n}", next_due_at=now + timedelta(minutes=60 - n)) for n in range(10)]
    dead = await place.row("dead", status=Status.NEEDS_REAUTH, next_due_at=None)
    await place.row("gone", status=Status.REVOKED)
    order = [*reversed(rows), dead]
    woken: list[str] = []

    class Noted(Lives):
        async def wake(self, life: Life) -> None:
            woken.append(life.id)
            await super().wake(life)

    report = await reconcile(place.db, Noted(place.client), place.client, wall_clock, Pace(FAST))
    assert told(report) == {Case.NOT_RUNNING: (11, 11, 0)}
    assert (report.living, report.running, report.left) == (11, 0, 0)
    assert woken == [life.id for life in order]
    assert [await place.heard(life) for life in order] == [["wake"]] * 11


async def test_a_pass_after_a_pass_finds_nothing(place: Place) -> None:
    life = await place.row()
    await place.run()
    await until(lambda: place.lists(workflow_of(life)))
    report = await place.run()
    assert (told(report), report.living, report.running) == ({}, 1, 1)


async def test_passes_at_once_start_each_life_once(place: Place) -> None:
    rows = [await place.row(f"user-{n}") for n in range(5)]
    await asyncio.gather(*(place.run() for _ in range(3)))
    runs = [found.id async for found in place.client.list_workflows(running.LIVES)]
    assert sorted(runs) == sorted(map(workflow_of, rows))


async def test_an_overdue_row_is_woken_once_although_it_did_not_run_either(place: Place) -> None:
    late = timedelta(minutes=6)
    lazy = await place.row("lazy", next_due_at=wall_clock() - late)
    lost = await place.row("lost", next_due_at=wall_clock() - late)
    asked = await place.row("asked", probe_at=wall_clock() - late)
    await place.started(lazy)
    await place.started(asked)
    report = await place.run()
    assert told(report) == {Case.NOT_RUNNING: (1, 1, 0), Case.OVERDUE: (2, 2, 0), Case.PROBE_DUE: (1, 1, 0)}
    assert await place.heard(lazy) == ["wake", "wake"]
    assert await place.heard(asked) == ["wake", "wake"]
    assert await place.heard(lost) == ["wake"]


@workflow.defn(name="ConnectionLife")
class Broken:
    """A life whose every task fails: a version with a mistake in it."""

    @workflow.run
    async def run(self, _start: LifeStart) -> None:
        raise RuntimeError("a mistake")


@asynccontextmanager
async def mistaken(client: Client) -> AsyncIterator[None]:
    runner = UnsandboxedWorkflowRunner()
    async with Worker(client, task_queue=LIFE_QUEUE, workflows=[Broken], workflow_runner=runner):
        yield


async def failing(place: Place, life: Life) -> bool:
    described = await place.handle(life).describe()
    return bool(described.raw_description.pending_workflow_task.attempt >= 2)


@pytest.mark.slow
async def test_a_stuck_workflow_is_started_anew_from_its_row_and_reported(place: Place) -> None:
    life, well = await place.row("stuck"), await place.row("well")
    async with mistaken(place.client):
        first = (await (await place.started(life)).describe()).run_id
        await until(lambda: running.stuck_lives(place.client, []))
    untouched = (await (await place.started(well)).describe()).run_id
    report = await place.run()
    assert told(report) == {Case.STUCK: (1, 1, 1)}
    assert report.findings[Case.STUCK].examples == [life.id]
    assert (await place.handle(well).describe()).run_id == untouched
    async with place.working():
        view = await until(lambda: at_generation(place, life, 1))
        assert view.status == Status.ACTIVE
    described = await place.handle(life).describe()
    assert (described.run_id != first, described.status) == (True, WorkflowExecutionStatus.RUNNING)


async def test_where_the_server_keeps_no_list_of_the_stuck_the_overdue_ones_are_asked(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "STUCK", f"{running.LIVES} AND NoSuchAttribute IS NOT NULL")
    monkeypatch.setattr(running, "ATTEMPTS_OF_A_STUCK_TASK", 2)
    overdue = wall_clock() - timedelta(minutes=6)
    life, well = await place.row("stuck", next_due_at=overdue), await place.row("well", next_due_at=overdue)
    async with mistaken(place.client):
        first = (await (await place.started(life)).describe()).run_id
        await until(lambda: failing(place, life))
    untouched = (await (await place.started(well)).describe()).run_id
    assert told(await place.run()) == {Case.OVERDUE: (2, 2, 0), Case.STUCK: (1, 1, 1)}
    assert (await place.handle(life).describe()).run_id != first
    assert (await place.handle(well).describe()).run_id == untouched


async def has_read_its_row(handle: WorkflowHandle[Any, Any]) -> bool:
    return (await handle.query(ConnectionLife.life_view)).next_step != "load"


async def test_a_workflow_without_a_row_ends_by_itself_and_is_reported(place: Place) -> None:
    life, other = await place.row("gone"), await place.row("here")
    async with place.working():
        handle = await place.started(life)
        await place.started(other)
        # One that has not read its row yet would find it gone, and end before anybody looks.
        await until(lambda: has_read_its_row(handle))
        async with place.db.transaction() as tx:
            await tx.exec(delete(Life).where(col(Life.id) == life.id))
        report = await place.run()
        assert told(report) == {Case.WITHOUT_ROW: (1, 1, 1)}
        assert report.advice(Case.WITHOUT_ROW) == ADVICE[Case.WITHOUT_ROW]
        await handle.result()
    assert await place.status(other) == WorkflowExecutionStatus.RUNNING


async def test_a_workflow_of_a_revoked_row_ends_and_leaves_nothing_to_do(place: Place) -> None:
    life = await place.row()
    handle = await place.started(life)
    await place.change(life, status=Status.REVOKED, deleted_at=wall_clock())
    assert told(await place.run()) == {Case.ENDED_ROW: (1, 1, 0)}
    async with place.working():
        await handle.result()


async def test_a_workflow_that_has_ended_since_it_was_listed_is_no_finding(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def listed(_client: Client) -> set[str]:
        return {"default/connection/sample/conn_gone"}

    monkeypatch.setattr(passes, "running_lives", listed)
    assert told(await place.run()) == {}


async def test_workflows_of_another_database_are_left_alone(place: Place) -> None:
    mine = await place.row("mine")
    strangers = [await place.row(f"user-{n}") for n in range(11)]
    for life in (mine, *strangers):
        await place.started(life)
    async with place.db.transaction() as tx:
        await tx.exec(delete(Life).where(col(Life.id).in_([life.id for life in strangers])))
    report = await place.run()
    assert report.wrong_database
    assert told(report) == {Case.WITHOUT_ROW: (11, 0, 11)}
    assert "is this the right database" in report.advice(Case.WITHOUT_ROW)
    assert [await place.heard(life) for life in strangers] == [["wake"]] * 11


async def test_an_unfinished_deletion_is_signalled_and_ends(place: Place) -> None:
    life = await place.row()
    await place.started(life)
    long_ago = wall_clock() - HOUR
    await entomb(place.db, life.id, long_ago)
    async with place.db.transaction() as tx:
        await tx.exec(delete(Credential))
    assert told(await place.run()) == {Case.TOMBSTONE: (1, 1, 0)}
    async with place.working():
        await place.handle(life).result()
    assert (await place.read(life)).status == Status.REVOKED


async def test_a_callback_that_went_unheard_is_signalled(place: Place) -> None:
    now = wall_clock()
    life = await place.row(status=Status.PENDING, generation=0, next_due_at=None)
    session = AuthSession(
        id=new_id("sess"),
        workspace_id="default",
        life_id=life.id,
        kind=life.kind,
        provider_id=PROVIDER,
        provider_config_id="cfg_1",
        tenant_id="acme",
        state=AttemptState.EXCHANGING,
        redirect_url="http://localhost/done",
        oauth_redirect_url="http://localhost/oauth/callback",
        opened_by="secret",
        consumed_at=now - HOUR,
        created_at=now - HOUR,
        expires_at=now,
    )
    async with place.db.transaction() as tx:
        tx.add(session)
    assert told(await place.run()) == {Case.NOT_RUNNING: (1, 1, 0), Case.SESSION: (1, 1, 0)}
    assert await place.heard(life) == ["wake", "authorization_returned"]


async def test_a_connection_of_a_deleted_installation_is_deleted_too(place: Place) -> None:
    installation = await place.row("", kind=Kind.INSTALLATION, status=Status.REVOKED, deleted_at=wall_clock())
    life = await place.row(installation_id=installation.id)
    await place.started(life)
    assert told(await place.run()) == {Case.CUT_OFF: (1, 1, 0)}
    assert (await place.read(life)).deleted_at is not None
    async with place.db.reading() as tx:
        assert (await tx.exec(select(Tombstone.life_id))).all() == [life.id]
    assert await place.heard(life) == ["wake", "delete"]


async def test_a_row_at_odds_with_its_credential_is_reported_and_not_touched(place: Place) -> None:
    life = await place.row()
    await place.started(life)
    await place.change(life, generation=3)
    report = await place.run()
    assert told(report) == {Case.CREDENTIAL_GENERATION: (1, 0, 1)}
    assert report.advice(Case.CREDENTIAL_GENERATION)
    assert ((await place.read(life)).generation, await place.heard(life)) == (3, ["wake"])


async def at_generation(place: Place, life: Life, generation: int) -> Any:
    view = await place.lives.view(life)
    return view if view and view.next_step != "load" and view.generation == generation else None


@pytest.mark.parametrize("generation", [1, 3], ids=["the vault went back", "the vault went on"])
async def test_a_workflow_at_odds_with_its_row_reads_it_again(place: Place, generation: int) -> None:
    life, well = await place.row("apart", generation=2), await place.row("well")
    async with place.db.transaction() as tx:
        await tx.exec(update(Credential).where(col(Credential.life_id) == life.id).values(generation=2))
    async with place.working():
        await place.started(life)
        await place.started(well)
        await until(lambda: at_generation(place, life, 2))
        await until(lambda: at_generation(place, well, 1))
        async with place.db.transaction() as tx:
            await tx.exec(update(Credential).where(col(Credential.life_id) == life.id).values(generation=generation))
        await place.change(life, generation=generation)
        report = await place.run()
        assert told(report) == {Case.WORKFLOW_GENERATION: (1, 1, 0)}
        assert report.findings[Case.WORKFLOW_GENERATION].examples == [life.id]
        await until(lambda: at_generation(place, life, generation))


async def test_without_a_worker_the_generations_of_workflows_are_asked_for_once(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Silent(Lives):
        async def view(self, life: Life) -> None:
            asked.append(life.id)

    for n in range(passes.ASKED_AT_ONCE + 3):
        await place.started(await place.row(f"user-{n}"))
    await reconcile(place.db, Silent(place.client), place.client, wall_clock, Pace(FAST))
    assert len(asked) == passes.ASKED_AT_ONCE


# --- what a pass promises --------------------------------------------------------------------------------------------


async def test_no_more_turns_are_given_than_the_pace_allows_also_after_a_lag() -> None:
    pace, loop = Pace(100), asyncio.get_running_loop()
    given: list[float] = []

    async def take() -> None:
        await pace.turn()
        given.append(loop.time())
        if len(given) == 5:
            time.sleep(0.1)  # noqa: ASYNC251 (the loop itself lags)

    await asyncio.gather(*(take() for _ in range(15)))
    assert min(after - before for before, after in pairwise(given)) >= 0.009


async def test_one_life_that_the_engine_refuses_keeps_no_other_from_being_started(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes, "BETWEEN_TRIES_SECONDS", 0)
    refused = await place.row("refused", id="conn_" + "x" * 1100, next_due_at=wall_clock())
    life = await place.row("taken")
    report = await place.run()
    assert told(report) == {Case.NOT_RUNNING: (1, 1, 0), Case.REFUSED: (1, 0, 1)}
    assert report.findings[Case.REFUSED].examples == [refused.id]
    assert await place.heard(life) == ["wake"]


async def test_an_engine_that_goes_away_in_the_middle_ends_the_pass(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes, "BETWEEN_TRIES_SECONDS", 0)
    nowhere = Lives(await Client.connect(f"127.0.0.1:{free_port()}", lazy=True))
    rows = [await place.row(f"user-{n}") for n in range(3)]
    with pytest.raises(PassEnded, match="Temporal did not answer"):
        await reconcile(place.db, nowhere, place.client, wall_clock, Pace(FAST))
    assert told(await place.run()) == {Case.NOT_RUNNING: (len(rows), len(rows), 0)}


async def test_a_vault_that_goes_away_ends_the_pass(place: Place, tmp_path: Any) -> None:
    empty = Database.open(f"sqlite+aiosqlite:///{tmp_path}/empty.db")
    with pytest.raises(PassEnded, match="the vault did not answer"):
        await reconcile(empty, place.lives, place.client, wall_clock, Pace(FAST))
    await empty.close()


def test_each_case_has_words() -> None:
    assert set(TITLES) == set(Case)
    assert set(ADVICE) < set(Case)


# --- inside the engine -----------------------------------------------------------------------------------------------


async def test_the_daily_schedule_is_made_once_and_made_anew_when_it_is_missing(place: Place) -> None:
    made = await asyncio.gather(*(reconcile_daily.ensure_schedule(place.client) for _ in range(3)))
    assert Counter(made) == {True: 1, False: 2}
    assert not await reconcile_daily.ensure_schedule(place.client)
    handle = place.client.get_schedule_handle(reconcile_daily.SCHEDULE_ID)
    daily = (await handle.describe()).schedule
    assert daily.policy.overlap is ScheduleOverlapPolicy.SKIP
    assert [interval.every for interval in daily.spec.intervals] == [timedelta(days=1)]
    await handle.delete()
    assert await reconcile_daily.ensure_schedule(place.client)


async def test_a_store_that_lacked_the_schedule_takes_lives_from_then_on(place: Place) -> None:
    life = await place.row()
    with pytest.raises(Problem, match="temporal_unavailable"):
        await place.lives.wake(life)
    await reconcile_daily.ensure_schedule(place.client)
    await place.lives.wake(life)
    assert await place.heard(life) == ["wake"]


async def test_the_schedule_runs_a_pass(place: Place) -> None:
    life = await place.row()
    await reconcile_daily.ensure_schedule(place.client)
    async with place.working():
        await place.client.get_schedule_handle(reconcile_daily.SCHEDULE_ID).trigger()
        await until(lambda: place.lists(workflow_of(life)))


async def test_workers_that_start_together_make_one_pass_whose_history_holds_counts(place: Place) -> None:
    life = await place.row()
    await asyncio.gather(*(reconcile_daily.ask_for_pass(place.client) for _ in range(10)))
    handle = place.client.get_workflow_handle_for(Reconcile.run, reconcile_daily.NOW_ID)
    async with place.working():
        outcome = await handle.result()
    assert outcome == Reconciled(1, 0, found={"not_running": 1}, mended={"not_running": 1}, left={})
    assert life.id not in (await handle.fetch_history()).to_json()
    runs = [found.id async for found in place.client.list_workflows('WorkflowType = "Reconcile"')]
    assert runs == [reconcile_daily.NOW_ID]


async def asked_by_a_new_worker(place: Place, monkeypatch: pytest.MonkeyPatch, clock: Callable[[], datetime]) -> int:
    """How many passes there are once a worker has begun to sweep."""
    monkeypatch.setattr("runtime.sweeper.EVERY", timedelta(milliseconds=10))
    swept = asyncio.Event()

    class Told(Sweeper):
        async def sweep(self) -> int:
            swept.set()
            return 0

    sweeping = asyncio.create_task(sweep_for_ever(Told(place.db, place.lives, clock, Pace(FAST)), place.client))
    async with asyncio.timeout(30):
        await swept.wait()
    await ended(sweeping)
    return len([run async for run in place.client.list_workflows(f'WorkflowId = "{reconcile_daily.NOW_ID}"')])


async def test_a_worker_asks_for_no_pass_within_ten_minutes_of_the_last(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await reconcile_daily.ensure_schedule(place.client)
    assert await asked_by_a_new_worker(place, monkeypatch, wall_clock) == 1
    async with place.working():
        await place.client.get_workflow_handle(reconcile_daily.NOW_ID).result()
    assert await asked_by_a_new_worker(place, monkeypatch, wall_clock) == 1
    assert await asked_by_a_new_worker(place, monkeypatch, lambda: wall_clock() + timedelta(minutes=11)) == 2


async def test_a_pass_that_was_ended_by_hand_is_asked_for_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    await reconcile_daily.ensure_schedule(place.client)
    await reconcile_daily.ask_for_pass(place.client)
    await place.client.get_workflow_handle(reconcile_daily.NOW_ID).terminate()
    assert await asked_by_a_new_worker(place, monkeypatch, wall_clock) == 2


async def test_a_worker_that_ends_gives_its_pass_to_another(place: Place) -> None:
    begun, ends = asyncio.Event(), asyncio.Event()

    async def long() -> Reconciled:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ends.set()
        raise AssertionError

    async def short() -> Reconciled:
        return Reconciled(living=7)

    def worker(run: Callable[[], Awaitable[Reconciled]]) -> Worker:
        acts = ReconcileActivities(run)
        return Worker(
            place.client,
            task_queue=LIFE_QUEUE,
            workflows=WORKFLOWS,
            activities=[acts.reconcile],
            interceptors=[Guard()],
            graceful_shutdown_timeout=HOUR,  # it is not waited for
        )

    await reconcile_daily.ask_for_pass(place.client)
    async with asyncio.timeout(30), worker(long):
        await begun.wait()
    assert ends.is_set()
    async with worker(short):
        assert (await place.client.get_workflow_handle(reconcile_daily.NOW_ID).result())["living"] == 7


async def test_a_store_that_was_lost_is_noticed_by_the_sweep_and_its_lives_are_started(place: Place) -> None:
    """Nothing is known to this engine: neither our schedule nor our search attributes."""
    life = await place.row()
    sweeper = Sweeper(place.db, place.lives, wall_clock, Pace(FAST))
    async with place.working():
        sweeping = asyncio.create_task(sweep_for_ever(sweeper, place.client))
        await until(lambda: place.lists(workflow_of(life)))
        await ended(sweeping)
    assert (await place.client.get_schedule_handle(reconcile_daily.SCHEDULE_ID).describe()).id


async def test_the_sweep_wakes_what_is_overdue_and_what_is_to_be_probed(place: Place) -> None:
    late = wall_clock() - timedelta(minutes=6)
    overdue, probe = await place.row("overdue", next_due_at=late), await place.row("probe", probe_at=late)
    await place.row("well")
    await place.run()
    with capture_logs() as lines:
        assert await Sweeper(place.db, place.lives, wall_clock, Pace(FAST)).sweep() == 2
    assert [line["event"] for line in lines] == ["signalled again"]
    assert (await place.heard(overdue), await place.heard(probe)) == (["wake", "wake"], ["wake", "wake"])


async def test_a_sweep_that_fails_is_made_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.sweeper.EVERY", timedelta(milliseconds=10))

    class Stubborn(Sweeper):
        tries = 0

        async def sweep(self) -> int:
            self.tries += 1
            raise RuntimeError("anything at all")

    sweeper = Stubborn(place.db, place.lives, wall_clock, Pace(FAST))
    with capture_logs() as lines:
        sweeping = asyncio.create_task(sweep_for_ever(sweeper, place.client))

        async def again() -> bool:
            return sweeper.tries >= 3

        await until(again)
        await ended(sweeping)
    assert {line["error"] for line in lines} == {"RuntimeError"}


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def command(place: Place, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`await command("--json")`: runs it in a thread, since it has an event loop of its own."""
    monkeypatch.setenv("AUTHPIPE_DATABASE_URL", sqlite_url)
    monkeypatch.setenv("TEMPORAL_ADDRESS", place.client.service_client.config.target_host)

    async def run(*arguments: str) -> Any:
        return await asyncio.to_thread(CliRunner().invoke, app, ["reconcile", *arguments])

    return run


async def test_the_command_works_without_a_worker_and_ends_with_0_when_nothing_is_left(
    place: Place, command: Any
) -> None:
    life = await place.row()
    ended = await command()
    assert ended.exit_code == 0, ended.output
    assert "1 living rows, 0 running workflows" in ended.stdout
    assert "mended" in ended.stdout
    assert await place.heard(life) == ["wake"]
    await until(lambda: place.lists(workflow_of(life)))
    assert "Nothing was amiss." in (await command()).stdout


async def test_the_command_ends_with_1_and_says_what_to_do_when_something_is_left(place: Place, command: Any) -> None:
    life = await place.row()
    await place.started(life)
    await place.change(life, generation=3)
    ended = await command("--json")
    assert ended.exit_code == 1
    said = json.loads(ended.stdout)
    assert (said["living"], said["running"], said["left"]) == (1, 1, 1)
    assert said["findings"]["credential_generation"] == {
        "found": 1,
        "mended": 0,
        "left": 1,
        "examples": [life.id],
        "advice": ADVICE[Case.CREDENTIAL_GENERATION],
    }


@pytest.mark.parametrize("away", ["TEMPORAL_ADDRESS", "AUTHPIPE_DATABASE_URL"])
def test_the_command_says_in_one_line_what_does_not_answer_and_ends_with_2(
    away: str, sqlite_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("TEMPORAL_ADDRESS", nowhere)
    monkeypatch.setenv("AUTHPIPE_DATABASE_URL", sqlite_url)
    if away == "AUTHPIPE_DATABASE_URL":
        monkeypatch.setenv(away, f"postgresql://nobody@{nowhere}/none")
    monkeypatch.setattr("sys.argv", ["authpipe", "reconcile"])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert (ended.value.code, len(said.splitlines())) == (2, 1)
    assert said.startswith("authpipe: Temporal does not answer" if away == "TEMPORAL_ADDRESS" else "authpipe: the data")


class Terminal(io.StringIO):
    """A terminal that remembers what was drawn on it."""

    def isatty(self) -> bool:
        return True


def test_who_waits_at_a_terminal_sees_how_far_it_is_and_a_file_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    for stderr in (Terminal(), io.StringIO()):
        monkeypatch.setattr("sys.stderr", stderr)
        with progress() as say:
            say("starting what does not run", 3, 10)
        drawn.append(stderr.getvalue())
    assert "starting what does not run" in drawn[0]
    assert "3/10" in drawn[0]
    assert drawn[1] == ""
