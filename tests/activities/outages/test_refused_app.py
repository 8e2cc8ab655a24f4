"""The provider refuses the app: one event, one call a minute, and nobody else is blamed."""

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from sqlmodel import update

from activities import refresh as refresh_module
from activities.breaker import BreakerActivities, LookOrder, Released
from activities.ids import config_ids_of
from activities.messages import Ending
from domain.holds import MISCONFIGURED_PAUSE
from domain.life import Kind, Status
from tests.activities.outages.steps import (
    TOKEN,
    Told,
    calls,
    connected,
    endings,
    events_of_configs,
    released,
    up,
)
from vault import configs
from vault.tables import Event, ProviderConfig, TokenAttempt

ON_ONE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
RIGHT = "authpipe-dev-secret"


# --- a wrong client secret --------------------------------------------------------------------------------------------


@ON_ONE
async def test_a_wrong_client_secret_is_one_event_and_one_call_a_minute_however_many_connections(
    stage: Any, told: Told
) -> None:
    lives = await connected(stage, 12)
    await stage.ask("POST", "apps/authpipe-dev/rotate-secret", client_secret="another")
    before = await stage.asked(TOKEN)
    for minute in range(1, 3):
        assert await endings(stage, lives) <= Counter({Ending.HELD: 12, Ending.RELOAD: 12})
        assert await calls(stage, before) == minute
        stage.clock.advance(seconds=MISCONFIGURED_PAUSE.total_seconds())
    assert await events_of_configs(stage) == [("provider_config.misconfigured", "client_refused")]
    rows = [await stage.row(life) for life in lives]
    assert {(row.status, row.health, row.failures) for row in rows} == {(Status.ACTIVE, "ok", 0)}
    assert {config.config_id for config in told.tripped} == {stage.configs["plain"].id}

    await stage.ask("POST", "apps/authpipe-dev/rotate-secret", client_secret=RIGHT)
    assert await endings(stage, lives) == {Ending.CREDENTIALED: 12}
    assert (await events_of_configs(stage))[1:] == [("provider_config.recovered", "client_refused")]


async def test_several_that_are_refused_at_once_make_one_event(stage: Any, told: Told) -> None:
    lives = await connected(stage, 8)
    await stage.ask("POST", "apps/authpipe-dev/rotate-secret", client_secret="another")
    results = await asyncio.gather(*(stage.refresh(life) for life in lives))
    assert {result.ending for result in results} <= {Ending.HELD, Ending.RELOAD}
    assert [name for name, _ in await events_of_configs(stage)] == ["provider_config.misconfigured"]


@ON_ONE
async def test_a_new_client_secret_frees_all_at_once(stage: Any, told: Told) -> None:
    lives = await connected(stage, 6)
    await stage.ask("POST", "apps/authpipe-dev/rotate-secret", client_secret="another")
    await endings(stage, lives)
    deps, config = stage.deps, stage.configs["plain"]
    await configs.change(deps.db, deps.sealer, "default", config.id, stage.clock.now, client_secret="another")
    assert await released(stage) == Released(6)
    assert await endings(stage, lives) == {Ending.CREDENTIALED: 6}
    assert [name for name, _ in await events_of_configs(stage)] == [
        "provider_config.misconfigured",
        "provider_config.recovered",
    ]


async def refused(stage: Any, life: Any, error: str = "invalid_client") -> Any:
    """Refresh a life that the provider refuses as the app, with each client secret that there is."""
    await stage.fault(TOKEN, "status", status=401, body={"error": error}, times=None)
    result = await stage.refresh(life)
    await up(stage)
    return result


async def events_of(stage: Any, life: Any) -> list[tuple[str, Any]]:
    return [(e.type, e.data["reason"]) for e in await stage.all(Event, life_id=life.id) if "degraded" in e.type]


# --- one connection that is refused as the app ------------------------------------------------------------------------


@ON_ONE
@pytest.mark.parametrize(
    ("error", "code"), [("invalid_client", "client_refused"), ("unauthorized_client", "client_not_allowed")]
)
async def test_one_that_is_refused_as_the_app_holds_the_others_up_once(
    stage: Any, told: Told, error: str, code: str
) -> None:
    poisoned, *others = await connected(stage, 4)
    assert (await refused(stage, poisoned, error)).ending is Ending.HELD
    await stage.end_pause("plain")
    assert (await stage.refresh(others[0])).ending is Ending.CREDENTIALED
    for _ in range(3):  # nobody is accepted between the second and the last
        stage.clock.advance(seconds=1)
        assert (await refused(stage, poisoned, error)).ending is Ending.STUMBLED
    assert (await stage.config("plain")).hold_kind == ""
    assert await endings(stage, others[1:]) == {Ending.CREDENTIALED: 2}
    row = await stage.row(poisoned)
    assert (row.status, row.health, row.last_error, row.failures) == (Status.ACTIVE, "degraded", code, 3)
    assert row.next_due_at > stage.clock.now
    assert [reason for _, reason in await events_of(stage, poisoned)] == [code]
    names = [name.partition(".")[2] for name, _ in await events_of_configs(stage)]
    assert names == ["misconfigured", "recovered"]
    sends = await stage.all(TokenAttempt, life_id=poisoned.id, kind="refresh")
    assert {attempt.outcome for attempt in sends} == {"operator"}


@ON_ONE
async def test_that_anothers_grant_is_dead_says_too_that_the_app_is_accepted(stage: Any, told: Told) -> None:
    poisoned, other = await connected(stage, 2)
    await refused(stage, poisoned)
    await stage.end_pause("plain")
    await stage.fault(TOKEN, "status", status=400, body={"error": "invalid_grant"})
    assert (await stage.refresh(other)).ending is Ending.REFUSED
    stage.clock.advance(seconds=1)
    assert (await refused(stage, poisoned)).ending is Ending.STUMBLED


@ON_ONE
async def test_the_app_is_held_for_one_life_while_no_other_was_accepted_since(stage: Any, told: Told) -> None:
    first, other = await connected(stage, 2)
    await stage.refresh(other)
    stage.clock.advance(seconds=1)
    for _ in range(2):
        assert (await refused(stage, first)).ending is Ending.HELD
        await stage.end_pause("plain")
    await stage.connected(Kind.CONNECTION, "plain", user_id="new")
    stage.clock.advance(seconds=1)
    assert (await refused(stage, first)).ending is Ending.HELD, "a consent is another grant type"


@ON_ONE
async def test_what_was_accepted_before_the_first_refusal_says_nothing_of_it(stage: Any, told: Told) -> None:
    """Nor where the other's row was written since, by a check-up or whatever it was."""
    first, other = await connected(stage, 2)
    await stage.refresh(other)
    stage.clock.advance(seconds=1)
    assert (await refused(stage, first)).ending is Ending.HELD
    await stage.end_pause("plain")
    stage.clock.advance(seconds=1)
    await stage.set_life(other, probed_at=stage.clock.now)
    assert (await refused(stage, first)).ending is Ending.HELD


@ON_ONE
async def test_what_was_accepted_with_another_client_secret_says_nothing_of_this_one(stage: Any, told: Told) -> None:
    first, other = await connected(stage, 2)
    await refused(stage, first)
    await stage.end_pause("plain")
    await stage.refresh(other)
    stage.clock.advance(seconds=1)
    deps, config = stage.deps, stage.configs["plain"]
    await configs.change(deps.db, deps.sealer, "default", config.id, stage.clock.now, client_secret="another")
    assert (await refused(stage, first)).ending is Ending.HELD


@ON_ONE
async def test_a_life_that_was_accepted_since_its_refusal_holds_the_app_again(stage: Any, told: Told) -> None:
    lives = await connected(stage, 2)
    await refused(stage, lives[0])
    await stage.end_pause("plain")
    assert await endings(stage, lives[1:] + lives[:1]) == {Ending.CREDENTIALED: 2}
    stage.clock.advance(minutes=55)
    assert (await refused(stage, await stage.row(lives[0]))).ending is Ending.HELD


@ON_ONE
async def test_a_scout_that_is_refused_alone_makes_the_hold_no_longer(stage: Any, told: Told) -> None:
    poisoned, other, third = await connected(stage, 3)
    await refused(stage, poisoned)
    await stage.end_pause("plain")
    await stage.refresh(other)
    stage.clock.advance(seconds=1)
    await refused(stage, third)
    await stage.end_pause("plain")
    told.tripped.clear()
    assert (await refused(stage, poisoned)).ending is Ending.STUMBLED
    config = await stage.config("plain")
    assert (config.hold_kind, config.held_until) == ("misconfigured", stage.clock.now + stage.deps.limits.lease)
    assert (await stage.refresh(third)).ending is Ending.HELD, "the lease of the scout runs still"
    await stage.end_pause("plain")
    assert (await stage.refresh(third)).ending is Ending.CREDENTIALED
    assert (await stage.config("plain")).hold_kind == ""


@ON_ONE
async def test_the_hold_of_a_worker_that_knew_no_kinds_is_looked_at_and_ended(stage: Any, told: Told) -> None:
    lives = await connected(stage, 2)
    await refused(stage, lives[0])
    async with stage.deps.db.transaction() as tx:
        await tx.exec(update(ProviderConfig).values(hold_kind=""))
    await stage.end_pause("plain")

    async def no_turn(_provider: str) -> None:
        pass

    acts = BreakerActivities(stage.deps, no_turn)
    seen = await acts.look(LookOrder(config_ids_of(await stage.config("plain"))))
    assert (seen.kind, seen.scout) == ("misconfigured", told.woken[0])
    assert await endings(stage, lives) == {Ending.CREDENTIALED: 2}
    assert (await stage.config("plain")).held_until is None


@pytest.mark.parametrize("status", [401, 503])
async def test_a_failed_refresh_locks_the_life_before_the_ledger_and_the_config(
    stage: Any, told: Told, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    (life,) = await connected(stage, 1)
    order: list[str] = []

    def noting(module: Any, name: str) -> None:
        real = getattr(module, name)

        async def noted(*args: Any, **more: Any) -> Any:
            order.append(name)
            return await real(*args, **more)

        monkeypatch.setattr(module, name, noted)

    async def answered(point: str, _life: str) -> None:
        if point == "refresh.after_answer":
            noting(refresh_module, "lock_life")
            noting(refresh_module.ledger, "resolve")
            noting(refresh_module.ledger, "release")
            noting(refresh_module.holds, "misconfigured")
            noting(refresh_module.holds, "began_to_fail")

    await stage.fault(TOKEN, "status", status=status, body={"error": "invalid_client"}, times=None)
    await stage.refresh(life, replace(stage.deps, reached=answered))
    assert order == ["lock_life", *(("resolve", "misconfigured") if status == 401 else ("release", "began_to_fail"))]
