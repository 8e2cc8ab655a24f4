"""Bugs of peers in which two connections to one account broke each other, or drifted apart unseen."""

from datetime import timedelta
from typing import Any

from activities.messages import Ending
from domain.life import Kind


async def both(stage: Any) -> tuple[Any, Any]:
    """The installation and a user's connection, consented to by the same account."""
    installation = await stage.connected()
    return installation, await stage.connected(Kind.CONNECTION, installation_id=installation.id)


async def test_a_refresh_of_one_copy_does_not_touch_the_other(stage: Any) -> None:
    """Both held the same refresh token: whoever refreshed second presented a used one, and the grant was ended."""
    installation, connection = await both(stage)
    mine, theirs = await stage.secrets(installation), await stage.secrets(connection)
    assert mine.refresh != theirs.refresh
    for _ in range(3):
        stage.clock.advance(minutes=30)
        row = await stage.row(installation)
        assert (await stage.refresh(connection)).ending is Ending.CREDENTIALED
        assert await stage.secrets(installation) == mine
        assert (await stage.row(installation)).revision == row.revision
    assert (await stage.known("refresh", mine.refresh))["current"]
    assert (await stage.refresh(installation)).ending is Ending.CREDENTIALED
    assert {grant["counters"]["reuses_outside"] for grant in await stage.ask("GET", "grants")} == {0}


async def test_a_consent_that_ends_the_other_copy_is_told_to_it_at_once(stage: Any) -> None:
    """The provider kept one family of tokens an account; the other copy was served, dead, until its next refresh."""
    installation, connection = await both(stage)
    await stage.ask("PATCH", "settings", second_consent="kill")
    await stage.connect(connection)
    assert (await stage.row(installation)).probe_at == stage.clock.now
    assert (await stage.row(connection)).probe_at > stage.clock.now + timedelta(hours=5)
    assert (await stage.refresh(installation)).ending is Ending.REFUSED
    assert (await stage.refresh(connection)).ending is Ending.CREDENTIALED
