"""`/health`: whether this process lives, and what it needs too. No key is asked for, no detail is given."""

import asyncio
from collections.abc import Awaitable
from typing import Literal

import structlog
from fastapi import APIRouter, Response
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from api.deps import ApiDeps, DepsOf
from vault.engines import DatabaseUnusable
from vault.keys import KeyRingError

router = APIRouter(prefix="/health", tags=["health"])
log = structlog.get_logger(__name__)

OK = "ok"
AWAY = "does not answer"
LIMIT_SECONDS = 5
# A balancer that took us out while it is away would stop the reads that do not need it (law 5, docs/adr/0008).
ENGINE = "temporal"


class Liveness(BaseModel):
    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """`parts` names each part: `ok`, or what is wrong with it. Without the engine credentials are still served."""

    status: Literal["ready", "degraded", "not_ready"]
    parts: dict[str, str]


@router.get("/live", summary="Whether the process answers")
async def live() -> Liveness:
    return Liveness()


@router.get("/ready", responses={503: {"model": Readiness}}, summary="Whether every part it needs answers")
async def ready(response: Response, deps: DepsOf) -> Readiness:
    checks = {"database": _database, "migrations": _migrations, "keys": _keys, ENGINE: _temporal}
    said = await asyncio.gather(*(_said(name, check(deps)) for name, check in checks.items()))
    parts = dict(zip(checks, said, strict=True))
    down = {name for name, answer in parts.items() if answer != OK}
    serving = down <= {ENGINE}
    response.status_code = 200 if serving else 503
    response.headers["cache-control"] = "no-store"
    return Readiness(status=("degraded" if down else "ready") if serving else "not_ready", parts=parts)


async def _said(name: str, check: Awaitable[str]) -> str:
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            return await check
    except KeyRingError as error:
        log.warning("the key ring does not fit the vault", error=str(error))
        return "do not open the vault"
    except (DatabaseUnusable, SQLAlchemyError, OSError, TimeoutError) as error:
        log.warning("a part does not answer", part=name, error=type(error).__name__)
        return AWAY


async def _database(deps: ApiDeps) -> str:
    await deps.db.ping()
    return OK


async def _migrations(deps: ApiDeps) -> str:
    stands = await deps.db.standing()
    if stands.objection is None:
        return OK
    log.warning("the schema is not one that this version serves on", detail=stands.objection)
    return "of a newer version: run that version" if stands.ahead else "behind: run `authpipe migrate`"


async def _keys(deps: ApiDeps) -> str:
    await deps.sealer.keys.check()
    return OK


async def _temporal(deps: ApiDeps) -> str:
    return OK if await deps.lives.ping() else AWAY
