"""`POST /api/credentials`: hand out a valid credential at once. Reading never waits for refreshing (law 5)."""

from datetime import datetime, timedelta
from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from activities.measures import SERVED
from api.auth import Caller, SecretCaller
from api.deps import ApiDeps, DepsOf
from api.fields import Body, BuilderId
from api.flights import RETRY_AFTER, Flights, renew
from api.opening import provider_of
from api.problems import code_of, documented
from api.request_ids import about_life
from domain.errors import Problem
from domain.life import Kind, Status
from domain.serving import Reading, Served, Verdict, after_waiting, serve
from providers.scopes import missing
from vault import reading
from vault.reading import Found, Wanted

HEADERS = {"cache-control": "no-store"}

MAX_MIN_TTL = 365 * 86_400


class GetCredentialParams(Body):
    provider: BuilderId
    tenant_id: BuilderId
    user_id: BuilderId | None = None
    installation_id: BuilderId | None = None
    connection_id: BuilderId | None = Field(None, description="One connection; its user_id may be left out then.")
    label: BuilderId | None = Field(None, description="Of several that fit, the one the session gave this label.")
    credential_for: Literal["any", "installation", "user"] = "any"
    provider_config_id: BuilderId | None = None
    min_ttl: int | None = Field(None, ge=0, le=MAX_MIN_TTL, description="Seconds the credential must still live.")
    force_refresh: bool = Field(False, description="Refresh first, unless the credential is brand new.")


class CredentialSite(BaseModel):
    id: str
    name: str
    url: str


class GetCredentialResult(BaseModel):
    credential: str = Field(repr=False)
    credential_type: str
    source: Literal["installation", "connection"]
    refreshed: bool
    needs_reauth: bool
    expires_at: datetime | None = Field(None, description="Absent: it does not expire.")
    scopes: list[str] | None = None
    missing_scopes: list[str] | None = Field(None, description="Requested, but not granted.")
    warnings: list[str] = []
    installation_id: str | None = None
    connection_id: str | None = None
    site: CredentialSite | None = None
    generation: int


router = APIRouter(prefix="/api", tags=["credentials"])


@router.post(
    "/credentials",
    responses=documented(
        "bad_request", "unauthenticated", "forbidden", "provider_unknown", "not_connected", "ambiguous",
        "needs_reauth", "refresh_pending", "database_unavailable",
    ),
    response_model_exclude_none=True,
    summary="Get a valid credential",
)  # fmt: skip
async def get_credential(
    body: GetCredentialParams, request: Request, response: Response, caller: SecretCaller, deps: DepsOf
) -> GetCredentialResult:
    response.headers.update(HEADERS)
    return await read_measured(body, request, caller, deps)


async def read_measured(
    body: GetCredentialParams, request: Request, caller: Caller, deps: ApiDeps
) -> GetCredentialResult:
    """The read itself, counted however it ends."""
    provider_of(deps, body.provider)
    try:
        result = await _get(body, request, caller, deps)
    except Exception as error:
        deps.measures.read(body.provider, code_of(error))
        raise
    deps.measures.read(body.provider, SERVED)
    return result


async def _get(body: GetCredentialParams, request: Request, caller: Caller, deps: ApiDeps) -> GetCredentialResult:
    found = await _find(deps, body, caller.workspace_id)
    about_life(caller.workspace_id, found.kind, body.provider, found.id)
    min_ttl = None if body.min_ttl is None else timedelta(seconds=body.min_ttl)
    served = serve(_facts(found), deps.clock(), min_ttl=min_ttl, force=body.force_refresh)
    seen = found.generation
    if served.verdict is Verdict.REFRESH_FIRST:
        found = await _refreshed(deps, request.app.state.flights, found)
        served = after_waiting(_facts(found), deps.clock(), min_ttl=min_ttl)
    _refuse(found, served)
    return await _result(deps, found, served, refreshed=found.generation != seen)


def _wanted(body: GetCredentialParams, workspace_id: str) -> Wanted:
    return Wanted(
        workspace_id=workspace_id,
        provider_id=body.provider,
        tenant_id=body.tenant_id,
        kinds=_kinds(body),
        user_id=body.user_id or "",
        installation_id=body.installation_id or "",
        provider_config_id=body.provider_config_id or "",
        connection_id=body.connection_id or "",
        label=body.label or "",
    )


def _kinds(body: GetCredentialParams) -> tuple[Kind, ...]:
    """A named user's credential never falls back to the installation's."""
    if body.credential_for == "installation":
        return (Kind.INSTALLATION,)
    if body.credential_for == "user" or body.user_id is not None or body.connection_id is not None:
        return (Kind.CONNECTION,)
    return (Kind.INSTALLATION, Kind.CONNECTION)


async def _find(deps: ApiDeps, body: GetCredentialParams, workspace_id: str) -> Found:
    found = await reading.find(deps.db, _wanted(body, workspace_id))
    preferred = [f for f in found if f.kind == Kind.INSTALLATION] or found
    serving = [f for f in preferred if f.status == Status.ACTIVE] or preferred
    if not serving and body.credential_for == "user" and body.user_id is None and body.connection_id is None:
        raise Problem("user_required", "credential_for is user, no user_id was given, and the tenant has no own one.")
    if not serving:
        raise Problem("not_connected", "No such installation or connection is living for this tenant and user.")
    if len(serving) > 1:
        candidates = tuple({f"{f.kind}_id": f.id, "label": f.label, "site": f.site_name} for f in serving)
        raise Problem(
            "ambiguous",
            "Several fit; name the installation_id, connection_id, label or provider_config_id.",
            candidates=candidates,
        )
    return serving[0]


def _facts(found: Found) -> Reading:
    return Reading(
        status=Status(found.status),
        issued_at=found.issued_at,
        expires_at=found.expires_at,
        refreshable=found.refreshable,
        refused_at=found.refused_at,
        failing=found.last_error,
    )


async def _refreshed(deps: ApiDeps, flights: Flights, found: Found) -> Found:
    """The row after the refresh flight, whether that brought a newer generation or not."""
    patience = _facts(found).patience(deps.clock(), deps.wait)
    if not await renew(deps, flights, found, found.generation, patience):
        return found
    again = await reading.find_one(deps.db, found.id)
    if again is None:
        raise Problem("not_connected")
    return again


def _refuse(found: Found, served: Served) -> None:
    match served.verdict:
        case Verdict.NOT_CONNECTED:
            raise Problem("not_connected")
        case Verdict.NEEDS_REAUTH:
            raise Problem("needs_reauth", f"The user has to connect again: {found.reason or 'the grant is dead'}.")
        case Verdict.PENDING | Verdict.REFRESH_FIRST:
            said = found.last_error or "the refresh is still under way"
            raise Problem("refresh_pending", f"The credential has expired ({said}).", retry_after=RETRY_AFTER)
        case Verdict.SERVE:
            return


async def _result(deps: ApiDeps, found: Found, served: Served, *, refreshed: bool) -> GetCredentialResult:
    installation = found.kind == Kind.INSTALLATION
    return GetCredentialResult(
        credential=await reading.open_access(deps.sealer, found),
        credential_type=found.credential_type,
        source="installation" if installation else "connection",
        refreshed=refreshed,
        needs_reauth=served.needs_reauth,
        expires_at=found.expires_at,
        scopes=found.scopes,
        missing_scopes=list(missing(found.requested_scopes or (), found.scopes)),
        warnings=list(served.warnings),
        installation_id=found.id if installation else None,
        connection_id=None if installation else found.id,
        site=CredentialSite(id=found.site_id, name=found.site_name, url=found.site_url) if found.site_id else None,
        generation=found.generation,
    )
