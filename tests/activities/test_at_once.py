"""Several lives of one grant move at the same moment: nobody waits in a circle, and no verdict is lost."""

from typing import Any

from activities.messages import Ending
from domain.life import Kind, Status
from vault.deletions import entomb

REVOKED = {"status": 400, "body": {"error": "invalid_grant"}}


async def sharing(stage: Any, count: int) -> list[Any]:
    """Users of the builder who are all one account at the provider."""
    return [await stage.connected(Kind.CONNECTION, provider="plain", user_id=f"user-{n}") for n in range(count)]


async def test_lives_of_one_grant_that_are_refused_at_once_all_learn_of_it(stage: Any, together: Any) -> None:
    lives = await sharing(stage, 8)
    await stage.fault("plain.token", "status", times=99, **REVOKED)
    results = await together(*(stage.refresh(life) for life in lives))
    assert [result.ending for result in results] == [Ending.REFUSED] * 8
    assert {(await stage.row(life)).status for life in lives} == {Status.NEEDS_REAUTH}
    assert {outcome for life in lives for outcome in await stage.outcomes(life)} == {"refused"}


async def test_consents_of_one_account_at_once_are_all_accepted(stage: Any, together: Any) -> None:
    lives = await sharing(stage, 3)
    back = [await stage.come_back(life) for life in lives]
    results = await together(*(stage.advance(life, session) for life, session in zip(lives, back, strict=True)))
    assert [result.ending for result in results] == [Ending.CREDENTIALED] * 3
    assert all([(await stage.row(life)).probe_at for life in lives][:-1])


async def test_a_deletion_and_a_refusal_of_one_account_at_once_both_happen(stage: Any, together: Any) -> None:
    installation = await stage.connected(provider="plain")
    users = [
        await stage.connected(Kind.CONNECTION, provider="plain", user_id=f"user-{n}", installation_id=installation.id)
        for n in range(3)
    ]
    await stage.fault("plain.token", "status", times=99, **REVOKED)
    buried, *refused = await together(
        entomb(stage.deps.db, installation.id, stage.clock.now), *(stage.refresh(life) for life in users)
    )
    assert {life.id for life in buried} == {installation.id, *(user.id for user in users)}
    assert {result.ending for result in refused} <= {Ending.REFUSED, Ending.RELOAD}
    assert all([(await stage.row(life)).deleted_at for life in (installation, *users)])
