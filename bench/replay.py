"""`make bench`: what the workflow sandbox costs when a life is woken after eviction, as a ratio in one run.

Replays each committed history with and without the sandbox, in turn; no server is needed.
"""

import asyncio
import statistics
import time
from pathlib import Path

from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from workflows.life import ConnectionLife

HISTORIES = Path(__file__).parents[1] / "tests" / "histories"
ROUNDS = 15


async def seconds(history: WorkflowHistory, runner: WorkflowRunner) -> float:
    began = time.perf_counter()
    await Replayer(workflows=[ConnectionLife], workflow_runner=runner).replay_workflow(history)
    return time.perf_counter() - began


async def main() -> None:
    for path in sorted(HISTORIES.glob("*.json")):
        history = WorkflowHistory.from_json("life", path.read_text())
        pairs = [
            (await seconds(history, SandboxedWorkflowRunner()), await seconds(history, UnsandboxedWorkflowRunner()))
            for _ in range(ROUNDS)
        ]
        inside, outside = (statistics.median(times) * 1000 for times in zip(*pairs, strict=True))
        ratio = statistics.median(a / b for a, b in pairs)
        events = len(history.events)
        print(
            f"{path.stem:32} {events:4} events  sandboxed {inside:6.1f} ms  without {outside:6.1f} ms  {ratio:4.1f} x"
        )


if __name__ == "__main__":
    asyncio.run(main())
