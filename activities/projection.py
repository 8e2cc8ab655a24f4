"""What each outcome writes to a life's row, with its event, in the caller's transaction (compare-and-set inside)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from domain.checkup import SCOPES_LOST, lost
from domain.credential import CredentialRef
from domain.forecast import Notice
from domain.life import Status
from domain.schedule import backoff, refresh_at
from vault.direct import Tx
from vault.events import append_event
from vault.lives import compare_and_set
from vault.tables import Life

WITHDRAWN = ("grant_revoked",)


@dataclass(frozen=True, slots=True)
class CheckedUp:
    """What a check-up found, and when the next one is. `scopes`: those still granted, None where nobody tells."""

    next_at: datetime
    looked_at: datetime | None
    doubt: str
    scopes: Sequence[str] | None
    noticed_days: int
    notice: Notice | None


def credential_columns(ref: CredentialRef, jitter: float) -> dict[str, Any]:
    """The projection of a credential: what lists and the overdue check read."""
    return {
        "generation": ref.generation,
        "issued_at": ref.issued_at,
        "expires_at": ref.expires_at,
        "next_due_at": refresh_at(ref, jitter),
        "failures": 0,
        "last_error": "",
    }


def health(failures: int, doubt: str) -> str:
    """Degraded: refreshing fails for the moment, or a check-up left a doubt."""
    return "degraded" if failures or doubt else "ok"


async def project_refreshed(tx: Tx, life: Life, ref: CredentialRef, jitter: float, now: datetime) -> datetime | None:
    """A refresh was committed. The answer is when to check the life up because its scopes shrank, else None."""
    agreed, granted = life.granted_scopes, ref.scopes
    shrank = bool(lost(agreed, granted))
    # A site may grant less than the token: what it grants is a check-up's to say.
    grown = [] if life.site_scopes else lost(granted, agreed)
    changed: dict[str, Any] = (
        {"probe_at": now} if shrank else {"granted_scopes": granted if grown or agreed is None else agreed}
    )
    well = health(0, life.doubt)
    await compare_and_set(tx, life, now, **credential_columns(ref, jitter), health=well, **changed)
    if life.failures and not life.doubt:
        await append_event(tx, life, "recovered", now, old="degraded", new=well, reason=life.last_error)
    if grown and not shrank:
        await append_event(
            tx, life, "scopes_changed", now, old=life.status, new=life.status, **_scopes(agreed, granted)
        )
    await append_event(tx, life, "refreshed", now, old=life.status, new=life.status, generation=ref.generation)
    return now if shrank else None


async def project_checkup(tx: AsyncSession, life: Life, found: CheckedUp, now: datetime) -> None:
    """A check-up came to an end, and may have left a doubt. Scopes that shrank are told once."""
    columns: dict[str, Any] = {
        "probe_at": found.next_at,
        "probed_at": found.looked_at,
        "doubt": found.doubt,
        "health": health(life.failures, found.doubt),
        "noticed_days": found.noticed_days,
    }
    shrank = bool(lost(life.granted_scopes, found.scopes)) and life.doubt != SCOPES_LOST
    if found.scopes is not None and found.doubt != SCOPES_LOST:
        columns["granted_scopes"] = list(found.scopes)
    await compare_and_set(tx, life, now, **columns)
    if shrank:
        told = _scopes(life.granted_scopes, found.scopes)
        await append_event(tx, life, "scopes_changed", now, old=life.status, new=life.status, **told)
    await _health_changed(tx, life, columns["health"], found.doubt, now)
    if found.notice is not None:
        await append_event(tx, life, "reauth_due", now, old=life.status, new=life.status, **_told(found.notice))


async def _health_changed(tx: AsyncSession, life: Life, new: str, doubt: str, now: datetime) -> None:
    if new != life.health:
        name, reason = ("degraded", doubt) if new == "degraded" else ("recovered", life.doubt)
        await append_event(tx, life, name, now, old=life.health, new=new, reason=reason)


def _scopes(before: Sequence[str] | None, after: Sequence[str] | None) -> dict[str, Any]:
    return {"reason": "provider", "lost": lost(before, after), "gained": lost(after, before)}


def _told(notice: Notice) -> dict[str, Any]:
    end = notice.end
    return {"reason": end.reason, "days": notice.days, "due_at": end.at.isoformat(), "doubt": end.doubt}


async def project_reauth(tx: AsyncSession, life: Life, reason: str, now: datetime) -> None:
    """The grant is dead: the user has to come again. Nothing is due until then."""
    revoked_at = now if reason in WITHDRAWN else life.revoked_at
    await compare_and_set(
        tx,
        life,
        now,
        status=Status.NEEDS_REAUTH,
        reason=reason,
        revoked_at=revoked_at,
        next_due_at=None,
        failures=0,
        health="ok",
        last_error="",
        probe_at=None,
        doubt="",
    )
    await append_event(tx, life, "needs_reauth", now, old=life.status, new=Status.NEEDS_REAUTH, reason=reason)


async def project_stumbled(tx: AsyncSession, life: Life, code: str, now: datetime, not_before: datetime | None) -> None:
    """A moment's failure: still serving, but degraded."""
    failures = life.failures + 1
    due = max(now + backoff(failures, 0.0), not_before or now)
    await compare_and_set(tx, life, now, failures=failures, health="degraded", last_error=code, next_due_at=due)
    if life.health != "degraded":
        await append_event(tx, life, "degraded", now, old="ok", new="degraded", reason=code)
