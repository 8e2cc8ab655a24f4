"""Reading what a token endpoint answers (RFC 6749 section 5): strict about the tokens, lenient about the rest.

A rotated refresh token exists only in this answer, so nothing but the tokens themselves, and a type of token that we
could not use, may cost us the answer.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from domain.credential import CredentialRef
from domain.http import HttpResponse
from domain.oauth.document import DocumentError, Json, identifier, read_object, resolve
from domain.oauth.failures import (
    Failure,
    FailureCode,
    FailureKind,
    FailureRule,
    GrantType,
    token_failure,
    unreadable,
)

DEFAULT_LIFETIME = 3600
"""Seconds; taken where neither the answer nor the provider's file says how long an access token lives."""

LONGEST_LIFETIME = 100 * 365 * 86_400
"""Seconds; a longer `expires_in` is a mistake, and would not fit a date."""

_KNOWN_FIELDS = frozenset({"access_token", "token_type", "expires_in", "refresh_token", "scope", "id_token"})
_FIELD_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_MOST_FIELDS = 20
# RFC 6749 appendix A.12 and A.17: 1*VSCHAR. It also keeps line breaks out of the Authorization header.
_TOKEN = re.compile(r"[\x20-\x7e]+")


@dataclass(frozen=True, slots=True)
class AnswerRules:
    """How one provider's answers are to be read."""

    separator: str = " "
    lifetime: int | None = DEFAULT_LIFETIME
    """Seconds, where the answer has no sensible `expires_in`; `None`: its access tokens do not expire."""
    account_pointer: str | None = None
    """RFC 6901 pointer to the account id inside the answer."""
    error_pointer: str = "/error"
    failures: Sequence[FailureRule] = ()


@dataclass(frozen=True, slots=True)
class TokenGrant:
    """What was granted. The tokens are left out of `repr`."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    """`None`: none came; a refresh carries the one it used forward (RFC 6749 section 6)."""
    expires_in: int | None
    """Seconds from the moment the request was *sent*; `None`: it does not expire."""
    scopes: tuple[str, ...] | None
    """`None`: the answer does not say, which means as requested (RFC 6749 section 5.1)."""
    account_id: str | None = None
    unknown_fields: tuple[str, ...] = ()
    """Names only: how one learns that a provider changed."""
    lifetime_stated: bool = True
    """False: the answer had no sensible `expires_in`, and the provider's declared one stands in its place."""

    def reference(
        self, generation: int, sent_at: datetime, *, refreshable: bool, asked: list[str] | None
    ) -> CredentialRef:
        """What may be said of it. Its life counts from `sent_at`, before sending; unsaid scopes are those `asked`."""
        ends = sent_at + timedelta(seconds=self.expires_in) if self.expires_in is not None else None
        scopes = list(self.scopes) if self.scopes is not None else asked
        return CredentialRef(generation, sent_at, ends, refreshable=refreshable, scopes=scopes)


def read_token_answer(
    response: HttpResponse, grant: GrantType, rules: AnswerRules | None = None
) -> TokenGrant | Failure:
    """The grant in a 2xx answer, or whose failure it is. What holds a token is never read as a refusal."""
    rules = rules or AnswerRules()
    if not response.ok:
        return token_failure(response, grant, rules.failures, rules.error_pointer)
    try:
        fields = read_object(response.body)
    except DocumentError:
        return unreadable(response)
    if not _holds_token(fields):
        return token_failure(response, grant, rules.failures, rules.error_pointer)
    if not _is_bearer(fields.get("token_type")):
        return Failure(FailureKind.MOMENT, FailureCode.TOKEN_TYPE_UNKNOWN, status=response.status, in_doubt=True)
    return _grant(fields, rules) or unreadable(response)


def _grant(fields: Mapping[str, Json], rules: AnswerRules) -> TokenGrant | None:
    access, refresh = fields.get("access_token"), fields.get("refresh_token") or None
    if not _is_token(access) or not (refresh is None or _is_token(refresh)):
        return None
    pointer, stated = rules.account_pointer, _lifetime(fields.get("expires_in"))
    return TokenGrant(
        access_token=str(access),
        refresh_token=None if refresh is None else str(refresh),
        expires_in=rules.lifetime if stated is None else stated,
        scopes=_scopes(fields.get("scope"), rules.separator),
        account_id=None if pointer is None else identifier(resolve(dict(fields), pointer)),
        unknown_fields=_unknown(fields),
        lifetime_stated=stated is not None,
    )


def _holds_token(fields: Mapping[str, Json]) -> bool:
    return any(fields.get(name) not in (None, "") for name in ("access_token", "refresh_token"))


def _is_token(value: Json) -> bool:
    return isinstance(value, str) and _TOKEN.fullmatch(value) is not None


def _is_bearer(value: Json) -> bool:
    return value is None or (isinstance(value, str) and value.lower() == "bearer")


def _lifetime(value: Json) -> int | None:
    """`expires_in` in seconds, `None` where it makes no sense."""
    try:
        seconds = 0 if isinstance(value, bool) else int(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if 0 < seconds <= LONGEST_LIFETIME else None


def _scopes(value: Json, separator: str) -> tuple[str, ...] | None:
    """Vendors ask with one separator and answer with another, so every usual one splits; empty says nothing."""
    words: list[Json] = [*re.split(rf"[\s,]|{re.escape(separator)}", value)] if isinstance(value, str) else []
    if isinstance(value, list):
        words = value
    found = (word for word in words if isinstance(word, str) and word)
    return tuple(dict.fromkeys(found)) or None


def _unknown(fields: Mapping[str, Json]) -> tuple[str, ...]:
    names = sorted(name for name in fields.keys() - _KNOWN_FIELDS if _FIELD_NAME.fullmatch(name))
    return tuple(names[:_MOST_FIELDS])
