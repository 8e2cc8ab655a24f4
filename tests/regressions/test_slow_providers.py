"""Bugs of peers in which a lease ran out under a call that went on."""

from datetime import timedelta
from typing import Any

from activities.messages import Ending
from domain.life import Status

TOKEN = {"jira": "/oauth/token", "plain": "/plain/token"}


async def test_a_lease_that_ends_while_the_provider_is_slow_loses_nothing(stage: Any) -> None:
    """The lock ran out during a slow call, a second worker sent too, and the slower answer overwrote the newer."""
    life = await stage.connected()

    async def slow() -> None:
        stage.clock.now += stage.deps.limits.lease + timedelta(seconds=1)
        assert (await stage.refresh(life)).ending is Ending.CREDENTIALED

    stage.before_sending(TOKEN["jira"], slow)
    generation = (await stage.row(life)).generation
    assert (await stage.refresh(life)).ending is Ending.RELOAD
    row, secrets = await stage.row(life), await stage.secrets(life)
    assert (row.status, row.generation > generation) == (Status.ACTIVE, True)
    assert (await stage.known("refresh", secrets.refresh))["current"]
    assert await stage.valid("access", secrets.access)


async def test_a_lease_that_ends_while_the_provider_is_slow_lets_nobody_send_twice_without_a_window(stage: Any) -> None:
    """The second worker sent the same single-use token, and the provider killed the grant for it."""
    life = await stage.connected(provider="plain")
    old = await stage.secrets(life)
    second: list[Any] = []

    async def slow() -> None:
        stage.clock.now += stage.deps.limits.lease + timedelta(seconds=1)
        second.append(await stage.refresh(life))

    stage.before_sending(TOKEN["plain"], slow)
    assert (await stage.refresh(life)).ending is Ending.CREDENTIALED
    assert (second[0].ending, second[0].code) == (Ending.WAITING, "in_doubt")
    assert (await stage.known("refresh", old.refresh))["outcomes"] == {"rotated": 1}
