"""Each thing that reconciling finds, and its mend, on a real engine and a real vault."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import delete
from sqlmodel import col, select, update
from temporalio import workflow
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from api.lives import Lives, workflow_of
from domain.life import AttemptState, Kind, Status
from runtime import reconcile as passes
from runtime import running
from runtime.pace import Pace
from runtime.reconcile import reconcile
from runtime.reconcile_report import ADVICE, Case
from runtime.sweeper import Sweeper
from tests.runtime.reconciling.place import FAST, HOUR, PROVIDER, Place, told, until, wall_clock
from vault.deletions import entomb
from vault.ids import new_id
from vault.tables import AuthSession, Credential, Life, Tombstone
from workflows.life import ConnectionLife
from workflows.messages import LifeStart
from workflows.queues import LIFE_QUEUE


class Noted(Lives):
    """Remembers whom it woke."""

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self.woken: list[str] = []

    async def wake(self, life: Life) -> None:
        self.woken.append(life.id)
        await super().wake(life)


async def test_living_rows_without_a_workflow_are_started_the_first_due_first(place: Place) -> None:
    now = wall_clock()
    rows = [await place.row(f"user-{n}", next_due_at=now + timedelta(minutes=60 - n)) for n in range(10)]
    dead = await place.row("dead", status=Status.NEEDS_REAUTH, next_due_at=None)
    await place.row("gone", status=Status.REVOKED)
    order = [*reversed(rows), dead]
    lives = Noted(place.client)
    report = await reconcile(place.db, lives, place.client, wall_clock, Pace(FAST))
    assert told(report) == {Case.NOT_RUNNING: (11, 11, 0)}
    assert (report.living, report.running, report.left) == (11, 0, 0)
    assert lives.woken == [life.id for life in order]
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


async def test_a_life_that_the_worker_cannot_replay_tells_no_state_and_ends_no_pass(place: Place) -> None:
    """A worker of an older build answers each question about such a run with its own failure."""
    life = await place.row("another build's")
    await place.started(life)
    async with place.working():
        await until(lambda: at_generation(place, life, 1))
    async with mistaken(place.client):
        assert await place.lives.view(life) is None
        assert (await place.run()).living == 1


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
    assert told(await place.run()) == {Case.OVERDUE: (2, 1, 1), Case.STUCK: (1, 1, 1)}
    assert (await place.handle(life).describe()).run_id != first
    assert (await place.handle(well).describe()).run_id == untouched


async def test_a_life_whose_task_fails_is_not_told_again_and_again(place: Place) -> None:
    """With each signal Temporal would count its failures anew, and never call it stuck."""
    overdue = wall_clock() - timedelta(minutes=6)
    life, well = await place.row("stuck", next_due_at=overdue), await place.row("well", next_due_at=overdue)
    gone = await place.row("deleted")
    lives = Noted(place.client)
    async with mistaken(place.client):
        for one in (life, gone):
            await place.started(one)
            await until(partial(failing, place, one))
        await entomb(place.db, gone.id, wall_clock() - timedelta(minutes=1))
        assert await Sweeper(place.db, lives, wall_clock, Pace(FAST)).sweep() == 1
    assert lives.woken == [well.id]


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
