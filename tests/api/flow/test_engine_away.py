"""The real way to the workflows, with nobody at the other end: told within seconds, and never raised at a reader."""

from datetime import UTC, datetime, timedelta

import pytest
from temporalio.client import Client

from api.lives import Lives
from domain.errors import Problem
from vault.tables import Life

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SOON = timedelta(seconds=0.3)


@pytest.fixture(scope="module")
async def nobody() -> Lives:
    return Lives(await Client.connect("127.0.0.1:1", lazy=True))


@pytest.fixture
def life() -> Life:
    return Life(
        id="conn_1", workspace_id="default", kind="connection", provider_id="jira", provider_config_id="cfg_1",
        tenant_id="acme", attachment="user", status="active", created_at=NOW, updated_at=NOW,
    )  # fmt: skip


async def test_who_waits_hears_that_it_is_pending(nobody: Lives, life: Life) -> None:
    fresh = await nobody.ensure_fresh(life, 3, 0, SOON)
    assert (fresh.generation, fresh.pending) == (3, True)
    assert not await nobody.settled(life, "sess_1", SOON)
    assert not await nobody.choose_site(life, "sess_1", SOON)


async def test_who_asks_for_the_live_state_gets_none(nobody: Lives, life: Life) -> None:
    assert await nobody.view(life) is None
    assert not await nobody.ping()


async def test_who_must_be_heard_is_refused_in_time(nobody: Lives, life: Life) -> None:
    with pytest.raises(Problem, match="temporal_unavailable") as refused:
        await nobody.wake(life)
    assert refused.value.retry_after == 2
