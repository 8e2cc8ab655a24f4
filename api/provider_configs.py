"""`/api/provider-configs`: a builder's OAuth apps. What is secret goes in and never comes out."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, Field, SecretStr
from sqlmodel import col, select

from activities.ids import config_ids_of
from api.auth import Caller, SecretCaller
from api.deps import ApiDeps, DepsOf
from api.fields import MAX_LIST, Body, BuilderId, PathId, ScopeList, Url
from api.life_views import tell_deleted
from api.opening import provider_of
from api.problems import documented
from api.searching import Found, Searchable, SearchRequest, parse, respond
from domain.errors import FieldError, Problem
from providers import inbound
from providers.model import ScopeKind
from providers.scopes import UnknownScopeError, check_scopes
from providers.wire import check_url
from vault import configs
from vault.configs import ConfigChanged, ConfigFields, ConfigInUse, NewConfig
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


def _vschars(value: str) -> str:
    """RFC 6749 appendix A.1 and A.2: a client id or secret is printable ASCII."""
    if not (value.isascii() and value.isprintable()):
        raise ValueError("holds other characters than printable ASCII")
    return value


def _secret_vschars(value: SecretStr) -> SecretStr:
    _vschars(value.get_secret_value())
    return value


ClientId = Annotated[str, Field(min_length=1, max_length=512), AfterValidator(_vschars)]
ClientSecret = Annotated[SecretStr, Field(max_length=4096), AfterValidator(_secret_vschars)]
"""Empty: a public client (RFC 6749 section 2.1)."""
SigningKey = Annotated[SecretStr, Field(min_length=1, max_length=4096)]
Urls = Annotated[list[Url], Field(max_length=MAX_LIST)]
ProbeInterval = Annotated[int, Field(ge=60, le=604_800)]
Attachment = Literal["tenant", "user"]
Named = Annotated[str | None, BeforeValidator(lambda word: word or None)]
"""Empty reads as absent."""
DisplayName = Annotated[BuilderId, Field(max_length=80)]


class ProviderConfigRequest(Body):
    provider_id: BuilderId
    client_id: ClientId
    client_secret: ClientSecret
    oauth_redirect_url: Url = Field(description="The callback URL registered at the provider: /oauth/callback, here.")
    attachment: Attachment = Field(description="`tenant`: a session needs no user_id.")
    enabled: bool
    display_name: DisplayName | None = Field(None, description="Your product's name, as the hosted pages show it.")
    scopes: ScopeList | None = Field(None, description="Of user credentials; the catalog's, if left out.")
    bot_scopes: ScopeList | None = Field(None, description="Of installation credentials; likewise.")
    signing_key: SigningKey | None = None
    allowed_redirect_urls: Urls | None = Field(
        None, description="Whole URLs that sessions may end on; without any, those on oauth_redirect_url's origin."
    )
    verify_user: bool = Field(False, description="Every session has to be confirmed by the backend.")
    trust_publishable_sessions: bool = Field(False, description="Development only: sessions need no confirmation.")
    probe_interval_seconds: ProbeInterval | None = Field(None, description="Between two check-ups; 6 hours by default.")
    client_secret_expires_at: AwareDatetime | None = Field(
        None, description="When the provider ends the client secret by itself; `secret_due` events go out before."
    )


class UpdateProviderConfigParams(Body):
    """What is left out stays. `null` does so too, but takes a list or the display name back to its default."""

    client_id: ClientId | None = None
    client_secret: ClientSecret | None = Field(None, description="The one before it is still tried, for 24 hours.")
    oauth_redirect_url: Url | None = None
    attachment: Attachment | None = None
    display_name: DisplayName | None = None
    enabled: bool | None = Field(None, description="false stops new sessions; refreshing and serving go on.")
    scopes: ScopeList | None = None
    bot_scopes: ScopeList | None = None
    signing_key: SigningKey | None = None
    allowed_redirect_urls: Urls | None = None
    verify_user: bool | None = None
    trust_publishable_sessions: bool | None = None
    probe_interval_seconds: ProbeInterval | None = None
    client_secret_expires_at: AwareDatetime | None = None
    revision: int | None = Field(
        None, ge=1, lt=2**31, description="Refuse the change unless the config is still this one."
    )


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
    _check(deps, body.provider_id, body)
    fields = body.model_dump(exclude={"client_secret", "signing_key", "client_secret_expires_at"})
    new = NewConfig(
        **fields,
        client_secret=body.client_secret.get_secret_value(),
        signing_key=_plain(body.signing_key),
        client_secret_expires_at=_secret_end(deps, body.provider_id, body),
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
    _check(deps, provider_id, body)
    try:
        config = await configs.change(
            deps.db,
            deps.sealer,
            caller.workspace_id,
            config_id,
            deps.clock(),
            client_secret=_plain(body.client_secret),
            client_secret_expires_at=_secret_end(deps, provider_id, body),
            signing_key=_plain(body.signing_key),
            revision=body.revision,
            **_given(body),
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
    return ProviderConfigResponse.model_validate(config, from_attributes=True)


def _given(body: UpdateProviderConfigParams) -> ConfigFields:
    """The fields to write: those that were sent, `null` among them only where it means the default."""
    sent = body.model_dump(
        exclude_unset=True, exclude={"client_secret", "client_secret_expires_at", "signing_key", "revision"}
    )
    clearable = ("scopes", "bot_scopes", "allowed_redirect_urls", "display_name", "probe_interval_seconds")
    given: Any = {name: value for name, value in sent.items() if value is not None or name in clearable}
    fields: ConfigFields = given
    return fields


def _plain(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def _secret_end(
    deps: ApiDeps, provider_id: str, body: ProviderConfigRequest | UpdateProviderConfigParams
) -> datetime | None:
    """What the builder says, or for a new secret what the provider's rule says."""
    provider = deps.catalog.get(provider_id)
    days = provider.lifespan.client_secret_days if provider else None
    by_rule = deps.clock() + timedelta(days=days) if days and body.client_secret is not None else None
    return body.client_secret_expires_at or by_rule


def _check(deps: ApiDeps, provider_id: str, body: ProviderConfigRequest | UpdateProviderConfigParams) -> None:
    _check_scopes(deps, provider_id, ScopeKind.USER, body.scopes)
    _check_scopes(deps, provider_id, ScopeKind.INSTALLATION, body.bot_scopes)
    _check_urls(deps, "oauth_redirect_url", [body.oauth_redirect_url] if body.oauth_redirect_url else [])
    _check_urls(deps, "allowed_redirect_urls", body.allowed_redirect_urls or [])
    _check_signing_key(deps, provider_id, _plain(body.signing_key))
    if body.trust_publishable_sessions and not deps.development:
        raise Problem("trust_refused", "trust_publishable_sessions is accepted in development only.")


def _check_scopes(deps: ApiDeps, provider_id: str, kind: ScopeKind, scopes: Sequence[str] | None) -> None:
    # Without scopes the provider is not asked for: a config whose provider left the catalog can still be disabled.
    if scopes:
        try:
            check_scopes(provider_of(deps, provider_id), kind, scopes)
        except UnknownScopeError as error:
            raise Problem("invalid_scope", str(error)) from None


def _check_urls(deps: ApiDeps, field: str, urls: Sequence[str]) -> None:
    for url in urls:
        try:
            check_url(url, allow_loopback_http=deps.development)
        except ValueError as error:
            message = f"{field} {error}."
            raise Problem("bad_request", message, errors=(FieldError(f"body.{field}", message),)) from None


def _check_signing_key(deps: ApiDeps, provider_id: str, key: str | None) -> None:
    """A key that cannot be read would refuse every webhook of the provider, and nobody would see why."""
    provider = deps.catalog.get(provider_id)
    webhook = provider.webhook if provider else None
    if key is not None and webhook is not None and not inbound.is_key(webhook, key):
        message = "signing_key must be base64, with or without whsec_ before it, as this provider's console shows it."
        raise Problem("bad_request", message, errors=(FieldError("body.signing_key", message),))


def _refused(error: ConfigInUse | ConfigChanged) -> Problem:
    return Problem(error.code, f"{error}."[:1].upper() + f"{error}."[1:])
