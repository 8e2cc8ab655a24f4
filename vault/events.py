"""Events and the outbox: what happened, written in the transaction that made it happen."""

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy
from sqlalchemy import Insert, bindparam, exists, insert, true
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from vault.database import announce
from vault.ids import new_id
from vault.tables import Event, Life, Outbox, ProviderConfig, WebhookEndpoint, plain

OUTBOX, ENDPOINT = plain(Outbox), plain(WebhookEndpoint)
REFRESHED = "refreshed"
"""The one kind that is delivered only where it is asked for: it is as frequent as all others together are rare."""


async def append_event(tx: AsyncSession, life: Life, name: str, now: datetime, **data: Any) -> None:
    """Record `installation.<name>` or `connection.<name>` and queue it for delivery. `data` never holds a secret."""
    event = Event(
        id=new_id("evt"),
        workspace_id=life.workspace_id,
        life_id=life.id,
        provider_config_id=life.provider_config_id,
        type=f"{life.kind}.{name}",
        data=_told(data),
        created_at=now,
    )
    await _append(tx, event, life.id, wanted=name != REFRESHED)


async def append_config_event(tx: AsyncSession, config: ProviderConfig, name: str, now: datetime, **data: Any) -> None:
    """The same for `provider_config.<name>`: what befell the builder's app itself."""
    event = Event(
        id=new_id("evt"),
        workspace_id=config.workspace_id,
        life_id="",
        provider_config_id=config.id,
        type=_of_config(name),
        data=_told(data),
        created_at=now,
    )
    await _append(tx, event, config.id, wanted=True)


async def config_told_since(tx: AsyncSession, config: ProviderConfig, name: str, since: datetime) -> bool:
    """Whether `provider_config.<name>` was told of this config after that moment."""
    theirs = (
        col(Event.life_id) == "",  # has an index, and these events have no life
        col(Event.provider_config_id) == config.id,
        col(Event.type) == _of_config(name),
        col(Event.created_at) > since,
    )
    return (await tx.exec(select(Event.id).where(*theirs).limit(1))).first() is not None


def _of_config(name: str) -> str:
    return f"provider_config.{name}"


def _told(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, str) else value for name, value in data.items()}


@cache
def _queue(*, always: bool) -> Insert:
    """Queue the event if the workspace has an endpoint; unless `always`, only if that wants `refreshed` events too."""
    names = ("event_id", "workspace_id", "life_id", "created_at", "attempts", "last_error")
    values = [bindparam(name, type_=OUTBOX.c[name].type) for name in names]
    theirs = ENDPOINT.c.workspace_id == bindparam("workspace_id", type_=OUTBOX.c.workspace_id.type)
    wants = true() if always else ENDPOINT.c.refreshed.is_(True)
    return insert(OUTBOX).from_select(names, sqlalchemy.select(*values).where(exists().where(theirs, wants)))


_RECORD = insert(plain(Event))


async def _append(tx: AsyncSession, event: Event, subject: str, *, wanted: bool) -> None:
    """Without an endpoint nothing is queued: what is set up later hears of what happens from then on."""
    await tx.exec(_RECORD, params=event.model_dump(exclude={"sequence"}))
    row = {"event_id": event.id, "workspace_id": event.workspace_id, "life_id": subject, "created_at": event.created_at}
    queued = await tx.exec(_queue(always=wanted), params={**row, "attempts": 0, "last_error": ""})
    if queued.rowcount:
        announce(tx, event.workspace_id)
