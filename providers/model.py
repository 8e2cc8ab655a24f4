"""What we know about a provider, as one tree of values. `docs/providers.md` explains each key of its file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from domain.forecast import Lifespan
from domain.oauth.answer import DEFAULT_LIFETIME, AnswerRules
from domain.oauth.failures import FailureRule
from domain.oauth.token import BodyFormat, ClientAuth, TokenEndpoint


class Pkce(StrEnum):
    """Proof key for code exchange (RFC 7636)."""

    S256 = "S256"
    NONE = "none"
    """Only for a provider that breaks on it."""


class ScopeKind(StrEnum):
    """Whose credential the scopes are for."""

    USER = "user"
    INSTALLATION = "installation"


class TokenKind(StrEnum):
    """Which token a revocation endpoint takes; the value is RFC 7009's `token_type_hint`."""

    REFRESH = "refresh_token"
    ACCESS = "access_token"


@dataclass(frozen=True, slots=True)
class Scope:
    id: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class ScopeLists:
    """The scopes a provider knows. An empty list accepts any scope."""

    user: tuple[Scope, ...] = ()
    installation: tuple[Scope, ...] = ()
    always: tuple[str, ...] = ()
    """Asked for whatever else is asked for."""

    def of(self, kind: ScopeKind) -> tuple[Scope, ...]:
        return self.user if kind is ScopeKind.USER else self.installation


@dataclass(frozen=True, slots=True)
class IdentityCall:
    """An API call that tells whose access token it is; the health probe too."""

    url: str
    """May hold `{site}`."""
    account_id: str
    """RFC 6901 pointer into the answer."""
    method: str = "GET"
    body: str | None = None
    """Sent as JSON."""
    healthy_status: int = 200

    @property
    def needs_site(self) -> bool:
        return "{site}" in self.url


@dataclass(frozen=True, slots=True)
class SitesCall:
    """An API call that lists the sites (workspaces, instances) an access token reaches. Pointers are RFC 6901."""

    url: str
    items: str = ""
    """Pointer to the list; empty: the whole answer."""
    id: str = "/id"
    name: str = "/name"
    site_url: str = "/url"
    scopes: str = "/scopes"


@dataclass(frozen=True, slots=True)
class Revocation:
    """An RFC 7009 endpoint."""

    endpoint: TokenEndpoint
    tokens: tuple[TokenKind, ...] = (TokenKind.REFRESH, TokenKind.ACCESS)
    """Accepted kinds, the most thorough first: the first one at hand is sent."""


class SignatureScheme(StrEnum):
    """How a provider signs its webhooks."""

    HMAC_HEX = "hmac-sha256-hex"
    HMAC_BASE64 = "hmac-sha256-base64"
    STANDARD = "standard-webhooks"
    """Headers, key and signed text as that specification says."""


class TimestampUnit(StrEnum):
    """In what a webhook counts the time since 1970."""

    SECONDS = "s"
    MILLISECONDS = "ms"


@dataclass(frozen=True, slots=True)
class Webhook:
    """The messages with which a provider tells of withdrawn access, and how one knows that they are the provider's.

    `timestamp` and `message_id` name a header, or a place in the body by an RFC 6901 pointer.
    """

    scheme: SignatureScheme
    event: tuple[str, ...]
    """Pointers to what happened; their values are joined by dots."""
    withdrawn: tuple[str, ...]
    """The events that mean so."""
    header: str = "webhook-signature"
    prefix: str = ""
    signed: str = "{body}"
    timestamp: str = ""
    timestamp_unit: TimestampUnit = TimestampUnit.SECONDS
    tolerance: int = 300
    """Seconds."""
    message_id: str = ""
    account_id: str = ""
    site_id: str = ""


@dataclass(frozen=True, slots=True)
class SetupInstructions:
    """For the builder who registers an OAuth app at the provider."""

    title: str
    steps: tuple[str, ...] = ()
    callback_note: str | None = None
    docs_url: str | None = None


@dataclass(frozen=True, slots=True)
class Face:
    """What the catalog shows of a provider."""

    logo: str = ""
    category: str = "other"
    description: str = ""
    tags: tuple[str, ...] = ()
    verified: bool = False
    auth_user: bool = True
    auth_installation: bool = True
    auth_api_key: bool = False
    installation_type: str | None = None
    setup_instructions: SetupInstructions | None = None


@dataclass(frozen=True, slots=True)
class Provider:
    """An entry of the catalog. Durations are whole seconds."""

    id: str
    name: str
    authorization_url: str
    token: TokenEndpoint
    refresh_url: str | None = None
    """Where refreshing has an address of its own."""
    authorization_params: Mapping[str, str] = field(default_factory=dict)
    api_headers: Mapping[str, str] = field(default_factory=dict)
    """Sent with identity and sites calls."""
    pkce: Pkce = Pkce.S256
    scope_separator: str = " "
    scopes: ScopeLists = field(default_factory=ScopeLists)
    token_lifetime: int | None = DEFAULT_LIFETIME
    """Of an access token whose answer does not say; `None`: such a token does not expire."""
    rotation: bool = True
    """A refresh may replace the refresh token (RFC 6749 section 6), so a lost answer may lose the grant."""
    replay_window: int = 0
    """For so long a used refresh token may be sent again without harm."""
    calls_per_second: float | None = None
    """The most that one builder may call; `None`: as the server's setting says."""
    one_grant_per_account: bool = False
    """The provider keeps one grant per app and account: a later consent's scopes override the earlier ones."""
    account_id_from_token: str | None = None
    """RFC 6901 pointer into the token answer, where that names the account."""
    identity: IdentityCall | None = None
    sites: SitesCall | None = None
    revocation: Revocation | None = None
    webhook: Webhook | None = None
    lifespan: Lifespan = field(default_factory=Lifespan)
    issuer: str | None = None
    """Compared with the callback's `iss` (RFC 9207)."""
    issuer_required: bool = False
    error_pointer: str = "/error"
    failures: tuple[FailureRule, ...] = ()
    quirks: tuple[str, ...] = ()
    face: Face = field(default_factory=Face)

    @property
    def has_sites(self) -> bool:
        return self.sites is not None

    @property
    def answer_rules(self) -> AnswerRules:
        return AnswerRules(
            separator=self.scope_separator,
            lifetime=self.token_lifetime,
            account_pointer=self.account_id_from_token,
            error_pointer=self.error_pointer,
            failures=self.failures,
        )


__all__ = [
    "BodyFormat",
    "ClientAuth",
    "Face",
    "FailureRule",
    "IdentityCall",
    "Pkce",
    "Provider",
    "Revocation",
    "Scope",
    "ScopeKind",
    "ScopeLists",
    "SetupInstructions",
    "SignatureScheme",
    "SitesCall",
    "TimestampUnit",
    "TokenEndpoint",
    "TokenKind",
    "Webhook",
]
