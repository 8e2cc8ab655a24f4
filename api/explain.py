"""`GET /api/connections/{id}/explain`: what happened to it, what is next, and what somebody should do, in words."""

from collections.abc import Callable
from datetime import datetime
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api import connections, installations, life_views
from api.auth import Caller, SecretCaller
from api.deps import ApiDeps, DepsOf
from api.fields import PathId
from api.life_views import LifeResponse, Seen
from api.problems import documented
from domain.headline import SAYS, Standing, headline
from domain.life import Kind, Status
from domain.story import MOST_ENTRIES, Entry, tell
from domain.wakeup import Step
from vault import credentials
from vault.past import past_of
from vault.tables import Life, ProviderConfig

router = APIRouter()
REFUSALS = documented("unauthenticated", "forbidden", "not_found")


class Upcoming(BaseModel):
    what: str
    at: datetime


class StoryEntry(BaseModel):
    at: datetime
    what: str
    code: str | None = Field(None, description="Why: one of the documented codes.")
    by: Literal["provider", "authpipe", "builder", "user"] = Field(description="Whose doing it was.")
    generation: int | None = None
    times: int = Field(description="So often one after the other; `at` is the last of them.")


class ExplainResponse(BaseModel):
    """How it stands and how it came to that. `story` has the newest last."""

    id: str
    headline: str
    what_to_do: str
    status: str
    health: str
    next: Upcoming | None = None
    story: list[StoryEntry]
    left_out: int = Field(description="How much happened before the story begins.")


@router.get(
    "/api/connections/{id}/explain",
    response_model_exclude_none=True,
    responses=REFUSALS,
    summary="What happened to a connection, in words",
    tags=["connections"],
)
async def explain_connection(life_id: PathId, caller: SecretCaller, deps: DepsOf) -> ExplainResponse:
    return await _explain(deps, caller, Kind.CONNECTION, life_id, connections.shown)


@router.get(
    "/api/installations/{id}/explain",
    response_model_exclude_none=True,
    responses=REFUSALS,
    summary="What happened to an installation, in words",
    tags=["installations"],
)
async def explain_installation(life_id: PathId, caller: SecretCaller, deps: DepsOf) -> ExplainResponse:
    return await _explain(deps, caller, Kind.INSTALLATION, life_id, installations.shown)


async def _explain(
    deps: ApiDeps, caller: Caller, kind: Kind, life_id: str, shown: Callable[[Seen], LifeResponse]
) -> ExplainResponse:
    seen = await life_views.look(deps, caller, kind, life_id)
    async with deps.db.reading() as tx:
        past, credential = await past_of(tx, seen.life), await credentials.current(tx, life_id)
        config = await tx.get(ProviderConfig, seen.life.provider_config_id)
    standing, known = _standing(seen, config, withheld=credentials.is_withheld(credential)), shown(seen)
    head, entries = headline(standing), tell(past.happened)
    told = entries[-MOST_ENTRIES:]
    return ExplainResponse(
        id=life_id,
        headline=head.what,
        what_to_do=head.to_do,
        status=known.status,
        health=known.health,
        next=_next(standing),
        story=[_shown(entry) for entry in told],
        left_out=past.left_out + sum(entry.times for entry in entries[: len(entries) - len(told)]),
    )


def _standing(seen: Seen, config: ProviderConfig | None, *, withheld: bool) -> Standing:
    life = seen.life
    if seen.deleted:
        return Standing(Status.REVOKED, upstream=seen.upstream or life_views.PENDING)
    said = seen.view or life
    step, at = (seen.view.next_step, seen.view.next_at) if seen.view else _recorded_next(life)
    return Standing(
        said.status,
        said.reason,
        said.expires_at,
        said.failures,
        said.last_error,
        said.doubt,
        config.held_reason if config else "",
        step,
        at,
        withheld=withheld,
    )


def _recorded_next(life: Life) -> tuple[str, datetime | None]:
    """What the row has planned: the earlier of refresh and check-up."""
    planned = [(life.next_due_at, Step.REFRESH), (life.probe_at, Step.PROBE)]
    due = [(at, step) for at, step in planned if at is not None and life.status == Status.ACTIVE]
    at, step = min(due, key=lambda it: it[0], default=(None, Step.WAIT))
    return step, at


def _next(standing: Standing) -> Upcoming | None:
    if standing.next_at is None or standing.next_step not in SAYS:
        return None
    return Upcoming(what=SAYS[standing.next_step], at=standing.next_at)


def _shown(entry: Entry) -> StoryEntry:
    return StoryEntry(
        at=entry.at,
        what=entry.what,
        code=entry.code or None,
        by=entry.by,
        generation=entry.generation,
        times=entry.times,
    )
