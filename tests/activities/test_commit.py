"""A provider's answer is committed although the database is away, and never longer than the lease."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from activities import commit
from activities.commit import commit_within

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class Slept:
    """Stands for `asyncio`: sleeping moves the clock."""

    def __init__(self) -> None:
        self.now = NOW

    async def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> Slept:
    slept = Slept()
    monkeypatch.setattr(commit, "asyncio", slept)
    return slept


def failing(times: int, error: Exception) -> Any:
    left = [error] * times

    async def write() -> str:
        if left:
            raise left.pop()
        return "written"

    return write


@pytest.mark.parametrize(
    "error",
    [OperationalError("", {}, OSError()), DBAPIError("", {}, OSError()), PoolTimeout(), ConnectionRefusedError()],
)
async def test_a_database_that_is_away_is_waited_for(slept: Slept, error: Exception) -> None:
    assert await commit_within(failing(8, error), lambda: slept.now, NOW + timedelta(seconds=30)) == "written"


async def test_waiting_ends_inside_the_lease(slept: Slept) -> None:
    until = NOW + timedelta(seconds=30)
    with pytest.raises(ConnectionRefusedError):
        await commit_within(failing(999, ConnectionRefusedError()), lambda: slept.now, until)
    assert NOW + timedelta(seconds=25) < slept.now < until


async def test_a_lease_that_is_over_still_allows_one_write(slept: Slept) -> None:
    assert await commit_within(failing(0, OSError()), lambda: slept.now, NOW - timedelta(seconds=1)) == "written"


@pytest.mark.parametrize("error", [IntegrityError("", {}, OSError()), ValueError()])
async def test_what_will_not_heal_is_raised_at_once(slept: Slept, error: Exception) -> None:
    with pytest.raises(type(error)):
        await commit_within(failing(1, error), lambda: slept.now, NOW + timedelta(seconds=30))
    assert slept.now == NOW
