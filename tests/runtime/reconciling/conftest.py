"""A real engine for each test of reconciling."""

from collections.abc import AsyncIterator

import pytest
from temporalio.testing import WorkflowEnvironment

from runtime.temporal_server import DYNAMIC_CONFIG, find_binary
from tests.runtime.reconciling.place import Place
from vault.crypto import Sealer
from vault.database import Database

# The server lists a workflow as stuck after its first failed task, not its fifth: each takes ten seconds.
UNPREPARED = {
    "system.numConsecutiveWorkflowTaskProblemsToTriggerSearchAttribute": "1",
    "system.forceSearchAttributesCacheRefreshOnRead": "true",
}
"""A server that is told of our search attributes while it runs, and that soon calls a workflow stuck."""


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


@pytest.fixture
async def place(db: Database, sealer: Sealer) -> AsyncIterator[Place]:
    tuned = (("--dynamic-config-value", f"{name}={value}") for name, value in (DYNAMIC_CONFIG | UNPREPARED).items())
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(find_binary()), dev_server_extra_args=[word for pair in tuned for word in pair]
    ) as engine:
        yield Place(engine.client, db, sealer)
