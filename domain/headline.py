"""How a life stands, in a sentence or two: what is, why, what is next, and what somebody should do."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from domain.life import Status
from domain.oauth.failures import THE_APPS_OWN, FailureCode, FailureKind
from domain.reasons import because
from domain.wakeup import Step

SAYS: Mapping[str, str] = {
    Step.LOAD: "read its row",
    Step.REVOKE: "revoke and destroy the credential",
    Step.ATTEMPT: "finish a consent",
    Step.REFRESH: "refresh",
    Step.CLOSE_ATTEMPT: "close an unfinished consent",
    Step.PROBE: "ask the provider whether the credential works",
    Step.END: "end",
    Step.WAIT: "wait for a message",
}
UPSTREAM: Mapping[str, str] = {
    "pending": "The provider has not been told yet.",
    "confirmed": "The provider confirmed that the grant is revoked.",
    "unsupported": "The provider has no way to revoke a grant for an app.",
    "unconfirmed": "The provider was told, and its answer says nothing certain.",
    "kept_shared": "Another living connection uses the same grant, so it was left alone.",
}

NOTHING = "Nothing."
BY_ITSELF = "Nothing: it goes on by itself."
CONNECT_AGAIN = "Open a new session for the same tenant and user: the id stays."
THE_APP = "Correct client id and client secret of the provider config; everything else goes on by itself."
THE_REQUEST = "Compare the scopes of the provider config, and its redirect URL, with the app at the provider."
IN_PERSON = "Ask the person to remove the app in their settings at the provider."
DOUBTS: Mapping[str, str] = {
    "site_lost": "Look whether the account still reaches the site; if not, somebody who does has to connect again.",
    "scopes_lost": "Look whether an administrator at the provider took scopes from the app.",
    "probe_unclear": "Look whether the account still has the product, and the app its permissions.",
}


@dataclass(frozen=True, slots=True)
class Standing:
    """What of a life its headline is made from. `held_reason` is set while nothing is sent in the app's name."""

    status: str
    reason: str = ""
    expires_at: datetime | None = None
    failures: int = 0
    last_error: str = ""
    doubt: str = ""
    held_reason: str = ""
    next_step: str = ""
    next_at: datetime | None = None
    upstream: str = ""
    """How telling the provider of a deletion went."""
    withheld: bool = False
    """The provider's API refused the access token: it is not served until it is accepted again, or replaced."""


@dataclass(frozen=True, slots=True)
class Headline:
    """What is, and what somebody should do about it."""

    what: str
    to_do: str


def headline(standing: Standing) -> Headline:
    """The head of a life's story, the same for a builder and for an operator."""
    match standing.status:
        case Status.PENDING:
            return Headline("Nobody has connected it yet.", "Send the person the link of the session.")
        case Status.NEEDS_REAUTH:
            return Headline(f"It needs a new consent{because(standing.reason)}.", CONNECT_AGAIN)
        case Status.REVOKED:
            return _deleted(standing)
        case _:
            return _active(standing)


def upcoming(step: str, at: datetime | None) -> str:
    """What comes next, in words; empty where nothing does before a message comes."""
    return f"{SAYS[step]} at {clock(at)}" if step in SAYS and at else ""


def clock(at: datetime | None) -> str:
    """An instant for people."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else "never"


def _deleted(standing: Standing) -> Headline:
    told = UPSTREAM.get(standing.upstream, "")
    to_do = IN_PERSON if standing.upstream in ("unsupported", "unconfirmed") else NOTHING
    return Headline(f"It was deleted on our side and is served no more. {told}".strip(), to_do)


def _active(standing: Standing) -> Headline:
    what, to_do = _trouble(standing)
    served = _served(standing)
    said = f"{what}; {served}." if what else f"It works: {served}."
    following = upcoming(standing.next_step, standing.next_at)
    return Headline(f"{said} Next: {following}." if following else said, to_do)


def _served(standing: Standing) -> str:
    if standing.withheld:
        return "its token is not served, since the provider refused it"
    return f"it is served until {clock(standing.expires_at)}" if standing.expires_at else "it is served"


def _trouble(standing: Standing) -> tuple[str, str]:
    """What is wrong with an active one and what to do, the worst first; nothing, mostly."""
    if standing.held_reason in THE_APPS_OWN:
        return f"No connection is to blame{because(standing.held_reason)}", THE_APP
    if standing.held_reason:
        return f"The provider fails for one connection after the other{because(standing.held_reason)}", BY_ITSELF
    if standing.failures:
        often = "once" if standing.failures == 1 else f"{standing.failures} times in a row"
        return f"Refreshing failed {often}{because(standing.last_error)}", _after(standing.last_error)
    if standing.doubt:
        return f"It may not work any more{because(standing.doubt)}", DOUBTS.get(standing.doubt, BY_ITSELF)
    if standing.withheld:
        return "It may not work any more", BY_ITSELF
    if standing.last_error:
        return f"It waits{because(standing.last_error)}", BY_ITSELF
    return "", NOTHING


def _after(code: str) -> str:
    """The operator's failures do not pass by themselves."""
    known = code in set(FailureCode) and FailureCode(code).kind is FailureKind.OPERATOR
    return THE_REQUEST if known else BY_ITSELF
