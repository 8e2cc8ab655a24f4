"""`POST /api/connections/{id}/report`: the builder met a refusal, and the provider is asked at once.

What is reported is not believed: it brings the next check-up forward, to half a minute after the last at the earliest.
"""

from datetime import datetime, timedelta
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api import life_views
from api.auth import Caller, SecretCaller
from api.deps import ApiDeps, DepsOf
from api.fields import Body, PathId
from api.lives import woken
from api.problems import documented
from domain.errors import Problem
from domain.life import Kind, Status
from vault import inbound
from vault.lives import lock_life
from vault.tables import Life

router = APIRouter(tags=["connections"])

JUST_NOW = timedelta(seconds=30)
RESPONSES = documented(
    "bad_request", "malformed_json", "unauthenticated", "forbidden", "not_found", "not_connected", "needs_reauth"
)

Reason = Literal["newer_credential", "checked_just_now", "check_is_due"]


class ReportParams(Body):
    """What the builder saw. Both are optional; `generation` is that of the credential that was refused."""

    status: int = Field(401, ge=400, le=599, description="The HTTP status of the provider's answer.")
    generation: int | None = Field(None, ge=1, lt=2**31, description="As `POST /api/credentials` answered it.")


class ReportResult(BaseModel):
    """Whether this report made the provider be asked; if not, why it had no need to."""

    checking: bool
    reason: Reason | None = Field(None, description="Fetch the newer credential, or wait for `checkup_at`.")
    checkup_at: datetime | None = None


@router.post(
    "/api/connections/{id}/report",
    status_code=202,
    response_model_exclude_none=True,
    responses=RESPONSES,
    summary="Say that the provider refused a connection's credential",
)
async def report_connection(life_id: PathId, body: ReportParams, caller: SecretCaller, deps: DepsOf) -> ReportResult:
    return await _report(deps, caller, Kind.CONNECTION, life_id, body)


@router.post(
    "/api/installations/{id}/report",
    status_code=202,
    response_model_exclude_none=True,
    responses=RESPONSES,
    summary="Say that the provider refused an installation's credential",
    tags=["installations"],
)
async def report_installation(life_id: PathId, body: ReportParams, caller: SecretCaller, deps: DepsOf) -> ReportResult:
    return await _report(deps, caller, Kind.INSTALLATION, life_id, body)


async def _report(deps: ApiDeps, caller: Caller, kind: Kind, life_id: str, body: ReportParams) -> ReportResult:
    seen, now = await life_views.find(deps, caller, kind, life_id), deps.clock()
    _require_serving(seen.life)
    return _needless(seen.life, body, now) or await _bring_forward(deps, seen.life, now)


def _require_serving(life: Life) -> None:
    if life.deleted_at:
        raise Problem("not_connected", f"The {life.kind} was deleted.")
    if life.status == Status.NEEDS_REAUTH:
        raise Problem("needs_reauth", f"The {life.kind} has to be connected again ({life.reason}).")


def _needless(life: Life, body: ReportParams, now: datetime) -> ReportResult | None:
    """What needs no look at the row as it stands now: of a flood of reports nearly all end here."""
    if body.generation is not None and body.generation < life.generation:
        return ReportResult(checking=False, reason="newer_credential")
    if life.probed_at and life.probe_at and now < life.probe_at <= life.probed_at + JUST_NOW:
        return ReportResult(checking=False, reason="checked_just_now", checkup_at=life.probe_at)
    return None


async def _bring_forward(deps: ApiDeps, seen: Life, now: datetime) -> ReportResult:
    async with deps.db.transaction() as tx:
        life = await lock_life(tx, seen.id)
        if life is None:
            raise Problem("not_connected", f"The {seen.kind} was deleted.")
        _require_serving(life)
        moved = inbound.bring_forward(life, now, JUST_NOW)
    if moved:
        await woken(deps.lives, life)
    if life.probed_at and now < life.probed_at + JUST_NOW:
        return ReportResult(checking=False, reason="checked_just_now", checkup_at=life.probe_at)
    return ReportResult(checking=moved, reason=None if moved else "check_is_due", checkup_at=life.probe_at)
