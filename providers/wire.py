"""The form of a provider's file: what may stand in it, checked key by key before it becomes a `Provider`."""

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from ipaddress import ip_address
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationInfo

from domain.oauth.answer import DEFAULT_LIFETIME
from domain.oauth.failures import PASSING, Endpoint, FailureCode, FailureKind, GrantType
from domain.oauth.token import BodyFormat, ClientAuth
from providers.form import STRICT, Lax, Pointer
from providers.model import Pkce, TokenKind
from providers.quirks import REGISTRY
from providers.webhook_form import WebhookTable, webhook_problems

_OWN_AUTHORIZATION_PARAMS = frozenset(
    {"response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method"}
)
_OWN_TOKEN_PARAMS = frozenset(
    {"grant_type", "code", "redirect_uri", "code_verifier", "refresh_token", "client_id", "client_secret"}
)
_OWN_HEADERS = frozenset({"authorization", "content-type", "content-length", "host"})
# Said of a connection, by no answer.
_NO_ANSWER = (FailureCode.UNREACHABLE, FailureCode.NO_ANSWER, FailureCode.ANSWER_TOO_LARGE)
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749 section 3.3


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like `word`, however unlike; `None` only where nothing is known."""
    return next(iter(get_close_matches(word, sorted(known), n=1, cutoff=0.0)), None)


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def check_url(url: str, *, allow_loopback_http: bool) -> str:
    """`url` itself. Raises ValueError with a reason unless it is https, or http to loopback where that is allowed."""
    parts = urlsplit(url)
    if not parts.hostname or parts.username is not None or parts.fragment or not _is_plain(url):
        raise ValueError("must be a full URL without user, fragment, spaces or placeholders")
    _ = parts.port  # raises ValueError for a port that is none
    if parts.scheme == "https":
        return url
    if parts.scheme != "http" or not is_loopback(parts.hostname):
        raise ValueError("must begin with https://")
    if not allow_loopback_http:
        raise ValueError("is plain http: allowed to loopback in development only")
    return url


def _is_plain(url: str) -> bool:
    return url.isascii() and url.isprintable() and not set(url) & set(' {}"<>\\^`|')


def _url(value: str, info: ValidationInfo) -> str:
    return check_url(value, allow_loopback_http=bool((info.context or {}).get("allow_loopback_http")))


def _site_url(value: str, info: ValidationInfo) -> str:
    if "{site}" in urlsplit(value).netloc:
        raise ValueError("may hold {site} in its path only")
    _url(value.replace("{site}", "site"), info)
    return value


def _headers(value: dict[str, str]) -> dict[str, str]:
    for name, text in value.items():
        if not re.fullmatch(r"[A-Za-z0-9-]+", name) or not (text.isascii() and text.isprintable()):
            raise ValueError(f"{name!r} is no header that can be sent")
        if name.lower() in _OWN_HEADERS:
            raise ValueError(f"{name!r} is set by Authpipe itself")
    return value


def _lifetime(value: Any) -> Any:
    return None if value == "never" else value


def _scope_lists(value: Any) -> Any:
    """`scopes = ["read", "write"]` is short for one list without descriptions."""
    if not isinstance(value, list):
        return value
    if not all(isinstance(word, str) for word in value):
        raise ValueError("must be a list of scope ids, or tables `scopes.user` and `scopes.installation`")
    return {"user": dict.fromkeys(value, "")}


Url = Annotated[str, AfterValidator(_url)]
SiteUrl = Annotated[str, AfterValidator(_site_url)]
Headers = Annotated[dict[str, str], AfterValidator(_headers)]
Text = Annotated[str, Field(min_length=1, max_length=500)]
Words = Annotated[dict[str, str], Field(default_factory=dict)]


class _Strict(BaseModel):
    model_config = STRICT


class ScopesTable(_Strict):
    always: list[str] = []
    user: dict[str, str] | None = None
    installation: dict[str, str] | None = None

    def lists(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """(user, installation); where one is not given, the other serves both."""
        user = self.installation if self.user is None else self.user
        installation = self.user if self.installation is None else self.installation
        return user or {}, installation or {}


class IdentityTable(_Strict):
    url: SiteUrl
    account_id: Annotated[Pointer, Field(min_length=1)]
    method: Annotated[str, Field(pattern="^(GET|POST)$")] = "GET"
    body: str | None = None
    healthy_status: Annotated[int, Field(ge=200, le=299)] = 200


class SitesTable(_Strict):
    url: Url
    items: Pointer = ""
    id: Pointer = "/id"
    name: Pointer = "/name"
    site_url: Pointer = "/url"
    scopes: Pointer = "/scopes"


Days = Annotated[int, Field(ge=1, le=3650)]


class LifespanTable(_Strict):
    inactivity_days: Days | None = None
    inactivity_doubt: str = ""
    absolute_days: Days | None = None
    absolute_doubt: str = ""
    client_secret_days: Days | None = None
    client_secret_doubt: str = ""


class RevocationTable(_Strict):
    url: Url
    tokens: Annotated[list[Lax[TokenKind]], Field(min_length=1)] = [*TokenKind]
    client_auth: Lax[ClientAuth] | None = None
    body_format: Lax[BodyFormat] = BodyFormat.FORM
    params: Words
    headers: Headers = {}


class FailureTable(_Strict):
    kind: Lax[FailureKind]
    code: Lax[FailureCode]
    endpoint: Lax[Endpoint] = Endpoint.TOKEN
    grant: Lax[GrantType] | None = None
    status: Annotated[int, Field(ge=200, le=599)] | None = None
    error: Annotated[str, Field(pattern=r"^[a-z0-9_.-]{1,64}$")] | None = None
    empty_body: bool = False
    source: str = ""


class SetupTable(_Strict):
    title: Text
    steps: list[str] = []
    callback_note: str | None = None
    docs_url: Url | None = None


class ProviderFile(_Strict):
    """One file, key by key. Defaults are the RFCs'."""

    id: Annotated[str, Field(pattern="^[a-z][a-z0-9-]{0,62}$")]
    name: Text
    authorization_url: Url
    token_url: Url
    refresh_url: Url | None = None
    authorization_params: Words
    token_params: Words
    token_headers: Headers = {}
    api_headers: Headers = {}
    client_auth: Lax[ClientAuth] = ClientAuth.BODY
    body_format: Lax[BodyFormat] = BodyFormat.FORM
    pkce: Lax[Pkce] = Pkce.S256
    scope_separator: Annotated[str, Field(min_length=1, max_length=3)] = " "
    scopes: Annotated[ScopesTable, BeforeValidator(_scope_lists)] = ScopesTable()
    token_lifetime: Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(_lifetime)] = DEFAULT_LIFETIME
    rotation: bool = True
    replay_window: Annotated[int, Field(ge=0, le=31 * 86_400)] = 0
    calls_per_second: Annotated[float, Field(gt=0, le=10_000)] | None = None
    one_grant_per_account: bool = False
    account_id_from_token: Annotated[Pointer, Field(min_length=1)] | None = None
    identity: IdentityTable | None = None
    sites: SitesTable | None = None
    revocation: RevocationTable | None = None
    webhook: WebhookTable | None = None
    lifespan: LifespanTable = LifespanTable()
    issuer: Url | None = None
    issuer_required: bool = False
    error_pointer: Annotated[Pointer, Field(min_length=1)] = "/error"
    failures: list[FailureTable] = []
    quirks: list[str] = []
    logo: str = ""
    category: Text = "other"
    description: str = ""
    tags: list[str] = []
    verified: bool = False
    auth_user: bool = True
    auth_installation: bool = True
    auth_api_key: bool = False
    installation_type: str | None = None
    setup_instructions: SetupTable | None = None


TABLES: Mapping[str, type[BaseModel]] = {
    "": ProviderFile,
    "scopes": ScopesTable,
    "identity": IdentityTable,
    "sites": SitesTable,
    "revocation": RevocationTable,
    "webhook": WebhookTable,
    "lifespan": LifespanTable,
    "failures": FailureTable,
    "setup_instructions": SetupTable,
}


def contradictions(file: ProviderFile) -> Iterator[tuple[str, str]]:
    """(key, reason) for what is well-formed key by key and still cannot be meant."""
    yield from _scope_problems(file)
    yield from _own_params("authorization_params", file.authorization_params, _OWN_AUTHORIZATION_PARAMS)
    yield from _own_params("token_params", file.token_params, _OWN_TOKEN_PARAMS)
    for name in file.quirks:
        if name not in REGISTRY:
            yield "quirks", f"there is no quirk {name!r}; the nearest is {nearest(name, REGISTRY)!r}"
    if file.identity and "{site}" in file.identity.url and not file.sites:
        yield "identity.url", "holds {site}, but there is no `sites` call to learn one from"
    if file.issuer_required and file.issuer is None:
        yield "issuer_required", "needs `issuer` to compare with"
    if file.webhook is not None:
        yield from webhook_problems(file.webhook)
    for at, rule in enumerate(file.failures):
        reason = _no_rule(rule)
        if reason:
            yield f"failures[{at}]", reason


def _no_rule(rule: FailureTable) -> str | None:
    """Why a rule of failures is refused, if it is: a rule that is too wide costs somebody a connection that lives."""
    if rule.code in _NO_ANSWER or rule.code.kind is not rule.kind:
        return f"{rule.code.value!r} is no code of the {rule.kind.value}'s failures that an answer can have"
    if rule.endpoint is not Endpoint.TOKEN and (rule.kind is FailureKind.USER or rule.grant):
        return "kind 'user' and `grant` are of the token endpoint: a product API never says that a grant is dead"
    if rule.empty_body and (rule.error is not None or rule.status is None):
        return "empty_body needs a status, and has no error"
    if rule.error is None:
        return _too_wide(rule)
    return None


def _too_wide(rule: FailureTable) -> str | None:
    if rule.status is None:
        return "needs a status or an error, or it would read every answer alike"
    if rule.status < 300:
        return "needs an error: any other answer of 2xx may be a garbled success"
    if rule.kind is FailureKind.USER and (rule.status in PASSING or rule.status < 400):
        return "needs an error: such an answer may come from an overloaded server or from one in between"
    return None


def _scope_problems(file: ProviderFile) -> Iterator[tuple[str, str]]:
    user, installation = file.scopes.lists()
    for word in (*user, *installation, *file.scopes.always):
        if not _SCOPE.fullmatch(word) or file.scope_separator in word:
            yield "scopes", f"{word!r} is no scope id (RFC 6749 section 3.3)"
    for word in file.scopes.always:
        if any(known and word not in known for known in (user, installation)):
            yield "scopes.always", f"{word!r} is missing in a list of scopes"


def _own_params(key: str, params: Mapping[str, str], own: frozenset[str]) -> Iterator[tuple[str, str]]:
    for name in params.keys() & own:
        yield f"{key}.{name}", "is set by Authpipe itself"
