"""A check-up of one life: what the provider's answers do to its row, and what the workflow hears."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update
from sqlmodel import col

from activities.checkup import check_up
from activities.ids import ids_of
from activities.messages import Ending, ProbeOrder, ProbeReport
from domain.checkup import DEFAULT_INTERVAL
from domain.life import Kind, Status
from vault import credentials
from vault.tables import Credential, Event, ProviderConfig

# What a provider's answer means does not depend on the database.
ON_ONE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
MINUTE = timedelta(minutes=1)


async def pair(stage: Any) -> tuple[Any, Any]:
    """Two users of the builder who are one account at the provider."""
    first = await stage.connected(Kind.CONNECTION, provider="plain", user_id="ann")
    return first, await stage.connected(Kind.CONNECTION, provider="plain", user_id="bob")


async def ask(stage: Any, life: Any, failures: int = 0, deps: Any = None, **more: Any) -> ProbeReport:
    row = await stage.row(life)
    return await check_up(deps or stage.deps, ProbeOrder(ids_of(life), row.generation, failures, 0.5, **more))


def hours_on(stage: Any) -> Any:
    """The next check-up with a middling jitter."""
    return stage.clock.now + DEFAULT_INTERVAL


async def told(stage: Any, life: Any, name: str) -> list[Any]:
    found = sorted(await stage.all(Event, life_id=life.id), key=lambda event: event.sequence)
    return [event.data for event in found if event.type.endswith("." + name)]


# --- its schedule ---------------------------------------------------------------------------------------------------


async def test_a_consent_brings_the_first_check_up_with_it(stage: Any) -> None:
    life = await stage.life()
    result = await stage.advance(life, await stage.come_back(life))
    row = await stage.row(life)
    assert row.probe_at == result.probe_at
    assert row.consented_at == stage.clock.now
    assert 0.9 <= (row.probe_at - stage.clock.now) / DEFAULT_INTERVAL <= 1.1


@ON_ONE
async def test_the_config_says_how_often(stage: Any) -> None:
    life = await stage.connected()
    async with stage.deps.db.transaction() as tx:
        await tx.exec(update(ProviderConfig).values(probe_interval_seconds=600))
    report = await ask(stage, life)
    assert report.next_at == stage.clock.now + timedelta(minutes=10)


@ON_ONE
async def test_a_token_that_never_expires_is_checked_up_like_any_other(stage: Any) -> None:
    """Nothing else ever asks the provider about it."""
    life = await stage.connected(Kind.CONNECTION, provider="plain")
    await stage.fault("plain.token", "missing_expires_in")
    assert (await stage.refresh(life, stage.with_provider("plain", token_lifetime=None))).ending is Ending.CREDENTIALED
    assert ((await stage.row(life)).expires_at, (await stage.row(life)).next_due_at) == (None, None)
    for day in range(1, 4):
        stage.clock.advance(days=day)
        assert (await ask(stage, life)).next_at == hours_on(stage)
    await stage.ask("POST", f"grants/{(await stage.grant())['id']}/revoke")
    assert (await ask(stage, life)).ending is Ending.TOKEN_REFUSED
    assert (await stage.refresh(life)).ending is Ending.REFUSED


async def test_a_healthy_life_is_left_as_it_is(stage: Any) -> None:
    life = await stage.connected()
    before = await stage.events(life)
    report = await ask(stage, life)
    assert (report.ending, report.doubt, report.next_at) == (Ending.DONE, "", hours_on(stage))
    row = await stage.row(life)
    assert (row.health, row.doubt, row.probed_at, row.probe_at) == ("ok", "", stage.clock.now, hours_on(stage))
    assert await stage.events(life) == before


@ON_ONE
async def test_its_turn_is_waited_for_without_asking_and_then_taken(stage: Any) -> None:
    life = await stage.connected()
    turn = stage.clock.now + timedelta(seconds=40)
    deps = replace(stage.deps, probe_turns=lambda _provider, _now: turn)
    asked = await stage.asked("myself")
    report = await ask(stage, life, deps=deps)
    assert (report.ending, report.not_before, report.code) == (Ending.WAITING, turn, "waits_its_turn")
    assert (await stage.row(life)).probe_at == turn
    assert await stage.asked("myself") == asked
    assert (await ask(stage, life, deps=deps, waited=True)).ending is Ending.DONE


@ON_ONE
async def test_while_its_config_is_held_nobody_is_asked(stage: Any) -> None:
    life = await stage.connected()
    async with stage.deps.db.transaction() as tx:
        held = {"held_until": stage.clock.now + MINUTE, "held_reason": "server_error", "hold_kind": "outage"}
        await tx.exec(update(ProviderConfig).values(**held))
    asked = await stage.asked("myself")
    report = await ask(stage, life)
    assert (report.ending, report.code) == (Ending.WAITING, "server_error")
    assert timedelta(minutes=5) <= report.not_before - stage.clock.now <= timedelta(minutes=10)
    assert await stage.asked("myself") == asked


# --- the site -------------------------------------------------------------------------------------------------------


ANOTHER = {"id": "another", "name": "Another", "url": "https://another.example", "scopes": ["read:jira-user"]}


async def lists(stage: Any, *sites: Any) -> None:
    """What the provider answers when it is asked for the sites."""
    await stage.fault("accessible-resources", "status", status=200, body=list(sites), times=None)


async def lists_rightly(stage: Any) -> None:
    await stage.ask("DELETE", "faults")


async def test_a_site_that_went_away_is_believed_at_the_second_look(stage: Any) -> None:
    life = await stage.connected()
    await lists(stage, ANOTHER)
    first = await ask(stage, life)
    assert (first.ending, first.doubt, first.next_at) == (Ending.DONE, "site_lost", stage.clock.now + MINUTE)
    row = await stage.row(life)
    assert (row.status, row.health, row.doubt) == (Status.ACTIVE, "degraded", "site_lost")

    stage.clock.now = first.next_at
    second = await ask(stage, life)
    assert (second.ending, second.code) == (Ending.REFUSED, "site_lost")
    row = await stage.row(life)
    assert (row.status, row.reason, row.revoked_at) == (Status.NEEDS_REAUTH, "site_lost", None)
    assert (await stage.events(life))[-2:] == ["degraded", "needs_reauth"]


@ON_ONE
async def test_a_site_that_came_back_takes_the_doubt_away(stage: Any) -> None:
    life = await stage.connected()
    await lists(stage, ANOTHER)
    stage.clock.now = (await ask(stage, life)).next_at
    await lists_rightly(stage)
    assert (await ask(stage, life)).doubt == ""
    row = await stage.row(life)
    assert (row.health, row.doubt) == ("ok", "")
    assert await told(stage, life, "recovered") == [{"old": "degraded", "new": "ok", "reason": "site_lost"}]


@ON_ONE
async def test_a_report_in_between_does_not_shorten_the_second_look(stage: Any) -> None:
    life = await stage.connected()
    await lists(stage, ANOTHER)
    due = (await ask(stage, life)).next_at
    stage.clock.advance(seconds=20)
    early = await ask(stage, life)
    assert (early.ending, early.next_at) == (Ending.DONE, due)
    assert (await stage.row(life)).status == Status.ACTIVE
    stage.clock.now = due
    assert (await ask(stage, life)).ending is Ending.REFUSED


@ON_ONE
async def test_a_list_of_sites_that_cannot_be_read_costs_no_life(stage: Any) -> None:
    life = await stage.connected()
    await stage.fault("accessible-resources", "status", status=503, times=9)
    assert (await ask(stage, life)).ending is Ending.STUMBLED
    after = await ask(stage, life, failures=5)
    assert (after.ending, after.doubt, after.next_at) == (Ending.DONE, "", stage.clock.now + timedelta(minutes=15))
    assert (await stage.row(life)).health == "ok"


@ON_ONE
async def test_an_api_that_refuses_this_life_alone_leaves_a_doubt_and_serves_on(stage: Any) -> None:
    life = await stage.connected()
    await stage.fault("myself", "status", status=403, times=9)
    report = await ask(stage, life, failures=5)
    assert report.doubt == "probe_unclear"
    row = await stage.row(life)
    assert (row.status, row.health) == (Status.ACTIVE, "degraded")
    assert await told(stage, life, "degraded") == [{"old": "ok", "new": "degraded", "reason": "probe_unclear"}]


@ON_ONE
async def test_a_refresh_does_not_hide_a_doubt(stage: Any) -> None:
    life = await stage.connected()
    await lists(stage, ANOTHER)
    await ask(stage, life)
    await stage.refresh(life)
    row = await stage.row(life)
    assert (row.health, row.doubt) == ("degraded", "site_lost")
    assert "recovered" not in await stage.events(life)


@ON_ONE
async def test_a_list_without_any_site_is_believed_only_after_an_hour(stage: Any) -> None:
    life = await stage.connected()
    await lists(stage)
    stage.clock.now = (await ask(stage, life)).next_at
    assert (await ask(stage, life)).next_at == stage.clock.now + timedelta(minutes=15)
    stage.clock.advance(minutes=29)
    await stage.refresh(life)
    stage.clock.advance(minutes=29)
    assert (await ask(stage, life)).ending is Ending.DONE
    stage.clock.advance(minutes=1)
    assert (await ask(stage, life)).code == "site_lost"


@ON_ONE
async def test_what_befalls_all_tenants_at_once_ends_nobody(stage: Any) -> None:
    lives = [await stage.connected(tenant_id=f"t{n}") for n in range(3)]
    await lists(stage, ANOTHER)
    for minutes in (0, 1, 15, 15):
        stage.clock.advance(minutes=minutes)
        for life in lives:
            assert (await ask(stage, life)).ending is Ending.DONE
    assert {(await stage.row(life)).status for life in lives} == {Status.ACTIVE}
    await lists_rightly(stage)
    for life in lives:
        assert (await ask(stage, life)).doubt == ""


@ON_ONE
async def test_beside_one_that_is_well_those_that_are_not_end(stage: Any) -> None:
    lives = [await stage.connected(tenant_id=f"t{n}") for n in range(4)]
    *lost_, well = lives
    await lists(stage, ANOTHER)
    for life in lost_:
        await ask(stage, life)
    stage.clock.advance(minutes=1)
    await stage.set_life(well, probed_at=stage.clock.now)
    assert [(await ask(stage, life)).code for life in lost_] == ["site_lost"] * 3


@ON_ONE
async def test_an_api_that_is_down_speaks_for_no_lost_site(stage: Any) -> None:
    life = await stage.connected()
    await stage.fault("myself", "status", status=503, times=None)
    await stage.fault("accessible-resources", "status", status=200, body=[], times=None)
    for _ in range(3):
        assert (await ask(stage, life, failures=5)).doubt == ""
        stage.clock.advance(minutes=61)
    assert (await stage.row(life)).status == Status.ACTIVE


# --- its scopes -----------------------------------------------------------------------------------------------------


async def grant_only(stage: Any, life: Any, *scopes: str) -> None:
    """What a refresh answer would say of the credential."""
    async with stage.deps.db.transaction() as tx:
        await tx.exec(update(Credential).where(col(Credential.life_id) == life.id).values(scopes=list(scopes)))


async def test_a_required_scope_that_is_gone_ends_the_life_at_the_second_look(stage: Any) -> None:
    life = await stage.connected()
    await grant_only(stage, life, "read:jira-user", "offline_access")
    first = await ask(stage, life)
    assert (first.ending, first.doubt) == (Ending.TOKEN_REFUSED, "scopes_lost"), "a newer word is asked for"
    (changed,) = await told(stage, life, "scopes_changed")
    assert (changed["lost"], changed["gained"]) == (["read:jira-work"], [])
    stage.clock.now = first.next_at
    assert (await ask(stage, life)).code == "scopes_lost"
    assert (await stage.row(life)).reason == "scopes_lost"
    assert len(await told(stage, life, "scopes_changed")) == 1


async def test_a_scope_that_nobody_asked_for_may_go(stage: Any) -> None:
    life = await stage.connected()
    await stage.set_life(life, granted_scopes=["read:jira-user", "read:jira-work", "offline_access", "read:me"])
    assert (await ask(stage, life)).doubt == ""
    row = await stage.row(life)
    assert row.status == Status.ACTIVE
    assert row.granted_scopes == ["read:jira-user", "read:jira-work", "offline_access"]
    assert [event["lost"] for event in await told(stage, life, "scopes_changed")] == [["read:me"]]


@ON_ONE
async def test_a_refresh_that_brings_fewer_scopes_asks_for_a_check_up_at_once(stage: Any) -> None:
    life = await stage.connected()
    scopes = "read:jira-user offline_access"
    body = {"access_token": "at", "refresh_token": "rt", "expires_in": 3600, "scope": scopes, "token_type": "Bearer"}
    await stage.fault("token", "status", status=200, body=body)
    result = await stage.refresh(life)
    assert result.probe_at == stage.clock.now
    row = await stage.row(life)
    assert (row.probe_at, row.granted_scopes) == (
        stage.clock.now,
        ["read:jira-user", "read:jira-work", "offline_access"],
    )


@ON_ONE
async def test_what_the_site_takes_away_the_next_refresh_does_not_give_back(stage: Any) -> None:
    life = await stage.connected()
    await stage.set_life(life, requested_scopes=["read:jira-user", "offline_access"])
    site = {"id": life.site_id, "name": "x", "url": "https://x", "scopes": ["read:jira-user"]}
    await stage.fault("accessible-resources", "status", status=200, body=[site], times=None)
    for _ in range(3):
        await ask(stage, life)
        stage.clock.advance(minutes=55)
        await stage.refresh(life)
    assert [event["lost"] for event in await told(stage, life, "scopes_changed")] == [["read:jira-work"]]


@ON_ONE
async def test_a_scope_that_the_site_never_listed_is_not_missed_there(stage: Any) -> None:
    life = await stage.connected()
    assert "offline_access" not in life.site_scopes
    assert "offline_access" in life.requested_scopes
    assert (await ask(stage, life)).doubt == ""


# --- its end --------------------------------------------------------------------------------------------------------


async def test_the_end_of_a_consent_is_announced_thrice_and_a_consent_silences_it(stage: Any) -> None:
    """The provider's absolute end is 365 days away; the token itself is young all the while."""
    life = await stage.connected()
    consent = stage.clock.now
    for month in range(1, 12):
        stage.clock.now = consent + timedelta(days=30 * month)
        await stage.refresh(life)

    async def day(number: float) -> ProbeReport:
        stage.clock.now = consent + timedelta(days=number)
        await stage.refresh(life)
        return await ask(stage, life)

    assert (await day(350.9)).next_at == consent + timedelta(days=351)
    assert await told(stage, life, "reauth_due") == []
    for number in (351, 351.2, 362, 363.5, 364, 364.9):
        await day(number)
    notices = await told(stage, life, "reauth_due")
    assert [notice["days"] for notice in notices] == [14, 3, 1]
    assert {notice["reason"] for notice in notices} == {"absolute_lifetime"}
    assert all(notice["doubt"] for notice in notices)

    await stage.connect(life)
    await ask(stage, life)
    assert len(await told(stage, life, "reauth_due")) == 3
    assert (await stage.row(life)).noticed_days == 0


# --- the token ------------------------------------------------------------------------------------------------------


async def test_a_token_that_works_ends_the_question(stage: Any) -> None:
    first, _ = await pair(stage)
    assert (await ask(stage, first)).ending is Ending.DONE
    assert (await stage.row(first)).probe_at == hours_on(stage)


async def test_a_refused_token_is_served_no_more_and_has_to_be_refreshed(stage: Any) -> None:
    first, _ = await pair(stage)
    await stage.fault("plain.whoami", "status", status=401)
    assert (await ask(stage, first)).ending is Ending.TOKEN_REFUSED
    assert (await stage.credential(first)).refused_at == stage.clock.now
    row = await stage.row(first)
    assert (row.status, row.probe_at) == (Status.ACTIVE, hours_on(stage))


@ON_ONE
@pytest.mark.parametrize("status", [403, 404, 429, 500])
async def test_an_api_that_says_something_else_is_asked_again_and_then_let_be(stage: Any, status: int) -> None:
    first, _ = await pair(stage)
    await stage.fault("plain.whoami", "status", status=status, times=9)
    report = await ask(stage, first)
    assert (report.ending, report.not_before) == (Ending.STUMBLED, stage.clock.now + timedelta(seconds=0.875))
    assert (await stage.row(first)).probe_at == report.not_before
    assert (await ask(stage, first, failures=5)).ending is Ending.DONE
    row = await stage.row(first)
    assert (row.status, row.doubt) == (Status.ACTIVE, "probe_unclear" if status in (403, 404) else "")
    assert row.probe_at == stage.clock.now + timedelta(minutes=15)
    assert (await stage.credential(first)).refused_at is None


@ON_ONE
async def test_a_question_asked_anew_meanwhile_is_not_forgotten(stage: Any) -> None:
    first, _ = await pair(stage)
    later = stage.clock.now + timedelta(seconds=5)

    async def ask_anew() -> None:
        await stage.set_life(first, probe_at=later)

    stage.before_sending("/plain/whoami", ask_anew)
    assert (await ask(stage, first)).ending is Ending.DONE
    assert (await stage.row(first)).probe_at == later


@ON_ONE
async def test_a_credential_renewed_meanwhile_needs_no_probe(stage: Any) -> None:
    first, _ = await pair(stage)
    asked = await stage.asked("plain.whoami")
    stale = ProbeOrder(ids_of(first), (await stage.row(first)).generation - 1)
    assert (await check_up(stage.deps, stale)).ending is Ending.RELOAD
    assert (await stage.asked("plain.whoami"), (await stage.row(first)).probe_at) == (asked, stage.clock.now + MINUTE)


@ON_ONE
async def test_a_token_that_cannot_be_renewed_needs_two_refusals_to_end_a_life(stage: Any) -> None:
    life = await stage.life()
    result = await stage.advance(life, await stage.come_back(life, scopes=["read:jira-user"]))
    assert not result.credential.refreshable
    await stage.fault("myself", "status", status=401, times=9)

    first = await ask(stage, life)
    assert (first.ending, first.doubt, first.next_at) == (Ending.DONE, "token_refused", stage.clock.now + MINUTE)
    assert (await stage.row(life)).status == Status.ACTIVE

    stage.clock.now = first.next_at
    assert (await ask(stage, life)).ending is Ending.REFUSED
    row = await stage.row(life)
    assert (row.status, row.reason, row.revoked_at) == (Status.NEEDS_REAUTH, "token_refused", None)


@ON_ONE
async def test_a_deleted_life_is_not_probed(stage: Any) -> None:
    first, _ = await pair(stage)
    asked = await stage.asked("plain.whoami")
    await stage.entomb(first)
    assert (await ask(stage, first)).ending is Ending.RELOAD
    assert await stage.asked("plain.whoami") == asked


@ON_ONE
async def test_a_token_that_is_accepted_again_is_served_again(stage: Any) -> None:
    """A stray 401 must not withhold for ever what cannot be renewed, nor count when another comes much later."""
    life = await stage.life()
    await stage.advance(life, await stage.come_back(life, scopes=["read:jira-user"]))
    await stage.fault("myself", "status", status=401)
    stage.clock.now = (await ask(stage, life)).next_at
    assert (await ask(stage, life)).ending is Ending.DONE
    assert (await stage.credential(life)).refused_at is None

    stage.clock.advance(minutes=9)
    await stage.fault("myself", "status", status=401)
    assert (await ask(stage, life)).doubt == "token_refused"
    assert (await stage.row(life)).status == Status.ACTIVE


@ON_ONE
async def test_a_refusal_that_nobody_confirms_is_dropped_in_the_end(stage: Any) -> None:
    life = await stage.life()
    await stage.advance(life, await stage.come_back(life, scopes=["read:jira-user"]))
    await stage.fault("myself", "status", status=401)
    await ask(stage, life)
    await stage.fault("myself", "status", status=404)
    assert (await ask(stage, life, failures=5)).ending is Ending.DONE
    assert (await stage.credential(life)).refused_at is None


@ON_ONE
async def test_a_row_without_a_credential_is_not_asked_about_in_a_circle(stage: Any) -> None:
    first, _ = await pair(stage)
    generation = (await stage.row(first)).generation
    async with stage.deps.db.transaction() as tx:
        await credentials.destroy(tx, first.id)
    assert (await check_up(stage.deps, ProbeOrder(ids_of(first), generation))).ending is Ending.RELOAD
    assert (await stage.row(first)).probe_at == hours_on(stage)


@ON_ONE
async def test_a_credential_that_cannot_be_opened_is_not_asked_about_for_ever(stage: Any) -> None:
    first, _ = await pair(stage)
    async with stage.deps.db.transaction() as tx:
        await tx.exec(update(Credential).where(col(Credential.life_id) == first.id).values(sealed_access=b"broken"))
    assert (await ask(stage, first)).ending is Ending.DONE
    assert (await stage.row(first)).probe_at == hours_on(stage)
