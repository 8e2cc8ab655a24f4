"""`/api/events`: what happened, and whether your backend has heard of it."""

from datetime import datetime
from typing import Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field
from sqlalchemy import case, literal
from sqlmodel import col

from api.auth import SecretCaller
from api.deps import DepsOf
from api.fields import PathId
from api.problems import documented
from api.searching import Found, Searchable, SearchRequest, parse, respond
from domain.delivery import Delivery
from domain.errors import Problem
from domain.life import Kind
from vault import endpoints, outbox
from vault.database import announce
from vault.searching import Order, columns, find_event, find_page, shown_events, type_of
from vault.tables import Event, Outbox

router = APIRouter(prefix="/api/events", tags=["events"])


def _subject(kind: Kind) -> Any:
    return case((col(Event.type).startswith(f"{kind}."), col(Event.life_id)), else_=literal(""))


COLUMNS = columns(
    id=Event.id,
    event_type=Event.type,
    created_at=Event.created_at,
    connection_id=_subject(Kind.CONNECTION),
    installation_id=_subject(Kind.INSTALLATION),
    provider_config_id=Event.provider_config_id,
    delivery=case(
        (col(Outbox.event_id).is_(None), literal(Delivery.NONE.value)),
        (col(Outbox.delivered_at).is_not(None), literal(Delivery.DELIVERED.value)),
        (col(Outbox.dead_at).is_not(None), literal(Delivery.DEAD.value)),
        else_=literal(Delivery.PENDING.value),
    ),
    delivered_at=Outbox.delivered_at,
    next_attempt_at=Outbox.next_attempt_at,
    last_error=Outbox.last_error,
)
WORDS_IN = (COLUMNS["id"], COLUMNS["event_type"], COLUMNS["connection_id"], COLUMNS["installation_id"])


class EventResponse(BaseModel):
    """`data` says what changed: `old`, `new`, `reason`, and more by type; never a secret."""

    id: str
    event_type: str
    created_at: datetime
    connection_id: str | None = None
    installation_id: str | None = None
    provider_config_id: str | None = None
    actor_id: str | None = None
    data: dict[str, Any]
    delivery: Literal["none", "pending", "delivered", "dead"] = Field(
        description="`none`: it is not to be delivered. `dead`: given up, and can be replayed."
    )
    delivery_attempts: int
    delivered_at: datetime | None = None
    next_attempt_at: datetime | None = None
    last_error: str | None = None


class SearchResponseEventResponse(Found[EventResponse]):
    pass


SEARCHABLE = Searchable(
    fields={name: type_of(column) for name, column in COLUMNS.items()},
    shown=frozenset(EventResponse.model_fields),
    order=Order("created_at", descending=True),
)


@router.post(
    "/search",
    response_model=SearchResponseEventResponse,
    responses=documented("bad_request", "malformed_json", "unauthenticated", "forbidden"),
    summary="Search events",
)
async def search(body: SearchRequest, caller: SecretCaller, deps: DepsOf) -> Response:
    async with deps.db.reading() as tx:
        page = await find_page(tx, shown_events(caller.workspace_id), COLUMNS, parse(body, SEARCHABLE), WORDS_IN)
    return respond(SearchResponseEventResponse, [_shown(row[0], row[1]) for row in page.items], page, body)


@router.post(
    "/{id}/replay",
    status_code=202,
    response_model_exclude_none=True,
    responses=documented("unauthenticated", "forbidden", "not_found", "webhook_missing"),
    summary="Send an event again, whatever became of it",
)
async def replay(event_id: PathId, caller: SecretCaller, deps: DepsOf) -> EventResponse:
    async with deps.db.transaction() as tx:
        found = await find_event(tx, caller.workspace_id, event_id)
        if found is None:
            raise Problem("not_found", "There is no event of that id.")
        if await endpoints.find(tx, caller.workspace_id) is None:
            raise Problem("webhook_missing")
        queued = await outbox.replay(tx, found[0])
        if queued is None:
            raise Problem("not_found", "There is no event of that id.")
        announce(tx, caller.workspace_id)
    return _shown(found[0], queued)


def _shown(event: Event, queued: Outbox | None) -> EventResponse:
    kind, data = event.type.partition(".")[0], event.data or {}
    return EventResponse(
        id=event.id,
        event_type=event.type,
        created_at=event.created_at,
        connection_id=event.life_id if kind == Kind.CONNECTION else None,
        installation_id=event.life_id if kind == Kind.INSTALLATION else None,
        provider_config_id=event.provider_config_id or None,
        actor_id=data.get("actor_id"),
        data=data,
        delivery=_delivery(queued).value,
        delivery_attempts=queued.attempts if queued else 0,
        delivered_at=queued.delivered_at if queued else None,
        next_attempt_at=queued.next_attempt_at if queued else None,
        last_error=(queued.last_error or None) if queued else None,
    )


def _delivery(queued: Outbox | None) -> Delivery:
    if queued is None:
        return Delivery.NONE
    if queued.delivered_at:
        return Delivery.DELIVERED
    return Delivery.DEAD if queued.dead_at else Delivery.PENDING
