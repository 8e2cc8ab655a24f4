"""No interleaving loses a grant that lives, serves what is deleted, or goes back a generation: over a real vault."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from activities.messages import Ending
from domain.life import AttemptState, Status
from domain.points import Point
from tests.properties.one_life import SENDING, Step
from tests.properties.what_holds import ANSWER_LOST, WhatHolds

REFRESH_POINTS = [point for point in Point if point.startswith("refresh.")]
EXCHANGE_POINTS = [point for point in Point if point.startswith("exchange.")]

NOT_HANDLED: list[dict[str, Any]] = [
    {"kind": "drop_before"},
    {"kind": "status", "status": 503},
    {"kind": "status", "status": 429, "headers": {"Retry-After": "90"}},
    {"kind": "html"},
    {"kind": "status", "status": 401, "body": {"error": "invalid_client"}},
    {"kind": "status", "status": 418, "body": {"error": "teapot"}},
]
HARMLESS: list[dict[str, Any]] = [{"kind": "missing_expires_in"}]
troubles = st.none() | st.sampled_from([*ANSWER_LOST, *NOT_HANDLED, *HARMLESS])

# Longer than a lease, so that another worker may go on in the meantime.
PAUSE = timedelta(seconds=45)
ADVANCES = {"seconds": 5, "a lease": 40, "minutes": 290, "a window": 640, "most of a life": 3000, "a life": 3700}
FOR_LONG = {"a day": 86_400, "three months": 91 * 86_400}


class AVault(WhatHolds):
    """What can happen, in any order."""

    # --- refreshes --------------------------------------------------------------------------------------------------

    @rule(trouble=troubles)
    def refresh(self, trouble: dict[str, Any] | None) -> None:
        self.world.run(self._refresh(trouble))

    @rule(point=st.sampled_from([*REFRESH_POINTS, SENDING]), trouble=troubles)
    def crash_in_a_refresh(self, point: str, trouble: dict[str, Any] | None) -> None:
        self.world.run(self._refresh(trouble, point, self.world.killed))

    @rule(
        point=st.sampled_from([*REFRESH_POINTS, SENDING]),
        what=st.sampled_from(["refresh", "delete", "withdraw", "change_password", "break_secret"]),
        trouble=troubles,
    )
    def something_comes_in_between(self, point: str, what: str, trouble: dict[str, Any] | None) -> None:
        self.world.run(self._refresh(trouble, point, self._meanwhile(what)))

    @precondition(lambda self: self.living)
    @rule(point=st.sampled_from([SENDING, Point.REFRESH_AFTER_ANSWER, Point.REFRESH_BEFORE_COMMIT]))
    def a_consent_comes_in_between(self, point: str) -> None:
        self.world.run(self._refresh(None, point, self._consent))

    @precondition(lambda self: self.living and self.secret_right)
    @rule(what=st.sampled_from(["consent", "delete"]))
    def the_old_token_is_refused_afterwards(self, what: str) -> None:
        async def then_refused() -> None:
            await self._meanwhile(what)()
            await self.world.trouble_refreshing(kind="status", status=400, body={"error": "invalid_grant"})

        self.world.run(self._refresh(None, SENDING, then_refused))

    # Not while sending: between the last look at the clock and the send runs nothing of ours.
    @rule(point=st.sampled_from(REFRESH_POINTS), trouble=troubles)
    def a_worker_wakes_after_its_lease(self, point: str, trouble: dict[str, Any] | None) -> None:
        async def paused() -> None:
            self.world.clock.now += PAUSE
            await self.world.refresh()

        self.world.run(self._refresh(trouble, point, paused))

    def _meanwhile(self, what: str) -> Step:
        return {
            "refresh": self.world.refresh,
            "consent": self._consent,
            "delete": self._entomb,
            "withdraw": self.world.withdraw,
            "change_password": self.world.change_password,
            "break_secret": self._break_secret,
        }[what]

    # --- consents ---------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.living)
    @rule()
    def consent_again(self) -> None:
        self.world.run(self._consent_repairs())

    async def _consent(self) -> None:
        if self.living:
            self.app_was_refused |= not self.secret_right
            await self.world.consent()

    async def _consent_repairs(self) -> None:
        self.app_was_refused |= not self.secret_right
        result = await self.world.consent()
        assert result is not None
        if self.secret_right:
            assert result.state is AttemptState.COMPLETED, result
            assert (await self.world.row()).status == Status.ACTIVE
            assert (await self._held())["current"]
        else:
            assert result.code == "client_refused"

    @precondition(lambda self: self.living)
    @rule(how=st.sampled_from(["account", "site", "refused", "lost", "server_error"]))
    def a_consent_that_is_not_accepted(self, how: str) -> None:
        self.world.run(self._consent_fails(how))

    async def _consent_fails(self, how: str) -> None:
        row, secrets = await self.world.row(), await self.world.secrets()
        person = "member" if how == "account" else "admin"
        site = "Acme Support" if how == "site" and self.provider == "jira" else "Acme Engineering"
        if how == "site" and self.provider != "jira":
            return
        session_id = await self.world.come_back(person, (site,))
        spoilt = {
            "refused": {"kind": "status", "status": 400, "body": {"error": "invalid_grant"}},
            "lost": {"kind": "drop_after"},
            "server_error": {"kind": "status", "status": 503},
        }.get(how)
        if spoilt:
            await self.world.trouble(**spoilt)
        self.app_was_refused |= not self.secret_right
        result = await self.world.advance(session_id)
        await self.world.no_more_trouble()
        assert result is not None
        assert result.state is AttemptState.FAILED
        after = await self.world.row()
        assert (after.status, after.generation, after.revision) == (row.status, row.generation, row.revision)
        assert await self.world.secrets() == secrets

    @precondition(lambda self: self.living)
    @rule(point=st.sampled_from([*EXCHANGE_POINTS, SENDING]), what=st.sampled_from(["kill", "refresh", "delete"]))
    def something_comes_in_between_a_consent(self, point: str, what: str) -> None:
        self.world.run(self._consent_interrupted(point, self.world.killed if what == "kill" else self._meanwhile(what)))

    async def _consent_interrupted(self, point: str, meanwhile: Step) -> None:
        held = await self._held()
        if held["known"]:
            self.doubted.add(held["family_id"])
        self.app_was_refused |= not self.secret_right
        session_id = await self.world.come_back()
        self.unfinished.append(session_id)
        await self.world.advance(session_id, point, meanwhile)
        await self._whole_again()

    @precondition(lambda self: self.unfinished)
    @rule()
    def go_on_with_a_consent(self) -> None:
        self.app_was_refused |= not self.secret_right
        self.world.run(self.world.advance(self.unfinished.pop()))

    # --- the user, the operator, time ---------------------------------------------------------------------------

    @rule(how=st.sampled_from(["withdraw", "change_password"]))
    def the_user_leaves(self, how: str) -> None:
        self.world.run(self._meanwhile(how)())

    async def _break_secret(self) -> None:
        self.secret_right, self.app_was_refused = False, True
        await self.world.break_secret()

    @precondition(lambda self: self.secret_right)
    @rule()
    def the_operators_secret_is_replaced(self) -> None:
        self.world.run(self._break_secret())

    @precondition(lambda self: not self.secret_right)
    @rule()
    def the_operator_mends_the_secret(self) -> None:
        self.world.run(self._mend_secret())

    @rule(how_long=st.sampled_from(sorted(ADVANCES)))
    def time_passes(self, how_long: str) -> None:
        self.world.clock.advance(seconds=ADVANCES[how_long])

    @rule(how_long=st.sampled_from(sorted(FOR_LONG)))
    def a_long_time_passes(self, how_long: str) -> None:
        self.world.clock.advance(seconds=FOR_LONG[how_long])

    # --- deletion ---------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.living)
    @rule()
    def delete(self) -> None:
        self.world.run(self._entomb())

    async def _entomb(self) -> None:
        await self.world.entomb()
        if self.living:
            self.deleted.append(self.world.life.id)

    @rule()
    def revoke(self) -> None:
        """Without a tombstone it does nothing."""
        self.world.run(self._revoke())

    async def _revoke(self) -> None:
        row = await self.world.row()
        result = await self.world.revoke()
        if self.living:
            assert result.ending is Ending.RELOAD
            assert (await self.world.row()).revision == row.revision
        elif result.ending is Ending.DONE:
            assert await self.world.secrets() is None

    @precondition(lambda self: not self.living and self.secret_right)
    @rule()
    def install_anew(self) -> None:
        self.seen = (0, 0)
        self.unfinished.clear()
        self.world.run(self.world.install_anew())


def machine(provider: str, template: Path) -> Callable[[], AVault]:
    return type(f"AVaultOf{provider.title()}", (AVault,), {"provider": provider, "template": template})


@pytest.mark.parametrize("provider", ["jira", "plain"])
@pytest.mark.slow
def test_no_interleaving_loses_a_grant_that_lives(provider: str, sqlite_template: Path, effort: settings) -> None:
    run_state_machine_as_test(machine(provider, sqlite_template), settings=effort)
