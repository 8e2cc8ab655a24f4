"""The one table that tells the user's, the operator's and the moment's failures apart (law 4).

Decided from the status and the `error` code of RFC 6749 section 5.2, never from message text: providers reword
their messages, and an unknown answer must never cost somebody a connection. `docs/failures.md` explains the codes.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum

from domain.http import HttpResponse
from domain.oauth.document import DocumentError, Json, read_json, resolve

MAX_RETRY_AFTER = 3600.0
"""Seconds; a provider that asks for more is asked again after this."""

_CODE = re.compile(r"[a-z0-9_.-]{1,64}")


class FailureKind(StrEnum):
    """Whose failure it is, hence who can end it."""

    USER = "user"
    """The grant is dead: only a new consent helps."""
    OPERATOR = "operator"
    """The app's registration or our request is wrong: no connection is to blame."""
    MOMENT = "moment"
    """Unknown or passing: try again, serve what is still valid."""


class FailureCode(StrEnum):
    """Every stable code a call to a provider can end with, each of one kind."""

    GRANT_REVOKED = "grant_revoked"
    """The refresh token is dead: revoked, expired, replaced, or never valid."""
    GRANT_EXPIRED = "grant_expired"
    """The provider says that the grant reached its end of life."""
    CODE_REFUSED = "code_refused"
    """The authorization code is spent, expired or not ours."""
    CLIENT_REFUSED = "client_refused"
    """Client id or client secret is wrong; the one code on which a previous secret may be tried."""
    CLIENT_NOT_ALLOWED = "client_not_allowed"
    """The app is known but may not do this."""
    REQUEST_REFUSED = "request_refused"
    """The request itself is refused: redirect URL, scope, grant type."""
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    TOKEN_TYPE_UNKNOWN = "token_type_unknown"
    """A token came that is not a bearer token."""
    UNKNOWN_ERROR = "unknown_error"
    """A readable `error` code that the table does not know."""
    UNREADABLE_ANSWER = "unreadable_answer"
    """HTML, truncated JSON, wrong types, an empty body."""
    API_REFUSED = "api_refused"
    """A product API refused the access token. It says nothing about the grant."""
    UNREACHABLE = "unreachable"
    """Never sent: no name, no connection, no TLS."""
    NO_ANSWER = "no_answer"
    """Sent, and no answer came back."""
    ANSWER_TOO_LARGE = "answer_too_large"
    """The body was longer than the driver reads."""

    @property
    def kind(self) -> FailureKind:
        return _KINDS.get(self, FailureKind.MOMENT)


_KINDS: Mapping[FailureCode, FailureKind] = {
    FailureCode.GRANT_REVOKED: FailureKind.USER,
    FailureCode.GRANT_EXPIRED: FailureKind.USER,
    FailureCode.CODE_REFUSED: FailureKind.USER,
    FailureCode.CLIENT_REFUSED: FailureKind.OPERATOR,
    FailureCode.CLIENT_NOT_ALLOWED: FailureKind.OPERATOR,
    FailureCode.REQUEST_REFUSED: FailureKind.OPERATOR,
}


THE_APPS_OWN = (FailureCode.CLIENT_REFUSED, FailureCode.CLIENT_NOT_ALLOWED)
"""Refusals of the app itself, whatever was sent. On any other one a stranger could freeze everybody's refreshes."""


class GrantType(StrEnum):
    """What was asked of the token endpoint."""

    CODE = "code"
    REFRESH = "refresh"


class Endpoint(StrEnum):
    """Which of a provider's endpoints answered."""

    TOKEN = "token"
    IDENTITY = "identity"
    SITES = "sites"


class ProbeResult(StrEnum):
    """What an API call says about an access token. `refused` is not `revoked`: only the token endpoint says that."""

    HEALTHY = "healthy"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Failure:
    """A call that yielded nothing. Safe to log and to keep: it holds no provider text but a bounded code."""

    kind: FailureKind
    code: str
    """One of FailureCode."""
    provider_error: str | None = None
    """The provider's `error` code, `[a-z0-9_.-]`, at most 64 characters; never its description."""
    status: int | None = None
    retry_after: float | None = None
    """Seconds, at most an hour."""
    in_doubt: bool = False
    """The provider may have acted (rotated, used up the code) although we did not get what it issued."""


@dataclass(frozen=True, slots=True)
class FailureRule:
    """A provider's refinement of the table; `None` matches anything. The first rule that matches decides.

    Without a status it leaves 429 and 5xx alone: an overloaded provider may answer with any code. A 2xx is read by an
    error code only: anything else there may be a rotation whose answer was garbled. Raises ValueError for a user's
    failure of a product API.
    """

    kind: FailureKind
    code: str
    endpoint: Endpoint = Endpoint.TOKEN
    grant: GrantType | None = None
    status: int | None = None
    error: str | None = None
    empty_body: bool = False
    """Matches only an answer without a body."""

    def __post_init__(self) -> None:
        if self.kind is FailureKind.USER and self.endpoint is not Endpoint.TOKEN:
            raise ValueError("A product API never says that a grant is dead.")

    def matches(self, endpoint: Endpoint, grant: GrantType | None, response: HttpResponse, error: str | None) -> bool:
        return (
            self.endpoint is endpoint
            and self.grant in (None, grant)
            and (response.status not in PASSING if self.status is None else response.status == self.status)
            and self._fits_body(response, error)
        )

    def _fits_body(self, response: HttpResponse, error: str | None) -> bool:
        if self.error is not None:
            return error == self.error
        return not response.ok and (not self.empty_body or not response.body.strip())


ANY_CODE = "*"
_ANY, _OK, _429, _5XX = range(1000), range(200, 300), range(429, 430), range(500, 1000)
PASSING = (*_429, *_5XX)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table, where no rule of the provider's decides; `error` `None`: whatever it says, if anything."""

    code: FailureCode
    source: str
    """Where it is written down; a section of an RFC."""
    error: str | None = None
    statuses: range = _ANY
    grant: GrantType | None = None
    in_doubt: bool = False

    def matches(self, status: int, error: str | None, grant: GrantType | None) -> bool:
        said = error is not None if self.error == ANY_CODE else self.error in (None, error)
        return said and status in self.statuses and self.grant in (None, grant)


_OVERLOADED = (
    Row(FailureCode.RATE_LIMITED, "RFC 6585 section 4", statuses=_429),
    Row(FailureCode.SERVER_ERROR, "RFC 9110 section 15.6", statuses=_5XX, in_doubt=True),
)

TOKEN_TABLE = (
    *_OVERLOADED,
    Row(FailureCode.CODE_REFUSED, "RFC 6749 section 5.2", "invalid_grant", grant=GrantType.CODE),
    Row(FailureCode.GRANT_REVOKED, "RFC 6749 section 5.2", "invalid_grant"),
    Row(FailureCode.CLIENT_REFUSED, "RFC 6749 section 5.2", "invalid_client"),
    Row(FailureCode.CLIENT_NOT_ALLOWED, "RFC 6749 section 5.2", "unauthorized_client"),
    Row(FailureCode.REQUEST_REFUSED, "RFC 6749 section 5.2", "unsupported_grant_type"),
    Row(FailureCode.REQUEST_REFUSED, "RFC 6749 section 5.2", "invalid_scope"),
    Row(FailureCode.REQUEST_REFUSED, "RFC 6749 section 5.2", "invalid_request"),
    # Meant for redirects, which cannot carry a 5xx; token endpoints send them too.
    Row(FailureCode.SERVER_ERROR, "RFC 6749 section 4.1.2.1", "temporarily_unavailable", in_doubt=True),
    Row(FailureCode.SERVER_ERROR, "RFC 6749 section 4.1.2.1", "server_error", in_doubt=True),
    # Success with a code nobody knows: the refresh token may have been rotated.
    Row(FailureCode.UNKNOWN_ERROR, "RFC 9110 section 15.3", ANY_CODE, statuses=_OK, in_doubt=True),
    Row(FailureCode.UNKNOWN_ERROR, "RFC 6749 section 8.5", ANY_CODE),
    Row(FailureCode.UNREADABLE_ANSWER, "RFC 9110 section 15.3", statuses=_OK, in_doubt=True),
    # Other than by a code of its own, a 3xx or 4xx says that the request was not carried out.
    Row(FailureCode.UNREADABLE_ANSWER, "RFC 9110 section 15"),
)

API_TABLE = (
    *_OVERLOADED,
    # About the access token or the resource at most, never about the grant.
    Row(FailureCode.API_REFUSED, "RFC 6750 section 3.1"),
)


def row_for(table: Sequence[Row], status: int, error: str | None, grant: GrantType | None = None) -> Row:
    """The first row that matches; the last one of each table matches everything."""
    return next(row for row in table if row.matches(status, error, grant))


def token_failure(
    response: HttpResponse, grant: GrantType, rules: Sequence[FailureRule] = (), error_pointer: str = "/error"
) -> Failure:
    """Reads a refusal of the token endpoint (RFC 6749 section 5.2), or a 2xx that holds no token.

    `error_pointer` finds the code in the body.
    """
    error = error_code(response, error_pointer)
    refined = _refined(response, error, rules, Endpoint.TOKEN, grant)
    row = row_for(TOKEN_TABLE, response.status, error, grant)
    return refined or _failure(response, error, row.code.kind, row.code, in_doubt=row.in_doubt)


def api_failure(
    response: HttpResponse, endpoint: Endpoint, rules: Sequence[FailureRule] = (), error_pointer: str = "/error"
) -> Failure:
    """Reads a refusal of an identity or sites call: always the moment's, unless the provider's data says more."""
    error = error_code(response, error_pointer)
    refined = _refined(response, error, rules, endpoint, None)
    row = row_for(API_TABLE, response.status, error)
    return refined or _failure(response, error, row.code.kind, row.code, in_doubt=row.in_doubt)


def unreadable(response: HttpResponse) -> Failure:
    """The failure for a body we cannot use. After 2xx it is in doubt: the provider did act."""
    code = FailureCode.UNREADABLE_ANSWER
    return _failure(response, None, code.kind, code, in_doubt=response.ok)


def error_code(response: HttpResponse, pointer: str = "/error") -> str | None:
    """The machine-readable error code of a body, lower-cased, or `None` where there is none to trust."""
    try:
        return bounded_code(resolve(read_json(response.body), pointer))
    except DocumentError:
        return None


def bounded_code(value: Json) -> str | None:
    """`value` as a code of `[a-z0-9_.-]`, at most 64 characters; a sentence is no code."""
    if isinstance(value, str) and _CODE.fullmatch(value.lower()):
        return value.lower()
    return None


def retry_after(response: HttpResponse) -> float | None:
    """Seconds to wait (RFC 9110 section 10.2.3), at most an hour; a date is read against the answer's own `Date`.

    So neither our clock nor the provider's needs to be right.
    """
    value = response.headers.get("retry-after", "").strip()
    if value.isdecimal():
        return min(float(value), MAX_RETRY_AFTER)
    try:
        until, sent = parsedate_to_datetime(value), parsedate_to_datetime(response.headers.get("date", ""))
        return min(max((until - sent).total_seconds(), 0.0), MAX_RETRY_AFTER)
    except (ValueError, TypeError, OverflowError):
        return None


def _refined(
    response: HttpResponse,
    error: str | None,
    rules: Sequence[FailureRule],
    endpoint: Endpoint,
    grant: GrantType | None,
) -> Failure | None:
    for rule in rules:
        if rule.matches(endpoint, grant, response, error):
            in_doubt = rule.kind is FailureKind.MOMENT and (response.ok or response.status in _5XX)
            return _failure(response, error, rule.kind, rule.code, in_doubt=in_doubt)
    return None


def _failure(
    response: HttpResponse, error: str | None, kind: FailureKind, code: str, *, in_doubt: bool = False
) -> Failure:
    wait = retry_after(response) if kind is FailureKind.MOMENT else None
    return Failure(kind, code, error, response.status, retry_after=wait, in_doubt=in_doubt)
