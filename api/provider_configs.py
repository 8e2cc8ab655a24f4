"""`/api/provider-configs`: a builder's OAuth apps. What is secret goes in and never comes out."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, BeforeValidator, Field
from sqlmodel import col, select

from activities.ids import config_ids_of
from api.auth import Caller, SecretCaller
from api.config_forms import ProviderConfigRequest, UpdateProviderConfigParams, check, given, plain, secret_end
from api.deps import ApiDeps, DepsOf
from api.fields import PathId
from api.life_views import tell_deleted
from api.opening import provider_of
from api.problems import documented
from api.searching import Found, Searchable, SearchRequest, parse, respond
from domain.errors import Problem
from domain.holds import kind_of
from vault import configs
from vault.configs import ConfigChanged, ConfigInUse, NewConfig
from vault.deletions import entomb
from vault.searching import Order, columns, find_page, present_configs, type_of
from vault.tables import Life, ProviderConfig

router = APIRouter(prefix="/api/provider-configs", tags=["provider configs"])

COLUMNS = columns(
    id=ProviderConfig.id,
    provider_id=ProviderConfig.provider_id,
    client_id=ProviderConfig.client_id,
    attachment=ProviderConfig.attachment,
    enabled=ProviderConfig.enabled,
    oauth_redirect_url=ProviderConfig.oauth_redirect_url,
    created_at=ProviderConfig.created_at,
    updated_at=ProviderConfig.updated_at,
)
WORDS_IN = (COLUMNS["id"], COLUMNS["provider_id"], COLUMNS["client_id"])
CHANGING = documented(
    "bad_request",
    "malformed_json",
    "unauthenticated",
    "forbidden",
    "provider_unknown",
    "invalid_scope",
    "trust_refused",
)


Named = Annotated[str | None, BeforeValidator(lambda word: word or None)]
"""Empty reads as absent."""


class ProviderConfigResponse(BaseModel):
    id: str
    provider_id: str
    client_id: str
    oauth_redirect_url: str
    attachment: str
    enabled: bool
    display_name: str | None = None
    scopes: list[str] | None = None
    bot_scopes: list[str] | None = None
    allowed_redirect_urls: list[str] | None = None
    verify_user: bool
    trust_publishable_sessions: bool
    probe_interval_seconds: int | None = None
    hold_kind: Named = Field(
        None, description="`misconfigured`: the provider refuses the app. `outage`: it fails for all."
    )
    held_until: datetime | None = Field(None, description="When one connection tries next; the others wait for it.")
    held_reason: Named = Field(None, description="The code of the failure that it is held for.")
    revision: int
    created_at: datetime
    updated_at: datetime


class SearchResponseProviderConfigResponse(Found[ProviderConfigResponse]):
    pass


SEARCHABLE = Searchable(
    fields={name: type_of(column) for name, column in COLUMNS.items()},
    shown=frozenset(ProviderConfigResponse.model_fields),
    order=Order("created_at", descending=True),
)


@router.post("", status_code=201, response_model_exclude_none=True, responses=CHANGING, summary="Register an OAuth app")
async def create(body: ProviderConfigRequest, caller: SecretCaller, deps: DepsOf) -> ProviderConfigResponse:
    provider_of(deps, body.provider_id)
    check(deps, body.provider_id, body)
    fields = body.model_dump(exclude={"client_secret", "signing_key", "client_secret_expires_at"})
    new = NewConfig(
        **fields,
        client_secret=body.client_secret.get_secret_value(),
        signing_key=plain(body.signing_key),
        client_secret_expires_at=secret_end(deps, body.provider_id, body),
    )
    return _shown(await configs.create(deps.db, deps.sealer, caller.workspace_id, new, deps.clock()))


@router.post(
    "/search",
    response_model=SearchResponseProviderConfigResponse,
    responses=documented("bad_request", "malformed_json", "unauthenticated", "forbidden"),
    summary="Search provider configs",
)
async def search(body: SearchRequest, caller: SecretCaller, deps: DepsOf) -> Response:
    async with deps.db.reading() as tx:
        page = await find_page(tx, present_configs(caller.workspace_id), COLUMNS, parse(body, SEARCHABLE), WORDS_IN)
    return respond(SearchResponseProviderConfigResponse, [_shown(row[0]) for row in page.items], page, body)


@router.get(
    "/{id}",
    response_model_exclude_none=True,
    responses=documented("unauthenticated", "forbidden", "not_found"),
    summary="A provider config",
)
async def get(config_id: PathId, caller: SecretCaller, deps: DepsOf) -> ProviderConfigResponse:
    return _shown(await _find(deps, caller, config_id))


@router.patch(
    "/{id}",
    response_model_exclude_none=True,
    responses=CHANGING | documented("not_found", "provider_unknown", "config_in_use", "config_changed"),
    summary="Change a provider config",
)
async def change(
    config_id: PathId,
    body: UpdateProviderConfigParams,
    caller: SecretCaller,
    deps: DepsOf,
) -> ProviderConfigResponse:
    before = await _find(deps, caller, config_id)
    provider_id = before.provider_id
    check(deps, provider_id, body)
    try:
        config = await configs.change(
            deps.db,
            deps.sealer,
            caller.workspace_id,
            config_id,
            deps.clock(),
            client_secret=plain(body.client_secret),
            client_secret_expires_at=secret_end(deps, provider_id, body),
            signing_key=plain(body.signing_key),
            revision=body.revision,
            **given(body),
        )
    except (ConfigInUse, ConfigChanged) as error:
        raise _refused(error) from None
    if before.held_until and body.client_secret is not None:
        await deps.trip(config_ids_of(before))  # those that waited for it are released now
    return _shown(_there(config))


@router.delete(
    "/{id}",
    status_code=204,
    responses=documented("unauthenticated", "forbidden", "not_found", "config_in_use"),
    summary="Delete a provider config",
)
async def delete(
    config_id: PathId,
    caller: SecretCaller,
    deps: DepsOf,
    cascade: Annotated[bool, Query(description="Delete its living installations and connections first.")] = False,
) -> Response:
    await _find(deps, caller, config_id)
    if cascade:
        await _delete_lives(deps, config_id)
    try:
        await configs.delete(deps.db, caller.workspace_id, config_id, deps.clock())
    except ConfigInUse as error:
        raise _refused(error) from None
    return Response(status_code=204)


async def _delete_lives(deps: ApiDeps, config_id: str) -> None:
    """Those that never were active too: an attempt that is under way must not come to life without its config."""
    living = select(Life.id).where(Life.provider_config_id == config_id, col(Life.deleted_at).is_(None))
    async with deps.db.reading() as tx:
        life_ids = (await tx.exec(living)).all()
    buried = {row.id: row for life_id in life_ids for row in await entomb(deps.db, life_id, deps.clock())}
    await tell_deleted(deps, list(buried.values()))


async def _find(deps: ApiDeps, caller: Caller, config_id: str) -> ProviderConfig:
    async with deps.db.reading() as tx:
        return _there(await configs.get(tx, caller.workspace_id, config_id))


def _there(config: ProviderConfig | None) -> ProviderConfig:
    if config is None:
        raise Problem("not_found", "There is no provider config of that id.")
    return config


def _shown(config: ProviderConfig) -> ProviderConfigResponse:
    shown = ProviderConfigResponse.model_validate(config, from_attributes=True)
    shown.hold_kind = kind_of(config.hold_kind, config.held_until).value or None
    return shown


def _refused(error: ConfigInUse | ConfigChanged) -> Problem:
    return Problem(error.code, f"{error}."[:1].upper() + f"{error}."[1:])
