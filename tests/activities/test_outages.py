"""A wrong client secret and a provider that is down: who still calls, what is told, and how it ends for everybody."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import update

from activities import refresh as refresh_module
from activities.breaker import BreakerActivities, LookOrder, Released, look_at, release
from activities.holding import TOKEN_UNCHANGED
from activities.ids import config_ids_of
from activities.messages import ConfigIds, Ending
from domain.errors import Problem
from domain.holds import FIRST_PAUSE, MISCONFIGURED_PAUSE, HoldKind
from domain.life import Kind, Status
from vault import configs
from vault.tables import Event, Life, ProviderConfig, TokenAttempt

ON_ONE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
TOKEN = "plain.token"
RIGHT = "authpipe-dev-secret"


class Told:
    """Stands in for the engine: which breakers are tripped, which lives woken, and what it refuses."""

    def __init__(self) -> None:
        self.tripped: list[ConfigIds] = []
        self.woken: list[str] = []
        self.refuses: Any = lambda _life: False
        self.on_wake: Any = None

    async def trip(self, config: ConfigIds) -> None:
        self.tripped.append(config)

    async def wake(self, life: Life) -> None:
        if self.refuses(life):
            raise Problem("temporal_unavailable")
        self.woken.append(life.id)
        if self.on_wake:
            await self.on_wake(life)


@pytest.fixture
def told(stage: Any) -> Told:
    told = Told()
    stage.deps = replace(stage.deps, trip=told.trip, wake=told.wake)
    return told


async def connected(stage: Any, count: int) -> list[Any]:
    """So many connections of three tenants, all of them due."""
    whose = [{"tenant_id": f"t{n % 3}", "user_id": f"user-{n}"} for n in range(count)]
    lives = [await stage.connected(Kind.CONNECTION, "plain", **whom) for whom in whose]
    stage.clock.advance(minutes=55)
    return lives


async def endings(stage: Any, lives: list[Any]) -> Counter[Ending]:
    return Counter([(await stage.refresh(life)).ending for life in lives])


async def events_of_configs(stage: Any) -> list[tuple[str, Any]]:
    events = sorted(await stage.all(Event, life_id=""), key=lambda event: event.sequence)
    return [(event.type, event.data["reason"]) for event in events]


async def calls(stage: Any, before: int) -> int:
    return await stage.asked(TOKEN) - before


async def down(stage: Any, **more: Any) -> None:
    await stage.fault(TOKEN, "status", **{"status": 503, "times": None, **more})


async def up(stage: Any) -> None:
    await stage.ask("DELETE", "faults")


async def looked(stage: Any, turn: int = 0) -> Any:
    return await look_at(stage.deps, await stage.config("plain"), turn)


async def released(stage: Any) -> Released:
    async def at_once() -> None:
        pass

    return await release(stage.deps, config_ids_of(await stage.config("plain")), at_once)


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


# --- one connection that is refused as the app ------------------------------------------------------------------------


async def refused(stage: Any, life: Any, error: str = "invalid_client") -> Any:
    """Refresh a life that the provider refuses as the app, with each client secret that there is."""
    await stage.fault(TOKEN, "status", status=401, body={"error": error}, times=None)
    result = await stage.refresh(life)
    await up(stage)
    return result


async def events_of(stage: Any, life: Any) -> list[tuple[str, Any]]:
    return [(e.type, e.data["reason"]) for e in await stage.all(Event, life_id=life.id) if "degraded" in e.type]


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


# --- an outage --------------------------------------------------------------------------------------------------------


@ON_ONE
async def test_in_an_outage_nobody_but_the_scout_calls_and_all_are_released_when_it_ends(
    stage: Any, told: Told
) -> None:
    lives = await connected(stage, 18)
    before = await stage.asked(TOKEN)
    await down(stage)
    assert await endings(stage, lives) == {Ending.STUMBLED: 5, Ending.HELD: 13}
    assert await calls(stage, before) == 5
    for scouts in range(1, 3):
        await stage.end_pause("plain")
        assert (await endings(stage, lives))[Ending.STUMBLED] == 1
        assert await calls(stage, before) == 5 + scouts
    assert (await stage.config("plain")).held_until - stage.clock.now == FIRST_PAUSE * 4
    assert await events_of_configs(stage) == []

    await up(stage)
    for n, life in enumerate(lives):
        await stage.set_life(life, next_due_at=stage.clock.now, expires_at=stage.clock.now + timedelta(seconds=90 - n))
    assert not (await looked(stage)).scout, "its pause is not over"
    await stage.end_pause("plain")
    told.tripped.clear()
    assert (await looked(stage)).scout == lives[-1].id, "whose token ends first"
    assert (await stage.refresh(lives[-1])).ending is Ending.CREDENTIALED
    assert [config.config_id for config in told.tripped] == [stage.configs["plain"].id]
    told.woken.clear()
    assert await released(stage) == Released(17)
    by_expiry = lives[-2::-1]
    assert told.woken[:6] == [life.id for life in by_expiry[:6]]
    tenant_of = {life.id: life.tenant_id for life in lives}
    assert all(len({tenant_of[i] for i in told.woken[at : at + 3]}) == 3 for at in range(0, 15, 3))
    # Seven were sent and not answered, by a provider without a replay window: their tokens serve to the end.
    assert await endings(stage, by_expiry) == {Ending.CREDENTIALED: 10, Ending.WAITING: 7}
    stage.clock.advance(minutes=6)
    assert await endings(stage, by_expiry) == {Ending.CREDENTIALED: 17}


async def test_many_that_fail_at_once_make_one_outage(stage: Any, told: Told) -> None:
    lives = await connected(stage, 8)
    await down(stage)
    results = await asyncio.gather(*(stage.refresh(life) for life in lives))
    config = await stage.config("plain")
    assert (config.hold_kind, config.hold_tries) == (HoldKind.OUTAGE, 1)
    assert config.held_until == stage.clock.now + FIRST_PAUSE
    assert len(told.tripped) == 1
    assert {result.ending for result in results} <= {Ending.STUMBLED, Ending.HELD, Ending.RELOAD}


@ON_ONE
async def test_one_life_that_fails_again_and_again_is_no_outage(stage: Any, told: Told) -> None:
    (life,) = await connected(stage, 1)
    await down(stage, status=429)
    assert await endings(stage, [life] * 8) == {Ending.STUMBLED: 8}
    assert (await stage.config("plain")).stumbled == 1


@ON_ONE
@pytest.mark.parametrize("success", ["a refresh", "a consent", "a dead grant"])
async def test_a_success_of_the_app_ends_the_count(stage: Any, told: Told, success: str) -> None:
    *lives, last = await connected(stage, 5)
    await down(stage)
    await endings(stage, lives)
    await up(stage)
    if success == "a consent":
        await stage.connected(Kind.CONNECTION, "plain", user_id="new")
    else:
        if success == "a dead grant":
            await stage.fault(TOKEN, "status", status=400, body={"error": "invalid_grant"})
        await stage.refresh(last)
    config = await stage.config("plain")
    assert (config.stumbled, config.hold_kind, told.tripped) == (0, "", [])


@ON_ONE
async def test_a_limit_that_is_exceeded_holds_all_for_as_long_as_the_provider_asks(stage: Any, told: Told) -> None:
    lives = await connected(stage, 6)
    await down(stage, status=429, headers={"retry-after": "70"})
    await endings(stage, lives)
    config = await stage.config("plain")
    assert (config.held_reason, config.held_until) == ("rate_limited", stage.clock.now + timedelta(seconds=70))


@ON_ONE
async def test_a_worker_that_was_too_slow_to_send_makes_no_outage(stage: Any, told: Told) -> None:
    lives = await connected(stage, 6)

    async def late(point: str, _life: str) -> None:
        if point == "refresh.after_intent":
            stage.clock.advance(seconds=31)

    slow = replace(stage.deps, reached=late)
    assert Counter([(await stage.refresh(life, slow)).code for life in lives]) == {"unreachable": 6}
    assert (await stage.config("plain")).stumbled == 0


@ON_ONE
async def test_a_scout_that_brings_the_token_we_have_shows_that_the_provider_answers(stage: Any, told: Told) -> None:
    lives = await connected(stage, 6)
    await down(stage)
    await endings(stage, lives)
    await up(stage)
    await stage.end_pause("plain")
    scout = lives[-1]
    body = {"access_token": (await stage.secrets(scout)).access, "token_type": "Bearer"}
    await stage.fault(TOKEN, "status", status=200, body=body)
    assert (await stage.refresh(scout)).code == TOKEN_UNCHANGED
    assert (await stage.config("plain")).hold_kind == ""


@ON_ONE
async def test_a_life_that_is_held_before_it_is_due_waits_until_then_at_most(stage: Any, told: Told) -> None:
    """It was asked to refresh early; the release would not wake it."""
    lives = await connected(stage, 6)
    await stage.refresh(lives[-1])
    await down(stage)
    await endings(stage, lives[:5])
    row = await stage.row(lives[-1])
    held = await stage.refresh(row)
    assert held.ending is Ending.HELD
    assert held.not_before <= min(row.next_due_at, stage.clock.now + timedelta(minutes=10))


# --- the breaker ----------------------------------------------------------------------------------------------------


@ON_ONE
async def test_a_scout_whose_try_is_not_settled_is_followed_by_another(stage: Any, told: Told) -> None:
    lives = await connected(stage, 6)
    await down(stage)
    await endings(stage, lives)
    await stage.end_pause("plain")
    stage.clock.advance(minutes=1)
    seen = [await looked(stage, turn) for turn in range(6)]
    assert {look.scout for look in seen} == set(told.woken) == {life.id for life in lives}
    assert {look.next_at for look in seen} == {stage.clock.now + stage.deps.limits.lease}
    assert {(look.kind, look.reason, look.waiting) for look in seen} == {("outage", "server_error", 6)}


@ON_ONE
async def test_where_nobody_is_due_the_breaker_waits_for_who_is_next(stage: Any, told: Told) -> None:
    lives = await connected(stage, 5)
    await down(stage)
    await endings(stage, lives)
    await stage.end_pause("plain")
    soon = stage.clock.now + timedelta(minutes=3)
    for life in lives:
        await stage.set_life(life, next_due_at=soon)
    look = await looked(stage)
    assert (look.scout, look.next_at, told.woken) == ("", soon, [])
    for life in lives:
        await stage.set_life(life, next_due_at=None)
    assert (await looked(stage)).next_at == stage.clock.now + timedelta(minutes=10)


@ON_ONE
async def test_a_release_ends_when_the_config_is_held_again(
    stage: Any, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.breaker.BATCH", 5)
    lives = await connected(stage, 8)
    await down(stage)

    async def refreshed(life: Any) -> None:
        await stage.refresh(life)

    told.on_wake = refreshed
    assert await released(stage) == Released(5, held=True)
    assert len(set(told.woken)) == 5 < len(lives)


@ON_ONE
async def test_one_life_that_the_engine_refuses_keeps_no_other_from_its_release(stage: Any, told: Told) -> None:
    lives = await connected(stage, 5)
    told.refuses = lambda life: life.id == lives[0].id
    assert await released(stage) == Released(4)
    assert set(told.woken) == {life.id for life in lives[1:]}


@ON_ONE
async def test_a_release_is_tried_again_while_the_engine_refuses_all(
    stage: Any, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.breaker.REFUSED_IN_A_ROW", 3)
    await connected(stage, 5)
    told.refuses = lambda _life: True
    with pytest.raises(Problem):
        await released(stage)


@ON_ONE
async def test_what_was_refreshed_meanwhile_is_not_woken(
    stage: Any, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.breaker.BATCH", 2)
    lives = await connected(stage, 4)
    order: list[str] = []

    async def all_of_them(_life: Any) -> None:
        told.on_wake = None
        order.extend([str((await stage.refresh(life)).ending) for life in lives])

    told.on_wake = all_of_them
    assert await released(stage) == Released(2), "the batch that was read, and none behind it"
    assert set(order) == {Ending.CREDENTIALED}


@ON_ONE
async def test_a_look_at_a_config_that_is_free_or_gone_sends_nobody(stage: Any, told: Told) -> None:
    await connected(stage, 1)
    config = config_ids_of(await stage.config("plain"))

    async def no_turn(_provider: str) -> None:
        pass

    acts = BreakerActivities(stage.deps, no_turn)
    free = await acts.look(LookOrder(config))
    assert (free.kind, free.gone) == ("", False)
    assert (await acts.look(LookOrder(replace(config, config_id="cfg_unknown")))).gone
    assert told.woken == []
