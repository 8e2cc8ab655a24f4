"""What a builder may say of a provider config: the bodies, and what is wrong with one that the types cannot tell."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, AwareDatetime, Field, SecretStr

from api.deps import ApiDeps
from api.fields import MAX_LIST, Body, BuilderId, ScopeList, Url
from api.opening import provider_of
from domain.errors import FieldError, Problem
from providers import inbound
from providers.model import ScopeKind
from providers.scopes import UnknownScopeError, check_scopes
from providers.wire import check_url
from vault.configs import ConfigFields


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


Form: TypeAlias = ProviderConfigRequest | UpdateProviderConfigParams


def given(body: UpdateProviderConfigParams) -> ConfigFields:
    """The fields to write: those that were sent, `null` among them only where it means the default."""
    sent = body.model_dump(
        exclude_unset=True, exclude={"client_secret", "client_secret_expires_at", "signing_key", "revision"}
    )
    clearable = ("scopes", "bot_scopes", "allowed_redirect_urls", "display_name", "probe_interval_seconds")
    fields: Any = {name: value for name, value in sent.items() if value is not None or name in clearable}
    written: ConfigFields = fields
    return written


def plain(secret: SecretStr | None) -> str | None:
    """The secret itself, where one was sent."""
    return None if secret is None else secret.get_secret_value()


def secret_end(deps: ApiDeps, provider_id: str, body: Form) -> datetime | None:
    """What the builder says, or for a new secret what the provider's rule says."""
    provider = deps.catalog.get(provider_id)
    days = provider.lifespan.client_secret_days if provider else None
    by_rule = deps.clock() + timedelta(days=days) if days and body.client_secret is not None else None
    return body.client_secret_expires_at or by_rule


def check(deps: ApiDeps, provider_id: str, body: Form) -> None:
    """Raises the `Problem` of what the types alone cannot tell: scopes, URLs, the signing key, trust in production."""
    _check_scopes(deps, provider_id, ScopeKind.USER, body.scopes)
    _check_scopes(deps, provider_id, ScopeKind.INSTALLATION, body.bot_scopes)
    _check_urls(deps, "oauth_redirect_url", [body.oauth_redirect_url] if body.oauth_redirect_url else [])
    _check_urls(deps, "allowed_redirect_urls", body.allowed_redirect_urls or [])
    _check_signing_key(deps, provider_id, plain(body.signing_key))
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
