"""`/api/installations`: the app as tenants have installed it."""

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
from vault.searching import Order, columns, type_of
from vault.tables import Life

router = APIRouter(prefix="/api/installations", tags=["installations"])

DELETED = "deleted"
COLUMNS = columns(
    id=Life.id,
    provider_id=Life.provider_id,
    provider_config_id=Life.provider_config_id,
    provider_installation_id=Life.site_id,
    tenant_id=Life.tenant_id,
    installed_by=Life.account_id,
    label=Life.label,
    status=case((col(Life.deleted_at).is_not(None), DELETED), else_=col(Life.status)),
    reason=Life.reason,
    health=Life.health,
    last_error=Life.last_error,
    installed_at=Life.connected_at,
    updated_at=Life.updated_at,
    token_expires_at=Life.expires_at,
    next_refresh_at=Life.next_due_at,
)


class InstallationResponse(LifeResponse):
    """`status` is `active`, `needs_reauth` (repaired by installing again) or, once deleted, `deleted`."""

    provider_installation_id: str = Field(description="The site's id; empty where the provider has no sites.")
    installed_by: str | None = Field(None, description="The account at the provider that installed it.")
    installed_at: datetime


class SearchResponseInstallationResponse(Found[InstallationResponse]):
    pass


def shown(seen: Seen) -> InstallationResponse:
    """An installation as the contract has it."""
    life = seen.life
    own: dict[str, Any] = {
        "provider_installation_id": life.site_id,
        "installed_by": life.account_id or None,
        "installed_at": life.connected_at,
    }
    return InstallationResponse(**seen.common(DELETED), **own)


SEARCH = LifeSearch(
    Kind.INSTALLATION,
    COLUMNS,
    SearchResponseInstallationResponse,
    shown,
    Searchable(
        fields={name: type_of(column) for name, column in COLUMNS.items()},
        shown=frozenset(InstallationResponse.model_fields),
        order=Order("installed_at", descending=True),
    ),
)


@router.post(
    "/search",
    response_model=SearchResponseInstallationResponse,
    responses=documented("bad_request", "malformed_json", "unauthenticated", "forbidden"),
    summary="Search installations",
)
async def search(body: SearchRequest, caller: SecretCaller, deps: DepsOf) -> Response:
    return await SEARCH.run(deps, caller, body)


@router.get(
    "/{id}",
    response_model_exclude_none=True,
    responses=documented("unauthenticated", "forbidden", "not_found"),
    summary="An installation with its live state",
)
async def get(life_id: PathId, caller: SecretCaller, deps: DepsOf) -> InstallationResponse:
    return shown(await life_views.look(deps, caller, Kind.INSTALLATION, life_id))


@router.post(
    "/{id}",
    response_model_exclude_none=True,
    responses=documented(
        "unauthenticated", "forbidden", "not_found", "not_connected", "needs_reauth", "refresh_pending"
    ),
    summary="Refresh an installation's credential now",
)
async def refresh(
    life_id: PathId,
    request: Request,
    caller: SecretCaller,
    deps: DepsOf,
) -> RefreshConnectionResult:
    return await life_views.refresh(deps, request.app.state.flights, caller, Kind.INSTALLATION, life_id)


@router.delete(
    "/{id}",
    status_code=204,
    responses=life_views.DELETED | documented("unauthenticated", "forbidden", "not_found"),
    summary="Delete an installation and the connections in it; the provider is told afterwards",
)
async def delete(life_id: PathId, caller: SecretCaller, deps: DepsOf) -> Response:
    return await life_views.delete(deps, caller, Kind.INSTALLATION, life_id)
