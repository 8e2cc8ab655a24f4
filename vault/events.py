"""Events and the outbox: what happened, written in the transaction that made it happen."""

from datetime import datetime
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from vault.ids import new_id
from vault.tables import Event, Life, Outbox


def append_event(tx: AsyncSession, life: Life, name: str, now: datetime, **data: Any) -> None:
    """Record `installation.<name>` or `connection.<name>` and queue it for delivery. `data` never holds a secret."""
    event_id = new_id("evt")
    tx.add(
        Event(
            id=event_id,
            workspace_id=life.workspace_id,
            life_id=life.id,
            type=f"{life.kind}.{name}",
            data=data,
            created_at=now,
        )
    )
    tx.add(Outbox(event_id=event_id, workspace_id=life.workspace_id, life_id=life.id, created_at=now))
