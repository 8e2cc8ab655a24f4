"""What happened to a life, told in order: each event and each attempt at the token endpoint as one sentence."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any, Literal

from domain.headline import UPSTREAM, clock
from domain.holds import SECRET_REPLACED
from domain.reasons import because

By = Literal["provider", "authpipe", "builder", "user"]

MOST_ENTRIES = 200


@dataclass(frozen=True, slots=True)
class Happened:
    """An event, or a row of the ledger. `kind` is a key of `TOLD`, `data` holds what its sentence needs."""

    at: datetime
    kind: str
    code: str = ""
    generation: int | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """One sentence of the story; `times`: so often one after the other, `at` being the last of them."""

    at: datetime
    what: str
    by: By
    code: str = ""
    generation: int | None = None
    times: int = 1


@dataclass(frozen=True, slots=True)
class Told:
    what: str
    by: By


EVENTS: Mapping[str, Told] = {
    "created": Told("Connected for the first time", "user"),
    "activated": Told("A consent brought a credential", "user"),
    "refreshed": Told("Refreshed", "authpipe"),
    "degraded": Told("Degraded, and still served", "provider"),
    "recovered": Told("Recovered", "provider"),
    "needs_reauth": Told("Needs a new consent from now on", "provider"),
    "reauth_due": Told("Notice that the consent ends by itself", "authpipe"),
    "scopes_changed": Told("The granted scopes changed", "provider"),
    "deleted": Told("Deleted", "builder"),
    "provider_config.misconfigured": Told(
        "The provider refused the app; all its connections wait, unblamed", "provider"
    ),
    "provider_config.recovered": Told("The provider accepts the app again", "provider"),
    "provider_config.secret_due": Told("Notice that the app's client secret ends by itself", "authpipe"),
}
"""By the name of the event without `installation.` or `connection.`."""

ATTEMPTS: Mapping[str, Told] = {
    "refresh": Told("A refresh was sent, and its answer is not known yet", "authpipe"),
    "refresh.succeeded": Told("The answer to a refresh did not come; the same token was sent again", "authpipe"),
    "refresh.not_sent": Told("A refresh could not be sent", "authpipe"),
    "refresh.not_handled": Told("The provider did not refresh it", "provider"),
    "refresh.refused": Told("The provider refused the refresh token", "provider"),
    "refresh.operator": Told("The provider refused the app at a refresh", "provider"),
    "refresh.superseded": Told("A refresh was overtaken by a newer consent", "user"),
    "refresh.unknown": Told("What came of a refresh was never known", "authpipe"),
    "exchange": Told("The code of a consent was sent, and its answer is not known yet", "authpipe"),
    "exchange.succeeded": Told("The code of a consent was exchanged", "authpipe"),
    "exchange.not_sent": Told("The code of a consent could not be sent", "authpipe"),
    "exchange.not_handled": Told("The provider did not exchange the code of a consent", "provider"),
    "exchange.refused": Told("The provider refused the code of a consent", "provider"),
    "exchange.operator": Told("The provider refused the app at a consent", "provider"),
    "exchange.superseded": Told("A consent came too late and was not kept", "authpipe"),
    "exchange.unknown": Told("What came of the code of a consent was never known", "authpipe"),
}
"""By the kind of an attempt in the ledger and, once there is one, its outcome."""

TOLD: Mapping[str, Told] = {**EVENTS, **ATTEMPTS}


def tell(happened: Iterable[Happened]) -> list[Entry]:
    """The story of what happened, oldest first. The same again and again is told once."""
    runs = [list(run) for _, run in groupby(happened, key=lambda it: (it.kind, it.code))]
    return [_entry(run) for run in runs if run[0].kind in TOLD]


def _entry(run: Sequence[Happened]) -> Entry:
    first, last = run[0], run[-1]
    told = TOLD[last.kind]
    often = f" {len(run)} times, first at {clock(first.at)}, last at {clock(last.at)}" if len(run) > 1 else ""
    what = f"{told.what}{often}{_more(last)}{because(last.code)}."
    return Entry(last.at, what, told.by, last.code, last.generation, len(run))


def _more(it: Happened) -> str:
    match it.kind:
        case "reauth_due" | "provider_config.secret_due":
            return f", in {it.data.get('days')} days at most"
        case "scopes_changed":
            return f": {len(it.data.get('lost') or ())} fewer, {len(it.data.get('gained') or ())} more"
        case "recovered" if it.code:
            return " from"
        case "provider_config.recovered" if it.code != SECRET_REPLACED:
            return ", after"
        case "deleted":
            return f". {UPSTREAM.get(str(it.data.get('upstream')), '')}".rstrip(". ")
        case _:
            return ""
