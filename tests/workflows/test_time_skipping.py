"""What the other tests rely on: time reaches the moment they ask for, also when a call to the server is lost."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.service import RPCError, RPCStatusCode

from tests.time_skipping import TRIES, pass_time

HOUR = timedelta(hours=1)
BEGAN = datetime(2026, 3, 1, tzinfo=UTC)


class Engine:
    """A server that skips time, and loses the first answers; of each lost call it had done `done` of the way."""

    def __init__(self, losses: int, done: float) -> None:
        self.now, self.losses, self.done = BEGAN, losses, done
        self.asked: list[timedelta] = []

    async def get_current_time(self) -> datetime:
        return self.now

    async def sleep(self, span: timedelta) -> None:
        self.asked.append(span)
        lost = len(self.asked) <= self.losses
        self.now += span * self.done if lost else span
        if lost:
            raise RPCError("Timeout expired", RPCStatusCode.CANCELLED, b"")


@pytest.mark.parametrize(
    ("losses", "done", "asked"), [(0, 0, [HOUR]), (1, 1, [HOUR]), (2, 0.5, [HOUR, HOUR / 2, HOUR / 4])]
)
async def test_after_a_lost_call_only_what_is_left_is_asked_for(losses: int, done: float, asked: Any) -> None:
    engine: Any = Engine(losses, done)
    await pass_time(engine, HOUR)
    assert (engine.now, engine.asked) == (BEGAN + HOUR, asked)


async def test_a_server_that_answers_no_more_ends_the_test() -> None:
    engine: Any = Engine(losses=100, done=0)
    with pytest.raises(TimeoutError, match="did not reach"):
        await pass_time(engine, HOUR)
    assert len(engine.asked) == TRIES
