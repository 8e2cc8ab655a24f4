"""What a failed refresh says of the provider as a whole, in the transaction that settles it."""

from datetime import datetime, timedelta

from sqlmodel.ext.asyncio.session import AsyncSession

from activities.client import NO_TIME
from domain.holds import HoldKind
from domain.ledger import WINDOW_MARGIN
from domain.oauth.failures import Failure, FailureCode, FailureKind
from providers.model import Provider
from vault import holds, ledger
from vault.tables import Life, ProviderConfig, TokenAttempt

TOKEN_UNCHANGED = "token_unchanged"


async def waits_until(
    tx: AsyncSession, life: Life, config: ProviderConfig, provider: Provider | None, now: datetime
) -> datetime | None:
    """Until when the hold of its config keeps a life from refreshing; None: it may try.

    What is in doubt is finished during an outage too, while the provider's replay window is open: after that the
    rotated token is lost (law 3).
    """
    waits = holds.waits_until(config, life.id, now, life.next_due_at)
    if waits is None or config.hold_kind != HoldKind.OUTAGE or provider is None:
        return waits
    since = await ledger.in_doubt_since(tx, life.id)
    window = timedelta(seconds=provider.replay_window)
    return None if since is not None and now < since + window - WINDOW_MARGIN else waits


async def settle_attempt(tx: AsyncSession, attempt: TokenAttempt, failure: Failure, now: datetime) -> None:
    """What the ledger keeps of an attempt that brought no credential and cost none."""
    if failure.code == TOKEN_UNCHANGED:
        # An answer after all: whatever was sent before it, this refresh token is still in force.
        await ledger.resolve_all(tx, attempt.life_id, attempt.fingerprint, ledger.NOT_HANDLED, now)
    elif failure.in_doubt:
        await ledger.release(tx, attempt, now, failure.code)
    else:
        outcome = ledger.NOT_SENT if failure.code == FailureCode.UNREACHABLE else ledger.NOT_HANDLED
        await ledger.resolve(tx, attempt, outcome, now, failure.code)


async def note_failure(
    tx: AsyncSession,
    attempt: TokenAttempt,
    config_id: str,
    failure: Failure,
    now: datetime,
    *,
    scout: bool,
    first: bool,
) -> bool:
    """An outage begins, or lasts, or is over; `first`: the life did not fail before. True if the breaker is to look."""
    if failure.code == TOKEN_UNCHANGED:
        return await holds.clear(tx, config_id, now, attempt.started_at)  # an answer after all
    if scout:
        return await holds.scout_failed(tx, config_id, now, failure.code, failure.retry_after) is not None
    # Without time nothing was sent: that is our own worker's slowness.
    if not first or failure.kind is not FailureKind.MOMENT or failure is NO_TIME:
        return False
    return await holds.began_to_fail(tx, config_id, now, failure.code, failure.retry_after) is not None
