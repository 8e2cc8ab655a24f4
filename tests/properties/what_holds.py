"""What always holds of a life over a real vault, and how one finds out."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from activities.messages import Ending, RefreshResult
from domain.credential import is_fresh
from domain.ledger import WINDOW_MARGIN
from domain.life import Status
from domain.serving import Verdict, after_waiting, serve
from tests.activities.conftest import as_read
from tests.properties.one_life import OneLife, Standing, Step

# What spoils one call at the token endpoint, although the provider has rotated.
ANSWER_LOST: list[dict[str, Any]] = [
    {"kind": "drop_after"},
    {"kind": "truncated"},
    {"kind": "html", "after": True},
    {"kind": "status", "status": 503, "after": True},
    {"kind": "missing_refresh_token"},
]

REUSED = "refresh_token_reused"
"""Why the provider ended a grant whose refresh token it saw twice."""


class WhatHolds(RuleBasedStateMachine):
    """`spoilt`: token families of which an answer was lost, or held back by a pause, since they last were whole."""

    provider: str
    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.world = OneLife(self.template, self.provider)
        self.spoilt: set[str] = set()
        self.doubted: set[str] = set()
        self.app_was_refused = False
        self.secret_right = True
        self.deleted: list[str] = []
        self.unfinished: list[str] = []
        self.seen = (0, 0)

    def teardown(self) -> None:
        try:
            self.world.run(self._recovers())
            self.world.run(self._check())
        finally:
            self.world.close()

    @property
    def living(self) -> bool:
        return self.world.life.id not in self.deleted

    async def _refresh(
        self, trouble: dict[str, Any] | None, at: str | None = None, meanwhile: Step | None = None
    ) -> RefreshResult | None:
        held = await self._held()
        before = await self.world.row()
        if trouble:
            await self.world.trouble_refreshing(**trouble)
        self.app_was_refused |= not self.secret_right or "invalid_client" in str(trouble)
        if held["known"] and (trouble or meanwhile):
            self.doubted.add(held["family_id"])
        if held["known"] and (trouble in ANSWER_LOST or meanwhile):
            self.spoilt.add(held["family_id"])
        result = await self.world.refresh(at, meanwhile)
        await self.world.no_more_trouble()
        if not self.secret_right and meanwhile is None and self.living:
            assert (await self.world.row()).status == before.status
        await self._whole_again()
        return result

    async def _mend_secret(self) -> None:
        await self.world.mend_secret()
        self.secret_right = True

    @rule()
    def recovers(self) -> None:
        self.world.run(self._recovers())

    async def _recovers(self) -> None:
        """With the provider and the operator in order, a finite number of refreshes ends in a token that works.

        Or in the knowledge that the user has to come again, which a grant that lives never comes to.
        """
        if not self.living:
            return
        await self._mend_secret()
        must_live = await self._can_be_renewed()
        for tries in range(12):
            if await self._settled(await self._refresh(None), tries):
                break
        else:
            raise AssertionError("neither renewed nor known to be dead")
        row = await self.world.row()
        assert not must_live or row.status == Status.ACTIVE, row.reason
        assert row.status == Status.NEEDS_REAUTH or await self._works()

    async def _settled(self, result: RefreshResult | None, tries: int) -> bool:
        assert result is not None
        row = await self.world.row()
        renewed = result.ending is Ending.CREDENTIALED and await self._works()
        if row.status == Status.NEEDS_REAUTH or renewed:
            return True
        later = self.world.clock.now + timedelta(seconds=1)
        if tries > 2 and row.expires_at:
            later = max(later, row.expires_at)
        self.world.clock.now = max(later, result.not_before or later)
        return False

    async def _works(self) -> bool:
        secrets = await self.world.secrets()
        known = self.world.refresh_token_report(secrets), self.world.access_token_report(secrets)
        return bool(known[0]["current"] and known[1]["valid"])

    async def _can_be_renewed(self) -> bool:
        """Whether the provider would renew it now and, by the ledger's rule, is asked to."""
        held = await self._held()
        if held.get("would_be") == "replayed":
            sends = [a for a in await self.world.stage.ledger(self.world.life) if a.outcome is None]
            free = max([self.world.clock.now, *(send.lease_until for send in sends)])
            return bool(sends) and free < min(s.started_at for s in sends) + self.world.window() - WINDOW_MARGIN
        return bool(held["current"])

    @invariant()
    def check(self) -> None:
        self.world.run(self._check())

    async def _check(self) -> None:
        now = await self.world.standing()
        self._generation_never_goes_back(now)
        self._only_the_dead_need_the_user(now)
        self._the_operator_alone_is_held(now)
        for life_id in self.deleted:
            assert await self.world.found(life_id) is None
        if not self.living and now.row.status != Status.REVOKED:
            assert now.row.next_due_at is not None, "an unfinished deletion is found by nobody"
        if self.living:
            await self._what_is_valid_is_served(now)

    def _generation_never_goes_back(self, now: Standing) -> None:
        """The credential's is ahead of the row's where a refresh brought it to a life that had ended meanwhile."""
        generation = self.seen[1] if now.generation is None else now.generation
        assert now.row.generation >= self.seen[0]
        assert generation >= self.seen[1]
        assert generation >= now.row.generation
        self.seen = (now.row.generation, generation)

    def _only_the_dead_need_the_user(self, now: Standing) -> None:
        if now.row.status != Status.NEEDS_REAUTH:
            return
        held = self.world.refresh_token_report(now.secrets)
        death = self.world.death_of(held)
        assert death, "a grant that lives was given up"
        assert death != REUSED or held["family_id"] in self.spoilt, "a refresh token was sent again without need"
        assert now.row.reason in ("grant_revoked", "rotation_lost")
        assert now.row.reason != "rotation_lost" or held["family_id"] in self.doubted

    def _the_operator_alone_is_held(self, now: Standing) -> None:
        if now.held_until is not None:
            assert self.app_was_refused, "the config is held although nobody refused the app"
        elif self.secret_right:
            self.app_was_refused = False

    async def _what_is_valid_is_served(self, now: Standing) -> None:
        found = await self.world.found(now.row.id)
        assert found is not None
        assert now.secrets is not None
        assert await self.world.opened(found) == now.secrets.access
        known, clock = self.world.access_token_report(now.secrets), self.world.clock.now
        given = as_read(found)
        at_once, waited = serve(given, clock), after_waiting(given, clock)
        if known["valid"]:
            assert waited.verdict is Verdict.SERVE, "a token that works is withheld"
            assert at_once.verdict in (Verdict.SERVE, Verdict.REFRESH_FIRST)
        if known["valid"] and is_fresh(given.issued_at, given.expires_at, clock):
            assert at_once.verdict is Verdict.SERVE
        if Verdict.SERVE in (at_once.verdict, waited.verdict):
            assert known["would_be"] in ("accepted", "ended"), "what has expired is served"

    async def _held(self) -> dict[str, Any]:
        """What the provider knows of the refresh token in the vault."""
        return self.world.refresh_token_report(await self.world.secrets())

    async def _whole_again(self) -> None:
        held = await self._held()
        if held["current"]:
            self.spoilt.discard(held["family_id"])
