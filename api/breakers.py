"""The way to the breakers: who trips one, and who ends a hold, has it look at once."""

import structlog
from temporalio.client import Client
from temporalio.common import Priority, WorkflowIDConflictPolicy

from activities.messages import ConfigIds
from api.engine import within_a_call
from domain.errors import Problem
from domain.identity import workflow_id
from workflows.breaker import Breaker, summary
from workflows.messages import BreakerStart
from workflows.queues import LIFE_QUEUE, NOW

log = structlog.get_logger(__name__)


def breaker_of(config: ConfigIds) -> str:
    """The id of the workflow that releases this config's lives."""
    return workflow_id(config.workspace_id, "provider-config", config.provider_id, config.config_id)


class Breakers:
    """Speaks to the workflows of held configs."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def start(self, config: ConfigIds) -> None:
        """Make sure that it runs. Raises `Problem` while Temporal is away."""
        await self._start(config, None)

    async def look(self, config: ConfigIds) -> None:
        """Make sure that it runs and looks at the row now. It never fails: the sweep makes up for it."""
        try:
            await self._start(config, Breaker.look.__name__)
        except Problem:
            log.warning("a breaker was not told; the sweep starts it", provider_config_id=config.config_id)

    async def _start(self, config: ConfigIds, signal: str | None) -> None:
        async with within_a_call():
            await self._client.start_workflow(
                Breaker.run,
                BreakerStart(config),
                id=breaker_of(config),
                task_queue=LIFE_QUEUE,
                start_signal=signal,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                static_summary=summary(config),
                priority=Priority(priority_key=NOW),
            )
