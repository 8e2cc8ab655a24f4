"""The one table that tells the user's, the operator's and the moment's failures apart (law 4).

Decided from the status and the `error` code of RFC 6749 section 5.2, never from message text: providers reword
their messages, and an unknown answer must never cost somebody a connection.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
    """Every stable code a call to a provider can end with."""

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

    Without a status it leaves 429 and 5xx alone: an overloaded provider may answer with any code.
    """

    kind: FailureKind
    code: str
    endpoint: Endpoint = Endpoint.TOKEN
    grant: GrantType | None = None
    status: int | None = None
    error: str | None = None

    def matches(self, endpoint: Endpoint, grant: GrantType | None, status: int, error: str | None) -> bool:
        return (
            self.endpoint is endpoint
            and self.grant in (None, grant)
            and (self.status == status or (self.status is None and not _is_passing(status)))
            and self.error in (None, error)
        )


_USER, _OPERATOR, _MOMENT = FailureKind.USER, FailureKind.OPERATOR, FailureKind.MOMENT

_BY_ERROR: Mapping[str, tuple[FailureKind, FailureCode]] = {
    "invalid_grant": (_USER, FailureCode.GRANT_REVOKED),
    "invalid_client": (_OPERATOR, FailureCode.CLIENT_REFUSED),
    "unauthorized_client": (_OPERATOR, FailureCode.CLIENT_NOT_ALLOWED),
    "unsupported_grant_type": (_OPERATOR, FailureCode.REQUEST_REFUSED),
    "invalid_scope": (_OPERATOR, FailureCode.REQUEST_REFUSED),
    "invalid_request": (_OPERATOR, FailureCode.REQUEST_REFUSED),
    "temporarily_unavailable": (_MOMENT, FailureCode.SERVER_ERROR),
    "server_error": (_MOMENT, FailureCode.SERVER_ERROR),
}


def token_failure(
    response: HttpResponse, grant: GrantType, rules: Sequence[FailureRule] = (), error_pointer: str = "/error"
) -> Failure:
    """Reads a refusal of the token endpoint (RFC 6749 section 5.2); `error_pointer` finds the code in the body."""
    error = error_code(response, error_pointer)
    return _refined(response, error, rules, Endpoint.TOKEN, grant) or _by_table(response, error, grant)


def api_failure(
    response: HttpResponse, endpoint: Endpoint, rules: Sequence[FailureRule] = (), error_pointer: str = "/error"
) -> Failure:
    """Reads a refusal of an identity or sites call: always the moment's, unless the provider's data says more."""
    error = error_code(response, error_pointer)
    return _refined(response, error, rules, endpoint, None) or _by_status(response, error, FailureCode.API_REFUSED)


def unreadable(response: HttpResponse) -> Failure:
    """The failure for a body we cannot use. After 2xx it is in doubt: the provider did act."""
    return _failure(response, None, _MOMENT, FailureCode.UNREADABLE_ANSWER, in_doubt=response.ok)


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
        if rule.matches(endpoint, grant, response.status, error):
            in_doubt = rule.kind is _MOMENT and response.status >= 500
            return _failure(response, error, rule.kind, rule.code, in_doubt=in_doubt)
    return None


def _by_table(response: HttpResponse, error: str | None, grant: GrantType) -> Failure:
    if error is None or _is_passing(response.status):
        return _by_status(response, error, FailureCode.UNREADABLE_ANSWER)
    kind, code = _BY_ERROR.get(error, (_MOMENT, FailureCode.UNKNOWN_ERROR))
    if code is FailureCode.GRANT_REVOKED and grant is GrantType.CODE:
        code = FailureCode.CODE_REFUSED
    return _failure(response, error, kind, code, in_doubt=code is FailureCode.SERVER_ERROR)


def _is_passing(status: int) -> bool:
    return status == 429 or status >= 500


def _by_status(response: HttpResponse, error: str | None, otherwise: FailureCode) -> Failure:
    if response.status == 429:
        return _failure(response, error, _MOMENT, FailureCode.RATE_LIMITED)
    if response.status >= 500:
        return _failure(response, error, _MOMENT, FailureCode.SERVER_ERROR, in_doubt=True)
    return _failure(response, error, _MOMENT, otherwise)


def _failure(
    response: HttpResponse, error: str | None, kind: FailureKind, code: str, *, in_doubt: bool = False
) -> Failure:
    wait = retry_after(response) if kind is _MOMENT else None
    return replace(Failure(kind, code, error, response.status), retry_after=wait, in_doubt=in_doubt)
