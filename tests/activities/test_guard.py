"""What stands around every activity."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from activities.guard import Guard
from activities.messages import Ending, RefreshResult


class Work(ActivityInboundInterceptor):
    """The innermost: runs what the test gives it."""

    def __init__(self, run: Any) -> None:
        self.run = run

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        return await self.run()


async def guarded(run: Any) -> Any:
    async def activity() -> Any:
        nothing = ExecuteActivityInput(run, [], None, {})
        return await Guard().intercept_activity(Work(run)).execute_activity(nothing)

    return await ActivityEnvironment().run(activity)


async def test_law_03_a_cancelled_activity_commits_what_it_has_in_hand() -> None:
    """A worker told to end, or a cancel from Temporal's UI, comes while the provider's answer is only in memory."""
    answered, may_commit, committed = asyncio.Event(), asyncio.Event(), []

    async def refresh() -> None:
        answered.set()
        await may_commit.wait()
        committed.append("the rotated token")

    running = asyncio.create_task(guarded(refresh))
    await answered.wait()
    running.cancel()
    await asyncio.sleep(0)
    may_commit.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert committed == ["the rotated token"]


async def test_an_unexpected_error_tells_its_kind_and_nothing_else() -> None:
    async def fail() -> None:
        raise ValueError("quotes a secret")

    with pytest.raises(ApplicationError) as failed:
        await guarded(fail)
    assert failed.value.type == "ValueError"
    assert "secret" not in str(failed.value)
    assert failed.value.__cause__ is None


async def test_a_piece_of_work_is_one_line_that_says_how_it_ended() -> None:
    async def refresh() -> RefreshResult:
        return RefreshResult(Ending.STUMBLED)

    with capture_logs() as lines:
        await guarded(refresh)
    (line,) = lines
    assert (line["event"], line["ending"]) == ("activity done", "stumbled")
