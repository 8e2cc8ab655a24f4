"""`/api/connections`: the authorised accounts of tenants and users."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import Field
from sqlalchemy import case
from sqlmodel import col

from api import life_views
from api.auth import SecretCaller
from api.deps import DepsOf
from api.fields import PathId
from api.life_views import LifeResponse, LifeSearch, RefreshConnectionResult, Seen
from api.problems import documented
from api.searching import Found, Searchable, SearchRequest
from domain.life import Kind
from vault.credentials import OAUTH_TOKEN
from vault.searching import Order, columns, type_of
from vault.tables import Life

router = APIRouter(prefix="/api/connections", tags=["connections"])

REVOKED = "revoked"
COLUMNS = columns(
    id=Life.id,
    provider_id=Life.provider_id,
    provider_config_id=Life.provider_config_id,
    tenant_id=Life.tenant_id,
    user_id=Life.user_id,
    installation_id=Life.installation_id,
    external_user_id=Life.account_id,
    attachment=Life.attachment,
    label=Life.label,
    status=case((col(Life.deleted_at).is_not(None), REVOKED), else_=col(Life.status)),
    reason=Life.reason,
    health=Life.health,
    last_error=Life.last_error,
    connected_at=Life.connected_at,
    updated_at=Life.updated_at,
    token_expires_at=Life.expires_at,
    next_refresh_at=Life.next_due_at,
)


class ConnectionResponse(LifeResponse):
    """`status` is `active`, `needs_reauth` (repaired by connecting again) or, once deleted, `revoked`."""

    attachment: str
    user_id: str | None = None
    installation_id: str | None = None
    external_user_id: str = Field(description="The account at the provider; empty if the provider does not tell.")
    credential_type: str
    connected_at: datetime


class SearchResponseConnectionResponse(Found[ConnectionResponse]):
    pass


def shown(seen: Seen) -> ConnectionResponse:
    """A connection as the contract has it."""
    life = seen.life
    own: dict[str, Any] = {
        "attachment": life.attachment,
        "user_id": life.user_id or None,
        "installation_id": life.installation_id or None,
        "external_user_id": life.account_id,
        "credential_type": OAUTH_TOKEN,
        "connected_at": life.connected_at,
    }
    return ConnectionResponse(**seen.common(REVOKED), **own)


SEARCH = LifeSearch(
    Kind.CONNECTION,
    COLUMNS,
    SearchResponseConnectionResponse,
    shown,
    Searchable(
        fields={name: type_of(column) for name, column in COLUMNS.items()},
        shown=frozenset(ConnectionResponse.model_fields),
        order=Order("connected_at", descending=True),
    ),
)


@router.post(
    "/search",
    response_model=SearchResponseConnectionResponse,
    responses=documented("bad_request", "malformed_json", "unauthenticated", "forbidden"),
    summary="Search connections",
)
async def search(body: SearchRequest, caller: SecretCaller, deps: DepsOf) -> Response:
    return await SEARCH.run(deps, caller, body)


@router.get(
    "/{id}",
    response_model_exclude_none=True,
    responses=documented("unauthenticated", "forbidden", "not_found"),
    summary="A connection with its live state",
)
async def get(life_id: PathId, caller: SecretCaller, deps: DepsOf) -> ConnectionResponse:
    return shown(await life_views.look(deps, caller, Kind.CONNECTION, life_id))


@router.post(
    "/{id}",
    response_model_exclude_none=True,
    responses=documented(
        "unauthenticated", "forbidden", "not_found", "not_connected", "needs_reauth", "refresh_pending"
    ),
    summary="Refresh a connection's credential now",
)
async def refresh(
    life_id: PathId,
    request: Request,
    caller: SecretCaller,
    deps: DepsOf,
) -> RefreshConnectionResult:
    return await life_views.refresh(deps, request.app.state.flights, caller, Kind.CONNECTION, life_id)


@router.delete(
    "/{id}",
    status_code=204,
    responses=life_views.DELETED | documented("unauthenticated", "forbidden", "not_found"),
    summary="Delete a connection; the provider is told afterwards",
)
async def delete(life_id: PathId, caller: SecretCaller, deps: DepsOf) -> Response:
    return await life_views.delete(deps, caller, Kind.CONNECTION, life_id)
