"""Deliver the events of one workspace: what is due, a few at once, each subject's in order (Standard Webhooks)."""

import asyncio
import json
from datetime import datetime, timedelta
from secrets import SystemRandom

import structlog
from standardwebhooks import Webhook
from temporalio import activity

from activities.deps import Deps
from activities.ending import unless
from activities.messages import DeliveryOrder, DeliveryReport
from activities.outgoing import Unanswered
from domain.delivery import PAUSE_AFTER, Verdict, judge, retry_after
from vault import endpoints, outbox
from vault.crypto import SealBroken
from vault.outbox import Claimed
from vault.tables import Event, WebhookEndpoint

AT_ONCE = 10
# Then the workflow looks anew. One attempt may begin just before, so an activity takes at most half a minute more.
ROUND = timedelta(seconds=30)
READY, NONE, PAUSED, GONE = "ready", "none", "paused", "gone"

log = structlog.get_logger(__name__)
chance = SystemRandom()


class DeliveryActivities:
    """Bound to what the worker built."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    @activity.defn
    async def deliver(self, order: DeliveryOrder) -> DeliveryReport:
        """A round of deliveries, given up at once when the worker ends: what was under way goes out again later."""
        report = await unless(deliver(self._deps, order), activity.wait_for_worker_shutdown())
        return report or DeliveryReport(READY, more=True)


async def deliver(deps: Deps, order: DeliveryOrder) -> DeliveryReport:
    """Send what is due until nothing is, the endpoint has to be left alone, or half a minute is over."""
    return await _Round(deps, order.workspace_id).run()


class _Round:
    """One round: what is under way, and what came of the rest."""

    def __init__(self, deps: Deps, workspace_id: str) -> None:
        self._deps = deps
        self._workspace_id = workspace_id
        self._under_way: set[asyncio.Task[None]] = set()
        self._delivered = self._failed = 0
        self._last_error = ""

    async def run(self) -> DeliveryReport:
        until = self._deps.clock() + ROUND
        try:
            while True:
                if self._deps.clock() < until:
                    await self._begin()
                if not self._under_way:
                    return await self._report()
                done, self._under_way = await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            for task in self._under_way:
                task.cancel()
            await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _begin(self) -> None:
        """Claim as many as may go out now."""
        async with self._deps.db.reading() as tx:
            endpoint = await endpoints.find(tx, self._workspace_id)
        room = self._room(endpoint)
        if endpoint is None or not room:
            return
        try:
            secrets = await endpoints.signing_secrets(self._deps.sealer, endpoint, self._deps.clock())
        except SealBroken:
            await self._note_unsigned(endpoint)
            return
        async with self._deps.db.transaction() as tx:
            # The wait of each event for itself may be hours by now; the endpoint's own pauses are minutes.
            early = endpoint.failures >= PAUSE_AFTER
            claimed = await outbox.claim(tx, self._workspace_id, self._deps.clock(), room, early=early)
        self._under_way |= {asyncio.create_task(self._send(endpoint, secrets, each)) for each in claimed}

    def _room(self, endpoint: WebhookEndpoint | None) -> int:
        """After a pause one goes first; all others wait to see whether it gets through."""
        if endpoint is None or _standing(endpoint, self._deps.clock()) != READY:
            return 0
        if endpoint.failures >= PAUSE_AFTER:
            return 0 if self._under_way else 1
        return AT_ONCE - len(self._under_way)

    async def _send(self, endpoint: WebhookEndpoint, secrets: list[str], claimed: Claimed) -> None:
        verdict, error = await self._attempt(endpoint.url, secrets, claimed)
        self._deps.measures.delivery(verdict)
        now = self._deps.clock()
        if verdict is Verdict.DELIVERED:
            await self._note_delivered(endpoint, claimed, now)
        elif verdict is Verdict.GONE:
            await self._note_gone(endpoint, claimed, error, now)
        else:
            await self._note_failed(endpoint, claimed, error, now)

    async def _attempt(self, url: str, secrets: list[str], claimed: Claimed) -> tuple[Verdict, str]:
        body = payload(claimed)
        headers = signed(secrets, claimed.event.id, self._deps.clock(), body)
        try:
            status = await self._deps.outgoing.post(url, headers, body.encode())
        except Unanswered as error:
            return Verdict.FAILED, error.code
        return judge(status), f"status_{status}"

    async def _note_delivered(self, endpoint: WebhookEndpoint, claimed: Claimed, now: datetime) -> None:
        async with self._deps.db.transaction() as tx:
            await outbox.delivered(tx, claimed, now)
            await endpoints.got_through(tx, endpoint, now)
        self._delivered += 1

    async def _note_failed(self, endpoint: WebhookEndpoint, claimed: Claimed, error: str, now: datetime) -> None:
        wait = retry_after(claimed.attempts, chance.random())
        async with self._deps.db.transaction() as tx:
            if await outbox.failed(tx, claimed, now, error, wait, self._deps.limits.delivery):
                await endpoints.failed(tx, endpoint, claimed.attempts, error, now, chance.random())
        self._failed += 1
        self._last_error = error

    async def _note_gone(self, endpoint: WebhookEndpoint, claimed: Claimed, error: str, now: datetime) -> None:
        async with self._deps.db.transaction() as tx:
            await outbox.put_back(tx, claimed, error)
            await endpoints.gone(tx, endpoint, error, now)
        log.warning("a webhook endpoint says that it is gone", workspace_id=self._workspace_id)
        self._failed += 1
        self._last_error = error

    async def _note_unsigned(self, endpoint: WebhookEndpoint) -> None:
        async with self._deps.db.transaction() as tx:
            await endpoints.unsigned(tx, endpoint, self._deps.clock())
        log.error("the secret of a webhook endpoint does not open", workspace_id=self._workspace_id)
        self._last_error = SealBroken.code

    async def _report(self) -> DeliveryReport:
        now = self._deps.clock()
        async with self._deps.db.reading() as tx:
            endpoint = await endpoints.find(tx, self._workspace_id)
            next_at = await outbox.next_due(tx, self._workspace_id)
        standing = _standing(endpoint, now)
        if standing == PAUSED and endpoint and next_at:
            next_at = endpoint.paused_until
        return DeliveryReport(
            standing,
            self._delivered,
            self._failed,
            more=standing == READY and next_at is not None and next_at <= now,
            next_at=next_at if standing in (READY, PAUSED) else None,
            last_error=self._last_error,
        )


def _standing(endpoint: WebhookEndpoint | None, now: datetime) -> str:
    if endpoint is None:
        return NONE
    if endpoint.disabled_at:
        return GONE
    return PAUSED if endpoint.paused_until and endpoint.paused_until > now else READY


def payload(claimed: Claimed) -> str:
    """What the builder's backend gets: whom the event is about, and what it says itself; the ids win."""
    event = claimed.event
    told = {
        **(event.data or {}),
        "event_id": event.id,
        "workspace": event.workspace_id,
        **subject(event),
        "provider_config_id": event.provider_config_id,
        "provider_id": claimed.provider_id,
        "tenant_id": claimed.tenant_id,
        "user_id": claimed.user_id,
    }
    data = {name: value for name, value in told.items() if value != ""}
    return json.dumps({"type": event.type, "timestamp": event.created_at.isoformat(), "data": data})


def subject(event: Event) -> dict[str, str]:
    """The life an event is of, under the name of its kind; empty for one of a provider config."""
    kind = event.type.partition(".")[0]
    return {f"{kind}_id": event.life_id} if event.life_id else {}


def signed(secrets: list[str], event_id: str, now: datetime, body: str) -> dict[str, str]:
    """The headers: a signature by each secret, so that a receiver may know either of them during a rotation."""
    signatures = [Webhook(secret).sign(event_id, now, body) for secret in secrets]
    return {
        "content-type": "application/json",
        "user-agent": "authpipe",
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
