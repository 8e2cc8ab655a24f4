"""What installations and connections have in common at the API: showing, searching, refreshing, deleting a life."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

import structlog
from fastapi import Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from api.auth import Caller
from api.deps import ApiDeps
from api.flights import RETRY_AFTER, Flights, renew
from api.request_ids import about
from api.searching import Found, Searchable, SearchRequest, parse, respond
from domain.credential import is_fresh
from domain.errors import Problem
from domain.life import Kind, Status
from domain.wakeup import Step
from providers.scopes import missing
from vault import credentials
from vault.deletions import entomb
from vault.searching import Columns, columns, find_page, find_shown, shown_lives
from vault.tables import Credential, Life
from workflows.messages import LifeView

R = TypeVar("R", bound="LifeResponse")
log = structlog.get_logger(__name__)

PENDING = "pending"
WORDS_IN = columns(
    id=Life.id, tenant_id=Life.tenant_id, user_id=Life.user_id, label=Life.label, site_name=Life.site_name
)


class Site(BaseModel):
    """The site (instance, workspace) of the provider that a life is bound to."""

    id: str
    name: str
    url: str | None = None


class LifeResponse(BaseModel):
    """What installations and connections show alike."""

    id: str
    provider_id: str
    provider_config_id: str
    tenant_id: str
    label: str
    status: str
    reason: str | None = Field(None, description="Why the user has to connect again: a stable code.")
    health: str = Field(
        description="`ok`, or `degraded`: refreshing fails for the moment, or a check-up left a doubt; it still serves."
    )
    live: bool = Field(description="Whether its workflow said so just now; if not, this is what was recorded last.")
    site: Site | None = None
    scopes: list[str] | None = None
    missing_scopes: list[str] | None = Field(None, description="Asked for, but not granted.")
    token_expires_at: datetime | None = None
    next_refresh_at: datetime | None = None
    doubt: str | None = Field(None, description="Why it is degraded although it refreshes: a check-up's finding.")
    checked_at: datetime | None = Field(None, description="The last check-up that the provider answered.")
    next_checkup_at: datetime | None = None
    last_error: str | None = Field(None, description="Of the refresh that failed last, if it has not recovered.")
    held_until: datetime | None = Field(None, description="No refresh before: the provider refuses the app itself.")
    revoked_at: datetime | None = None
    upstream: str | None = Field(
        None,
        description="Once deleted, how revoking went: pending, confirmed, unsupported, unconfirmed, kept_shared.",
    )
    updated_at: datetime


DELETED: dict[int | str, dict[str, Any]] = {
    204: {
        "description": "It is served no more. The header says how revoking at the provider stands",
        "headers": {"Authpipe-Upstream": {"schema": {"type": "string"}, "description": "`upstream` of the response."}},
    }
}


class RefreshConnectionResult(BaseModel):
    refreshed: bool = Field(
        description="False if the credential is too young to be refreshed, or the provider stumbles."
    )
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """A life as it is shown: its row, the outcome of its deletion, and what its workflow says, if it was asked."""

    life: Life
    upstream: str | None = None
    view: LifeView | None = None

    @property
    def deleted(self) -> bool:
        return self.life.deleted_at is not None

    def common(self, ended: str) -> dict[str, Any]:
        """The fields of `LifeResponse`; `ended` is what this kind calls a deleted one."""
        life = self.life
        return {
            **{name: getattr(life, name) for name in ("id", "provider_id", "provider_config_id", "tenant_id", "label")},
            **(_ended(life, ended) if self.deleted else self._now()),
            "live": self.view is not None,
            "site": Site(id=life.site_id, name=life.site_name, url=life.site_url or None) if life.site_id else None,
            "scopes": life.granted_scopes if life.granted_scopes is not None else life.requested_scopes,
            "missing_scopes": list(missing(life.requested_scopes or (), life.granted_scopes)) or None,
            "upstream": self.upstream,
            "updated_at": life.updated_at,
        }

    def _now(self) -> dict[str, Any]:
        said: Life | LifeView = self.view or self.life
        return {
            "status": said.status,
            "reason": said.reason or None,
            "health": said.health,
            "token_expires_at": said.expires_at,
            "next_refresh_at": self._next_refresh_at(),
            "doubt": said.doubt or None,
            "checked_at": self.life.probed_at,
            "next_checkup_at": self.view.checkup_at if self.view else self.life.probe_at,
            "last_error": said.last_error or None,
            "held_until": said.held_until,
            "revoked_at": self.life.revoked_at,
        }

    def _next_refresh_at(self) -> datetime | None:
        if self.view and self.view.next_step == Step.REFRESH:
            return self.view.next_at
        return self.life.next_due_at


def _ended(life: Life, ended: str) -> dict[str, Any]:
    return {"status": ended, "health": "ok", "revoked_at": life.revoked_at or life.deleted_at}


async def find(deps: ApiDeps, caller: Caller, kind: Kind, life_id: str) -> Seen:
    """The caller's life as it was recorded. Raises `not_found`, also for another workspace's and one never active."""
    async with deps.db.reading() as tx:
        found = await find_shown(tx, caller.workspace_id, kind, life_id)
    if found is None:
        raise Problem("not_found", f"There is no {kind} of that id.")
    seen = Seen(*found)
    about(seen.life)
    return seen


async def look(deps: ApiDeps, caller: Caller, kind: Kind, life_id: str) -> Seen:
    """The same with its live state. A deleted one has none: its row is the last word."""
    seen = await find(deps, caller, kind, life_id)
    if seen.deleted:
        return seen
    view = await deps.lives.view(seen.life)
    # A workflow that has not read its row yet knows less than the row.
    stale = view is None or view.status == Status.PENDING or view.generation < seen.life.generation
    return seen if stale else Seen(seen.life, seen.upstream, view)


@dataclass(frozen=True, slots=True)
class LifeSearch(Generic[R]):
    """How one kind of lives is searched and shown."""

    kind: Kind
    columns: Columns
    answer: type[Found[R]]
    shown: Callable[[Seen], R]
    searchable: Searchable

    async def run(self, deps: ApiDeps, caller: Caller, asked: SearchRequest) -> JSONResponse:
        """One page of the caller's lives, as they were recorded."""
        search, rows = parse(asked, self.searchable), shown_lives(caller.workspace_id, self.kind)
        async with deps.db.reading() as tx:
            page = await find_page(tx, rows, self.columns, search, WORDS_IN.values())
        return respond(self.answer, [self.shown(Seen(life, told)) for life, told, *_ in page.items], page, asked)


async def refresh(deps: ApiDeps, flights: Flights, caller: Caller, kind: Kind, life_id: str) -> RefreshConnectionResult:
    """Refresh now, unless the credential is too young for it. Waits no longer than any reader."""
    life, credential = await _serving(deps, caller, kind, life_id)
    young = is_fresh(credential.issued_at, credential.expires_at, deps.clock())
    if credential.sealed_refresh is None or young:
        return RefreshConnectionResult(refreshed=False, expires_at=credential.expires_at)
    seen = credential.generation
    await renew(deps, flights, life, seen, deps.wait)
    _, credential = await _serving(deps, caller, kind, life_id)
    refreshed = credential.generation > seen
    if not refreshed and credential.expires_at is not None and credential.expires_at <= deps.clock():
        raise Problem("refresh_pending", retry_after=RETRY_AFTER)
    return RefreshConnectionResult(refreshed=refreshed, expires_at=credential.expires_at)


async def _serving(deps: ApiDeps, caller: Caller, kind: Kind, life_id: str) -> tuple[Life, Credential]:
    """An active life and its current credential. Raises `needs_reauth`, `not_connected`, `not_found`."""
    seen = await find(deps, caller, kind, life_id)
    if seen.life.status == Status.NEEDS_REAUTH and not seen.deleted:
        raise Problem("needs_reauth", f"The {kind} cannot be refreshed any more ({seen.life.reason}).")
    async with deps.db.reading() as tx:
        credential = None if seen.deleted else await credentials.current(tx, life_id)
    if credential is None:
        raise Problem("not_connected", f"The {kind} was deleted.")
    return seen.life, credential


async def delete(deps: ApiDeps, caller: Caller, kind: Kind, life_id: str) -> Response:
    """Stop serving at once, then let the workflow tell the provider. Asking again is no error and changes nothing."""
    seen = await find(deps, caller, kind, life_id)
    if seen.upstream in (None, PENDING):
        await tell_deleted(deps, await entomb(deps.db, life_id, deps.clock()))
    return Response(status_code=204, headers={"Authpipe-Upstream": seen.upstream or PENDING})


async def tell_deleted(deps: ApiDeps, rows: list[Life]) -> None:
    """Signal the workflows. If Temporal is away the tombstones stand, and reconcile finishes what they began."""
    answers = await asyncio.gather(*(deps.lives.delete(row) for row in rows), return_exceptions=True)
    failed = [answer for answer in answers if isinstance(answer, BaseException)]
    if failed:
        log.warning("deleted, but not every workflow could be told", untold=len(failed), lives=len(rows))
    for error in failed:
        if not isinstance(error, Problem):
            raise error
