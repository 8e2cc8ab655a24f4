"""What an operator sees in Temporal's UI, and what each run is made of."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from temporalio import workflow
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from activities.messages import Ending, LifeIds, RefreshResult
from domain.credential import CredentialRef
from domain.headline import THE_APP
from domain.life import Attempt, AttemptState, LifeState, Status
from domain.reasons import because
from domain.wakeup import Step, Wakeup
from worker import WORKFLOWS
from workflows.details import details, summary, timer_summary
from workflows.life import ConnectionLife
from workflows.messages import SessionRef
from workflows.queues import MAX_FAIRNESS_KEY, priority, provider_queue

NewLife = Callable[..., Awaitable[Any]]
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
IDS = LifeIds("default", "connection", "sample", "conn_1", "acme", "user-1")


async def test_the_status_is_written_when_it_changes_and_never_else(new_life: NewLife) -> None:
    life = await new_life(0, shown="pending", status=Status.PENDING, attempts=[_open()])
    await life.handle.signal(ConnectionLife.authorization_returned, SessionRef("ses_1"))
    await life.until(lambda v: v.status == "active")
    await life.sleep(days=2)
    life.script.refreshes.append(RefreshResult(Ending.REFUSED, code="grant_revoked"))
    await life.sleep(hours=2)
    await life.until(lambda v: v.status == "needs_reauth")
    assert [_written(event) async for event in _upserts(life)] == ["active", "needs_reauth"]
    shown = (await life.handle.describe()).typed_search_attributes
    assert {pair.key.name: pair.value for pair in shown} == {
        "AuthpipeProvider": "sample",
        "AuthpipeTenant": "acme",
        "AuthpipeUser": "user-1",
        "AuthpipeStatus": "needs_reauth",
    }


async def test_a_run_that_starts_with_the_right_status_does_not_write_it(new_life: NewLife) -> None:
    life = await new_life(1, shown="active")
    await life.sleep(days=2)
    await life.until(lambda v: v.generation > 20)
    assert len(await life.runs()) > 1
    assert [_written(event) async for event in _upserts(life)] == []


async def _upserts(life: Any) -> Any:
    for run in await life.runs():
        for event in run.events:
            if event.HasField("upsert_workflow_search_attributes_event_attributes"):
                yield event


def _written(event: Any) -> str:
    fields = event.upsert_workflow_search_attributes_event_attributes.search_attributes.indexed_fields
    return str(fields["AuthpipeStatus"].data.decode().strip('"'))


def _open() -> Attempt:
    return Attempt("ses_1", AttemptState.PENDING, datetime(2100, 1, 1, tzinfo=UTC))


async def test_the_live_page_can_be_read_without_decoding_anything(new_life: NewLife) -> None:
    life = await new_life(7)
    await life.until(lambda v: v.generation == 7)
    metadata: WorkflowMetadata = await life.handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    page = metadata.current_details.splitlines()
    assert page[0] == "**Connection of sample for user user-1 of tenant acme**"
    assert re.fullmatch(r"It works: it is served until 20\S+ \S+ UTC\. Next: refresh at 20\S+ \S+ UTC\.", page[2])
    assert page[4:8] == ["To do: Nothing.", "", "- Status: **active**", "- Generation: 7"]
    assert "- Next: refresh at 20" in metadata.current_details


async def test_every_timer_and_activity_says_what_it_is_for(new_life: NewLife) -> None:
    life = await new_life()
    await life.fresh()
    (run,) = await life.runs()
    kinds = ("activity_task_scheduled_event_attributes", "timer_started_event_attributes")
    said = [
        event.user_metadata.summary.data.decode().strip('"')
        for event in run.events
        if any(event.HasField(kind) for kind in kinds)
    ]
    assert "read the row" in said
    assert "refresh generation 1, asked for" in said
    assert all(said)


@pytest.mark.parametrize(
    ("life", "line"),
    [
        (IDS, "Connection of sample for user user-1 of tenant acme"),
        (replace(IDS, kind="installation", user_id=""), "Installation of sample for tenant acme"),
    ],
)
def test_a_workflow_is_called_what_it_is(life: LifeIds, line: str) -> None:
    assert summary(life) == line


def test_a_timer_says_how_long_before_the_end_it_fires() -> None:
    def ref(minute: int, second: int = 0) -> LifeState:
        return LifeState(Status.ACTIVE, credential=CredentialRef(1, NOON, NOON.replace(minute=minute, second=second)))

    assert timer_summary(Wakeup(Step.REFRESH, NOON), ref(10)) == "refresh 10 min before 12:10:00 UTC"
    assert timer_summary(Wakeup(Step.REFRESH, NOON), ref(0, 2)) == "refresh 2 s before 12:00:02 UTC"
    assert timer_summary(Wakeup(Step.REFRESH, NOON), ref(0)) == "refresh at 2026-03-01 12:00:00 UTC"
    assert timer_summary(Wakeup(Step.CLOSE_ATTEMPT, NOON), ref(5)) == (
        "close an unfinished consent at 2026-03-01 12:00:00 UTC"
    )
    assert timer_summary(Wakeup(Step.WAIT, None), ref(5)) == "wait for a message at never"


def test_the_live_page_of_a_life_in_trouble() -> None:
    state = LifeState(
        Status.ACTIVE,
        credential=CredentialRef(3, NOON, None),
        failures=2,
        last_error="unavailable",
        held_until=NOON,
        held_reason="client_refused",
        attempts=[Attempt("ses_1", AttemptState.AWAITING_SELECTION, NOON)],
    )
    page, due = details(IDS, state, Wakeup(Step.REFRESH, NOON)).splitlines(), "refresh at 2026-03-01 12:00:00 UTC"
    assert page[2:] == [
        f"No connection is to blame{because('client_refused')}; it is served. Next: {due}.",
        "",
        f"To do: {THE_APP}",
        "",
        "- Status: **active**, degraded",
        "- Generation: 3",
        "- Expires: never",
        "- Next: refresh at 2026-03-01 12:00:00 UTC",
        "- Failures in a row: 2, last: unavailable",
        "- Held: until 2026-03-01 12:00:00 UTC: client_refused",
        "- Open consents: ses_1 awaiting_selection",
    ]
    doubted = LifeState(Status.ACTIVE, doubt="site_lost")
    assert "- Status: **active**, degraded" in details(IDS, doubted, Wakeup(Step.WAIT, None))
    dead = LifeState(Status.NEEDS_REAUTH, "grant_revoked")
    assert "- Status: **needs_reauth** (grant_revoked)" in details(IDS, dead, Wakeup(Step.WAIT, None))


@pytest.mark.parametrize("tenant", ["acme", "t" * 128, "日" * 128])
def test_tenants_share_a_queue_fairly_under_keys_the_server_takes(tenant: str) -> None:
    given = priority(replace(IDS, tenant_id=tenant), 1)
    assert given.fairness_key is not None
    assert len(given.fairness_key.encode()) <= MAX_FAIRNESS_KEY
    assert given.fairness_key != priority(replace(IDS, tenant_id=tenant + "x"), 1).fairness_key


def test_each_provider_has_a_queue_of_its_own() -> None:
    assert provider_queue("sample") == "authpipe-sample"


class TestTheSandbox:
    """Strict here, so that a workflow cannot come to depend on the clock, chance or the world by an import."""

    @pytest.mark.parametrize("kind", WORKFLOWS)
    async def test_every_workflow_runs_in_it(self, kind: type, strict: SandboxedWorkflowRunner) -> None:
        strict.prepare_workflow(workflow._Definition.must_from_class(kind))

    async def test_it_notices_an_import_that_was_not_declared(
        self, strict: SandboxedWorkflowRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = (
            "from temporalio import workflow\nimport colorsys_copy\n\n@workflow.defn\nclass W:\n    @workflow.run\n"
        )
        (tmp_path / "undeclared_workflow.py").write_text(source + "    async def run(self) -> None: ...\n")
        (tmp_path / "colorsys_copy.py").write_text("")
        monkeypatch.syspath_prepend(tmp_path)
        kind: Any = __import__("undeclared_workflow").W
        with pytest.raises(Exception, match="colorsys_copy"):
            strict.prepare_workflow(workflow._Definition.must_from_class(kind))
