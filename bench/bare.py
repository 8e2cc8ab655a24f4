"""`python -m bench.bare ADDRESS FILE`: the least that a loop of timer and activity can be on this engine.

A workflow that sleeps and calls an activity that does nothing; a worker of its own, without sandbox and compression as
ours, and with nothing that holds it back: ours takes fewer tasks at once. FILE gets a line for each call.
"""

import asyncio
import signal
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TextIO

import uvloop
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.service import GrpcCompression
from temporalio.worker import PollerBehaviorAutoscaling, UnsandboxedWorkflowRunner, Worker

QUEUE = "bench-bare"
ONE_TRY = timedelta(seconds=60)
NEXT = timedelta(days=24)
CACHED = 2000
STARTS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Plan:
    """One turn within `spread` seconds of `first_at`, in seconds since the epoch; then the loop waits for another."""

    first_at: float
    spread: float


@workflow.defn(name="BenchBare")
class Bare:
    @workflow.run
    async def run(self, plan: Plan) -> None:
        await workflow.sleep(plan.first_at - workflow.time() + workflow.random().uniform(0, plan.spread))
        while True:
            await workflow.execute_activity_method(Activities.nothing, start_to_close_timeout=ONE_TRY)
            await workflow.sleep(NEXT)


class Activities:
    def __init__(self, noted: TextIO) -> None:
        self._noted = noted

    @activity.defn
    async def nothing(self) -> None:
        print(file=self._noted)


async def start(client: Client, round_name: str, count: int, plan: Plan) -> None:
    """So many of them."""
    numbers = iter(range(count))

    async def one_by_one() -> None:
        for number in numbers:
            await client.start_workflow(Bare.run, plan, id=f"{round_name}-{number}", task_queue=QUEUE)

    await asyncio.gather(*(one_by_one() for _ in range(STARTS_AT_ONCE)))


def count(file: Path) -> int:
    """How many calls there were."""
    return file.read_bytes().count(b"\n") if file.exists() else 0


async def main(address: str, file: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    client = await Client.connect(address, grpc_compression=GrpcCompression.NONE)
    with Path(file).open("a", buffering=1) as noted:
        worker = Worker(
            client,
            task_queue=QUEUE,
            workflows=[Bare],
            activities=[Activities(noted).nothing],
            workflow_runner=UnsandboxedWorkflowRunner(),
            max_cached_workflows=CACHED,
            workflow_task_poller_behavior=PollerBehaviorAutoscaling(minimum=2, maximum=50, initial=5),
            activity_task_poller_behavior=PollerBehaviorAutoscaling(minimum=1, maximum=20, initial=2),
        )
        async with worker:
            await stop.wait()


def command(address: str, file: Path) -> tuple[str, ...]:
    return (sys.executable, "-m", "bench.bare", address, str(file))


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2]))
