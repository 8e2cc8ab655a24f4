"""What the engine says is running: by listing, since asking for each life by itself would take far longer.

Listings lag behind by a moment. That a life is missed, or listed after its end, does no harm to who reads them.
"""

from collections.abc import Iterable, Sequence

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import PollerInfo, TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, DescribeTaskQueueResponse
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from api.engine import task_attempt
from workflows.life import ConnectionLife

LIVES = 'WorkflowType = "ConnectionLife" AND ExecutionStatus = "Running"'
# Set by the server on a workflow whose tasks fail again and again; servers before 1.30 do not know the attribute.
STUCK = f"{LIVES} AND TemporalReportedProblems IS NOT NULL"
ATTEMPTS_OF_A_STUCK_TASK = 5


async def running_lives(client: Client) -> set[str]:
    """The workflow ids of all lives that run."""
    return {found.id async for found in client.list_workflows(LIVES)}


async def stuck_lives(client: Client, suspected: Iterable[str]) -> set[str]:
    """Workflow ids of lives whose task fails again and again; if the server keeps no list of them, those among
    the `suspected`.
    """
    try:
        return {found.id async for found in client.list_workflows(STUCK)}
    except RPCError as error:
        if error.status is not RPCStatusCode.INVALID_ARGUMENT:
            raise
    attempts = {found: await task_attempt(client.get_workflow_handle(found)) for found in suspected}
    return {found for found, attempt in attempts.items() if attempt >= ATTEMPTS_OF_A_STUCK_TASK}


async def wake_running(client: Client, workflow_id: str) -> bool:
    """Let a workflow read its row, without ever starting it. False if it does not run any more."""
    try:
        await client.get_workflow_handle(workflow_id).signal(ConnectionLife.wake)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return False
        raise
    return True


async def pollers_of(client: Client, queue: str, *, workflows: bool) -> Sequence[PollerInfo]:
    """Who asked for work of a queue within the last minutes, whether or not it still lives."""
    return (await described_queue(client, queue, workflows=workflows)).pollers


async def described_queue(client: Client, queue: str, *, workflows: bool) -> DescribeTaskQueueResponse:
    """A queue's pollers, and which worker versions its tasks go to."""
    kind = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW if workflows else TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY
    request = DescribeTaskQueueRequest(
        namespace=client.namespace, task_queue=TaskQueue(name=queue), task_queue_type=kind
    )
    return await client.workflow_service.describe_task_queue(request)
