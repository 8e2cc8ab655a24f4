"""What the vault and the provider say when all is over: who lives, who was lost and why, who was sent twice."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.exc import DBAPIError
from sqlmodel import col, select

from tests.chaos.counting import End, Fate, Gaps, cause, fate
from tests.chaos.plan import NONE, PROVIDERS, WINDOW
from tests.chaos.seeding import Seeded
from tests.chaos.sends import Presented, Sent, first_in_doubt, offends, sent_twice, told
from tests.chaos.stand import LEASE_SECONDS, Stand
from tests.chaos.striking import Struck
from vault.ledger import REFRESH
from vault.tables import Event, Life, TokenAttempt

WINDOWS = {WINDOW: 600.0, NONE: 0.0}
"""Seconds, as the catalog has them."""
LOOK_EVERY = 1.0
SETTLED_WITHIN = 240.0


async def watch(stand: Stand, gaps: Gaps) -> None:
    """Look at the vault every second, until cancelled; while it is down there is nothing to see."""
    columns = (col(Life.id), col(Life.status), col(Life.expires_at), col(Life.issued_at))
    while True:
        with suppress(DBAPIError, OSError):
            async with stand.vault.reading() as tx:
                rows = (await tx.exec(select(*columns))).all()
            gaps.look([(i, s, _seconds(e), _seconds(a)) for i, s, e, a in rows], time.time())
        await asyncio.sleep(LOOK_EVERY)


async def settle(stand: Stand, gaps: Gaps) -> float:
    """Wait until nobody is without a credential and nothing is in doubt, as long as that helps; seconds it took."""
    began = time.monotonic()

    async def settled() -> bool:
        query = select(TokenAttempt.id).where(col(TokenAttempt.outcome).is_(None)).limit(1)
        async with stand.vault.reading() as tx:
            doubt = (await tx.exec(query)).first()
        return not gaps.now_without and doubt is None

    with suppress(AssertionError):
        await stand.until(settled, SETTLED_WITHIN)
    return time.monotonic() - began


@dataclass
class Judgement:
    """What came out, apart from what readers saw."""

    fates: dict[str, dict[Fate, list[Seeded]]]
    """By provider."""
    losses: list[str] = field(default_factory=list)
    """Each grant lost without a window, with the blow that made it."""
    needless: list[str] = field(default_factory=list)
    twice_by_provider: int = 0
    twice: list[str] = field(default_factory=list)
    """Each send that the ledger holds against the rule, after those of the same token before it."""
    resent: int = 0
    """Sends of a token that had been sent before, as the rule allows."""
    misconfigured: Counter[str] = field(default_factory=Counter)
    recovered: Counter[str] = field(default_factory=Counter)
    detected: list[float] = field(default_factory=list)
    """Seconds from the test's revocation to our event."""

    def count(self, which: Fate, provider: str) -> int:
        return len(self.fates[provider][which])


async def judge(stand: Stand, struck: Struck, seeded: Sequence[Seeded]) -> Judgement:
    """Read everything once."""
    async with stand.vault.reading() as tx:
        lives = {life.id: life for life in (await tx.exec(select(Life))).all()}
        attempts = (await tx.exec(select(TokenAttempt).where(TokenAttempt.kind == REFRESH))).all()
        events = (await tx.exec(select(Event).where(col(Event.type).not_like("%.refreshed")))).all()
    ledger = [_sent(attempt) for attempt in attempts]
    families = await _families(stand)
    found = Judgement({provider: {which: [] for which in Fate} for provider in PROVIDERS})
    for one in seeded:
        life = lives[one.life_id]
        end = End(life.id, one.provider, life.status, families[one.family], life.id in struck.revoked)
        which = fate(end)
        found.fates[one.provider][which].append(one)
        if which is Fate.LOST:
            found.losses.append(_loss(life, one, ledger, struck))
        if which is Fate.NEEDLESS:
            found.needless.append(f"{life.id} at {one.provider}: {life.reason}")
    _count_sends(found, ledger, lives, await _presented(stand), struck.began)
    _count_events(found, events, lives, struck)
    return found


def _loss(life: Life, one: Seeded, ledger: Iterable[Sent], struck: Struck) -> str:
    sent = first_in_doubt(ledger, life.id)
    blow = cause(sent.started_at if sent else None, one.provider, struck.blows, LEASE_SECONDS)
    when = f"sent at {sent.started_at - struck.began:.1f} s" if sent else "never sent"
    made = f"{blow.kind} at {blow.at - struck.began:.1f} s" if blow else "no blow of ours"
    return f"{life.id} at {one.provider} ({life.status} {life.reason}): {when}; {made}"


def _count_sends(
    found: Judgement, ledger: Sequence[Sent], lives: dict[str, Life], presented: Sequence[Presented], began: float
) -> None:
    for provider, window in WINDOWS.items():
        theirs = [s for s in ledger if s.life_id in lives and lives[s.life_id].provider_id == provider]
        found.twice += [f"at {provider}: {told(sent, theirs, began)}" for sent in sent_twice(theirs, window)]
    found.twice_by_provider = sum(map(offends, presented))
    found.resent = sum(max(0, len(token.uses) - 1) for token in presented)


def _count_events(found: Judgement, events: Iterable[Event], lives: dict[str, Life], struck: Struck) -> None:
    for event in events:
        at = event.created_at.timestamp()
        if event.type == "provider_config.misconfigured":
            found.misconfigured[event.provider_config_id] += 1
        elif event.type == "provider_config.recovered":
            found.recovered[event.provider_config_id] += 1
        elif event.type == "connection.needs_reauth" and at >= struck.revoked.get(event.life_id, at + 1):
            found.detected.append(at - struck.revoked[event.life_id])


async def _families(stand: Stand) -> dict[str, bool]:
    """Whether the provider would still rotate the refresh token of a consent."""
    grants = await stand.admin("GET", "grants")
    return {family["id"]: family["alive"] for grant in grants for family in grant["families"]}


async def _presented(stand: Stand) -> list[Presented]:
    told = await stand.admin("GET", "presented")
    return [
        Presented(one["token"], one["provider"], [(at, outcome) for at, outcome in one["uses"]], one["access_until"])
        for one in told
    ]


def _sent(attempt: TokenAttempt) -> Sent:
    settled = attempt.answered_at.timestamp() if attempt.answered_at else None
    started, leased = attempt.started_at.timestamp(), attempt.lease_until.timestamp()
    return Sent(attempt.life_id, attempt.fingerprint, started, leased, settled, attempt.outcome or "")


def _seconds(at: datetime | None) -> float:
    return at.timestamp() if at else float("inf")
