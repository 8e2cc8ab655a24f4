"""What each outcome writes to a life's row, with its event, in the caller's transaction (compare-and-set inside)."""

from datetime import datetime
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from domain.credential import CredentialRef
from domain.life import Status
from domain.schedule import backoff, refresh_at
from vault.events import append_event
from vault.lives import compare_and_set
from vault.tables import Life

WITHDRAWN = ("grant_revoked",)


def credential_columns(ref: CredentialRef, jitter: float) -> dict[str, Any]:
    """The projection of a credential: what lists and the overdue check read."""
    return {
        "generation": ref.generation,
        "issued_at": ref.issued_at,
        "expires_at": ref.expires_at,
        "granted_scopes": ref.scopes,
        "next_due_at": refresh_at(ref, jitter),
        "failures": 0,
        "health": "ok",
        "last_error": "",
    }


async def project_refreshed(tx: AsyncSession, life: Life, ref: CredentialRef, jitter: float, now: datetime) -> None:
    """A refresh was committed."""
    await compare_and_set(tx, life, now, **credential_columns(ref, jitter))
    if life.failures:
        await append_event(tx, life, "recovered", now, old="degraded", new="ok", reason=life.last_error)
    await append_event(tx, life, "refreshed", now, generation=ref.generation)


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
    )
    await append_event(tx, life, "needs_reauth", now, old=life.status, new=Status.NEEDS_REAUTH, reason=reason)


async def project_stumbled(tx: AsyncSession, life: Life, code: str, now: datetime, not_before: datetime | None) -> None:
    """A moment's failure: still serving, but degraded."""
    failures = life.failures + 1
    due = max(now + backoff(failures, 0.0), not_before or now)
    await compare_and_set(tx, life, now, failures=failures, health="degraded", last_error=code, next_due_at=due)
    if not life.failures:
        await append_event(tx, life, "degraded", now, old="ok", new="degraded", reason=code)
