"""`docs/temporal-ui.md`: its queries are run by a real engine, and what it says of the UI is what workflows write."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.workflow import _Definition

from activities.messages import LifeIds
from domain.credential import CredentialRef
from domain.identity import workflow_id
from domain.life import LifeState, Status
from domain.wakeup import Step, Wakeup
from runtime.temporal import register_search_attributes
from runtime.temporal_server import find_binary
from worker import WORKFLOWS
from workflows.attributes import KEYS, attributes_of
from workflows.details import details, summary, timer_summary
from workflows.queues import LIFE_QUEUE, provider_queue

PAGE = (Path(__file__).parents[2] / "docs" / "temporal-ui.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"```sql\n(.+?)\n```", PAGE)

USER = LifeIds("default", "connection", "jira", "conn_1", "acme", "ann")
LIVES = {
    "app": (LifeIds("default", "installation", "jira", "inst_1", "acme", ""), Status.ACTIVE),
    "ann": (USER, Status.ACTIVE),
    "ben": (replace(USER, life_id="conn_2", user_id="ben"), Status.NEEDS_REAUTH),
    "new": (replace(USER, life_id="conn_3", tenant_id="other", user_id="cem"), Status.PENDING),
    "else": (replace(USER, provider_id="plain", life_id="conn_4", tenant_id="other", user_id="dan"), Status.ACTIVE),
}
GONE = (replace(USER, life_id="conn_5", tenant_id="gone"), Status.ACTIVE)

RUNNING = " AND ExecutionStatus = 'Running'"
FOUND = {
    f"AuthpipeTenant = 'acme'{RUNNING}": {"app", "ann", "ben"},
    f"AuthpipeTenant = 'acme' AND AuthpipeUser = 'ann'{RUNNING}": {"ann"},
    f"AuthpipeTenant = 'acme' AND AuthpipeUser = ''{RUNNING}": {"app"},
    f"AuthpipeProvider = 'jira'{RUNNING}": {"app", "ann", "ben", "new"},
    f"AuthpipeStatus = 'needs_reauth'{RUNNING}": {"ben"},
    f"AuthpipeStatus = 'active'{RUNNING}": {"app", "ann", "else"},
    f"AuthpipeStatus = 'pending'{RUNNING}": {"new"},
    f"WorkflowId STARTS_WITH 'default/installation/jira/'{RUNNING}": {"app"},
    f"WorkflowId STARTS_WITH 'default/connection/jira/'{RUNNING}": {"ann", "ben", "new"},
    "WorkflowId = 'default/connection/jira/conn_1'": {"ann"},
    f"TemporalReportedProblems IS NOT NULL{RUNNING}": set(),
    "AuthpipeTenant = 'acme' AND ExecutionStatus = 'ContinuedAsNew'": set(),
    "WorkflowType = 'ConnectionLife' AND ExecutionStatus = 'Completed'": set(),
    "WorkflowType = 'ConnectionLife' AND ExecutionStatus IN ('Canceled', 'Terminated', 'Failed', 'TimedOut')": {"gone"},
    f"WorkflowType = 'Breaker'{RUNNING}": set(),
    "WorkflowType = 'Reconcile'": set(),
    "WorkflowType = 'Retention'": set(),
}


def id_of(life: LifeIds) -> str:
    return workflow_id(life.workspace_id, life.kind, life.provider_id, life.life_id)


@pytest.fixture(scope="module")
async def engine() -> AsyncIterator[Client]:
    """An engine with one workflow for each of the lives; no worker runs, so they stay as they were started."""
    async with await WorkflowEnvironment.start_local(dev_server_existing_path=str(find_binary())) as environment:
        client = environment.client
        await register_search_attributes(client, KEYS)
        for life, status in (*LIVES.values(), GONE):
            await client.start_workflow(
                "ConnectionLife",
                id=id_of(life),
                task_queue=LIFE_QUEUE,
                search_attributes=attributes_of(life, status),
            )
        await client.get_workflow_handle(id_of(GONE[0])).terminate()
        await _listed(client)
        yield client


async def _listed(client: Client) -> None:
    """The list lags behind by a moment."""
    async with asyncio.timeout(30):
        while await _counts(client) != (len(LIVES), 1):  # noqa: ASYNC110 (the engine sets no event of ours)
            await asyncio.sleep(0.05)


async def _counts(client: Client) -> tuple[int, int]:
    running, ended = [
        (await client.count_workflows(f"ExecutionStatus = '{status}'")).count for status in ("Running", "Terminated")
    ]
    return running, ended


def test_every_query_of_the_page_is_tried_here() -> None:
    assert sorted(QUERIES) == sorted(FOUND)


@pytest.mark.parametrize("query", QUERIES)
async def test_a_query_finds_what_the_page_says(engine: Client, query: str) -> None:
    names = {id_of(life): name for name, (life, _) in {**LIVES, "gone": GONE}.items()}
    found = {names[run.id] async for run in engine.list_workflows(query)}
    assert found == FOUND[query]
    assert (await engine.count_workflows(query)).count == len(found)


def test_the_page_names_every_line_of_the_details() -> None:
    shown = details(USER, LifeState(), Wakeup(Step.WAIT, None))
    rows = [line[2:].partition(":")[0] for line in shown.splitlines() if line.startswith("- ")]
    told = PAGE.partition("The current details:")[2].partition("\n\n#")[0]
    assert re.findall(r"^\| `(.+?)` \|", told, re.MULTILINE) == rows


def test_the_page_names_every_status_and_search_attribute_and_queue_and_workflow() -> None:
    names = [*Status, *(key.name for key in KEYS), LIFE_QUEUE, provider_queue("{provider}")]
    names += [str(_Definition.must_from_class(workflow).name) for workflow in WORKFLOWS]
    assert [name for name in names if f"`{name}`" not in PAGE] == []


def test_the_summaries_on_the_page_are_written_so() -> None:
    assert f'"{summary(USER)}"' in PAGE
    expires_at = datetime(2026, 3, 1, 14, 2, 10, tzinfo=UTC)
    state = LifeState(credential=CredentialRef(7, expires_at - timedelta(hours=1), expires_at))
    waiting = Wakeup(Step.REFRESH, expires_at - timedelta(minutes=5))
    assert f'"{timer_summary(waiting, state)}"' in PAGE
    calls = (Path(__file__).parents[2] / "workflows" / "calls.py").read_text(encoding="utf-8")
    for said in ("refresh generation ", "finish", "probe generation ", "revoke upstream and destroy the secret"):
        assert said in calls
        assert f'"{said}' in PAGE
