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
from vault.direct import Tx
from vault.ids import new_id
from vault.tables import Event, Life, Outbox, ProviderConfig, WebhookEndpoint, plain

EVENT, OUTBOX, ENDPOINT = plain(Event), plain(Outbox), plain(WebhookEndpoint)
REFRESHED = "refreshed"
"""The one kind that is delivered only where it is asked for: it is as frequent as all others together are rare."""


async def append_event(tx: Tx, life: Life, name: str, now: datetime, **data: Any) -> None:
    """Record `installation.<name>` or `connection.<name>` and queue it for delivery. `data` never holds a secret."""
    kind, wanted = f"{life.kind}.{name}", name != REFRESHED
    await _append(tx, life.workspace_id, life.provider_config_id, kind, now, data, life_id=life.id, wanted=wanted)


async def append_config_event(tx: AsyncSession, config: ProviderConfig, name: str, now: datetime, **data: Any) -> None:
    """The same for `provider_config.<name>`: what befell the builder's app itself."""
    await _append(tx, config.workspace_id, config.id, _of_config(name), now, data)


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


_RECORD = insert(EVENT).inline().values({c.name: bindparam(c.name) for c in EVENT.c if c.name != "sequence"})


async def _append(
    tx: Tx,
    workspace_id: str,
    config_id: str,
    kind: str,
    now: datetime,
    data: Mapping[str, Any],
    *,
    life_id: str = "",
    wanted: bool = True,
) -> None:
    """Without an endpoint nothing is queued: what is set up later hears of what happens from then on."""
    whose = {"workspace_id": workspace_id, "created_at": now}
    event = {"id": new_id("evt"), "life_id": life_id, "provider_config_id": config_id, "type": kind}
    await tx.exec(_RECORD, params={**event, **whose, "data": _told(data)})
    row = {"event_id": event["id"], "life_id": life_id or config_id, "attempts": 0, "last_error": ""}
    queued = await tx.exec(_queue(always=wanted), params={**row, **whose})
    if queued.rowcount:
        announce(tx, workspace_id)
