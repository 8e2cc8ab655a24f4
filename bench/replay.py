"""What the workflow sandbox costs when a life is woken after eviction (docs/adr/0003).

Replays each committed history with and without the sandbox, in turn; no server is needed.
"""

import time
from pathlib import Path

from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from bench.report import Report, Table, median
from bench.sizes import Sizes
from worker import WORKFLOWS

HISTORIES = Path(__file__).parents[1] / "tests" / "histories"


async def measure(sizes: Sizes) -> Report:
    rows = [await _row(path, sizes.replays) for path in sorted(HISTORIES.glob("*.json"))]
    columns = ("history", "events", "sandboxed, ms", "without, ms", "of without")
    return Report("replay", [Table("Replaying a history", columns, rows)])


async def _row(path: Path, rounds: int) -> tuple[str, ...]:
    history = WorkflowHistory.from_json("life", path.read_text())
    pairs = [
        (
            await _milliseconds(history, SandboxedWorkflowRunner()),
            await _milliseconds(history, UnsandboxedWorkflowRunner()),
        )
        for _ in range(rounds)
    ]
    inside, outside = (median(times) for times in zip(*pairs, strict=True))
    ratio = median(a / b for a, b in pairs)
    return path.stem, str(len(history.events)), f"{inside:.1f}", f"{outside:.1f}", f"{ratio:.1f}"


async def _milliseconds(history: WorkflowHistory, runner: WorkflowRunner) -> float:
    began = time.perf_counter()
    await Replayer(workflows=WORKFLOWS, workflow_runner=runner).replay_workflow(history)
    return 1000 * (time.perf_counter() - began)
