"""Every life that was ever recorded replays: no change of the workflow may reorder the commands of living runs.

The files are made by `tests/end_to_end/in_process/record_histories.py`.
"""

import base64
import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner
from temporalio.workflow import NondeterminismError

from runtime.tracing import mark_with
from tests.upgrade.trees import BEFORE, GUARDED, UNGUARDED
from worker import WORKFLOWS
from workflows import life
from workflows.causes import Causes

FOLDER = Path(__file__).parents[1] / "histories"
FILES = sorted(FOLDER.glob("*.json"))
LIVES = [
    file for file in FILES if not re.search(r"/provider-config/|/events$", json.loads(file.read_text())["workflow_id"])
]
KINDS = {
    "breaker",
    "checked_up_and_held",
    "connection_confirmed",
    "dead_and_repaired",
    "degraded_and_held",
    "deletion",
    "delivery",
    "failed_attempt",
    "held_and_woken",
    "in_doubt",
    "installation_with_a_choice",
    "probed_while_held",
    "refreshes",
    "tells_its_siblings",
    "told_by_a_sibling",
}


def history(file: Path) -> WorkflowHistory:
    recorded = json.loads(file.read_text())
    return WorkflowHistory.from_json(recorded.pop("workflow_id"), recorded)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
async def test_law_13_a_recorded_life_replays(file: Path, strict: SandboxedWorkflowRunner) -> None:
    await Replayer(workflows=WORKFLOWS, workflow_runner=strict).replay_workflow(history(file))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
async def test_law_13_it_replays_in_a_worker_that_traces(file: Path, strict: SandboxedWorkflowRunner) -> None:
    traced = Causes(mark_with(TracerProvider().get_tracer("test")))
    replayer = Replayer(workflows=WORKFLOWS, workflow_runner=strict, interceptors=[traced])
    await replayer.replay_workflow(history(file))


def test_there_is_one_of_each_kind() -> None:
    assert {re.sub(r"^[\d.]+-|-\d+$", "", file.stem) for file in FILES} >= KINDS
    assert any(file.stem.endswith("-2") for file in FILES), "one of them goes through continue-as-new"


REORDERED = {
    "another activity is called": (
        "await calls.refresh(order, forced=self.state.refresh_wanted)",
        "await calls.revoke(self.life)",
    ),
    "a timer comes before each reading of the row": (
        "        self.woken = False\n        loaded",
        "        self.woken = False\n        await workflow.sleep(1)\n        loaded",
    ),
    "the status is written at every fact": (
        "        if self.state.status != self.shown_status:\n",
        "        if True:\n",
    ),
}


@pytest.mark.parametrize("change", REORDERED)
async def test_a_change_of_commands_is_caught(change: str, tmp_path: Path) -> None:
    """A copy of the workflow is changed as somebody might change it; at least one recorded life objects."""
    changed = _changed(*REORDERED[change], tmp_path)
    replayer = Replayer(workflows=[changed.ConnectionLife], workflow_runner=UnsandboxedWorkflowRunner())
    results = [await replayer.replay_workflow(history(file), raise_on_replay_failure=False) for file in LIVES]
    assert any(isinstance(result.replay_failure, NondeterminismError) for result in results)


async def test_a_change_that_is_not_guarded_is_caught_and_the_same_one_guarded_is_not(tmp_path: Path) -> None:
    """`tests/upgrade` runs both as new builds beside living runs: the one takes over, the other leaves them stuck."""
    for after, takes in ((GUARDED, True), (UNGUARDED, False)):
        changed = _changed(BEFORE, after, tmp_path)
        replayer = Replayer(workflows=[changed.ConnectionLife], workflow_runner=UnsandboxedWorkflowRunner())
        results = [await replayer.replay_workflow(history(file), raise_on_replay_failure=False) for file in LIVES]
        objections = [result.replay_failure for result in results if result.replay_failure]
        assert (not objections) is takes
        assert all(isinstance(objection, NondeterminismError) for objection in objections)


async def test_an_unchanged_copy_is_not(tmp_path: Path) -> None:
    same = _changed("class ConnectionLife:", "class ConnectionLife:", tmp_path)
    replayer = Replayer(workflows=[same.ConnectionLife], workflow_runner=UnsandboxedWorkflowRunner())
    for file in LIVES:
        await replayer.replay_workflow(history(file))


def _changed(before: str, after: str, folder: Path) -> ModuleType:
    source = Path(str(life.__file__)).read_text()
    assert source.count(before) == 1, f"the workflow has no such place any more: {before!r}"
    file = folder / "changed_life.py"
    file.write_text(source.replace(before, after))
    spec = importlib.util.spec_from_file_location("changed_life", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_recorded_life_holds_no_secret_and_names_no_machine(file: Path) -> None:
    texts = [file.read_text(), *_payloads(json.loads(file.read_text()))]
    for text in texts:
        assert not re.search(r"authpipe-dev-secret|Bearer |ap_[a-z]+_|\d+@\w|/home/|/root|/tmp|/Users/", text)
    # Codes and tokens of the simulator are long and without a structure; ids of ours are below forty characters.
    for text in texts[1:]:
        assert not re.search(r"[A-Za-z0-9_~+=-]{40,}", text)


def _payloads(value: Any) -> Iterator[str]:
    """All that was said to the engine, decoded."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "data" and isinstance(item, str):
                yield base64.b64decode(item).decode()
            else:
                yield from _payloads(item)
    elif isinstance(value, list):
        for item in value:
            yield from _payloads(item)
